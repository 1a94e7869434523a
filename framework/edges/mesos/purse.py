"""Drawing what tasks take from what is offered, in the pieces that Mesos offered."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from msgspec.structs import replace

from framework.core.pieces import Piece, Reservation, ReservedUse
from framework.core.resources import Resources
from framework.edges.mesos.resources import PORTS, Held, drawable_pieces, in_thousandths, is_drawable


class Purse:
    """What the offers of one ACCEPT hold, as its operations, one after the other, take from it and change it."""

    def __init__(self, held: Iterable[Held], role: str = "*") -> None:
        self._role = role
        self._pieces: list[Piece] = [piece for each in held for piece in drawable_pieces(each)]

    def draw(self, amount: Resources, use: ReservedUse = ReservedUse.LAST, ports: Iterable[int] = ()) -> list[Piece]:
        """Takes the scalars of ``amount`` in the order of ``use``, and ``ports`` wherever they are.

        What the purse lacks is named all the same; Mesos then refuses the task and says why.
        """
        taken: list[Piece] = []
        for name, wanted in in_thousandths(amount):
            if wanted > 0:
                taken += self._draw_scalar(name, wanted, use)
        return taken + self._draw_ports(ports)

    def _draw_scalar(self, name: str, missing: int, use: ReservedUse) -> list[Piece]:
        taken: list[Piece] = []
        for reserved in use.order:
            for index, piece in enumerate(self._pieces):
                if piece.name == name and bool(piece.reservations) is reserved and missing > 0:
                    part = min(piece.thousandths, missing)
                    missing -= part
                    self._pieces[index] = replace(piece, thousandths=piece.thousandths - part)
                    if part > 0:
                        taken.append(replace(piece, thousandths=part))
        if missing > 0:
            # Not from what is free where only what is reserved is wanted: there may be some.
            stack = (Reservation(self._role),) if use is ReservedUse.ONLY else ()
            taken.append(Piece(name, missing, reservations=stack))
        return taken

    def _draw_ports(self, ports: Iterable[int]) -> list[Piece]:
        wanted = sorted(set(ports))
        taken: list[Piece] = []
        for index, piece in enumerate(self._pieces):
            if piece.name == PORTS and wanted:
                here = [port for port in wanted if any(first <= port <= last for first, last in piece.ranges)]
                if here:
                    wanted = [port for port in wanted if port not in here]
                    taken.append(replace(piece, ranges=_runs(here)))
                    self._pieces[index] = replace(piece, ranges=_without(piece.ranges, _runs(here)))
        if wanted:
            taken.append(Piece(PORTS, ranges=_runs(wanted)))
        return taken

    def spend(self, piece: Piece) -> bool:
        """Takes just that, as far as it is there; whether all of it was."""
        if not is_drawable(piece):
            return True
        missing, ranges = piece.thousandths, piece.ranges
        for index, own in enumerate(self._pieces):
            if own.name == piece.name and own.reservations == piece.reservations:
                part = min(own.thousandths, missing)
                missing -= part
                left = _without(own.ranges, piece.ranges)
                ranges = _without(ranges, own.ranges)
                self._pieces[index] = replace(own, thousandths=own.thousandths - part, ranges=left)
        return missing <= 0 and not ranges

    def gain(self, piece: Piece) -> None:
        if is_drawable(piece):
            self._pieces.append(piece)

    def has_free(self, name: str) -> bool:
        """Whether there is any of that that is not reserved."""
        return any(piece.name == name and not piece.reservations and piece.thousandths for piece in self._pieces)

    def copy(self) -> Purse:
        other = Purse((), self._role)
        other._pieces = list(self._pieces)
        return other


def _runs(ports: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Ports in ascending order as ranges."""
    runs = [[port for _, port in run] for _, run in groupby(enumerate(ports), lambda each: each[1] - each[0])]
    return tuple([(run[0], run[-1]) for run in runs])


def _without(ranges: tuple[tuple[int, int], ...], taken: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    for begin, end in taken:
        parts = [
            part for first, last in ranges for part in ((first, min(last, begin - 1)), (max(first, end + 1), last))
        ]
        ranges = tuple([(first, last) for first, last in parts if first <= last])
    return ranges
