"""One scheduling round: who goes next, onto which host; and what becomes of offers that nobody takes."""

from __future__ import annotations

import heapq
import math

from framework.core import claiming, earmarks, preemption, promises
from framework.core.effects import Decline, Effect, Revive, Suppress
from framework.core.fit import beside_claims, need_on
from framework.core.ids import HostId, OfferId, RequestId, TenantName
from framework.core.launching import launch
from framework.core.offers import HostOffers, drawn
from framework.core.ordering import TenantBook
from framework.core.placement import Candidate, Placer, Shape
from framework.core.state import State
from framework.core.tasks import Request


def settle(state: State, stale: list[HostId], now: float) -> list[Effect]:
    """Ends a turn: launches what can go, then holds, declines, revives or suppresses.

    ``stale``: hosts whose offers have been held as long as they may be, so that they serve now or go back.
    """
    effects: list[Effect] = []
    if not state.connected:
        return effects
    if state.draining:
        return [*claiming.give_up_all(state, "the scheduler drains", now), *_want_nothing(state)]
    effects += promises.promise(state, now)
    effects += claiming.launch_ready(state, now)
    while state.dirty or state.attention:  # again where a launch has ended an earmark elsewhere
        effects += _round(state, now)
    effects += give_back(state, [host_id for host_id in stale if not _kept(state, host_id, now)])
    claiming.cover(state, now)
    return effects + _appetite(state, now)


def _kept(state: State, host_id: HostId, now: float) -> bool:
    """Whether a claim or an earmark holds the host's offers for longer."""
    if state.claims.held(host_id) is not None:
        state.hold(host_id, now + state.config.hold_idle_s)
        return True
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
    attention = state.attention
    at_all, state.dirty = state.dirty, False
    hosts, tenants = attention.take()
    if at_all:
        hosts, tenants = set(state.offers.hosts()), set(state.tenants)
        attention.forget([shape for book in state.tenants.values() for shape in book.queue.shapes()])
    chosen = earmarks.serve(state, hosts, tenants, now)
    changed = [state.tenants[name] for name in sorted(tenants)]
    if any(not attention.hopeless(shape) for book in changed for shape in book.queue.shapes()):
        hosts, at_all = set(state.offers.hosts()), True
    candidates = _candidates(state, hosts, chosen, now)
    books = [book for book in (state.tenants.values() if candidates else changed) if len(book.queue)]
    for name in tenants:
        attention.starving.pop(name, None)
    placed = _everybody(state, books, candidates, now)
    if placed is None:
        placed = _in_turn(state, books, candidates, tenants, now, at_all=at_all)
    for index, request in placed:
        chosen.setdefault((candidates[index].host_id, candidates[index].role), []).append(request)
    effects = _give_back_roles(state, earmarks.divided(state, hosts))
    if chosen:
        state.demand_at = now
    for (host_id, role), requests in chosen.items():
        effects += _go(state, host_id, role, requests, now)
    state.unserved = bool(attention.starving)
    effects += earmarks.keep(state, now)
    starved = [each for heads in attention.starving.values() for each in heads] if state.preemptible else []
    return effects + preemption.make_room(state, starved, now)


def _looks_at_others(state: State, request: Request) -> bool:
    shape = state.tenants[request.tenant].queue.shape(request.id)
    return shape is not None and shape.rules is not None and shape.rules.in_turn


def _everybody(state: State, books: list[TenantBook], candidates: list[Candidate], now: float) -> list[_Placed] | None:
    """All that wait, packed together, where each of them may go and finds room: it is then nobody's turn before

    another's. None where that is not so.
    """
    overhead = state.config.overhead
    for book in books:
        queue, own = book.queue, book.queue.own_executors
        cpu_millis, mem_mib = queue.cpu_millis - own * overhead.cpu_millis, queue.mem_mib - own * overhead.mem_mib
        if book.over_quota(cpu_millis, mem_mib, len(queue)) is not None or queue.any_in_turn():
            return None
        if not all(state.breakers.closed(image) for image in queue.images()):
            return None
        if queue.nodes > claiming.room(state, book.tenant.name, now):
            return None
        kinds = queue.kinds()
        if state.caps.limits_any(kinds) or not state.paused.closed(kinds, book.tenant.name):
            return None
    if sum(book.queue.cpu_millis for book in books) > sum(each.available.cpu_millis for each in candidates):
        return None
    if sum(book.queue.mem_mib for book in books) > sum(each.available.mem_mib for each in candidates):
        return None
    waiting = [each for book in books for each in book.queue.all()]
    shapes = [shape for _, shape in waiting]
    indices = Placer(candidates, state.attention.least, state.groups, overhead).place_all(shapes)
    if indices is None:
        return None
    if candidates:
        state.attention.room_for_all()
    for book in books:
        book.queue.clear()
        book.quota_kept_for = None
        state.attention.starving.pop(book.tenant.name, None)
    placed = []
    for index, (request_id, _) in zip(indices, waiting, strict=True):
        request = state.requests[request_id]
        state.count(request, candidates[index].host_id)
        placed.append((index, request))
    return placed


def _in_turn(
    state: State,
    books: list[TenantBook],
    candidates: list[Candidate],
    changed: set[TenantName],
    now: float,
    *,
    at_all: bool,
) -> list[_Placed]:
    """What can go of what waits, the tenant with the smallest standing first; notes what only lacks room.

    Where the candidates are used up, only tenants are looked at that have ``changed``. ``at_all``: the candidates are
    of every host offered.
    """
    attention = state.attention
    cursors: dict[TenantName, _Cursor] = {}
    placer = Placer(candidates, attention.least, state.groups, state.config.overhead)
    placed: list[_Placed] = []
    total = state.total
    turns = [(book.standing(total), book.tenant.name) for book in books]
    heapq.heapify(turns)
    while turns:
        name = turns[0][1]
        if name not in changed and name not in cursors and placer.used_up:
            heapq.heappop(turns)
            continue
        cursor = cursors.get(name)
        if cursor is None:
            cursor = cursors[name] = _Cursor(state.tenants[name])
        found = _next_of(state, cursor, placer, now)
        if found is None:
            heapq.heappop(turns)
            continue
        placed.append(found)
        heapq.heapreplace(turns, (cursor.book.standing(total), name))
    attention.looked(placer, others=not at_all)
    for name, cursor in cursors.items():
        attention.starving.pop(name, None)
        if cursor.starved:
            attention.starving[name] = cursor.starved
            if placed and any(_looks_at_others(state, state.requests[each]) for each in cursor.starved):
                attention.tenants.add(name)  # what was placed after it was its turn may be what it waited for
    return placed


def _next_of(state: State, cursor: _Cursor, placer: Placer, now: float) -> _Placed | None:
    """Places the tenant's first request that may and can go. None where there is no such one in this round."""
    book = cursor.book
    book.quota_kept_for = None
    overhead = state.config.overhead
    while cursor.heads:
        rank, request_id, shape = cursor.heads[0]
        own = 0 if shape.shared else 1
        cpu_millis, mem_mib = shape.cpu_millis - own * overhead.cpu_millis, shape.mem_mib - own * overhead.mem_mib
        over = book.over_quota(cpu_millis, mem_mib)
        if over is not None:
            if rank[1] + state.config.starving_after_s <= now and not book.exceeds_quota(cpu_millis, mem_mib):
                book.quota_kept_for = request_id  # smaller ones behind it would use up what ends, for ever
                return None
            if over == "builds":
                return None
        allowed = (
            over is None
            and (not shape.node or claiming.room(state, book.tenant.name, now) > 0)
            and (shape.image is None or state.breakers.allows(shape.image, now))
            and (not shape.kind or _template_allows(state, state.requests[request_id], now))
        )
        index = placer.place(shape) if allowed else None
        if index is not None:
            request = state.requests[request_id]
            state.claim(request, placer.candidates[index].host_id)
            cursor.launched(shape)
            return index, request
        if allowed:
            cursor.starved.append(request_id)
        cursor.pass_over()
    return None


def _template_allows(state: State, request: Request, now: float) -> bool:
    return state.paused.allows(request, now) and state.caps.allows(request)


def _candidates(state: State, hosts: set[HostId], claimed: earmarks.Claimed, now: float) -> list[Candidate]:
    """Those of the hosts with offers that are kept for nobody and could hold the least that waits. In one stable order,

    so that the same are filled up every time: hosts with GPUs last, as few builds need them, else the biggest first.
    """
    least_cpu, least_mem, least_disk = state.attention.least
    offered: list[tuple[bool, int, int, HostId, str, HostOffers]] = []
    for host_id in hosts:
        if host_id in state.earmarks:
            continue
        for held in state.offers.of(host_id):
            room = held.available
            if room.cpu_millis >= least_cpu and room.mem_mib >= least_mem and room.disk_mib >= least_disk:
                host = state.hosts.get(host_id)
                total = host.total if host else room
                offered.append((total.gpus > 0, -total.mem_mib, -total.cpu_millis, host_id, held.role, held))
    candidates = []
    for *_, host_id, role, held in sorted(offered):
        state.groups.know(host_id, held.hostname, held.attributes)
        window, sharing, serving = state.window_of(host_id, now), state.sharing(host_id), state.serving(host_id)
        available, reserved = held.available, held.reserved
        if state.claims.held(host_id) is not None:
            allotment = beside_claims(state, held)
            reserved = allotment.left[role][1]
            available = allotment.left[role][0] + reserved
            sharing, serving = allotment.sharing, allotment.serving
        for request in claimed.get((host_id, role), ()):
            need, use = need_on(state, request, host_id), request.template.reserved
            left = drawn(available - reserved, reserved, need, use)
            available, reserved = left[0] + left[1], left[1]
            if request.template.shared:
                sharing, serving = role, True
        free_for_s = math.inf if window is None else window.start_at - now
        candidates.append(
            Candidate(host_id, available, held.attributes, held.hostname, role, reserved, free_for_s, sharing, serving)
        )
    return candidates


def _go(state: State, host_id: HostId, role: str, requests: list[Request], now: float) -> list[Effect]:
    """Launches what may be, and claims the place of what needs a node in Jenkins first."""
    claiming_ones = [request for request in requests if request.jenkins is not None]
    effects: list[Effect] = []
    if claiming_ones:
        requests = [request for request in requests if request.jenkins is None]
        effects += claiming.claim(state, host_id, role, claiming_ones, now)
    return effects + launch(state, host_id, role, requests, now) if requests else effects


def _appetite(state: State, now: float) -> list[Effect]:
    """Asks Mesos for offers while there is demand for them, and for none when there is not."""
    effects: list[Effect] = []
    if state.unserved or state.claims.uncovered:
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
        if state.claims:
            state.demand_at = now
            state.deadlines.drop("idle", "")
        elif not state.suppressed:
            idle_at = state.demand_at + state.config.hold_idle_s
            if idle_at <= now:
                effects += _want_nothing(state)
            elif not state.deadlines.has("idle", ""):
                state.deadlines.set("idle", "", idle_at)
        else:
            effects += _want_nothing(state)
    return effects


def _want_nothing(state: State) -> list[Effect]:
    effects = give_back(state, list(state.offers.hosts()))
    if effects or not state.suppressed:  # another driver may have subscribed since, which did not know
        state.suppressed = True
        effects.append(Suppress())
    return effects


def give_back(state: State, host_ids: list[HostId]) -> list[Effect]:
    """Declines all that is offered of these hosts."""
    offer_ids: list[OfferId] = []
    for host_id in host_ids:
        offer_ids += state.offers.take(host_id)
        state.deadlines.drop("host", host_id)
    return _decline(state, offer_ids)


def _give_back_roles(state: State, of_roles: list[tuple[HostId, str]]) -> list[Effect]:
    """Declines what is offered of hosts for the roles beside them."""
    offer_ids: list[OfferId] = []
    for host_id, role in of_roles:
        offer_ids += state.offers.take(host_id, role)
        if not state.offers.of(host_id):
            state.deadlines.drop("host", host_id)
    return _decline(state, offer_ids)


def _decline(state: State, offer_ids: list[OfferId]) -> list[Effect]:
    if not offer_ids:
        return []
    state.returned = True
    return [Decline(tuple(offer_ids), state.config.refuse_s)]
