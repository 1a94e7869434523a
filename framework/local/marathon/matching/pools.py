"""Reserved resources of one host, taken piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from framework.core.pieces import PER_UNIT, Piece, Reservation
from framework.core.resources import Resources
from framework.local.marathon.matching.ports import Ranges, runs, without

PORTS = "ports"
DISK = "disk"

TASK_LABEL = "marathon_task_id"
FRAMEWORK_LABEL = "marathon_framework_id"
"""Labels by which Marathon tells for which instance it has reserved something (core/launcher/impl/TaskLabels.scala)."""


def thousandths(amount: Resources) -> dict[str, int]:
    """The scalars under Mesos' names of them."""
    return {
        "cpus": amount.cpu_millis,
        "mem": amount.mem_mib * PER_UNIT,
        DISK: amount.disk_mib * PER_UNIT,
        "gpus": amount.gpus * PER_UNIT,
    }


def reserved_for(piece: Piece) -> str | None:
    """The id of the instance that it is reserved for; None where it is for any of its role."""
    return label_of(piece, TASK_LABEL)


def label_of(piece: Piece, wanted: str) -> str | None:
    """The value of a label of its reservations."""
    for reservation in piece.reservations:
        for name, value in reservation.labels:
            if name == wanted:
                return value
    return None


def reservation(role: str, instance_id: str, framework_id: str, principal: str | None) -> Reservation:
    """As Marathon makes it for one instance."""
    labels = ((FRAMEWORK_LABEL, framework_id), (TASK_LABEL, instance_id))
    return Reservation(role, True, principal, labels)


class Pool:
    """Pieces that are drawn from in their order."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self._pieces = list(pieces)

    def add(self, piece: Piece) -> None:
        self._pieces.append(piece)

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def amount(self, name: str) -> int:
        """In thousandths."""
        return sum([piece.thousandths for piece in self._pieces if piece.name == name])

    @property
    def amounts(self) -> Resources:
        """What whole units there are, ports left out."""
        return Resources(
            self.amount("cpus"),
            self.amount("mem") // PER_UNIT,
            self.amount(DISK) // PER_UNIT,
            self.amount("gpus") // PER_UNIT,
        )

    @property
    def port_ranges(self) -> Ranges:
        return [each for piece in self._pieces if piece.name == PORTS for each in piece.ranges]

    def draw(self, name: str, wanted: int) -> list[Piece]:
        """Up to so many thousandths."""
        taken: list[Piece] = []
        for index, piece in enumerate(self._pieces):
            part = min(piece.thousandths, wanted) if piece.name == name else 0
            if part > 0:
                self._pieces[index] = replace(piece, thousandths=piece.thousandths - part)
                taken.append(replace(piece, thousandths=part))
                wanted -= part
        return taken

    def draw_all(self, wanted: Mapping[str, int]) -> tuple[list[Piece], dict[str, int]]:
        """Up to so many thousandths of each, and what of them it lacks."""
        taken: list[Piece] = []
        missing: dict[str, int] = {}
        for name, amount in wanted.items():
            drawn = self.draw(name, amount)
            taken += drawn
            left = amount - sum([piece.thousandths for piece in drawn])
            if left:
                missing[name] = left
        return taken, missing

    def draw_ports(self, ports: Iterable[int]) -> tuple[list[Piece], set[int]]:
        """Those of the ports that are there, and the rest."""
        missing = set(ports)
        taken: list[Piece] = []
        for index, piece in enumerate(self._pieces):
            here = {port for port in missing if any(first <= port <= last for first, last in piece.ranges)}
            if here:
                self._pieces[index] = replace(piece, ranges=tuple(without(piece.ranges, here)))
                taken.append(replace(piece, ranges=runs(here)))
                missing -= here
        return taken, missing
