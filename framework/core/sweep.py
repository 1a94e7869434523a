"""A look at a master against what is known: neither nodes without agents, nor agents without nodes, nor lost words."""

from __future__ import annotations

import math

from framework.core import agents, pools
from framework.core import events as ev
from framework.core.claiming import give_up
from framework.core.effects import Effect, RemoveNode, SaveRequest
from framework.core.ids import RequestId, TaskId, TenantName, task_id
from framework.core.promises import tenant_of_node
from framework.core.state import State
from framework.core.tasks import Request, RequestState, Task
from framework.core.templates import Lifetime

LATE_S = 5.0
"""Words of a master that have not come for so long are lost."""
RESUMED_S = 30.0
"""A Pipeline that its master's restart cut goes on by itself on its agent, some while after that is back there."""


def observed(state: State, event: ev.MasterObserved, now: float) -> list[Effect]:
    """What is younger than the look is left alone."""
    master = state.masters.of(event.tenant)
    if event.asked_at <= master.looked_at:
        return []
    master.looked_at = event.asked_at
    seen: dict[TaskId, ev.SeenNode] = {}
    effects: list[Effect] = []
    for node in event.nodes:
        if _ours(state, event.tenant, node):
            seen[node.task_id] = node
        else:
            effects += _remove(state, event.tenant, node)
    for request in list(master.requests.values()):
        if request.id in master.requests:  # what went before may have ended it
            effects += _look(state, event, request, seen, now)
    return effects


def _ours(state: State, tenant: TenantName, node: ev.SeenNode) -> bool:
    """Whether a live task or a claim is behind the node."""
    claim = state.claims.get(node.task_id)
    if claim is not None:
        return claim.tenant == tenant and claim.node == node.name
    if tenant_of_node(state, node.task_id) != tenant:
        return False
    task = state.tasks.get(node.task_id)
    request = None if task is None else state.requests[task.request_id]
    return request is None or request.jenkins is None or request.jenkins.node == node.name


def _remove(state: State, tenant: TenantName, node: ev.SeenNode) -> list[Effect]:
    effects: list[Effect] = [RemoveNode(tenant, node.name)]
    request = state.requests.get(RequestId(node.task_id.partition(".")[0]))
    waits = request is not None and request.state is RequestState.WAITING
    if request is not None and waits and node.task_id == task_id(request.id, request.attempt + 1):
        request.attempt += 1  # the node of its next attempt is another, as this one may go late
        effects.append(SaveRequest(request))
    return effects


def _look(
    state: State, event: ev.MasterObserved, request: Request, seen: dict[TaskId, ev.SeenNode], now: float
) -> list[Effect]:
    claim, task = state.claims.of(request.id), state.live_task(request)
    effects: list[Effect] = []
    if claim is not None and claim.ready_at is not None and claim.ready_at < event.asked_at:
        if claim.task_id not in seen:
            effects += give_up(state, claim, "its node was removed from its master", now)
    elif task is not None and task.kill_class is None:
        effects += _look_at_agent(state, event, task, request, seen.get(task.id), now)
    side = request.jenkins
    if side is None or side.item is None or side.accepted_at is not None or request.state is RequestState.ENDED:
        return effects
    known_since = max(request.submitted_at, side.buildable_at)  # it may have another's item, which is younger
    if known_since < event.asked_at and side.item not in event.items:
        effects += agents.item_left(state, ev.ItemLeft(event.tenant, side.item, cancelled=False), now)
    return effects


def _look_at_agent(
    state: State, event: ev.MasterObserved, task: Task, request: Request, node: ev.SeenNode | None, now: float
) -> list[Effect]:
    side, asked_at = request.jenkins, event.asked_at
    if side is None or side.served_at is not None:
        return []
    if node is None:
        return agents.gone(state, task, now) if side.node_at is not None and side.node_at < asked_at else []
    if request.template.lifetime is Lifetime.POOLED and side.online_at is not None:
        effects = pools.seen(state, task, request, side, node, asked_at, now)
        if effects or pools.leaving(state, task.id):
            return effects
    if node.online:
        effects = agents.came(state, task.id, now)
        return effects + _look_at_build(state, event, task, request, node, now)
    if side.online_at is not None and side.online_at < asked_at:
        agents.left(state, ev.AgentOffline(task.id, "seen offline"), now)
    return agents.end_if_lost(state, task, now)


def _look_at_build(
    state: State, event: ev.MasterObserved, task: Task, request: Request, node: ev.SeenNode, now: float
) -> list[Effect]:
    """Finds what words of builds' begin and end that were lost would have told."""
    side, late = request.jenkins, event.asked_at - LATE_S
    if side is None or request.template.lifetime is Lifetime.POOLED:
        return []
    if node.idle and side.accepted_at is not None and side.accepted_at < late:
        resumes = state.back_at.get(task.id, -math.inf) >= event.asked_at - RESUMED_S
        return [] if resumes else agents.served(state, ev.AgentServed(task.id), now)
    if not node.idle and side.accepted_at is None and side.online_at is not None and side.online_at < late:
        side.accepted_at = event.asked_at
        if side.item in event.items:  # so it is another's build, and whose the next look has to find
            state.masters.of(request.tenant).bind(request, None)
        return [SaveRequest(request)]
    return []
