"""Claims: requests that hold a place on a host while their nodes are made in Jenkins, before anything is launched.

A claim is counted as its task would be: in its tenant's use, among the builds of its host, against limits. It lives in
memory alone; a scheduler that starts anew finds its request waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from framework.core.ids import HostId, RequestId, TaskId, TenantName
from framework.core.resources import ZERO, Resources

MAKING_AT_MOST = 32
"""Nodes of one master in the making; each takes it some 10 ms, so that this many are a third of a second's work."""


class Claim(msgspec.Struct):
    """Times are seconds since the epoch."""

    task_id: TaskId  # that will be launched
    request_id: RequestId
    tenant: TenantName
    host_id: HostId
    hostname: str
    role: str  # of the offers that it was placed on
    node: str
    claimed_at: float
    need: Resources  # without its Mesos executor's own
    shared: bool  # with others of the host in one Mesos executor
    choosy: bool  # among what is offered of the host
    ready_at: float | None = None  # when its node stood
    uncovered_at: float | None = None  # since when no offer of the host holds it


class Held(msgspec.Struct):
    """What the claims of a host need together."""

    need: Resources = ZERO  # without Mesos executors' own
    shared: int = 0  # claims that share a Mesos executor
    own: int = 0  # that do not
    choosy: int = 0


class ClaimBook:
    """All claims, by what they are asked for."""

    def __init__(self) -> None:
        self._by_task: dict[TaskId, Claim] = {}
        self._of_request: dict[RequestId, Claim] = {}
        self._on: dict[HostId, dict[TaskId, Claim]] = {}  # the oldest first
        self._held: dict[HostId, Held] = {}
        self._making: Counter[TenantName] = Counter()
        self._placed: Counter[TenantName] = Counter()  # that are added before the turn is over
        self.uncovered: set[TaskId] = set()
        self.due: set[HostId] = set()  # where ready ones may be launched now

    def placed(self, tenant: TenantName) -> None:
        """A request of the tenant has found its place, and a claim for it is to follow."""
        self._placed[tenant] += 1

    def add(self, claim: Claim) -> None:
        """Of a request that was ``placed``."""
        _less(self._placed, claim.tenant)
        self._by_task[claim.task_id] = claim
        self._of_request[claim.request_id] = claim
        self._on.setdefault(claim.host_id, {})[claim.task_id] = claim
        self._making[claim.tenant] += 1
        held = self._held.setdefault(claim.host_id, Held())
        held.need += claim.need
        held.shared += claim.shared
        held.own += not claim.shared
        held.choosy += claim.choosy

    def ready(self, claim: Claim, now: float) -> None:
        """Its node stands."""
        claim.ready_at = now
        _less(self._making, claim.tenant)
        self.due.add(claim.host_id)

    def remove(self, claim: Claim) -> None:
        del self._by_task[claim.task_id]
        del self._of_request[claim.request_id]
        on = self._on[claim.host_id]
        del on[claim.task_id]
        if not on:
            del self._on[claim.host_id], self._held[claim.host_id]
            self.due.discard(claim.host_id)
        else:
            held = self._held[claim.host_id]
            held.need -= claim.need
            held.shared -= claim.shared
            held.own -= not claim.shared
            held.choosy -= claim.choosy
        if claim.ready_at is None:
            _less(self._making, claim.tenant)
        self.uncovered.discard(claim.task_id)

    def get(self, task_id: TaskId) -> Claim | None:
        return self._by_task.get(task_id)

    def of(self, request_id: RequestId) -> Claim | None:
        return self._of_request.get(request_id)

    def on(self, host_id: HostId) -> list[Claim]:
        """Those that have waited longest first."""
        on = self._on.get(host_id)
        return [] if on is None else list(on.values())

    def held(self, host_id: HostId) -> Held | None:
        """None where there is no claim."""
        return self._held.get(host_id)

    def hosts(self) -> list[HostId]:
        return list(self._on)

    def making(self, tenant: TenantName) -> int:
        """The tenant's nodes that are being made."""
        return self._making[tenant]

    def room(self, tenant: TenantName) -> int:
        """How many more nodes may be made at once in the tenant's master."""
        return MAKING_AT_MOST - self._making[tenant] - self._placed[tenant]

    def __iter__(self) -> Iterator[Claim]:
        return iter(list(self._by_task.values()))

    def __len__(self) -> int:
        return len(self._by_task)


def _less(counts: Counter[TenantName], tenant: TenantName) -> None:
    counts[tenant] -= 1
    if not counts[tenant]:
        del counts[tenant]
