"""How a task is brought to its end, and what becomes of its request then: ended, or waiting for another attempt."""

from __future__ import annotations

import zlib

import msgspec

from framework.core.effects import Effect, Kill, Report, SaveRequest, SaveTask
from framework.core.fit import could_ever
from framework.core.ids import HostId
from framework.core.nodes import outcome_of_agent, removal, wanted_again
from framework.core.promises import lost
from framework.core.state import Config, State
from framework.core.tasks import FailureClass, Outcome, Request, RequestState, Task, move


def elsewhere(state: State, request: Request, *lost_on: HostId) -> bool:
    """Whether a host could hold the request other than those that lost an attempt of it."""
    avoided = {*request.avoid_hosts, *lost_on}
    return any(could_ever(state, request.template, host) for host in state.hosts.values() if host.id not in avoided)


def set_deadline(state: State, task: Task, deadline: float) -> None:
    task.deadline = deadline
    state.deadlines.set("task", task.id, deadline)


def kill(
    state: State, task: Task, kill_class: FailureClass, reason: str, now: float, spares_retry: bool = False
) -> list[Effect]:
    """Asks for the task's end; the request goes on only when Mesos has confirmed it. The first reason given stands."""
    request = state.requests[task.request_id]
    move(task, "kill", now)
    freed = lost(state, task, now)
    if task.kill_class is None:
        task.kill_class, task.kill_reason, task.kill_spares_retry = kill_class, reason, spares_retry
    grace_s = grace(state, task)
    patience = state.config.kill_confirm_s * float(2 ** min(task.kills_sent, 4))
    task.kills_sent += 1
    set_deadline(state, task, now + grace_s + patience)
    request.state = RequestState.ENDING
    return [SaveTask(task), SaveRequest(request), *freed, Kill(task.id, task.host_id, grace_s)]


def grace(state: State, task: Task) -> float:
    return state.requests[task.request_id].template.grace_s


def end(state: State, task: Task, outcome: Outcome, now: float, dropped: bool = False) -> list[Effect]:
    """The task has ended: its request has too, or waits for another attempt."""
    move(task, "end", now)
    request = state.requests[task.request_id]
    outcome = outcome_of_agent(request, outcome)
    task.ended_at = now
    task.outcome = outcome
    effects: list[Effect] = [SaveTask(task), *lost(state, task, now), *removal(request, task, outcome)]
    state.remove_task(task)
    image = request.template.image
    if image is not None and outcome.result_class is FailureClass.IMAGE:
        request.image_failures += 1
        open_until = state.breakers.failed(image, task.id, outcome.message, now)
        if open_until is not None:
            state.deadlines.set("breaker", image, open_until)
            text = f"image {image} is not tried for {open_until - now:.0f} s: {outcome.message}"
            effects.append(Report("warning", text))
    elif image is not None:
        state.breakers.probe_ended(image, task.id)
    for key, until in state.paused.ended(request, task.id, outcome, now):
        state.deadlines.set("breaker", key, until)
        text = f"template {key} is paused for {until - now:.0f} s: {outcome.message}"
        effects.append(report_on("warning", text, request, task))
    if request.cancel_reason is None:
        if wanted_again(request) and _try_again(state, request, task, outcome, now, dropped):
            text = f"attempt {request.attempt} is lost and tried again: {outcome.message}"
            return [*effects, SaveRequest(request), report_on("warning", text, request, task)]
    elif outcome.result_class in _TRIED_AGAIN:
        outcome = msgspec.structs.replace(outcome, result_class=FailureClass.CANCELLED, message=request.cancel_reason)
    return effects + end_request(state, request, outcome, now, task)


_TRIED_AGAIN = (FailureClass.INFRASTRUCTURE, FailureClass.IMAGE, FailureClass.PREEMPTED, FailureClass.CONNECT)


def _try_again(state: State, request: Request, task: Task, outcome: Outcome, now: float, dropped: bool) -> bool:
    config = state.config
    if dropped:
        request.drops += 1
        again, nth = request.drops <= config.max_drops, request.drops - 1
    elif outcome.result_class is FailureClass.PREEMPTED:
        request.preemptions += 1
        again, nth = True, 0
    elif outcome.result_class is FailureClass.INFRASTRUCTURE and task.kill_spares_retry:
        again, nth = True, 0
    elif outcome.result_class in (FailureClass.INFRASTRUCTURE, FailureClass.CONNECT):
        request.losses += 1
        again, nth = request.losses <= request.retries, request.losses - 1
        if task.host_id not in request.avoid_hosts and elsewhere(state, request, task.host_id):
            request.avoid_hosts = [*request.avoid_hosts, task.host_id]
    elif outcome.result_class is FailureClass.IMAGE:
        again, nth = request.image_failures < config.image_attempts, request.image_failures - 1
    else:
        return False
    if not again:
        return False
    request.state = RequestState.WAITING
    request.claimed_at = request.launched_at = request.running_at = None
    request.given = None
    side = request.jenkins
    if side is not None:
        side.node = ""
        side.node_at = side.online_at = None
    request.not_before = now + _back_off_s(config, nth, task.id)
    state.enqueue(request, now)
    return True


def _back_off_s(config: Config, nth: int, key: str) -> float:
    """Before retry ``nth`` (from 0): exponential, spread over its upper half by the key, as the core draws nothing."""
    ceiling = min(config.retry_base_s * float(2 ** min(nth, 30)), config.retry_cap_s)
    return ceiling * (1 + zlib.crc32(key.encode()) / 2**32) / 2


def end_request(state: State, request: Request, outcome: Outcome, now: float, task: Task | None = None) -> list[Effect]:
    request.state = RequestState.ENDED
    request.ended_at = now
    request.outcome = outcome
    state.forget(request)
    return [SaveRequest(request), report_on("info", f"build {outcome.result_class.value}", request, task)]


def report_on(level: str, message: str, request: Request, task: Task | None) -> Report:
    tenant, request_id = request.tenant, request.id
    if task is None:
        return Report(level, message, tenant, request_id)
    return Report(level, message, tenant, request_id, task.id, host=task.hostname)
