"""Why an instance cannot go to a host, in Marathon's words (mesosphere/mesos/NoOfferMatchReason.scala)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from framework.core.constraints import Spread
from framework.core.offers import Offer
from framework.core.resources import ZERO, Resources
from framework.local.marathon.definition.app import App
from framework.local.marathon.matching.ports import Ranges, suffice
from framework.local.marathon.matching.residency import disks_for, root_mib
from framework.local.marathon.matching.room import Room
from framework.local.marathon.matching.rules import (
    UNRESERVED,
    Demand,
    MatchSettings,
    counted_met,
    demand_of,
    fixed_met,
    in_maintenance,
    members,
    spreads_of,
)
from framework.local.marathon.records import Instance


class Reason(StrEnum):
    """In the order of Marathon's funnel, in which an offer counts for its first one alone."""

    UNFULFILLED_ROLE = "UnfulfilledRole"
    UNFULFILLED_CONSTRAINT = "UnfulfilledConstraint"
    NO_RESERVATION = "NoCorrespondingReservationFound"
    MAINTENANCE = "AgentMaintenance"
    CPUS = "InsufficientCpus"
    MEMORY = "InsufficientMemory"
    DISK = "InsufficientDisk"
    GPUS = "InsufficientGpus"
    PORTS = "InsufficientPorts"
    SCARCE = "DeclinedScarceResources"


FUNNEL = tuple([reason.value for reason in Reason])


def reasons_for(
    app: App, instance: Instance, siblings: Sequence[Instance], offer: Offer, settings: MatchSettings, now: float
) -> tuple[str, ...]:
    """Every reason why the instance could not use the offer, had nothing else been placed on it; () where it could.

    ``siblings``: the app's other instances that have a site.
    """
    demand = demand_of(app, instance.role, settings)
    spreads = spreads_of(demand, list(members(demand, instance, siblings))) if demand.counted else {}
    return tuple(against(demand, instance, Room.of_offer(offer), spreads, now))


def against(
    demand: Demand, instance: Instance, room: Room, spreads: Mapping[str, Spread], now: float
) -> Iterator[Reason]:
    """Every reason that bars the instance from the room, in the funnel's order; none where it may be taken."""
    if room.role != instance.role:
        yield Reason.UNFULFILLED_ROLE
        return
    if instance.reserved:
        yield from _against_return(demand, instance, room, now)
        return
    resident = bool(demand.volumes)
    if _wrong_role(demand, room, resident=resident):
        yield Reason.UNFULFILLED_ROLE
    if not fixed_met(demand, room.site) or not counted_met(demand, room.site, spreads):
        yield Reason.UNFULFILLED_CONSTRAINT
    if room.window is not None and in_maintenance(room.window, now):
        yield Reason.MAINTENANCE
    if resident:
        yield from _against_volumes(demand, room)
    else:
        yield from _lacking(demand.total, available(demand, room))
    if not suffice(port_ranges(demand, room), demand.asked):
        yield Reason.PORTS
    if demand.spares_gpus and room.has_gpus:
        yield Reason.SCARCE


def _wrong_role(demand: Demand, room: Room, *, resident: bool) -> bool:
    """Whether nothing of the room is of a role that will do. What is made for one instance is reserved for a role, and

    made of what is not reserved.
    """
    if resident:
        return room.role == UNRESERVED or not demand.free
    return not demand.free and not (demand.reserved and room.mine)


def available(demand: Demand, room: Room) -> Resources:
    """What of the room an instance without volumes may take, ports left out."""
    free = room.free if demand.free else ZERO
    return free + room.mine.amounts if demand.reserved and room.mine else free


def port_ranges(demand: Demand, room: Room) -> Ranges:
    """What of its ports an instance that comes there for the first time may take."""
    free = room.ranges if demand.free else ()
    if demand.reserved and room.mine and not demand.volumes:
        return [*room.mine.port_ranges, *free]
    return free


def _against_volumes(demand: Demand, room: Room) -> Iterator[Reason]:
    total = demand.total + Resources(disk_mib=root_mib(demand.volumes))
    for reason in _lacking(total, room.free):
        yield reason
        if reason is Reason.DISK:
            return
    if disks_for(demand.volumes, room.disks) is None:
        yield Reason.DISK


def _against_return(demand: Demand, instance: Instance, room: Room, now: float) -> Iterator[Reason]:
    """Of one that has its reservation somewhere: its volumes are there and nowhere else, so no constraint bars it."""
    kept = room.kept_for(instance)
    if kept is None:
        yield Reason.NO_RESERVATION
        return
    if room.window is not None and in_maintenance(room.window, now):
        yield Reason.MAINTENANCE
    lacking = list(_lacking(demand.need, kept.amounts))
    # The Mesos executor may have grown since: it takes of what is free too.
    yield from lacking or _lacking(demand.total, kept.amounts + room.free)
    if not suffice(kept.port_ranges, demand.asked):
        yield Reason.PORTS


def _lacking(wanted: Resources, there: Resources) -> Iterator[Reason]:
    if wanted.cpu_millis > there.cpu_millis:
        yield Reason.CPUS
    if wanted.mem_mib > there.mem_mib:
        yield Reason.MEMORY
    if wanted.disk_mib > there.disk_mib:
        yield Reason.DISK
    if wanted.gpus > there.gpus:
        yield Reason.GPUS
