"""Agents of Jenkins once they are launched: they come to their masters, take builds, serve them, get lost; and items

that leave their queues. What is told may come twice, late, in another order or not at all; a look at the master
(``framework.core.sweep``) makes up for it.
"""

from __future__ import annotations

import msgspec

from framework.core import events as ev
from framework.core import pools
from framework.core.claiming import waits_no_more
from framework.core.effects import Effect, LookAt, RemoveNode, SaveRequest
from framework.core.endings import end_request, kill
from framework.core.ids import TaskId, TenantName
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.masters import Master
from framework.core.nodes import ITEM_LEFT
from framework.core.state import State
from framework.core.tasks import FailureClass, Outcome, Request, RequestState, Task, TaskState
from framework.core.templates import Lifetime

TAKEN_S = 5.0
"""After an item has left its queue: for the word of the agent that took it, which the same script sends next."""
LOOK_S = 10.0
"""For a look at a master, before it is asked for again."""

_ALIVE = (TaskState.LAUNCHING, TaskState.RUNNING, TaskState.UNREACHABLE)


def online(state: State, task_id: TaskId, now: float) -> list[Effect]:
    """The agent has come online, the first time or again."""
    found = _agent(state, task_id)
    if found is not None and found[2].online_at is not None:
        state.back_at[task_id] = now
    return came(state, task_id, now)


def came(state: State, task_id: TaskId, now: float) -> list[Effect]:
    """The agent is online."""
    found = _agent(state, task_id)
    if found is None:
        return []
    _, request, side = found
    if state.offline.pop(task_id, None) is not None:
        state.back_at[task_id] = now
    state.deadlines.drop("agent", task_id)
    if side.online_at is not None:
        return []
    side.online_at = now
    if state.paused.works(request):
        state.dirty = True
    return [SaveRequest(request)]


def left(state: State, event: ev.AgentOffline, now: float) -> list[Effect]:
    """Jenkins lost the agent; it has a while to come back, unless its node is gone."""
    found = _agent(state, event.task_id)
    if found is None:
        return []
    task, request, side = found
    if event.node_gone:
        return gone(state, task, now)
    if pools.leaving(state, task.id):
        return []
    if side.online_at is not None and task.id not in state.offline:
        state.offline[task.id] = now
        state.deadlines.set("agent", task.id, now + _patience_s(request))
    return []


def gone(state: State, task: Task, now: float) -> list[Effect]:
    """The agent's node is in its master no more: without it the agent can serve nothing."""
    return kill(state, task, FailureClass.CONNECT, "its node was removed from its master", now)


def due(state: State, task_id: TaskId, now: float) -> list[Effect]:
    """The agent should be online by now. It is ended where a look at its master finds that it is not."""
    found = _agent(state, task_id)
    if found is None:
        return []
    task, request, _ = found
    if _away_since(state, task, request) is None:
        return []
    ended = end_if_lost(state, task, now)
    if ended:
        return ended
    state.deadlines.set("agent", task_id, now + LOOK_S)
    return [LookAt(request.tenant)] if task.state is TaskState.RUNNING else []


def end_if_lost(state: State, task: Task, now: float) -> list[Effect]:
    """Ends an agent that a look at its master has not found there though it had its time."""
    request = state.requests[task.request_id]
    since, patience_s = _away_since(state, task, request), _patience_s(request)
    if since is None or task.state is not TaskState.RUNNING:
        return []
    if state.masters.of(request.tenant).looked_at < since + patience_s:
        return []
    what = "was away from its master" if task.id in state.offline else "ran and did not come to its master"
    return kill(state, task, FailureClass.CONNECT, f"its agent {what} for {patience_s:.0f} s", now)


def _away_since(state: State, task: Task, request: Request) -> float | None:
    """Since when the agent should be online and is not; None where it is or need not be yet."""
    side = request.jenkins
    if side is None:
        return None
    return task.running_at if side.online_at is None else state.offline.get(task.id)


def accepted(state: State, event: ev.AgentAccepted, now: float) -> list[Effect]:
    """A build began on the agent: of its own item, or of another, whose request then has this one's item instead."""
    task = state.tasks.get(event.task_id)
    request = None if task is None else state.requests[task.request_id]
    side = None if request is None else request.jenkins
    if task is None or request is None or side is None or side.served_at is not None:
        return []
    effects = came(state, task.id, now)
    first = side.accepted_at is None
    side.accepted_at = now if first else side.accepted_at
    if request.template.lifetime is Lifetime.POOLED:
        effects += pools.busy(state, task, request, now)
    master = state.masters.of(request.tenant)
    item = event.item or _item_called(master, request, side, event.task)
    if item is None or item == side.item:
        _settled(state, request.tenant, item)
        return [*effects, SaveRequest(request)] if first else effects
    effects += _took_another(state, master, request, side, item, event, now)
    _settled(state, request.tenant, item)
    return [*effects, SaveRequest(request)]


def _item_called(master: Master, request: Request, side: JenkinsSide, task: str) -> QueueItem | None:
    """The item that the agent took, by what its build is called, where the master cannot tell it otherwise."""
    if not task or side.task == task:
        return side.item
    for item, other in master.bound():
        its = other.jenkins
        if other is not request and its is not None and its.task == task and its.accepted_at is None:
            return item
    return side.item


def _took_another(
    state: State,
    master: Master,
    request: Request,
    side: JenkinsSide,
    item: QueueItem,
    event: ev.AgentAccepted,
    now: float,
) -> list[Effect]:
    other = master.of_item(item)
    if request.template.lifetime is Lifetime.POOLED and side.item is None and other is not None and _waits(other):
        effects = pools.taken(state, other, side, now)
        master.bind(request, item)
        side.task, side.task_url = event.task or side.task, event.task_url or side.task_url
        return effects
    its = None if other is None else other.jenkins
    if other is not None and its is not None and pools.alike(request, other):
        _swap(master, request, other)
        if its.item is None and its.accepted_at is None:
            return _without_item(state, master, other, now)
        return [SaveRequest(other)]
    master.bind(request, item)
    effects = [] if other is None else _without_item(state, master, other, now)
    side.task, side.task_url = event.task or side.task, event.task_url or side.task_url
    return [*effects, LookAt(request.tenant)]  # for the item that it came for


def _swap(master: Master, one: Request, other: Request) -> None:
    mine, its = one.jenkins, other.jenkins
    assert mine is not None and its is not None, "both are bound"  # noqa: S101
    item = mine.item
    master.bind(one, its.item)
    master.bind(other, item)
    mine.task, its.task = its.task, mine.task
    mine.task_url, its.task_url = its.task_url, mine.task_url
    mine.label, its.label = its.label, mine.label
    mine.buildable_at, its.buildable_at = its.buildable_at, mine.buildable_at


def served(state: State, event: ev.AgentServed, now: float) -> list[Effect]:
    """The agent's build is over: its node goes at once, and so does a one-shot agent. One that had left its master by

    then took its build with it, which Jenkins tells as any other that failed.
    """
    found = _agent(state, event.task_id)
    if found is None:
        return []
    task, request, side = found
    if task.id in state.offline and side.result in (None, "FAILURE"):  # else it was through, or somebody stopped it
        reason = "its agent left its master in the middle of the build"
        return kill(state, task, FailureClass.INFRASTRUCTURE, reason, now)
    if request.template.lifetime is Lifetime.POOLED:
        return pools.served(state, task, request, side, now)
    side.served_at = now
    side.accepted_at = side.accepted_at or now
    side.builds += 1
    state.deadlines.drop("agent", task.id)
    effects = kill(state, task, FailureClass.PASSED, f"served {side.task}", now)
    return [*effects, RemoveNode(request.tenant, side.node)]


def told(state: State, event: ev.BuildTold) -> list[Effect]:
    task = state.tasks.get(event.task_id)
    request = None if task is None else state.requests[task.request_id]
    if request is None or request.jenkins is None:
        return []
    side = request.jenkins
    side.build_url, side.result = event.url, event.result
    if side.past and side.accepted_at is None:  # which its agent has served by now
        side.past = [*side.past[:-1], msgspec.structs.replace(side.past[-1], build_url=event.url, result=event.result)]
    return [SaveRequest(request)]


def item_left(state: State, event: ev.ItemLeft, now: float) -> list[Effect]:
    """Whoever took it says so next; where nobody does, or it was cancelled, its request has nothing to come for."""
    request = state.masters.of(event.tenant).of_item(event.item)
    if request is None or request.jenkins is None or request.jenkins.accepted_at is not None:
        return []
    if event.cancelled:
        return _nothing_to_come_for(state, request, now)
    key = _key(event.tenant, event.item)
    if not state.deadlines.has("item", key):
        state.deadlines.set("item", key, now + TAKEN_S)
    return []


def item_due(state: State, key: str, now: float) -> list[Effect]:
    """Nobody has said that it took the item."""
    tenant, _, item = key.rpartition(" ")
    number, _, since_ms = item.partition("@")
    request = state.masters.of(TenantName(tenant)).of_item(QueueItem(int(number), int(since_ms)))
    if request is None or request.jenkins is None or request.jenkins.accepted_at is not None:
        return []
    return _nothing_to_come_for(state, request, now)


def _nothing_to_come_for(state: State, request: Request, now: float) -> list[Effect]:
    if request.jenkins is not None:
        _settled(state, request.tenant, request.jenkins.item)
    return _without_item(state, state.masters.of(request.tenant), request, now)


def _without_item(state: State, master: Master, request: Request, now: float) -> list[Effect]:
    """The request's agent, where it is launched, comes for another item that still waits for its own; else it ends."""
    task = state.live_task(request)
    if task is not None and task.kill_class is None:
        other = next((each for each in master.requests.values() if _waits(each) and pools.alike(request, each)), None)
        if other is not None:
            _swap(master, request, other)
            return [SaveRequest(request), *cancel(state, other, "another agent of its kind comes for its item", now)]
    return cancel(state, request, ITEM_LEFT, now)


def _waits(request: Request) -> bool:
    side = request.jenkins
    launched = request.state not in (RequestState.WAITING, RequestState.PREPARING)
    return side is not None and side.item is not None and not launched


def cancel(state: State, request: Request, reason: str, now: float) -> list[Effect]:
    """Ends the request, and its task where it has one."""
    if request.cancel_reason is not None:
        return []
    request.cancel_reason = reason
    task = state.live_task(request)
    if task is not None:
        return [SaveRequest(request), *kill(state, task, FailureClass.CANCELLED, reason, now)]
    effects = waits_no_more(state, request, now)
    return [*end_request(state, request, Outcome(FailureClass.CANCELLED, reason), now), *effects]


def _agent(state: State, task_id: TaskId) -> tuple[Task, Request, JenkinsSide] | None:
    """Of a live one that has not been asked to end."""
    task = state.tasks.get(task_id)
    if task is None or task.state not in _ALIVE:
        return None
    request = state.requests[task.request_id]
    side = request.jenkins
    return None if side is None or side.served_at is not None else (task, request, side)


def _patience_s(request: Request) -> float:
    within_s = request.template.connect_timeout_s
    return request.template.timeout_s if within_s is None else within_s


def _key(tenant: TenantName, item: QueueItem) -> str:
    return f"{tenant} {item.key}"


def _settled(state: State, tenant: TenantName, item: QueueItem | None) -> None:
    if item is not None:
        state.deadlines.drop("item", _key(tenant, item))
