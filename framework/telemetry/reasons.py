"""What builds wait for, in one word each: the same in records, samples and metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from framework.core.explain import Looked, blockers_of, turned_away_of
from framework.core.ids import RequestId, TenantName
from framework.core.ordering import TenantBook
from framework.core.placement import Shape
from framework.core.state import State
from framework.core.tasks import SPARES, Request, RequestState

OF_BLOCKERS = (
    "disconnected",  # from Mesos
    "draining",  # the scheduler
    "pool",  # an idle agent may be given it
    "back_off",  # after a lost attempt
    "quota",  # of its tenant
    "making_room",  # builds of other tenants are ending for it
    "breaker",  # its image could not be had
    "cap",  # of its template's agents
    "paused",  # its template, whose agents fail
    "master",  # its Jenkins does not answer, or makes as many nodes as it may at once
)
"""As ``framework.core.explain.Blocker`` has them."""
OF_HOSTS = {
    "cpu_millis": "cpu_millis",  # too little offered; so the next
    "mem_mib": "mem_mib",
    "disk_mib": "disk_mib",
    "gpus": "gpus",
    "ports": "ports",
    "no_offer": "no_offer",  # nothing of the host is free and offered
    "too_small": "too_small",  # even when free
    "attribute": "attribute",
    "constraint": "constraint",
    "near": "neighbour",
    "apart": "neighbour",
    "shunned": "neighbour",
    "role": "role",
    "reserved": "role",
    "sharing": "role",
    "maintenance": "maintenance",
    "avoided": "avoided",  # the host lost an attempt of it
    "earmarked": "earmarked",  # the host is kept for a build that has waited longer
    "inactive": "inactive",
}
"""By what ``framework.core.answers.WhyNot`` counts hosts by, up to the colon."""
NODE = "node"
"""Its place is kept while its node is made in its Jenkins."""
COVER = "cover"
"""Its node stands or is made, and what its place was on is not offered now."""
NO_HOST = "no_host"
"""Mesos has told of none."""
TURN = "turn"
"""Nothing keeps it but that it has just come, or that others go first."""
OTHER = "other"
"""Nobody looked: more kinds of builds waited than are looked at in one go."""
REASONS = tuple(dict.fromkeys((*OF_BLOCKERS, *OF_HOSTS.values(), NODE, COVER, NO_HOST, TURN, OTHER)))

MAX_LOOKS = 40
"""Shapes of builds for which all hosts are looked at in one go: with 300 hosts each takes some 5 ms."""


class Waits:
    """What all builds wait for that wait now: ``reasons`` counts them by tenant, ``of`` has each."""

    def __init__(self) -> None:
        self.reasons: dict[TenantName, Counter[str]] = {}
        self.of: dict[RequestId, str] = {}

    def add(self, request: Request, reason: str) -> None:
        self.of[request.id] = reason
        self.reasons.setdefault(request.tenant, Counter())[reason] += 1


def look(state: State, now: float, waits: Waits) -> Iterator[None]:
    """Fills ``waits``, a piece at a time so that others have their turn in between; the state may change meanwhile.

    Builds of one tenant and shape wait for the same, so one of them is looked at, the first.
    """
    looked = Looked()
    for request in list(state.requests.values()):
        if request.tenant == SPARES:
            continue
        if request.state is RequestState.PREPARING:
            waits.add(request, _of_prepared(state, request))
        elif request.state is RequestState.WAITING and request.id not in state.tenants[request.tenant].queue:
            waits.add(request, blockers_of(state, request, now)[0].kind if request.not_before > now else TURN)
    for book in list(state.tenants.values()):
        if book.tenant.name == SPARES or not len(book.queue):
            continue
        found: dict[Shape, str] = {}
        for shape in book.queue.shapes():
            before = len(looked.turned_away)
            reason = _of_shape(state, book, shape, now, looked)
            if reason is not None:
                found[shape] = reason
            if len(looked.turned_away) > before:
                yield
        for request_id, shape in book.queue.all():
            waits.add(state.requests[request_id], found.get(shape, TURN))
    yield


def _of_shape(state: State, book: TenantBook, shape: Shape, now: float, looked: Looked) -> str | None:
    """None where none of it waits any more."""
    head = book.queue.head(shape)
    if head is None:
        return None
    request = state.requests[head[1]]
    blockers = blockers_of(state, request, now)
    if blockers:
        return blockers[0].kind
    if not state.hosts:
        return NO_HOST
    if shape not in looked.turned_away and len(looked.turned_away) >= MAX_LOOKS:
        return OTHER
    return _most(turned_away_of(state, request, now, looked))


def _most(turned_away: Counter[str]) -> str:
    """What turns it away on most hosts; of equals the first by name."""
    counts: Counter[str] = Counter()
    for reason, hosts in turned_away.items():
        counts[OF_HOSTS.get(reason.partition(":")[0], OTHER)] += hosts
    return min(counts, key=lambda reason: (-counts[reason], reason), default=TURN)


def _of_prepared(state: State, request: Request) -> str:
    claim = state.claims.of(request.id)
    return COVER if claim is not None and claim.uncovered_at is not None else NODE
