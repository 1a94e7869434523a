"""``step(state, event, now) -> effects``: everything the core ever does."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import msgspec

from framework.core import events as ev
from framework.core.earmarks import look_again
from framework.core.effects import (
    Acknowledge,
    Effect,
    Kill,
    Reconcile,
    Report,
    SaveFrameworkId,
    SaveRequest,
    SaveTask,
    SaveTenant,
)
from framework.core.ids import HostId, RequestId, TaskId
from framework.core.outcomes import OUT_OF_SIGHT, TERMINAL, never_started, outcome_of, result_follows
from framework.core.schedule import settle
from framework.core.state import Config, State
from framework.core.tasks import (
    FailureClass,
    InvalidTransitionError,
    Outcome,
    Request,
    RequestState,
    Task,
    TaskState,
    move,
)


def step(state: State, event: ev.Event, now: float) -> list[Effect]:
    """One event, one turn. ``now`` is seconds since the epoch."""
    return turn(state, (event,), now)


def turn(state: State, events: Iterable[ev.Event], now: float) -> list[Effect]:
    """Takes in all events, then decides once. The effects make up one frame: saves first, then calls in this order."""
    effects: list[Effect] = []
    for event in events:
        try:
            effects += _take_in(state, event, now)
        except InvalidTransitionError as error:
            effects.append(Report("error", str(error), task_id=error.task_id))
    stale: list[HostId] = []
    for kind, key in state.deadlines.due(now):
        if kind == "host":
            stale.append(HostId(key))
        else:
            effects += _due(state, kind, key, now)
    return effects + settle(state, stale, now)


def _take_in(state: State, event: ev.Event, now: float) -> list[Effect]:  # noqa: C901 - one arm an event
    match event:
        case ev.TaskUpdate():
            return _task_update(state, event, now)
        case ev.OffersReceived():
            return _offers(state, event, now)
        case ev.OfferRescinded():
            host_id = state.offers.rescind(event.offer_id)
            if host_id is not None:
                state.deadlines.drop("host", host_id)
        case ev.Submitted():
            if event.request.id not in state.requests:
                state.requests[event.request.id] = event.request
                state.enqueue(event.request, now)
        case ev.CancelAsked():
            return _cancel(state, event, now)
        case ev.TenantSet():
            state.set_tenant(event.tenant)
            return [SaveTenant(event.tenant)]
        case ev.HostsObserved():
            return _hosts(state, event, now)
        case ev.Subscribed():
            return _subscribed(state, event, now)
        case ev.Disconnected():
            _forget_offers(state)
            state.connected = False
        case ev.FrameworkRemoved():
            return _framework_removed(state, event, now)
        case ev.HostLost():
            return _host_lost(state, event, now)
        case ev.ExecutorLost():
            return [
                Report(
                    "debug",
                    f"Mesos executor ended with status {event.status}",
                    task_id=TaskId(event.executor_id),
                    host=event.host_id,
                )
            ]
        case ev.Tick():
            pass
    return []


def _subscribed(state: State, event: ev.Subscribed, now: float) -> list[Effect]:
    _forget_offers(state)
    state.connected = True
    state.suppressed = False
    state.dirty = True
    state.demand_at = now
    state.returned = state.fresh_demand = False
    state.deadlines.set("reconcile", "", now + state.config.reconcile_every_s)
    for task in state.tasks.values():
        if task.state in _ON_MESOS_WORD:  # which could not reach us; what we ask now is answered within seconds
            _until(state, task, max(task.deadline, now + state.config.kill_confirm_s))
    effects: list[Effect] = []
    if state.framework_id != event.framework_id:
        state.framework_id = event.framework_id
        effects.append(SaveFrameworkId(event.framework_id))
    if state.tasks:
        effects.append(Reconcile(_all_tasks(state)))
    effects += [Kill(task.id, task.host_id, _grace(state, task)) for task in state.tasks.values() if task.kill_class]
    return [*effects, Reconcile(())]


def _framework_removed(state: State, event: ev.FrameworkRemoved, now: float) -> list[Effect]:
    """Mesos ended our tasks with the framework; a new one starts without them."""
    _forget_offers(state)
    state.connected = False
    state.framework_id = None
    effects: list[Effect] = [
        SaveFrameworkId(None),
        Report("error", f"Mesos removed the framework and all its tasks: {event.reason}; subscribing as a new one"),
    ]
    lost = Outcome(FailureClass.INFRASTRUCTURE, f"Mesos removed the framework: {event.reason}")
    for task in list(state.tasks.values()):
        effects += _end(state, task, lost, now)
    return effects


def _forget_offers(state: State) -> None:
    for host_id in state.offers.hosts():
        state.deadlines.drop("host", host_id)
    state.offers.clear()


def _offers(state: State, event: ev.OffersReceived, now: float) -> list[Effect]:
    held_until = now + state.config.hold_idle_s
    for offer in event.offers:
        earmark = state.earmarks.get(offer.host_id)
        until = held_until if earmark is None else max(held_until, earmark.until)
        state.offers.add(offer, until)
        state.deadlines.set("host", offer.host_id, until)
    state.dirty = True
    return []


def _hosts(state: State, event: ev.HostsObserved, now: float) -> list[Effect]:
    hosts = {host.id: host for host in event.hosts}
    if hosts == state.hosts:
        return []
    state.set_hosts(hosts)
    state.dirty = True
    for host_id in list(state.earmarks):
        if host_id not in hosts or not hosts[host_id].active:
            state.release(host_id, now)
    effects: list[Effect] = []
    for request in state.requests.values():
        if request.avoid_hosts and request.state is RequestState.WAITING and not _elsewhere(state, request):
            state.dequeue(request, now)
            request.avoid_hosts = []
            state.enqueue(request, now)
            effects.append(SaveRequest(request))
    return effects


def _elsewhere(state: State, request: Request, *lost_on: HostId) -> bool:
    """Whether a host could hold the request other than those that lost an attempt of it."""
    need = request.template.resources + state.config.overhead
    avoided = {*request.avoid_hosts, *lost_on}
    return any(
        host.could_hold(need, request.template.attributes) for host in state.hosts.values() if host.id not in avoided
    )


def _host_lost(state: State, event: ev.HostLost, now: float) -> list[Effect]:
    gone = tuple((task_id, event.host_id) for task_id in state.tasks_on.get(event.host_id, ()))
    state.offers.take(event.host_id)
    state.deadlines.drop("host", event.host_id)
    state.release(event.host_id, now)
    return [Reconcile(gone)] if gone else []


def _cancel(state: State, event: ev.CancelAsked, now: float) -> list[Effect]:
    request = state.requests.get(event.request_id)
    if request is None or request.cancel_reason is not None:
        return []
    request.cancel_reason = event.reason
    task = state.live_task(request)
    if task is not None:
        return [SaveRequest(request), *_kill(state, task, FailureClass.CANCELLED, event.reason, now)]
    state.dequeue(request, now)
    return _end_request(state, request, Outcome(FailureClass.CANCELLED, event.reason), now)


def _task_update(state: State, update: ev.TaskUpdate, now: float) -> list[Effect]:
    """Ends with the acknowledgement, whatever the update was: what it changed is saved before that is sent."""
    effects: list[Effect] = []
    task = state.tasks.get(update.task_id)
    try:
        if task is not None:
            effects += _known_task(state, task, update, now)
        elif update.host_id is not None and update.state not in TERMINAL and update.state not in OUT_OF_SIGHT:
            effects += [
                Report("warning", f"{update.state} of a task that should not run; killing it", task_id=update.task_id),
                Kill(update.task_id, update.host_id, 0.0),
            ]
    except InvalidTransitionError as error:
        effects.append(Report("error", str(error), task_id=error.task_id))
    if update.uuid and update.host_id is not None:
        effects.append(Acknowledge(update.task_id, update.host_id, update.uuid))
    return effects


def _known_task(state: State, task: Task, update: ev.TaskUpdate, now: float) -> list[Effect]:
    if result_follows(update):
        return []
    dropped = task.state is TaskState.LAUNCHING and never_started(update)
    if update.state in TERMINAL or dropped:
        return _end(state, task, outcome_of(update, task), now, dropped=dropped)
    request = state.requests[task.request_id]
    before = task.state
    unseen_since = task.unseen_since
    task.unseen_since = (unseen_since or now) if update.state in OUT_OF_SIGHT else None
    if before is TaskState.KILLING and unseen_since is not None and task.unseen_since is None:
        return _kill(state, task, FailureClass.INFRASTRUCTURE, "", now)  # an earlier kill did not reach its host
    if update.state in OUT_OF_SIGHT:
        move(task, "lose_sight", now)
        if task.state is TaskState.UNREACHABLE and before is not TaskState.UNREACHABLE:
            _until(state, task, now + state.config.unreachable_s)
    elif update.state in ("TASK_STAGING", "TASK_STARTING"):
        if before is not TaskState.RUNNING:  # reconciliation may repeat what an update has overtaken
            move(task, "stage", now)
            if before is TaskState.UNREACHABLE:
                _until(state, task, now + state.config.launch_timeout_s)
    elif update.state == "TASK_RUNNING":
        move(task, "run", now)
        if task.state is TaskState.RUNNING and before is not TaskState.RUNNING:
            _runs(state, task, request, now)
    if task.state is before:
        return []
    request.state = RequestState.RUNNING if task.state is TaskState.RUNNING else request.state
    return [SaveTask(task), SaveRequest(request)]


def _runs(state: State, task: Task, request: Request, now: float) -> None:
    if task.running_at is None:
        task.running_at = now
    request.running_at = task.running_at
    template = request.template
    _until(state, task, task.running_at + template.timeout_s + template.grace_s + state.config.timeout_slack_s)
    if template.image is not None and state.breakers.works(template.image):
        state.dirty = True


def _until(state: State, task: Task, deadline: float) -> None:
    task.deadline = deadline
    state.deadlines.set("task", task.id, deadline)


def _kill(state: State, task: Task, kill_class: FailureClass, reason: str, now: float) -> list[Effect]:
    """Asks for the task's end; the request goes on only when Mesos has confirmed it."""
    request = state.requests[task.request_id]
    move(task, "kill", now)
    if task.kill_class is None:
        task.kill_class, task.kill_reason = kill_class, reason
    grace_s = _grace(state, task)
    patience = state.config.kill_confirm_s * float(2 ** min(task.kills_sent, 4))
    task.kills_sent += 1
    _until(state, task, now + grace_s + patience)
    request.state = RequestState.ENDING
    return [SaveTask(task), SaveRequest(request), Kill(task.id, task.host_id, grace_s)]


def _grace(state: State, task: Task) -> float:
    return state.requests[task.request_id].template.grace_s


def _end(state: State, task: Task, outcome: Outcome, now: float, dropped: bool = False) -> list[Effect]:
    """The task has ended: its request has too, or waits for another attempt."""
    move(task, "end", now)
    task.ended_at = now
    task.outcome = outcome
    state.remove_task(task)
    request = state.requests[task.request_id]
    image = request.template.image
    effects: list[Effect] = [SaveTask(task)]
    if image is not None and outcome.result_class is FailureClass.IMAGE:
        request.image_failures += 1
        open_until = state.breakers.failed(image, task.id, outcome.message, now)
        if open_until is not None:
            state.deadlines.set("breaker", image, open_until)
            text = f"image {image} is not tried for {open_until - now:.0f} s: {outcome.message}"
            effects.append(Report("warning", text))
    elif image is not None:
        state.breakers.probe_ended(image, task.id)
    if request.cancel_reason is None:
        if _try_again(state, request, task, outcome, now, dropped):
            text = f"attempt {request.attempt} is lost and tried again: {outcome.message}"
            return [*effects, SaveRequest(request), _report("warning", text, request, task)]
    elif outcome.result_class in (FailureClass.INFRASTRUCTURE, FailureClass.IMAGE):  # would have been tried again
        outcome = msgspec.structs.replace(outcome, result_class=FailureClass.CANCELLED, message=request.cancel_reason)
    return effects + _end_request(state, request, outcome, now, task)


def _try_again(state: State, request: Request, task: Task, outcome: Outcome, now: float, dropped: bool) -> bool:
    config = state.config
    if dropped:
        request.drops += 1
        again, nth = request.drops <= config.max_drops, request.drops - 1
    elif outcome.result_class is FailureClass.INFRASTRUCTURE:
        request.losses += 1
        again, nth = request.losses <= request.retries, request.losses - 1
        if task.host_id not in request.avoid_hosts and _elsewhere(state, request, task.host_id):
            request.avoid_hosts = [*request.avoid_hosts, task.host_id]
    elif outcome.result_class is FailureClass.IMAGE:
        again, nth = request.image_failures < config.image_attempts, request.image_failures - 1
    else:
        return False
    if not again:
        return False
    request.state = RequestState.WAITING
    request.running_at = None
    request.not_before = now + _back_off_s(config, nth, task.id)
    state.enqueue(request, now)
    return True


def _back_off_s(config: Config, nth: int, key: str) -> float:
    """Before retry ``nth`` (from 0): exponential, spread over its upper half by the key, as the core draws nothing."""
    ceiling = min(config.retry_base_s * float(2 ** min(nth, 30)), config.retry_cap_s)
    return ceiling * (1 + zlib.crc32(key.encode()) / 2**32) / 2


def _end_request(
    state: State, request: Request, outcome: Outcome, now: float, task: Task | None = None
) -> list[Effect]:
    request.state = RequestState.ENDED
    request.ended_at = now
    request.outcome = outcome
    del state.requests[request.id]
    return [SaveRequest(request), _report("info", f"build {outcome.result_class.value}", request, task)]


def _report(level: str, message: str, request: Request, task: Task | None) -> Report:
    tenant, request_id = request.tenant, request.id
    if task is None:
        return Report(level, message, tenant, request_id)
    return Report(level, message, tenant, request_id, task.id, host=task.hostname)


def _all_tasks(state: State) -> tuple[tuple[TaskId, HostId], ...]:
    return tuple((task.id, task.host_id) for task in state.tasks.values())


def _due(state: State, kind: str, key: str, now: float) -> list[Effect]:
    match kind:
        case "task":
            return _task_due(state, state.tasks[TaskId(key)], now)
        case "request":
            state.enqueue(state.requests[RequestId(key)], now)
        case "earmark":
            return look_again(state, HostId(key), now)
        case "reconcile":
            state.deadlines.set("reconcile", "", now + state.config.reconcile_every_s)
            state.breakers.forget_idle(now, {r.template.image for r in state.requests.values() if r.template.image})
            if state.connected:
                return [Reconcile(_all_tasks(state)), Reconcile(())] if state.tasks else [Reconcile(())]
        case _:  # starving, breaker, idle, revive: another round is all they ask for
            state.dirty = True
    return []


_ON_MESOS_WORD = (TaskState.LAUNCHING, TaskState.UNREACHABLE)
"""States whose deadlines are for what Mesos should have said by then."""


def _task_due(state: State, task: Task, now: float) -> list[Effect]:
    if not state.connected and task.state in _ON_MESOS_WORD:
        _until(state, task, now + state.config.kill_confirm_s)  # it may run well: nobody could tell us
        return []
    match task.state:
        case TaskState.LAUNCHING:
            reason = f"did not run within {state.config.launch_timeout_s:.0f} s of its launch"
            return _kill(state, task, FailureClass.INFRASTRUCTURE, reason, now)
        case TaskState.UNREACHABLE:
            return _abandon(state, task, now)
        case TaskState.RUNNING:
            timeout_s = state.requests[task.request_id].template.timeout_s
            return _kill(state, task, FailureClass.TIMEOUT, f"ran longer than its {timeout_s:.0f} s", now)
        case _:  # killing, and nobody has confirmed it
            if task.unseen_since is not None and now - task.unseen_since >= state.config.unreachable_s:
                return _abandon(state, task, now)
            effects = _kill(state, task, FailureClass.INFRASTRUCTURE, "", now)
            return [*effects, Reconcile(((task.id, task.host_id),))]


def _abandon(state: State, task: Task, now: float) -> list[Effect]:
    """Gives up a task on a host that Mesos does not see; should it come back, it is killed."""
    if task.kill_class is not None:
        outcome = Outcome(task.kill_class, task.kill_reason)
    else:
        reason = f"its host was out of Mesos' sight for {state.config.unreachable_s:.0f} s"
        outcome = Outcome(FailureClass.INFRASTRUCTURE, reason)
    return _end(state, task, outcome, now)
