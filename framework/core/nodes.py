"""Nodes of agents in their tenants' masters: what they are called, and how they go."""

from __future__ import annotations

import msgspec

from framework.core.effects import Effect, RemoveNode
from framework.core.ids import TaskId, node_of
from framework.core.stories import ending
from framework.core.tasks import FailureClass, Outcome, Request, Task
from framework.core.templates import Lifetime

ITEM_LEFT = "what it was for has left its master's queue"
"""Why a request was cancelled by nobody's wish; an agent of it that took a build all the same was wanted."""

_REBUILT = (FailureClass.INFRASTRUCTURE, FailureClass.PREEMPTED)
_BY_ITS_END = (FailureClass.CANCELLED, FailureClass.INFRASTRUCTURE, FailureClass.CONNECT)
"""What an agent's end may look like whose node was taken away when its build was over."""

_BROKEN_OFF = (None, "FAILURE")
"""What Jenkins says of a build that ended for want of memory or of a container beside it, if it says anything yet."""


def node_name(request: Request, task_id: TaskId) -> str:
    return node_of(task_id, pooled=request.template.lifetime is Lifetime.POOLED)


def outcome_of_agent(request: Request, outcome: Outcome) -> Outcome:
    """The agent's end as it counts: one that has served its build has done all that was asked of it."""
    side = request.jenkins
    if side is None or side.served_at is None:
        return outcome
    beside = outcome.result_class is FailureClass.FAILED and side.result not in _BROKEN_OFF
    if outcome.result_class not in _BY_ITS_END and not beside:
        return outcome
    return msgspec.structs.replace(outcome, result_class=FailureClass.PASSED, message=f"served {side.task}")


def removal(request: Request, task: Task, outcome: Outcome) -> list[Effect]:
    """Takes the ended agent's node away, with the reason where that is anybody's business."""
    side = request.jenkins
    if side is None or not side.node:
        return []
    if outcome.result_class is FailureClass.PASSED:
        return [] if side.served_at is not None else [RemoveNode(request.tenant, side.node)]
    building = side.accepted_at is not None and side.served_at is None
    well = side.served_at is not None and side.result not in _BROKEN_OFF
    if well or (outcome.result_class is FailureClass.CANCELLED and not building):
        return [RemoveNode(request.tenant, side.node)]
    lost = outcome.result_class in _REBUILT or (building and task.kill_reason == ITEM_LEFT)
    return [
        RemoveNode(
            request.tenant,
            side.node,
            ending(request, outcome, task.hostname),
            resubmit=lost and building and side.resubmit,
        )
    ]


def wanted_again(request: Request) -> bool:
    """Whether another attempt would be of use: not where a build was on the agent, which has left its queue."""
    side = request.jenkins
    return side is None or (side.item is not None and side.accepted_at is None)
