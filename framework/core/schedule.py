"""One scheduling round: who goes next, onto which host; and what becomes of offers that nobody takes."""

from __future__ import annotations

import heapq

from framework.core.effects import Decline, Effect, Launch, Report, Revive, SaveRequest, SaveTask, Suppress
from framework.core.ids import HostId, OfferId, RequestId, TenantName, task_id
from framework.core.offers import HostOffers
from framework.core.ordering import Rank, TenantBook
from framework.core.placement import Candidate, Placer, Shape
from framework.core.resources import Resources
from framework.core.state import Earmark, State
from framework.core.tasks import Request, RequestState, Task, TaskState


def settle(state: State, now: float) -> list[Effect]:
    """Ends a turn: launches what can go, then holds, declines, revives or suppresses."""
    effects: list[Effect] = []
    if not state.connected:
        return effects
    if state.dirty:
        state.dirty = False
        effects += _round(state, now)
    effects += _appetite(state, now)
    return effects


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
            heapq.heapreplace(self.heads, (head[0], shape))


def _round(state: State, now: float) -> list[Effect]:
    cursors = {name: _Cursor(book) for name, book in state.tenants.items() if len(book.queue)}
    placer = Placer(_candidates(state), _smallest(cursors))
    total = state.total
    turns = [(book.standing(total), name) for name, book in ((n, c.book) for n, c in cursors.items())]
    heapq.heapify(turns)
    chosen: dict[int, list[Request]] = {}
    while turns:
        name = turns[0][1]
        cursor = cursors[name]
        placed = _next_of(state, cursor, placer, now)
        if placed is None:
            heapq.heappop(turns)
            continue
        index, request = placed
        chosen.setdefault(index, []).append(request)
        heapq.heapreplace(turns, (cursor.book.standing(total), name))
    effects: list[Effect] = []
    if chosen:
        state.demand_at = now
    for index, requests in chosen.items():
        effects += _launch(state, placer.candidates[index].host_id, requests, now)
    state.unserved = any(cursor.starved for cursor in cursors.values())
    effects += _earmark(state, list(cursors.values()), now)
    return effects


def _next_of(state: State, cursor: _Cursor, placer: Placer, now: float) -> tuple[int, Request] | None:
    """Places the tenant's first request that may and can go. None where there is no such one in this round."""
    book = cursor.book
    overhead = state.config.overhead
    while cursor.heads:
        shape = cursor.heads[0][1]
        head = book.queue.head(shape)
        if head is None:
            cursor.pass_over()
            continue
        request_id = head[1]
        over = book.over_quota(shape.cpu_millis - overhead.cpu_millis, shape.mem_mib - overhead.mem_mib)
        if over == "builds":
            return None
        if over is not None or (shape.image is not None and not state.breakers.allows(shape.image, now)):
            cursor.pass_over()
            continue
        index = placer.place(shape, request_id)
        if index is None:
            cursor.starved.append(request_id)
            cursor.pass_over()
            continue
        request = state.requests[request_id]
        book.queue.remove(request_id)
        book.take(request.template.resources)
        if shape.image is not None:
            state.breakers.launched(shape.image, task_id(request_id, request.attempt + 1))
        cursor.launched(shape)
        return index, request
    return None


def _candidates(state: State) -> list[Candidate]:
    """Hosts with offers, the biggest first, in one stable order, so that the same ones are filled up every time."""

    def size(held: HostOffers) -> tuple[int, int, HostId]:
        host = state.hosts.get(held.host_id)
        total = host.total if host else held.available
        return (-total.mem_mib, -total.cpu_millis, held.host_id)

    earmarks = state.earmarks
    return [
        Candidate(
            held.host_id,
            held.available,
            held.attributes,
            earmarks[held.host_id].request_id if held.host_id in earmarks else None,
        )
        for held in sorted(state.offers, key=size)
    ]


def _smallest(cursors: dict[TenantName, _Cursor]) -> Resources:
    shapes = [shape for cursor in cursors.values() for _, shape in cursor.heads]
    if not shapes:
        return Resources()
    return Resources(
        min(shape.cpu_millis for shape in shapes),
        min(shape.mem_mib for shape in shapes),
        min(shape.disk_mib for shape in shapes),
    )


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
        state.release_for(request.id)
        tasks.append(task)
        saves += (SaveTask(task), SaveRequest(request))
    return [*saves, Launch(offer_ids, host_id, tuple(tasks))]


def _earmark(state: State, cursors: list[_Cursor], now: float) -> list[Effect]:
    """Keeps hosts for requests that have waited too long, so that small builds cannot starve a big one for ever.

    At most one host in ten is kept so; the tenant with the smallest standing comes first, then the oldest request.
    """
    room = max(1, len(state.hosts) // 10) - len(state.earmarks)
    if room <= 0:
        return []
    marked = {earmark.request_id for earmark in state.earmarks.values()}
    waiting: list[tuple[float, Rank, Request]] = []
    soonest: float | None = None
    for cursor in cursors:
        standing = cursor.book.standing(state.total)
        for request_id in cursor.starved:
            request = state.requests[request_id]
            ripe = request.submitted_at + state.config.starving_after_s
            if request_id in marked:
                continue
            if ripe > now:
                soonest = ripe if soonest is None else min(soonest, ripe)
            else:
                waiting.append((standing, (-request.priority, request.submitted_at), request))
    if soonest is not None:
        state.deadlines.set("starving", "", soonest)
    effects: list[Effect] = []
    for _, _, request in sorted(waiting, key=lambda each: each[:2])[:room]:
        host_id = _host_to_keep(state, request)
        if host_id is None:
            continue
        until = now + state.config.hold_starving_s
        state.earmarks[host_id] = Earmark(request.id, until)
        state.deadlines.set("earmark", host_id, until)
        effects.append(
            Report(
                "info",
                f"host kept for a request that has waited {now - request.submitted_at:.0f} s",
                tenant=request.tenant,
                request_id=request.id,
                host=state.hosts[host_id].hostname,
            )
        )
    return effects


def _host_to_keep(state: State, request: Request) -> HostId | None:
    """Of the hosts that could hold the request when free, the one that lacks the least now."""
    need = request.template.resources + state.config.overhead
    best: tuple[float, HostId] | None = None
    for host in state.hosts.values():
        if (
            not host.active
            or host.id in state.earmarks
            or host.id in request.avoid_hosts
            or not need.fits_in(host.total)
            or any(host.attributes.get(name) != value for name, value in request.template.attributes.items())
        ):
            continue
        lack = need - state.offers.available(host.id)
        deficit = max(lack.cpu_millis / host.total.cpu_millis, lack.mem_mib / host.total.mem_mib, 0.0)
        if best is None or (deficit, host.id) < best:
            best = (deficit, host.id)
    return best[1] if best else None


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
        state.fresh_demand = False
        if not state.suppressed:
            idle_at = state.demand_at + state.config.hold_idle_s
            if idle_at <= now:
                state.suppressed = True
                effects += [*give_back(state, list(state.offers.hosts())), Suppress()]
            elif not state.deadlines.has("idle", ""):
                state.deadlines.set("idle", "", idle_at)
        elif len(state.offers):
            effects += give_back(state, list(state.offers.hosts()))
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
