"""Agents that serve one build after the other, of one tenant: they stay with it until they were idle for too long.

Jenkins gives an idle one to any item that its labels suit, at once as a rule. So an item that comes while one is idle
waits a little for that before an agent is made for it. One that is to go is cordoned first, and goes only where a look
at the master afterwards finds it idle: it may have been given a build at the last moment.
"""

from __future__ import annotations

from framework.core.claiming import waits_no_more
from framework.core.effects import Effect, LookAt, RemoveNode, SaveRequest, SaveTask
from framework.core.endings import end_request, kill, set_deadline
from framework.core.events import SeenNode
from framework.core.ids import TaskId
from framework.core.jenkins import PAST_AT_MOST, JenkinsSide, PooledBuild
from framework.core.state import Pooled, State
from framework.core.tasks import FailureClass, Outcome, Request, RequestState, Task, TaskState
from framework.core.templates import Lifetime

TAKEN_S = 3.0
"""An item waits so long for an idle agent of its pool to be given it; Jenkins looks at its queue every second or so."""
LOOK_S = 30.0
"""Between two looks at a master, for whether an agent there that is cordoned is idle."""
LATE_S = 5.0
"""Words of a master that have not come for so long are lost."""


def alike(request: Request, other: Request) -> bool:
    """Whether agents of the two can do for each other."""
    mine, its = request.jenkins, other.jenkins
    labels = mine is not None and its is not None and mine.node_labels == its.node_labels
    return labels and request.template == other.template


def hold(state: State, request: Request, now: float) -> None:
    """Has a request that has just come wait for an idle agent, where there is one that no other waits for."""
    if request.template.lifetime is not Lifetime.POOLED:
        return
    for task_id, agent in state.pooled.items():
        task = state.tasks[task_id]
        stays = agent.idle_since is not None and agent.leaving_at is None and task.state is TaskState.RUNNING
        if not stays or task.tenant != request.tenant or _waiter(state, agent, now) is not None:
            continue
        if alike(request, state.requests[task.request_id]):
            agent.awaited_by = request.id
            request.not_before = now + TAKEN_S
            return


def _waiter(state: State, agent: Pooled, now: float) -> Request | None:
    """Who waits for the agent."""
    request = None if agent.awaited_by is None else state.requests.get(agent.awaited_by)
    if request is None or request.state is not RequestState.WAITING or request.not_before <= now:
        return None
    return request


def awaits(state: State, request: Request) -> bool:
    """Whether it is an idle agent that the request waits for."""
    return any(agent.awaited_by == request.id for agent in state.pooled.values())


def busy(state: State, task: Task, request: Request, now: float) -> list[Effect]:
    """A build began on the agent. Who waited for it and is not whom it took is placed as any other."""
    state.deadlines.drop("pool", task.id)
    if task.state is TaskState.RUNNING:  # one out of sight has its time once it is seen again
        _has_until(state, task, request, now)
    agent = state.pooled.get(task.id)
    if agent is not None:
        waits = _waiter(state, agent, now)
        agent.idle_since = agent.awaited_by = None
        if waits is not None:
            waits.not_before = now
            state.deadlines.drop("request", waits.id)
            state.enqueue(waits, now)
    return [SaveTask(task)]


def taken(state: State, other: Request, side: JenkinsSide, now: float) -> list[Effect]:
    """An agent of the pool took the item of ``other``, for which nothing was launched."""
    effects = waits_no_more(state, other, now)
    its = other.jenkins
    if its is not None:
        side.label, side.buildable_at = its.label, its.buildable_at
        its.node = side.node
        its.online_at = its.accepted_at = now
    outcome = Outcome(FailureClass.PASSED, f"served by agent {side.node}")
    return [*end_request(state, other, outcome, now), *effects]


def served(state: State, task: Task, request: Request, side: JenkinsSide, now: float) -> list[Effect]:
    """A build on the agent is over; the agent stays for the next, unless it is to go."""
    side.builds += 1
    _remember(side, now)
    state.masters.of(request.tenant).bind(request, None)
    side.accepted_at = None
    agent = state.pooled.setdefault(task.id, Pooled())
    if agent.leaving_at is not None:
        return _leave(state, task, request, side, now)
    template = request.template
    agent.idle_since = now
    state.deadlines.set("pool", task.id, now + template.idle_s)
    if task.state is TaskState.RUNNING:
        _has_until(state, task, request, now + template.idle_s)  # should its master never be seen again
    return [SaveTask(task), SaveRequest(request)]


def _remember(side: JenkinsSide, now: float) -> None:
    accepted_at = now if side.accepted_at is None else side.accepted_at
    url, result = side.build_url, side.result
    if side.past and url == side.past[-1].build_url:  # nothing was told of this one
        url, result = "", None
    served = PooledBuild(
        side.builds, side.item, side.task, side.label, side.buildable_at, accepted_at, now, url, result
    )
    side.past = [*side.past[1 - PAST_AT_MOST :], served]


def time_begins(state: State, task: Task, request: Request, runs_since: float) -> float:
    """From when on the task has a build's time; one of a pool has it for each of its builds, and once it was idle."""
    side, agent = request.jenkins, state.pooled.get(task.id)
    if request.template.lifetime is not Lifetime.POOLED or side is None:
        return runs_since
    if side.accepted_at is not None:
        return side.accepted_at
    return runs_since if agent is None or agent.idle_since is None else agent.idle_since + request.template.idle_s


def _has_until(state: State, task: Task, request: Request, since: float) -> None:
    template = request.template
    set_deadline(state, task, since + template.timeout_s + template.grace_s + state.config.timeout_slack_s)


def due(state: State, task_id: TaskId, now: float) -> list[Effect]:
    """The agent was idle for as long as it may be: it is cordoned, and looked at then."""
    task, agent = state.tasks[task_id], state.pooled[task_id]
    request = state.requests[task.request_id]
    side = request.jenkins
    if side is None or agent.idle_since is None:
        return []
    if task.state is not TaskState.RUNNING:  # it may be seen again
        state.deadlines.set("pool", task_id, now + LOOK_S)
        return []
    if agent.leaving_at is None and _waiter(state, agent, now) is not None:
        state.deadlines.set("pool", task_id, now + TAKEN_S)
        return []
    state.deadlines.set("pool", task_id, now + LOOK_S)
    if agent.leaving_at is not None:
        return [LookAt(request.tenant)]
    agent.leaving_at = now
    return [RemoveNode(request.tenant, side.node, _idle(request), cordon=True)]


def leaving(state: State, task_id: TaskId) -> bool:
    """Whether the agent is offline because it is cordoned."""
    agent = state.pooled.get(task_id)
    return agent is not None and agent.leaving_at is not None


def seen(
    state: State, task: Task, request: Request, side: JenkinsSide, node: SeenNode, asked_at: float, now: float
) -> list[Effect]:
    """What a look at its master found: words that were lost are made up for, and what is cordoned and idle goes."""
    agent = state.pooled.setdefault(task.id, Pooled())
    if side.accepted_at is not None:
        if node.idle and side.accepted_at < asked_at - LATE_S:
            return served(state, task, request, side, now)
        return []
    if not node.idle:
        since = agent.idle_since or side.online_at
        if since is not None and since < asked_at - LATE_S:
            side.accepted_at = asked_at
            return [*busy(state, task, request, now), SaveRequest(request)]
        return []
    if agent.leaving_at is not None and agent.leaving_at < asked_at and not node.online:
        return _leave(state, task, request, side, now)
    return []


def _leave(state: State, task: Task, request: Request, side: JenkinsSide, now: float) -> list[Effect]:
    state.deadlines.drop("pool", task.id)
    side.served_at = now
    told = f"served {side.builds} builds; then {_idle(request)}"
    return [*kill(state, task, FailureClass.PASSED, told, now), RemoveNode(request.tenant, side.node)]


def _idle(request: Request) -> str:
    return f"it was idle for {request.template.idle_s / 60:g} minutes"
