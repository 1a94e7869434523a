"""Spares promised to waiting requests while these have their nodes made. Kept in memory alone, as claims are."""

from __future__ import annotations

import heapq

from framework.core.effects import Effect, PrepareNode, RemoveNode
from framework.core.ids import TaskId, TenantName, node_of
from framework.core.ordering import TenantBook
from framework.core.state import State
from framework.core.tasks import SPARES, Request, RequestState, Task, TaskState


def promise(state: State, now: float) -> list[Effect]:
    """Promises spares to waiting requests, the tenant with the smallest standing first. PrepareNode for each."""
    spares = state.spares
    looked = state.tenants.keys() if state.dirty or spares.fresh else state.attention.tenants
    spares.fresh = False
    free = _free(state) if spares.ready and looked else {}
    if not free:
        return []
    effects: list[Effect] = []
    total = state.total
    turns = [(book.standing(total), name) for name in looked if len((book := state.tenants[name]).queue)]
    heapq.heapify(turns)
    while turns and free:
        name = turns[0][1]
        found = None if name == SPARES else _next(state, state.tenants[name], free, now)
        if found is None:
            heapq.heappop(turns)
            continue
        request, task = found
        kind = request.template.kind
        free[kind].remove(task.id)
        if not free[kind]:
            del free[kind]
        effects.append(_promise(state, request, task, now))
        heapq.heapreplace(turns, (state.tenants[name].standing(total), name))
    return effects


def _free(state: State) -> dict[str, list[TaskId]]:
    """Spares that can be promised now, by kind, the oldest first."""
    found: dict[str, list[TaskId]] = {}
    for task_id, kind in state.spares.ready.items():
        if task_id not in state.spares.promised and serves(state.tasks[task_id]):
            found.setdefault(kind, []).append(task_id)
    return found


def serves(task: Task) -> bool:
    """Whether a spare can be given away now."""
    return task.state is TaskState.RUNNING and task.unseen_since is None


def _next(state: State, book: TenantBook, free: dict[str, list[TaskId]], now: float) -> tuple[Request, Task] | None:
    """The tenant's first request that a spare can serve, and the spare."""
    if book.quota_kept_for is not None or not state.masters.open(book.tenant.name, now):
        return None
    for _, request_id, shape in sorted(each for each in book.queue.heads() if each[2].kind in free):
        request = state.requests[request_id]
        template = request.template
        if request.jenkins is None or (shape.rules is not None and shape.rules.in_turn):
            continue
        if book.over_quota(template.resources.cpu_millis, template.resources.mem_mib) is not None:
            return None
        if not state.paused.allows(request, now) or not state.caps.allows_handing(request):
            continue
        for task_id in free[shape.kind]:
            task = state.tasks[task_id]
            if _suits(state, book, request, task, now):
                return request, task
    return None


def _suits(state: State, book: TenantBook, request: Request, task: Task, now: float) -> bool:
    if task.host_id in request.avoid_hosts or book.tenant.role not in (None, task.role):
        return False
    window = state.window_of(task.host_id, now)
    return window is None or now + request.template.timeout_s + request.template.grace_s <= window.start_at


def _promise(state: State, request: Request, task: Task, now: float) -> Effect:
    book = state.tenants[request.tenant]
    state.dequeue(request, now)
    book.take(request.template.resources)
    state.caps.hand(state.requests[task.request_id], request)
    state.paused.launched(request, task.id)
    state.spares.promise(task.id, request.id)
    request.state = RequestState.PREPARING
    request.claimed_at = now
    return PrepareNode(task.id, request, node_of(task.id))


def release(state: State, request: Request, reason: str = "") -> list[Effect]:
    """Takes a promise back; the request is in no queue then, and its node goes.

    ``reason``: what the tenant is told of the node's end.
    """
    task_id = state.spares.release(request.id)
    state.tenants[request.tenant].give_back(request.template.resources)
    state.attention.tenants.add(request.tenant)
    task = state.tasks[task_id]
    state.caps.hand(request, state.requests[task.request_id])
    state.paused.given_up(request, task_id)
    state.spares.fresh = True
    return [RemoveNode(request.tenant, node_of(task_id), reason)]


def tenant_of_node(state: State, task_id: TaskId) -> TenantName | None:
    """In whose master the node of a live task belongs: of a spare, whom it is promised to."""
    promised_to = state.spares.promised.get(task_id)
    if promised_to is not None:
        return state.requests[promised_to].tenant
    task = state.tasks.get(task_id)
    return None if task is None or task.tenant == SPARES else task.tenant


def lost(state: State, task: Task, now: float) -> list[Effect]:
    """The task is to end: who was promised it waits again, without having lost an attempt."""
    promised_to = state.spares.promised.get(task.id)
    return [] if promised_to is None else wait_again(state, state.requests[promised_to], now)


def wait_again(state: State, request: Request, now: float) -> list[Effect]:
    """Who was promised a spare waits again, in no worse place than before."""
    effects = release(state, request)
    request.state = RequestState.WAITING
    request.claimed_at = None
    state.enqueue(request, now)
    return effects
