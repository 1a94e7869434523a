"""A spare becomes the agent of the request that it was promised to."""

from __future__ import annotations

from framework.core.effects import Assign, Effect, PrepareNode, SaveRequest, SaveTask
from framework.core.endings import end_request, set_deadline
from framework.core.ids import TaskId, node_of
from framework.core.promises import serves, wait_again
from framework.core.state import State
from framework.core.tasks import FailureClass, Outcome, Request, RequestState, Task, TaskState


def node_ready(state: State, task_id: TaskId, now: float) -> list[Effect]:
    """The node of a spare stands. One that was given before a restart of ours is told again what it is to be."""
    task = state.tasks.get(task_id)
    if task is None:
        return []
    promised_to = state.spares.promised.get(task_id)
    if promised_to is None:
        request = state.requests[task.request_id]
        return [Assign(task, request)] if _awaits_assignment(request, task) else []
    request = state.requests[promised_to]
    if not serves(task):
        return wait_again(state, request, now)
    return _give(state, task, request, now)


def _give(state: State, task: Task, request: Request, now: float) -> list[Effect]:
    spare, template = state.requests[task.request_id], request.template
    state.spares.release(request.id)
    state.spares.ended(task.id)
    state.hand_over(task, request)
    task.launched_at = task.running_at = now
    request.attempt += 1
    request.given, task.given_as = task.id, request.attempt
    request.state = RequestState.RUNNING
    request.launched_at = request.running_at = now
    request.hostname = task.hostname
    side = request.jenkins
    assert side is not None, "only requests of masters are promised spares"  # noqa: S101
    side.node, side.node_at = node_of(task.id), now
    set_deadline(state, task, now + template.timeout_s + template.grace_s + state.config.timeout_slack_s)
    state.await_agent(task)
    given = Outcome(FailureClass.PASSED, f"given to build {request.id} of tenant {request.tenant}")
    return [SaveTask(task), SaveRequest(request), *end_request(state, spare, given, now, task), Assign(task, request)]


def told_again(state: State) -> list[Effect]:
    """What those are prepared for again that were given before a restart, and may not have heard of it."""
    effects: list[Effect] = []
    for task in state.tasks.values():
        request = state.requests[task.request_id]
        if _awaits_assignment(request, task):
            effects.append(PrepareNode(task.id, request, node_of(task.id)))
    return effects


def _awaits_assignment(request: Request, task: Task) -> bool:
    side = request.jenkins
    return request.given == task.id and side is not None and side.online_at is None and task.state is TaskState.RUNNING
