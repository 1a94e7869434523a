"""Which host a request goes to: first fit over hosts in one stable order, the biggest first, which packs.

On the reference cluster (317 hosts of three shapes, 8000 builds) best fit needs about 1.5 times the hosts that the sum
of the resources does, first fit with big hosts first 1.01 to 1.2, and packing all at once (``place_all``) 1.00 to 1.03.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from framework.core.groups import Groups
from framework.core.ids import HostId
from framework.core.offers import drawn
from framework.core.packing import NOWHERE, pack
from framework.core.pieces import ReservedUse
from framework.core.resources import ZERO, Resources
from framework.core.rules import Barred, Rules

Amounts = tuple[int, int, int]
"""cpu_millis, mem_mib, disk_mib."""


class Shape(NamedTuple):
    """What of a request matters to placement; requests of one shape fit or do not fit alike.

    Amounts are with the Mesos executor's own, but where builds share one.
    """

    cpu_millis: int
    mem_mib: int
    disk_mib: int
    lasts_s: float = 0.0  # at most, to its last second of grace
    image: str | None = None
    rules: Rules | None = None  # None: it may go to every host that has room
    kind: str = ""  # of its template in the catalogue, which may have reached a limit or be paused
    node: bool = False  # whether a node in Jenkins has to be made for it first

    @property
    def shared(self) -> bool:
        """Whether it runs in the Mesos executor that its host's builds share."""
        return self.rules is not None and self.rules.shared


class Candidate(NamedTuple):
    """A host with what is offered of it now for one role."""

    host_id: HostId
    available: Resources
    attributes: Mapping[str, str]
    hostname: str = ""
    role: str = "*"
    reserved: Resources = ZERO  # of ``available``
    free_for_s: float = math.inf  # until it goes into maintenance
    sharing: str | None = None  # the role of the shared Mesos executor that is live there
    serving: bool = False  # whether that one is known to run, so that a build more does not pay for it


class Placer:
    """One round's bookkeeping of what is left on each host. Never gives out more than was offered."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        least: Amounts,
        groups: Groups | None = None,
        overhead: Resources = ZERO,
    ) -> None:
        """``candidates`` in the order in which hosts are to be filled; ``least`` is a lower bound of all that will be

        asked, so that a host with less is passed over for good. ``groups``: live builds, to which whoever calls adds
        what was placed. ``overhead``: of a shared Mesos executor, which its first build on a host is charged.
        """
        self.candidates = candidates
        self._cpu = [c.available.cpu_millis for c in candidates]
        self._mem = [c.available.mem_mib for c in candidates]
        self._disk = [c.available.disk_mib for c in candidates]
        self._least = least
        self._next = list(range(len(candidates) + 1))  # the first host at or after this one that is not used up
        self._start: dict[Shape, int] = {}
        self.hopeless: list[Amounts] = []  # whatever asks for at least one of these fits on no host any more
        self._groups = groups if groups is not None else Groups()
        self._overhead = overhead
        self._gpus = [c.available.gpus for c in candidates]
        self._ports = [c.available.ports for c in candidates]
        self._closing = any(c.free_for_s != math.inf for c in candidates)
        self._sharing = {c.host_id: c.sharing for c in candidates if c.sharing is not None}
        self._serving = {c.host_id for c in candidates if c.serving}
        self._pools = {
            i: (c.available - c.reserved, c.reserved) for i, c in enumerate(candidates) if c.reserved != ZERO
        }

    @property
    def used_up(self) -> bool:
        """Whether every host was seen to have less of something than the least that may be asked."""
        return self._open(0) == len(self.candidates)

    def place(self, shape: Shape) -> int | None:
        """Takes the shape's resources from the first host that has them; its index, or None where none has."""
        index = self._first(shape)
        if index is None:
            return None
        self._cpu[index] -= shape.cpu_millis
        self._mem[index] -= shape.mem_mib
        self._disk[index] -= shape.disk_mib
        if shape.rules is not None or self._pools:
            self._take_more(index, shape)
        least = self._least
        if self._cpu[index] < least[0] or self._mem[index] < least[1] or self._disk[index] < least[2]:
            self._next[index] = index + 1
        return index

    def place_all(self, shapes: Sequence[Shape]) -> list[int] | None:
        """Places all, in the order that wastes least; the index of each one's host, or None where not all find one.

        Those that may not go everywhere go first, the biggest first; then all others, packed. None of them may have
        rules that are ``in_turn``.
        """
        indices = [NOWHERE] * len(shapes)
        packed: list[int] = []
        single: list[int] = []
        for i, shape in enumerate(shapes):
            (single if shape.rules is not None or self._closing else packed).append(i)
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
        for least in self.hopeless:
            if cpu_millis >= least[0] and mem_mib >= least[1] and disk_mib >= least[2]:
                return None
        cpu, mem, disk, following = self._cpu, self._mem, self._disk, self._next
        rules = shape.rules
        choosy = rules is not None or self._closing
        barred = None if rules is None else rules.barred(self._groups)
        count = len(cpu)
        index = self._start.get(shape, 0) if rules is None or not rules.in_turn else 0
        if following[index] != index:
            index = self._open(index)
        while index < count:
            if (
                cpu[index] >= cpu_millis
                and mem[index] >= mem_mib
                and disk[index] >= disk_mib
                and not (choosy and self._barred(index, shape, barred))
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
        more = [w for w in self.hopeless if w[0] < cpu_millis or w[1] < mem_mib or w[2] < disk_mib]
        self.hopeless = [*more, (cpu_millis, mem_mib, disk_mib)]

    def _barred(self, index: int, shape: Shape, barred: Barred | None) -> bool:
        """Whether the host, which has CPU, memory and disk for it, is out of the question all the same."""
        candidate, rules = self.candidates[index], shape.rules
        if shape.lasts_s > candidate.free_for_s:
            return True
        if rules is None or barred is None:
            return False
        if rules.gpus > self._gpus[index] or rules.ports > self._ports[index]:
            return True
        if rules.shared and not self._may_share(index, shape):
            return True
        if rules.reserved in (ReservedUse.ONLY, ReservedUse.NEVER):
            unreserved, reserved = self._pools.get(index, (_UNBOUNDED, ZERO))
            left = drawn(unreserved, reserved, self._need(index, shape), rules.reserved)
            if not all(map(ZERO.fits_in, left)):
                return True
        return barred(candidate.host_id, candidate.hostname, candidate.attributes, candidate.role)

    def _may_share(self, index: int, shape: Shape) -> bool:
        candidate = self.candidates[index]
        sharing = self._sharing.get(candidate.host_id)
        if sharing is not None and sharing != candidate.role:
            return False  # each role has one of its own, and a host one at a time
        return candidate.host_id in self._serving or (
            self._cpu[index] >= shape.cpu_millis + self._overhead.cpu_millis
            and self._mem[index] >= shape.mem_mib + self._overhead.mem_mib
            and self._disk[index] >= shape.disk_mib + self._overhead.disk_mib
        )

    def _need(self, index: int, shape: Shape) -> Resources:
        """What the shape takes there, with the shared Mesos executor's own where it is the first in it."""
        rules = shape.rules
        gpus, ports = (rules.gpus, rules.ports) if rules is not None else (0, 0)
        need = Resources(shape.cpu_millis, shape.mem_mib, shape.disk_mib, gpus, ports)
        starts = shape.shared and self.candidates[index].host_id not in self._serving
        return need + self._overhead if starts else need

    def _take_more(self, index: int, shape: Shape) -> None:
        """Takes what a shape without rules has not, and from what is reserved and what is not."""
        rules, need = shape.rules, self._need(index, shape)
        if index in self._pools:
            use = rules.reserved if rules is not None else ReservedUse.LAST
            self._pools[index] = drawn(*self._pools[index], need, use)
        if rules is None:
            return
        self._gpus[index] -= rules.gpus
        self._ports[index] -= rules.ports
        candidate = self.candidates[index]
        if rules.shared and candidate.host_id not in self._serving:
            self._cpu[index] -= self._overhead.cpu_millis
            self._mem[index] -= self._overhead.mem_mib
            self._disk[index] -= self._overhead.disk_mib
            self._sharing[candidate.host_id] = candidate.role
            self._serving.add(candidate.host_id)

    def _open(self, index: int) -> int:
        """Follows the links over used up hosts, shortening them (union-find with path halving)."""
        following = self._next
        while following[index] != index:
            following[index] = following[following[index]]
            index = following[index]
        return index


_UNBOUNDED = Resources(*[1 << 60] * 5)
"""For what is bounded otherwise."""


NO_BOUND: Amounts = (0, 0, 0)
"""Where nothing is known of what will be asked."""
