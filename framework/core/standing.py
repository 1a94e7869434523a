"""How live builds stand, and what each waits for; made when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from framework.core.answers import Standing
from framework.core.explain import Looked, why_not
from framework.core.ids import RequestId, TenantName
from framework.core.state import State
from framework.core.stories import Stage, stage
from framework.core.tasks import Request, Task


def standing(state: State, request_id: RequestId, now: float, looked: Looked | None = None) -> Standing | None:
    """None where it is not live. ``looked`` as of ``why_not``."""
    request = state.requests.get(request_id)
    if request is None:
        return None
    found = stage(request)
    if found is Stage.WAITING:
        why = why_not(state, request_id, now, looked)
        summary = "about to be placed" if why is None else why.summary
        return Standing(request_id, found, now - request.submitted_at, summary, why)
    since, summary = _told(state, request, found)
    return Standing(request_id, found, max(0.0, now - since), summary)


def queue(state: State, tenant: TenantName, most: int, now: float) -> Iterator[tuple[Request, Standing]]:
    """The tenant's requests for items of its master's queue whose agents are not online yet, the oldest first."""
    left = most
    looked = Looked()
    for request in state.masters.of(tenant).requests.values():
        if left <= 0:
            return
        if stage(request) in _BEFORE_ONLINE:
            found = standing(state, request.id, now, looked)
            if found is not None:
                left -= 1
                yield request, found


def of_item(state: State, tenant: TenantName, number: int) -> Request | None:
    """The live request for this item of the queue of the tenant's master."""
    bound = state.masters.of(tenant).bound()
    return next((request for item, request in bound if item.number == number), None)


_BEFORE_ONLINE = (Stage.WAITING, Stage.PREPARING, Stage.STARTING, Stage.CONNECTING)


def _told(state: State, request: Request, found: Stage) -> tuple[float, str]:
    """Since when it is at this stage, and what it waits for there."""
    side, task = request.jenkins, state.live_task(request)
    claim = state.claims.of(request.id)
    match found:
        case Stage.PREPARING if claim is not None and claim.ready_at is not None:
            return claim.claimed_at, f"its node {claim.node} stands; it is about to be launched on {claim.hostname}"
        case Stage.PREPARING if claim is not None:
            trouble = state.masters.of(request.tenant).trouble
            told = f"; {trouble}" if trouble else ""
            return claim.claimed_at, f"its node {claim.node} is made in its Jenkins, for host {claim.hostname}{told}"
        case Stage.PREPARING:
            return request.submitted_at, "a spare is promised to it, whose node is made in its Jenkins"
        case Stage.STARTING:
            return request.launched_at or request.submitted_at, f"its agent is started on host {request.hostname}"
        case Stage.CONNECTING:
            within_s = request.template.connect_timeout_s
            bound = "" if within_s is None else f", for which it has {within_s:g} s"
            text = f"its agent runs on host {request.hostname} and is to come to its Jenkins{bound}"
            return request.running_at or request.submitted_at, text
        case Stage.ONLINE:
            at = None if side is None else side.online_at
            return at or request.submitted_at, "its agent is online; Jenkins is to give it the build"
        case Stage.ENDING:
            return request.submitted_at, f"it is being ended: {_reason(task)}"
        case _:
            at = None if side is None else side.accepted_at
            return at or request.running_at or request.submitted_at, f"it is {found.value} on host {request.hostname}"


def _reason(task: Task | None) -> str:
    return "somebody asked for it" if task is None or not task.kill_reason else task.kill_reason
