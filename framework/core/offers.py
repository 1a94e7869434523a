"""Hosts and offers, and the book that keeps what is offered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import msgspec

from framework.core.ids import HostId, OfferId
from framework.core.pieces import Piece, ReservedUse
from framework.core.resources import ZERO, Resources


class Window(msgspec.Struct, frozen=True):
    """When a host is to be taken out of service. Seconds since the epoch; ``duration_s`` None: for good."""

    start_at: float
    duration_s: float | None = None

    def over(self, now: float) -> bool:
        return self.duration_s is not None and self.start_at + self.duration_s <= now


class Host(msgspec.Struct, frozen=True):
    """A Mesos agent machine as the Mesos master tells of it."""

    id: HostId
    hostname: str
    total: Resources
    attributes: dict[str, str] = {}
    url: str = ""  # of its HTTP API and files, such as ``http://10.0.0.7:5051/slave(1)``
    active: bool = True
    window: Window | None = None  # planned maintenance

    def could_hold(self, need: Resources, attributes: Mapping[str, str]) -> bool:
        """Whether the host, were it wholly free, could hold that; never while it is not active."""
        return self.active and need.fits_in(self.total) and self.has(attributes)

    def has(self, attributes: Mapping[str, str]) -> bool:
        return all(self.attributes.get(name) == value for name, value in attributes.items())


class Offer(msgspec.Struct, frozen=True, gc=False):
    """Resources of one host that Mesos has given us to use or decline."""

    id: OfferId
    host_id: HostId
    hostname: str
    resources: Resources  # all that a plain task can take, what is reserved for ``role`` among it
    attributes: dict[str, str] = {}  # Mesos' own fault domain among them, as ``@region`` and ``@zone``
    role: str = "*"  # which of our roles it is allocated to; offers of several roles cannot be used together
    reserved: Resources = ZERO  # of ``resources``, what is reserved for the role
    port_ranges: tuple[tuple[int, int], ...] = ()  # first and last, both within
    window: Window | None = None  # planned maintenance of the host
    pieces: tuple[Piece, ...] = ()  # what a plain task cannot take: volumes, disks of their own, other resources
    reserved_pieces: tuple[Piece, ...] = ()  # what ``reserved`` is, down to the labels of each reservation


class InverseOffer(msgspec.Struct, frozen=True):
    """Mesos asks for a host back: to be out of it by the window's start."""

    id: OfferId
    host_id: HostId
    window: Window


class HostOffers(msgspec.Struct):
    """All we hold of one host for one of our roles; used together or not at all, as one ACCEPT may name several."""

    host_id: HostId
    hostname: str
    role: str
    attributes: dict[str, str]
    available: Resources
    reserved: Resources  # of ``available``, what is reserved for the role
    offers: dict[OfferId, Offer]
    held_until: float

    def ports(self, count: int) -> tuple[int, ...]:
        """The first ports offered, so many of them or all there are."""
        ranges = sorted(each for offer in self.offers.values() for each in offer.port_ranges)
        every = itertools.chain.from_iterable(range(first, last + 1) for first, last in ranges)
        return tuple(itertools.islice(every, count))


class OfferBook:
    """The offers held now. Each leaves it once: used, declined, rescinded or void."""

    def __init__(self) -> None:
        self._hosts: dict[HostId, dict[str, HostOffers]] = {}  # by role
        self._where: dict[OfferId, tuple[HostId, str]] = {}
        self.changed: set[HostId] = set()  # of which more or less is offered, until somebody has looked at it

    def add(self, offer: Offer, held_until: float) -> HostOffers:
        """Takes an offer in; the host's older ones are then held as long as this one."""
        by_role = self._hosts.setdefault(offer.host_id, {})
        held = by_role.get(offer.role)
        if held is None:
            held = by_role[offer.role] = HostOffers(
                offer.host_id, offer.hostname, offer.role, offer.attributes, ZERO, ZERO, {}, held_until
            )
        if offer.id not in held.offers:
            held.offers[offer.id] = offer
            held.available += offer.resources
            held.reserved += offer.reserved
            held.attributes = offer.attributes
            self._where[offer.id] = (offer.host_id, offer.role)
            self.changed.add(offer.host_id)
        self.hold(offer.host_id, held_until)
        return held

    def hold(self, host_id: HostId, until: float) -> None:
        for held in self._hosts.get(host_id, {}).values():
            held.held_until = until

    def rescind(self, offer_id: OfferId) -> HostId | None:
        """The host that has nothing offered any more, if so."""
        host_id, role = self._where.pop(offer_id, (None, ""))
        if host_id is None:
            return None
        self.changed.add(host_id)
        held = self._hosts[host_id][role]
        offer = held.offers.pop(offer_id)
        held.available -= offer.resources
        held.reserved -= offer.reserved
        if not held.offers:
            self._drop(host_id, role)
        return None if host_id in self._hosts else host_id

    def take(self, host_id: HostId, role: str | None = None) -> tuple[OfferId, ...]:
        """Takes every offer of the host out, or every one for the role, to use or decline them."""
        taken: list[OfferId] = []
        for held in self.of(host_id):
            if role is None or held.role == role:
                taken += held.offers
                self._drop(host_id, held.role)
        for offer_id in taken:
            del self._where[offer_id]
        if taken:
            self.changed.add(host_id)
        return tuple(taken)

    def clear(self) -> None:
        self.changed |= self._hosts.keys()
        self._hosts.clear()
        self._where.clear()

    def of(self, host_id: HostId) -> list[HostOffers]:
        """What is held of the host, one entry a role."""
        return list(self._hosts.get(host_id, {}).values())

    def available(self, host_id: HostId) -> Resources:
        """For all roles together."""
        total = ZERO
        for held in self._hosts.get(host_id, {}).values():
            total += held.available
        return total

    def hosts(self) -> list[HostId]:
        return list(self._hosts)

    def _drop(self, host_id: HostId, role: str) -> None:
        by_role = self._hosts[host_id]
        del by_role[role]
        if not by_role:
            del self._hosts[host_id]

    def __iter__(self) -> Iterator[HostOffers]:
        return iter([held for by_role in self._hosts.values() for held in by_role.values()])

    def __len__(self) -> int:
        """Offers, not hosts."""
        return len(self._where)


def drawn(unreserved: Resources, reserved: Resources, need: Resources, use: ReservedUse) -> tuple[Resources, Resources]:
    """What is left of both when ``need`` is drawn from them as Mesos is told to; less than nothing where it cannot be.

    Reckoned as ``framework.edges.mesos.purse`` draws: of each resource by itself, in ``use.order``; ports anywhere.
    """
    left = (_amounts(unreserved), _amounts(reserved))
    for nth, wanted in enumerate(_amounts(need)):
        order = ReservedUse.LAST.order if nth == _PORTS else use.order
        for is_reserved in order:
            part = min(wanted, left[is_reserved][nth])
            left[is_reserved][nth] -= part
            wanted -= part
        left[order[-1]][nth] -= wanted
    return Resources(*left[False]), Resources(*left[True])


_PORTS = 4


def _amounts(resources: Resources) -> list[int]:
    return [resources.cpu_millis, resources.mem_mib, resources.disk_mib, resources.gpus, resources.ports]
