"""Where waiting instances go: round by round over the offers at hand.

The contract with the core: it makes one ``Round`` of the offers it holds, asks it for one instance after the other, and
gives the offers of every host that something was placed on to Mesos in one ACCEPT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from framework.core.constraints import Spread, value_of
from framework.core.ids import FrameworkId, OfferId
from framework.core.offers import HostOffers, Offer
from framework.core.pieces import Piece
from framework.core.resources import Resources
from framework.core.templates import Operator
from framework.local.marathon.definition.app import App
from framework.local.marathon.matching.ports import chosen
from framework.local.marathon.matching.reasons import against, port_ranges, reasons_for
from framework.local.marathon.matching.residency import disks_for, leftovers, new_volumes, root_mib
from framework.local.marathon.matching.room import Room
from framework.local.marathon.matching.rules import Demand, MatchSettings, demand_of, members, spreads_of
from framework.local.marathon.records import Instance, LocalVolume, Site
from framework.ports import Chance


class Placed(msgspec.Struct, frozen=True):
    """Where an instance goes and what it takes there.

    Without ``pieces`` what it takes is drawn from what is offered and not reserved. With them it takes just those, and
    its Mesos executor ``executor_pieces``; where ``reserve``, all of these are as offered, to be reserved first.
    """

    site: Site
    role: str  # of the offers: an offer's allocation role, never mixed in one ACCEPT
    offer_ids: tuple[OfferId, ...]  # all that are held of that host for that role
    ports: tuple[int, ...]  # as Instance.ports
    resources: Resources  # of the task itself, its ports counted
    volumes: tuple[LocalVolume, ...] = ()  # to be made with the launch, where ``reserve``; else found there
    reserve: bool = False
    pieces: tuple[Piece, ...] = ()
    executor_pieces: tuple[Piece, ...] = ()
    disks: tuple[Piece, ...] = ()  # of each of ``volumes`` what it is, or is to be, made of


class Refused(msgspec.Struct, frozen=True):
    """No offer would do; ``reasons_for`` tells why, of one offer at a time, when somebody asks."""


class Round(Protocol):
    def place(self, app: App, instance: Instance, siblings: Sequence[Instance]) -> Placed | Refused:
        """``siblings``: the app's other instances that have a site, those placed in this round among them.

        What is placed is taken from what later calls see.
        """
        ...


class MakeRound(Protocol):
    def __call__(self, offers: Iterable[HostOffers], now: float) -> Round:
        """``now`` in seconds since the epoch, for hosts that go into maintenance."""
        ...


class Matcher:
    """All that the core asks, by the server's settings; ``chance`` chooses ports and the ids of volumes."""

    def __init__(self, settings: MatchSettings, chance: Chance, framework_id: Callable[[], FrameworkId | None]) -> None:
        """``framework_id``: ours, once there is one; only what carries it is ever given up."""
        self._settings = settings
        self._chance = chance
        self._framework_id = framework_id

    def make_round(self, offers: Iterable[HostOffers], now: float) -> OfferRound:
        """As ``MakeRound``."""
        return OfferRound(offers, now, settings=self._settings, chance=self._chance)

    def reasons(
        self, app: App, instance: Instance, siblings: Sequence[Instance], offer: Offer, now: float
    ) -> tuple[str, ...]:
        """As ``reasons_for``."""
        return reasons_for(app, instance, siblings, offer, self._settings, now)

    def leftovers(
        self, offers: HostOffers, wanted: Callable[[str], bool | None]
    ) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
        """As ``residency.leftovers``; nothing before we have a framework id."""
        framework_id = self._framework_id()
        return leftovers(offers, framework_id, wanted) if framework_id is not None else ((), ())


class OfferRound:
    """First fit over the hosts in one order, those with the least room first, which packs from round to round too: one

    host is filled before the next is begun, and large instances find a whole one. Hosts with GPUs come last. What is
    left of a host only shrinks within a round, so an instance of the same demands as an earlier one is not tried again
    where that one did not fit.
    """

    def __init__(self, offers: Iterable[HostOffers], now: float, *, settings: MatchSettings, chance: Chance) -> None:
        self._rooms = sorted(map(Room.of, offers), key=_order)
        self._now = now
        self._settings = settings
        self._chance = chance
        self._demands: dict[tuple[str, str, str], Demand] = {}
        self._start: dict[_Kind, int] = {}
        self._refused: set[_Kind] = set()
        self._groups: dict[tuple[str, str], _Group] = {}
        self._values_of: dict[str, frozenset[str | None]] = {}

    def place(self, app: App, instance: Instance, siblings: Sequence[Instance]) -> Placed | Refused:
        """As ``Round.place``."""
        demand = self._demand(app, instance.role)
        if instance.reserved:
            return self._return(demand, instance)
        kind = (instance.role, demand, app.id if demand.counted else "")
        if kind in self._refused:
            return Refused()
        group = self._group(app, demand, instance, siblings) if demand.counted else None
        spreads = group.spreads if group is not None else {}
        spread_by = tuple([each.field for each in demand.counted if each.operator is Operator.GROUP_BY])
        # Whom GROUP_BY keeps from a host now it may let there once others have come to the rest.
        shrinking = not spread_by
        index = self._best(demand, instance, spreads, self._start.get(kind, 0), spread_by)
        if index is None:
            if shrinking:
                self._refused.add(kind)
            return Refused()
        if shrinking:
            self._start[kind] = index
        room = self._rooms[index]
        placed = self._take(room, app.id, demand)
        if group is not None:
            group.add(room.site)
        return placed

    def _demand(self, app: App, role: str) -> Demand:
        key = (app.id, app.version, role)
        demand = self._demands.get(key)
        if demand is None:
            demand = self._demands[key] = demand_of(app, role, self._settings)
        return demand

    def _group(self, app: App, demand: Demand, instance: Instance, siblings: Sequence[Instance]) -> _Group:
        """Reckoned anew only where others have come than those that were placed here."""
        key = (app.id, demand.same_config_since)
        known = self._groups.get(key)
        if known is None or known.siblings != len(siblings):
            spreads = spreads_of(demand, list(members(demand, instance, siblings)))
            known = self._groups[key] = _Group(len(siblings), spreads)
        return known

    def _best(
        self, demand: Demand, instance: Instance, spreads: Mapping[str, Spread], start: int, spread_by: Sequence[str]
    ) -> int | None:
        """The first room that will do; of an app that is to be spread, the first where none of it is yet.

        GROUP_BY without a number would let all of an app come to the first value, and Marathon lets them.
        """
        everywhere = range(start, len(self._rooms))
        fields = [each for each in spread_by if not spreads[each].counts.keys() >= self._values(each)]
        if fields:
            new = (index for index in everywhere if self._is_new(index, fields, spreads))
            best = next(self._fitting(demand, instance, spreads, new), None)
            if best is not None:
                return best
        return next(self._fitting(demand, instance, spreads, everywhere), None)

    def _is_new(self, index: int, fields: Iterable[str], spreads: Mapping[str, Spread]) -> bool:
        site = self._rooms[index].site
        return any(value_of(each, site.hostname, site.attributes) not in spreads[each].counts for each in fields)

    def _values(self, field: str) -> frozenset[str | None]:
        known = self._values_of.get(field)
        if known is None:
            sites = [room.site for room in self._rooms]
            known = frozenset(value_of(field, site.hostname, site.attributes) for site in sites) - {None}
            self._values_of[field] = known
        return known

    def _fitting(
        self, demand: Demand, instance: Instance, spreads: Mapping[str, Spread], among: Iterable[int]
    ) -> Iterator[int]:
        need, free = demand.total, demand.free
        cpu_millis, mem_mib, disk_mib = need.cpu_millis, need.mem_mib, need.disk_mib
        rooms = self._rooms
        for index in among:
            room = rooms[index]
            if room.plain and not (
                free and room.cpu_millis >= cpu_millis and room.mem_mib >= mem_mib and room.disk_mib >= disk_mib
            ):
                continue
            if next(self._against(demand, instance, room, spreads), None) is None:
                yield index

    def _against(self, demand: Demand, instance: Instance, room: Room, spreads: Mapping[str, Spread]) -> Iterator[str]:
        return against(demand, instance, room, spreads, self._now)

    def _take(self, room: Room, app_id: str, demand: Demand) -> Placed:
        ports = chosen(port_ranges(demand, room), demand.asked, self._chance)
        taken = tuple([port for port in ports if port])
        placed = Placed(room.site, room.role, room.offer_ids, ports, _with_ports(demand, taken))
        if demand.volumes:
            return self._reserve(room, app_id, demand, placed)
        if room.plain:
            room.spend(demand.total, taken)
            return placed
        pool = room.mine if demand.reserved else None
        return msgspec.structs.replace(
            placed,
            pieces=room.draw(demand.need, taken, pool),
            executor_pieces=room.draw(demand.overhead, (), pool),
        )

    def _reserve(self, room: Room, app_id: str, demand: Demand, placed: Placed) -> Placed:
        """The room has the disks."""
        disks, room.disks = disks_for(demand.volumes, room.disks) or ((), room.disks)
        room.spend(Resources(disk_mib=root_mib(demand.volumes)), ())
        return msgspec.structs.replace(
            placed,
            volumes=new_volumes(app_id, demand.volumes, self._chance),
            reserve=True,
            pieces=room.draw(demand.need, placed.ports, None),
            executor_pieces=room.draw(demand.overhead, (), None),
            disks=disks,
        )

    def _return(self, demand: Demand, instance: Instance) -> Placed | Refused:
        """To where its volumes are."""
        for room in self._rooms:
            kept = room.kept_for(instance) if room.kept else None
            if kept is not None and next(self._against(demand, instance, room, {}), None) is None:
                ports = chosen(kept.port_ranges, demand.asked, self._chance)
                return Placed(
                    room.site,
                    room.role,
                    room.offer_ids,
                    ports,
                    _with_ports(demand, ports),
                    instance.volumes,
                    pieces=room.draw(demand.need, ports, kept),
                    executor_pieces=room.draw(demand.overhead, (), kept),
                    disks=tuple([room.volumes.pop(volume.persistence_id) for volume in instance.volumes]),
                )
        return Refused()


_Kind = tuple[str, Demand, str]
"""Instances of one are judged alike: role, demand, and the app where it matters where its others are."""


class _Group:
    """How those of an app that count are spread, kept up to date as more are placed. ``siblings``: told of so far."""

    def __init__(self, siblings: int, spreads: dict[str, Spread]) -> None:
        self.siblings = siblings
        self.spreads = spreads

    def add(self, site: Site) -> None:
        self.siblings += 1
        for field, spread in self.spreads.items():
            spread.add(value_of(field, site.hostname, site.attributes))


def _order(room: Room) -> tuple[bool, int, int, str, str]:
    return room.has_gpus, room.mem_mib, room.cpu_millis, room.site.host_id, room.role


def _with_ports(demand: Demand, ports: Sequence[int]) -> Resources:
    return demand.need + Resources(ports=len({port for port in ports if port}))
