"""Resources as Mesos keeps them: each with a name, an amount, and whose it is. What the driver reserves and makes of.

The core itself reckons in ``Resources``; pieces are for those who reserve, make volumes, or take a certain disk.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

PER_UNIT = 1000
"""Mesos keeps scalars to three decimals (src/common/values.cpp), so thousandths are exact."""


class ReservedUse(StrEnum):
    """How a task takes from what is reserved for its role, beside what is free to all."""

    LAST = "last"  # unreserved first, so that what is guaranteed lasts
    FIRST = "first"  # reserved first, as it is of use to nobody else
    ONLY = "only"
    NEVER = "never"

    @property
    def order(self) -> tuple[bool, ...]:
        """What it draws from, one after the other: True for what is reserved, False for what is not.

        Of each resource by itself. Ports are told by their numbers, so they are drawn wherever those are.
        """
        return _ORDERS[self]


_ORDERS = {
    ReservedUse.LAST: (False, True),
    ReservedUse.FIRST: (True, False),
    ReservedUse.ONLY: (True,),
    ReservedUse.NEVER: (False,),
}


class Reservation(msgspec.Struct, frozen=True):
    """One level of a reservation; what is reserved twice is refined from one role to one below it."""

    role: str
    dynamic: bool = True  # made by RESERVE, so that UNRESERVE can end it
    principal: str | None = None
    labels: tuple[tuple[str, str | None], ...] = ()  # a name may come twice, or without a value


class Volume(msgspec.Struct, frozen=True):
    """A persistent volume: a disk whose content outlives tasks, until DESTROY."""

    id: str
    container_path: str
    principal: str | None = None
    read_only: bool = False


class DiskSource(msgspec.Struct, frozen=True):
    """A disk of its own, where it is not a share of the host's work directory."""

    type: str  # PATH, MOUNT, BLOCK or RAW, as Mesos spells it
    root: str = ""
    id: str = ""
    profile: str = ""
    vendor: str = ""
    metadata: tuple[tuple[str, str | None], ...] = ()


class Piece(msgspec.Struct, frozen=True):
    """An amount of one resource. Of ``thousandths``, ``ranges`` and ``items`` one is given, by the resource's kind."""

    name: str  # cpus, mem, disk, gpus, ports or whatever an operator named
    thousandths: int = 0
    ranges: tuple[tuple[int, int], ...] = ()  # first and last, both within
    items: tuple[str, ...] = ()
    reservations: tuple[Reservation, ...] = ()  # the innermost last; none: free to every role
    volume: Volume | None = None
    source: DiskSource | None = None
    shared: bool = False
    revocable: bool = False
    provider_id: str | None = None  # of the resource provider, where it is not the host itself
