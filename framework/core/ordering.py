"""Whose request goes next: weighted dominant resource fairness among tenants, priority and age within one."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from framework.core.ids import HostId, RequestId
from framework.core.placement import Shape
from framework.core.resources import Resources
from framework.core.rules import rules_of
from framework.core.tasks import SPARES, Request, Tenant

Rank = tuple[int, float]
"""Minus the priority, then when it was submitted: smaller goes first, and of equals the smaller request id."""


Entry = tuple[Rank, RequestId]


class _Group:
    """Requests of one shape: a heap, in which some that have left may still be, and the count of those that wait."""

    __slots__ = ("heap", "live")

    def __init__(self) -> None:
        self.heap: list[Entry] = []
        self.live = 0


class TenantQueue:
    """A tenant's waiting requests, grouped by shape so that a shape that fits nowhere is passed over as a whole."""

    def __init__(self) -> None:
        self._groups: dict[Shape, _Group] = {}
        self._where: dict[RequestId, tuple[Shape, Rank]] = {}
        self.cpu_millis = 0  # of all that wait, as their shapes have it
        self.mem_mib = 0
        self.own_executors = 0  # those that are to run in a Mesos executor of their own
        self.nodes = 0  # those that need a node in Jenkins first

    def add(self, request_id: RequestId, shape: Shape, rank: Rank) -> None:
        self._where[request_id] = (shape, rank)
        group = self._groups.get(shape)
        if group is None:
            group = self._groups[shape] = _Group()
        heapq.heappush(group.heap, (rank, request_id))
        group.live += 1
        self.cpu_millis += shape.cpu_millis
        self.mem_mib += shape.mem_mib
        self.own_executors += not shape.shared
        self.nodes += shape.node

    def remove(self, request_id: RequestId) -> None:
        """Takes a request out, wherever in the queue it is. Raises KeyError where it is not in it."""
        shape, _ = self._where.pop(request_id)
        self.cpu_millis -= shape.cpu_millis
        self.mem_mib -= shape.mem_mib
        self.own_executors -= not shape.shared
        self.nodes -= shape.node
        group = self._groups[shape]
        group.live -= 1
        if group.live == 0:
            del self._groups[shape]
            return
        if len(group.heap) > 8 + 2 * group.live:
            group.heap = list({entry for entry in group.heap if self._waits(entry, shape)})
            heapq.heapify(group.heap)
        while not self._waits(group.heap[0], shape):
            heapq.heappop(group.heap)

    def _waits(self, entry: Entry, shape: Shape) -> bool:
        """False for what has left the group, even where it waits again in another shape, as after a lost attempt."""
        return self._where.get(entry[1]) == (shape, entry[0])

    def all(self) -> list[tuple[RequestId, Shape]]:
        """Every request, in no order that matters."""
        return [(request_id, shape) for request_id, (shape, _) in self._where.items()]

    def shapes(self) -> list[Shape]:
        """Each once."""
        return list(self._groups)

    def images(self) -> set[str]:
        return {shape.image for shape in self._groups if shape.image is not None}

    def kinds(self) -> set[str]:
        """Of templates in the catalogue."""
        return {shape.kind for shape in self._groups if shape.kind}

    def shape(self, request_id: RequestId) -> Shape | None:
        """None where the request is not in the queue."""
        found = self._where.get(request_id)
        return found[0] if found else None

    def any_in_turn(self) -> bool:
        """Whether for some it matters what was placed before them."""
        return any(shape.rules is not None and shape.rules.in_turn for shape in self._groups)

    def clear(self) -> None:
        self._groups.clear()
        self._where.clear()
        self.cpu_millis = self.mem_mib = self.own_executors = self.nodes = 0

    def head(self, shape: Shape) -> Entry | None:
        """The first request of the shape."""
        group = self._groups.get(shape)
        return group.heap[0] if group else None

    def like(self, request_id: RequestId, most: int) -> list[RequestId]:
        """The first requests of the same shape as that one, which waits here, so many or all there are."""
        shape = self._where[request_id][0]
        waiting = {entry for entry in self._groups[shape].heap if self._waits(entry, shape)}
        return [each for _, each in heapq.nsmallest(most, waiting)]

    def heads(self) -> list[tuple[Rank, RequestId, Shape]]:
        """The first request of every shape, as a heap."""
        heads = [(*group.heap[0], shape) for shape, group in self._groups.items()]
        heapq.heapify(heads)
        return heads

    def ahead_of(self, request_id: RequestId) -> int:
        """How many of the tenant's own waiting requests go before this one."""
        rank = self._where[request_id][1]
        return sum(1 for other, (_, its_rank) in self._where.items() if (its_rank, other) < (rank, request_id))

    def in_order(self) -> list[RequestId]:
        """All that wait, those that go first at the beginning."""
        return sorted(self._where, key=lambda each: (self._where[each][1], each))

    def goes_before(self, first: RequestId, second: RequestId) -> bool:
        """Whether both wait here, the first of them ahead."""
        if first not in self._where or second not in self._where:
            return False
        return (self._where[first][1], first) < (self._where[second][1], second)

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._where

    def __len__(self) -> int:
        return len(self._where)

    def __iter__(self) -> Iterator[RequestId]:
        return iter(self._where)


class TenantBook:
    """A tenant with what it uses and what it waits for."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.queue = TenantQueue()
        self.used_cpu_millis = 0
        self.used_mem_mib = 0
        self.used_disk_mib = 0
        self.builds = 0  # live tasks, launching and killed ones too
        self.kept: dict[RequestId, HostId] = {}  # its requests that have waited too long for room, and the hosts kept
        self.quota_kept_for: RequestId | None = None  # has waited so long that those behind it wait for it to fit

    def take(self, resources: Resources) -> None:
        self.used_cpu_millis += resources.cpu_millis
        self.used_mem_mib += resources.mem_mib
        self.used_disk_mib += resources.disk_mib
        self.builds += 1

    def give_back(self, resources: Resources) -> None:
        self.used_cpu_millis -= resources.cpu_millis
        self.used_mem_mib -= resources.mem_mib
        self.used_disk_mib -= resources.disk_mib
        self.builds -= 1

    @property
    def used(self) -> Resources:
        return Resources(self.used_cpu_millis, self.used_mem_mib, self.used_disk_mib)

    def standing(self, total: Resources) -> float:
        """Dominant share over weight: the tenant with the smallest goes next."""
        return self.share(total) / self.tenant.weight

    def share(self, total: Resources) -> float:
        return max(self.used_cpu_millis / (total.cpu_millis or 1), self.used_mem_mib / (total.mem_mib or 1))

    def exceeds_quota(self, cpu_millis: int, mem_mib: int) -> bool:
        """Whether a build of this size could not run even alone, as after the quota was lowered."""
        quota = self.tenant.quota
        return (
            quota.builds == 0
            or (quota.cpu_millis is not None and cpu_millis > quota.cpu_millis)
            or (quota.mem_mib is not None and mem_mib > quota.mem_mib)
        )

    def over_quota(self, cpu_millis: int, mem_mib: int, builds: int = 1) -> str | None:
        """The part of the quota that builds of this size, all together, would break now: ``builds``, ``cpu_millis``,

        ``mem_mib``.
        """
        quota = self.tenant.quota
        if quota.builds is not None and self.builds + builds > quota.builds:
            return "builds"
        if quota.cpu_millis is not None and self.used_cpu_millis + cpu_millis > quota.cpu_millis:
            return "cpu_millis"
        if quota.mem_mib is not None and self.used_mem_mib + mem_mib > quota.mem_mib:
            return "mem_mib"
        return None


class SparesBook(TenantBook):
    """Of agents that stand ready for any tenant: nobody's share, and placed after everybody's requests."""

    def __init__(self) -> None:
        super().__init__(Tenant(SPARES))

    def standing(self, total: Resources) -> float:  # noqa: ARG002 - whatever they use
        return math.inf


def shape_of(request: Request, overhead: Resources, role: str | None = None) -> Shape:
    """The request's shape. ``overhead``: what a Mesos executor takes on top; ``role``: its tenant's."""
    template = request.template
    wanted = template.resources if template.shared else template.resources + overhead
    lasts_s = template.timeout_s + template.grace_s
    rules = rules_of(request, role)
    return Shape(
        wanted.cpu_millis,
        wanted.mem_mib,
        wanted.disk_mib,
        lasts_s,
        template.image,
        rules,
        template.kind,
        request.jenkins is not None,
    )
