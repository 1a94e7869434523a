"""Which host a request goes to: first fit over hosts in one stable order, the biggest first, which packs.

On the reference cluster (317 hosts of three shapes, 8000 builds) best fit needs about 1.5 times the hosts that the sum
of the resources does, first fit with big hosts first 1.01 to 1.2, and packing all at once (``place_all``) 1.00 to 1.03.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from framework.core.ids import HostId
from framework.core.packing import NOWHERE, pack
from framework.core.resources import ZERO, Resources


class Shape(NamedTuple):
    """What of a request matters to placement; requests of one shape fit or do not fit alike."""

    cpu_millis: int
    mem_mib: int
    disk_mib: int
    image: str | None
    attributes: tuple[tuple[str, str], ...]
    avoid_hosts: tuple[HostId, ...]

    @property
    def choosy(self) -> bool:
        """Whether it may not go to every host that has room."""
        return bool(self.attributes or self.avoid_hosts)


class Candidate(NamedTuple):
    """A host with what is offered of it now."""

    host_id: HostId
    available: Resources
    attributes: Mapping[str, str]


class Placer:
    """One round's bookkeeping of what is left on each host. Never gives out more than was offered."""

    def __init__(self, candidates: Sequence[Candidate], smallest: Resources) -> None:
        """``candidates`` in the order in which hosts are to be filled; ``smallest`` is a lower bound of all that will

        be asked, so that a host with less is passed over for good.
        """
        self.candidates = candidates
        self._cpu = [c.available.cpu_millis for c in candidates]
        self._mem = [c.available.mem_mib for c in candidates]
        self._disk = [c.available.disk_mib for c in candidates]
        self._least = (smallest.cpu_millis, smallest.mem_mib, smallest.disk_mib)
        self._next = list(range(len(candidates) + 1))  # the first host at or after this one that is not used up
        self._start: dict[Shape, int] = {}
        self._hopeless: list[tuple[int, int, int]] = []  # least amounts known to fit on no host any more

    def place(self, shape: Shape) -> int | None:
        """Takes the shape's resources from the first host that has them; its index, or None where none has."""
        index = self._first(shape)
        if index is None:
            return None
        self._cpu[index] -= shape.cpu_millis
        self._mem[index] -= shape.mem_mib
        self._disk[index] -= shape.disk_mib
        least = self._least
        if self._cpu[index] < least[0] or self._mem[index] < least[1] or self._disk[index] < least[2]:
            self._next[index] = index + 1
        return index

    def place_all(self, shapes: Sequence[Shape]) -> list[int] | None:
        """Places all, in the order that wastes least; the index of each one's host, or None where not all find one.

        Those that may not go everywhere go first, the biggest first; then all others, packed.
        """
        indices = [NOWHERE] * len(shapes)
        packed: list[int] = []
        single: list[int] = []
        for i, shape in enumerate(shapes):
            (single if shape.choosy else packed).append(i)
        if not self._place_each(single, shapes, indices):
            return None
        sizes = [shapes[i] for i in packed]
        hosts = pack(
            self._cpu,
            self._mem,
            self._disk,
            [shape.cpu_millis for shape in sizes],
            [shape.mem_mib for shape in sizes],
            [shape.disk_mib for shape in sizes],
        )
        for i, host in zip(packed, hosts, strict=True):
            indices[i] = host
        if NOWHERE in hosts:
            left = [i for i in packed if indices[i] == NOWHERE]
            if not self._place_each(left, shapes, indices):
                return None
        return indices

    def _place_each(self, which: list[int], shapes: Sequence[Shape], indices: list[int]) -> bool:
        """Whether all of these found a host; the first that does not ends it."""
        for i in sorted(which, key=lambda i: (shapes[i].mem_mib, shapes[i].cpu_millis), reverse=True):
            index = self.place(shapes[i])
            if index is None:
                return False
            indices[i] = index
        return True

    def _first(self, shape: Shape) -> int | None:
        cpu_millis, mem_mib, disk_mib = shape[:3]
        for least in self._hopeless:
            if cpu_millis >= least[0] and mem_mib >= least[1] and disk_mib >= least[2]:
                return None
        cpu, mem, disk, following = self._cpu, self._mem, self._disk, self._next
        choosy = shape.choosy
        count = len(cpu)
        index = self._start.get(shape, 0)
        if following[index] != index:
            index = self._open(index)
        while index < count:
            if (
                cpu[index] >= cpu_millis
                and mem[index] >= mem_mib
                and disk[index] >= disk_mib
                and not (choosy and self._barred(index, shape))
            ):
                self._start[shape] = index  # what is left only shrinks, so no earlier host can fit later in the round
                return index
            index = following[index + 1]
            if index < count and following[index] != index:
                index = self._open(index)
        self._start[shape] = count
        if not choosy:
            self._give_up(cpu_millis, mem_mib, disk_mib)
        return None

    def _give_up(self, cpu_millis: int, mem_mib: int, disk_mib: int) -> None:
        """Whatever asks for at least this much need not be tried again in this round."""
        more = [w for w in self._hopeless if w[0] < cpu_millis or w[1] < mem_mib or w[2] < disk_mib]
        self._hopeless = [*more, (cpu_millis, mem_mib, disk_mib)]

    def _barred(self, index: int, shape: Shape) -> bool:
        candidate = self.candidates[index]
        return candidate.host_id in shape.avoid_hosts or any(
            candidate.attributes.get(name) != value for name, value in shape.attributes
        )

    def _open(self, index: int) -> int:
        """Follows the links over used up hosts, shortening them (union-find with path halving)."""
        following = self._next
        while following[index] != index:
            following[index] = following[following[index]]
            index = following[index]
        return index


def smallest(shapes: Sequence[Shape]) -> Resources:
    """The least that any of them asks of each resource; nothing where there are none."""
    if not shapes:
        return ZERO
    return Resources(
        min(shape.cpu_millis for shape in shapes),
        min(shape.mem_mib for shape in shapes),
        min(shape.disk_mib for shape in shapes),
    )
