"""Offered resources, and drawing what tasks take from them in the pieces that Mesos offered."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Raw, Struct

from framework.core.resources import Resources
from framework.edges.mesos.wire import Resource

PER_UNIT = 1000
"""Mesos keeps scalars to three decimals (src/common/values.cpp), so thousandths are exact."""

NAMES = ("cpus", "mem", "disk")


class Piece(Struct, frozen=True):
    """A scalar of an offer, or a part of one, in thousandths."""

    amount: int
    role: str = "*"  # it is reserved for; ``*`` where for none
    reservation: Raw | None = None


Purse = dict[str, list[Piece]]
"""Pieces of cpus, mem and disk by name, reserved ones first, as they are of use to nobody else."""


def total(resources: Iterable[Resource]) -> Resources:
    """Sums over the entries of each name.

    Left out: ranges, volumes and whole disks, what may be taken back, and parts of a MiB (rounded up, a task could take
    more than is offered, which Mesos refuses).
    """
    cpus = mem = disk = 0
    for resource in resources:
        if resource.scalar is None or len(resource.disk) or len(resource.revocable):
            continue
        amount = round(resource.scalar.value * PER_UNIT)
        if resource.name == "cpus":
            cpus += amount
        elif resource.name == "mem":
            mem += amount
        elif resource.name == "disk":
            disk += amount
    return Resources(cpus, mem // PER_UNIT, disk // PER_UNIT)


def is_plain(resources: Iterable[Resource]) -> bool:
    """Whether nothing of it is reserved, so that a launch need not say which pieces it takes."""
    return all(resource.role == "*" and not len(resource.reservation) for resource in resources)


def purse_of(resources: Iterable[Resource]) -> Purse:
    purse: Purse = {name: [] for name in NAMES}
    for resource in resources:
        if resource.scalar is None or len(resource.disk) or len(resource.revocable):
            continue
        if resource.name in purse:
            # Copied, as a Raw is a view that would keep the whole OFFERS event alive.
            reservation = resource.reservation.copy() if len(resource.reservation) else None
            purse[resource.name].append(Piece(round(resource.scalar.value * PER_UNIT), resource.role, reservation))
    return merged([purse])


def merged(purses: Iterable[Purse]) -> Purse:
    """One purse with the pieces of all."""
    all_of_them: Purse = {name: [] for name in NAMES}
    for purse in purses:
        for name, pieces in purse.items():
            all_of_them[name].extend(pieces)
    for pieces in all_of_them.values():
        pieces.sort(key=lambda piece: piece.role == "*")
    return all_of_them


def draw(purse: Purse, amount: Resources) -> list[tuple[str, Piece]]:
    """Takes ``amount`` out of the purse: names and the pieces taken.

    What the purse lacks is taken from the unreserved all the same; Mesos then refuses the task and says why.
    """
    taken: list[tuple[str, Piece]] = []
    for name, wanted in in_thousandths(amount):
        missing = wanted
        left: list[Piece] = []
        for piece in purse[name]:
            part = min(piece.amount, missing)
            missing -= part
            if part > 0:
                taken.append((name, Piece(part, piece.role, piece.reservation)))
            if piece.amount > part:
                left.append(Piece(piece.amount - part, piece.role, piece.reservation))
        purse[name] = left
        if missing > 0:
            taken.append((name, Piece(missing)))
    return taken


def in_thousandths(amount: Resources) -> tuple[tuple[str, int], ...]:
    """The amounts by Mesos' names of them."""
    return (
        ("cpus", amount.cpu_millis),
        ("mem", amount.mem_mib * PER_UNIT),
        ("disk", amount.disk_mib * PER_UNIT),
    )
