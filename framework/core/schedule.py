"""One scheduling round: who goes next, onto which host; and what becomes of offers that nobody takes."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from framework.core import earmarks
from framework.core.effects import Decline, Effect, Launch, Revive, SaveRequest, SaveTask, Suppress
from framework.core.ids import HostId, OfferId, RequestId, task_id
from framework.core.offers import HostOffers
from framework.core.ordering import TenantBook
from framework.core.placement import Candidate, Placer, Shape, smallest
from framework.core.state import State
from framework.core.tasks import Request, RequestState, Task, TaskState


def settle(state: State, stale: list[HostId], now: float) -> list[Effect]:
    """Ends a turn: launches what can go, then holds, declines, revives or suppresses.

    ``stale``: hosts whose offers have been held as long as they may be, so that they serve now or go back.
    """
    effects: list[Effect] = []
    if not state.connected:
        return effects
    if state.draining:
        return _want_nothing(state)
    while state.dirty:  # again where a launch has ended an earmark elsewhere
        state.dirty = False
        effects += _round(state, now)
    effects += give_back(state, [host_id for host_id in stale if not _kept(state, host_id, now)])
    return effects + _appetite(state, now)


def _kept(state: State, host_id: HostId, now: float) -> bool:
    """Whether an earmark holds the host's offers for longer."""
    earmark = state.earmarks.get(host_id)
    if earmark is None or earmark.until <= now:
        return False
    state.hold(host_id, earmark.until)
    return True


_Placed = tuple[int, Request]
"""The index of the candidate, and what goes there."""


class _Cursor:
    """A tenant's walk through its own waiting requests within one round."""

    __slots__ = ("book", "heads", "starved")

    def __init__(self, book: TenantBook) -> None:
        self.book = book
        self.heads = book.queue.heads()
        self.starved: list[RequestId] = []  # heads of shapes that no offer fits

    def pass_over(self) -> None:
        heapq.heappop(self.heads)

    def launched(self, shape: Shape) -> None:
        head = self.book.queue.head(shape)
        if head is None:
            heapq.heappop(self.heads)
        else:
            heapq.heapreplace(self.heads, (*head, shape))


def _round(state: State, now: float) -> list[Effect]:
    chosen = earmarks.serve(state, now)
    books = [book for book in state.tenants.values() if len(book.queue)]
    candidates = _candidates(state, chosen)
    placed = _everybody(state, books, candidates)
    starved: list[RequestId] = []
    if placed is None:
        placed, starved = _in_turn(state, books, candidates, now)
    for index, request in placed:
        chosen.setdefault(candidates[index].host_id, []).append(request)
    effects: list[Effect] = []
    if chosen:
        state.demand_at = now
    for host_id, requests in chosen.items():
        effects += _launch(state, host_id, requests, now)
    state.unserved = bool(starved)
    return effects + earmarks.keep(state, starved, now)


def _everybody(state: State, books: list[TenantBook], candidates: list[Candidate]) -> list[_Placed] | None:
    """All that wait, packed together, where each of them may go and finds room: it is then nobody's turn before

    another's. None where that is not so.
    """
    overhead = state.config.overhead
    for book in books:
        queue, builds = book.queue, len(book.queue)
        cpu_millis, mem_mib = queue.cpu_millis - builds * overhead.cpu_millis, queue.mem_mib - builds * overhead.mem_mib
        if book.over_quota(cpu_millis, mem_mib, builds) is not None:
            return None
        if not all(state.breakers.closed(image) for image in queue.images()):
            return None
    if sum(book.queue.cpu_millis for book in books) > sum(each.available.cpu_millis for each in candidates):
        return None
    if sum(book.queue.mem_mib for book in books) > sum(each.available.mem_mib for each in candidates):
        return None
    waiting = [each for book in books for each in book.queue.all()]
    shapes = [shape for _, shape in waiting]
    indices = Placer(candidates, smallest(shapes)).place_all(shapes)
    if indices is None:
        return None
    for book in books:
        book.queue.clear()
        book.quota_kept_for = None
    placed = []
    for index, (request_id, _) in zip(indices, waiting, strict=True):
        request = state.requests[request_id]
        state.count(request)
        placed.append((index, request))
    return placed


def _in_turn(
    state: State, books: list[TenantBook], candidates: list[Candidate], now: float
) -> tuple[list[_Placed], list[RequestId]]:
    """What can go of what waits, the tenant with the smallest standing first; and what no offer fits."""
    cursors = {book.tenant.name: _Cursor(book) for book in books}
    placer = Placer(candidates, smallest([head[2] for cursor in cursors.values() for head in cursor.heads]))
    placed: list[_Placed] = []
    total = state.total
    turns = [(book.standing(total), book.tenant.name) for book in books]
    heapq.heapify(turns)
    while turns:
        name = turns[0][1]
        cursor = cursors[name]
        found = _next_of(state, cursor, placer, now)
        if found is None:
            heapq.heappop(turns)
            continue
        placed.append(found)
        heapq.heapreplace(turns, (cursor.book.standing(total), name))
    return placed, [request_id for cursor in cursors.values() for request_id in cursor.starved]


def _next_of(state: State, cursor: _Cursor, placer: Placer, now: float) -> _Placed | None:
    """Places the tenant's first request that may and can go. None where there is no such one in this round."""
    book = cursor.book
    book.quota_kept_for = None
    overhead = state.config.overhead
    while cursor.heads:
        rank, request_id, shape = cursor.heads[0]
        cpu_millis, mem_mib = shape.cpu_millis - overhead.cpu_millis, shape.mem_mib - overhead.mem_mib
        over = book.over_quota(cpu_millis, mem_mib)
        if over is not None:
            if rank[1] + state.config.starving_after_s <= now and not book.exceeds_quota(cpu_millis, mem_mib):
                book.quota_kept_for = request_id  # smaller ones behind it would use up what ends, for ever
                return None
            if over == "builds":
                return None
        allowed = over is None and (shape.image is None or state.breakers.allows(shape.image, now))
        index = placer.place(shape) if allowed else None
        if index is not None:
            request = state.requests[request_id]
            state.claim(request)
            cursor.launched(shape)
            return index, request
        if allowed:
            cursor.starved.append(request_id)
        cursor.pass_over()
    return None


def _candidates(state: State, claimed: Mapping[HostId, list[Request]]) -> list[Candidate]:
    """Hosts with offers that are kept for nobody, the biggest first, in one stable order, so that the same ones are

    filled up every time.
    """

    def size(held: HostOffers) -> tuple[int, int, HostId]:
        host = state.hosts.get(held.host_id)
        total = host.total if host else held.available
        return (-total.mem_mib, -total.cpu_millis, held.host_id)

    candidates = []
    for held in sorted(state.offers, key=size):
        if held.host_id in state.earmarks:
            continue
        available = held.available
        for request in claimed.get(held.host_id, ()):
            available -= request.template.resources + state.config.overhead
        candidates.append(Candidate(held.host_id, available, held.attributes))
    return candidates


def _launch(state: State, host_id: HostId, requests: list[Request], now: float) -> list[Effect]:
    hostname = state.offers.hostname(host_id)
    offer_ids = state.offers.take(host_id)
    state.deadlines.drop("host", host_id)
    state.returned = True
    tasks: list[Task] = []
    saves: list[Effect] = []
    for request in requests:
        request.attempt += 1
        request.state = RequestState.LAUNCHING
        request.launched_at = now
        task = Task(
            id=task_id(request.id, request.attempt),
            request_id=request.id,
            tenant=request.tenant,
            host_id=host_id,
            hostname=hostname,
            offer_ids=list(offer_ids),
            resources=request.template.resources,
            state=TaskState.LAUNCHING,
            launched_at=now,
            deadline=now + state.config.launch_timeout_s,
        )
        state.adopt(task)
        if state.earmarks:
            state.release_for(request.id, now)
        tasks.append(task)
        saves += (SaveTask(task), SaveRequest(request))
    return [*saves, Launch(offer_ids, host_id, tuple(tasks))]


def _appetite(state: State, now: float) -> list[Effect]:
    """Asks Mesos for offers while there is demand for them, and for none when there is not."""
    effects: list[Effect] = []
    if state.unserved:
        state.demand_at = now
        state.deadlines.drop("idle", "")
        if state.suppressed or (state.fresh_demand and state.returned):
            due = state.revived_at + state.config.revive_every_s
            if due <= now:
                state.suppressed = state.fresh_demand = state.returned = False
                state.revived_at = now
                state.deadlines.drop("revive", "")
                effects.append(Revive())
            else:
                state.deadlines.set("revive", "", due)
        else:
            state.fresh_demand = False  # it has seen all there is: nothing went back that a REVIVE could bring
    else:
        state.fresh_demand = False
        if not state.suppressed:
            idle_at = state.demand_at + state.config.hold_idle_s
            if idle_at <= now:
                effects += _want_nothing(state)
            elif not state.deadlines.has("idle", ""):
                state.deadlines.set("idle", "", idle_at)
        elif len(state.offers):
            effects += give_back(state, list(state.offers.hosts()))
    return effects


def _want_nothing(state: State) -> list[Effect]:
    effects = give_back(state, list(state.offers.hosts()))
    if not state.suppressed:
        state.suppressed = True
        effects.append(Suppress())
    return effects


def give_back(state: State, host_ids: list[HostId]) -> list[Effect]:
    """Declines all that is offered of these hosts."""
    offer_ids: list[OfferId] = []
    for host_id in host_ids:
        offer_ids += state.offers.take(host_id)
        state.deadlines.drop("host", host_id)
    if not offer_ids:
        return []
    state.returned = True
    return [Decline(tuple(offer_ids), state.config.refuse_s)]
