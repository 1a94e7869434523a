"""``step(state, event, now) -> effects``: all that the core ever does by itself. What users ask is in ``deploying``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from framework.core import events as mesos
from framework.core.effects import DeclineInverse, Reconcile, SaveFrameworkId
from framework.core.ids import HostId, TaskId
from framework.local.marathon.core import health, tasks
from framework.local.marathon.core.deploying import go_on, lead
from framework.local.marathon.core.effects import Effect
from framework.local.marathon.core.events import DelayReset, Event, HealthProbed, KillAsked, ReadinessProbed
from framework.local.marathon.core.frame import Frame
from framework.local.marathon.core.killing import AWAY, ask, ask_anew, end, expunge
from framework.local.marathon.core.offering import conclude, lose_all, take_in
from framework.local.marathon.core.state import State, task_lives
from framework.local.marathon.happenings import Registered
from framework.local.marathon.records import Condition, Goal, Instance
from framework.ports import jittered

INVERSE_REFUSE_S = 600.0
"""Apps stay until their host goes; Mesos need not ask again soon."""

RECONCILE_AT_ONCE = 1000
"""Tasks named in one call."""


def resume(state: State, now: float) -> list[Effect]:
    """Once after the start, before the first event: running deployments go on, checks are started again."""
    frame = Frame(state, now)
    for instance in state.all_instances():
        frame.watch(instance.app_id)
        _resume_instance(frame, instance)
    for buried in state.garbage.values():
        for instance in buried.values():
            state.deadlines.set("garbage", instance.id, now + state.config.garbage_s)
    go_on(frame)
    state.deadlines.set("scale", "", now + state.config.scale_interval_s)
    state.look_at_all()
    lead(frame)
    return frame.effects()


def step(state: State, event: Event, now: float) -> list[Effect]:
    """One event, one turn. ``now`` is seconds since the epoch."""
    return turn(state, (event,), now)


def turn(state: State, events: Iterable[Event], now: float) -> list[Effect]:
    """Takes in all events, then decides once. The effects make up one frame: saves first, then calls in this order."""
    frame = Frame(state, now)
    for event in events:
        _take_in(frame, event)
    stale: list[HostId] = []
    for kind, key in state.deadlines.due(now):
        if kind == "host":
            stale.append(HostId(key))
        else:
            _due(frame, kind, key)
    lead(frame)
    conclude(frame, stale)
    return frame.effects()


def _resume_instance(frame: Frame, instance: Instance) -> None:
    state = frame.state
    if not task_lives(instance.condition):
        return
    if instance.started_at is None and instance.staged_at is not None:
        state.deadlines.set("launch", instance.id, instance.staged_at + state.config.launch_timeout_s)
    if instance.kill_asked_at is not None:
        state.deadlines.set("kill", instance.id, frame.now)
    if instance.condition in AWAY:
        tasks.wait_for(frame, instance)
    elif instance.condition is Condition.RUNNING:
        health.start_checks(frame, instance)


def _take_in(frame: Frame, event: Event) -> None:  # noqa: C901 - one arm an event
    state = frame.state
    match event:
        case mesos.TaskUpdate():
            tasks.take_update(frame, event)
        case mesos.OffersReceived():
            take_in(frame, event.offers)
        case mesos.OfferRescinded():
            host_id = state.offers.rescind(event.offer_id)
            if host_id is not None:
                state.deadlines.drop("host", host_id)
        case mesos.Subscribed():
            _subscribed(frame, event)
        case mesos.Disconnected() | mesos.NotSubscribed():
            _disconnected(frame)
        case mesos.FrameworkRemoved():
            _removed(frame, event)
        case mesos.InverseOffersReceived():
            frame.call(DeclineInverse(tuple(one.id for one in event.offers), INVERSE_REFUSE_S))
        case mesos.HostLost():
            state.seen.pop(event.host_id, None)
        case HealthProbed():
            health.probed(frame, event)
        case ReadinessProbed():
            health.readiness_probed(frame, event)
        case KillAsked():
            _kill_asked(frame, event)
        case DelayReset():
            _reset_delay(state, event.app_id)
        case _:
            pass  # executors' ends and messages: their tasks' own updates say what there is to know


def _subscribed(frame: Frame, event: mesos.Subscribed) -> None:
    state = frame.state
    lose_all(state)
    if event.framework_id != state.framework_id:
        state.framework_id = event.framework_id
        frame.save("framework", "", SaveFrameworkId(event.framework_id))
    frame.publish(Registered(event.framework_id, state.mesos_url or "", again=state.registered))
    state.registered = True
    state.connected = True
    state.suppressed = False
    state.unserved = False
    state.eager.update(dict.fromkeys(state.waiting))
    _reconcile(frame)
    for instance in state.all_instances():
        if instance.kill_asked_at is not None and task_lives(instance.condition):
            ask_anew(frame, instance)  # what was asked of a connection that was lost may be lost with it


def _disconnected(frame: Frame) -> None:
    lose_all(frame.state)
    frame.state.connected = False
    frame.state.deadlines.drop("reconcile", "")
    frame.state.deadlines.drop("ask again", "")


def _reconcile(frame: Frame) -> None:
    """Asks of every task that we know, and then of all that Mesos knows."""
    state = frame.state
    state.unanswered = dict(_known_tasks(state))
    state.asked_again = 0
    _ask_of(frame, list(state.unanswered.items()))
    frame.call(Reconcile(()))
    state.deadlines.set("reconcile", "", frame.now + state.config.reconcile_interval_s)
    _ask_again_later(state, frame.now)


def _ask_again(frame: Frame) -> None:
    """A Mesos master that has just started says nothing of the tasks of hosts that are not back yet."""
    state = frame.state
    state.unanswered = {
        task_id: host_id for task_id, host_id in state.unanswered.items() if tasks.instance_of(state, task_id)
    }
    _ask_of(frame, list(state.unanswered.items()))
    state.asked_again += 1
    _ask_again_later(state, frame.now)


def _ask_again_later(state: State, now: float) -> None:
    config = state.config
    if state.unanswered and config.reconcile_retry_s * 2**state.asked_again < config.reconcile_interval_s:
        wait_s = jittered(state.chance, state.asked_again, config.reconcile_retry_s, config.reconcile_interval_s)
        state.deadlines.set("ask again", "", now + wait_s)


def _ask_of(frame: Frame, known: Sequence[tuple[TaskId, HostId]]) -> None:
    for start in range(0, len(known), RECONCILE_AT_ONCE):
        frame.call(Reconcile(tuple(known[start : start + RECONCILE_AT_ONCE])))


def _known_tasks(state: State) -> Iterator[tuple[TaskId, HostId]]:
    for instance in state.all_instances():
        if instance.site is not None and task_lives(instance.condition):
            yield instance.task_id, instance.site.host_id


def _removed(frame: Frame, event: mesos.FrameworkRemoved) -> None:
    """Mesos has ended every task; they are launched anew by the framework that comes of the next subscription."""
    state = frame.state
    _disconnected(frame)
    frame.report("error", f"Mesos has removed the framework, and all tasks with it: {event.reason}")
    for task_id, host_id in list(_known_tasks(state)):
        instance = tasks.instance_of(state, task_id)
        launched = instance is not None and instance.mesos_state is not None
        task_state = "TASK_KILLED" if launched else "TASK_DROPPED"
        tasks.take_update(frame, mesos.TaskUpdate(task_id, task_state, host_id, message=event.reason))
    state.framework_id = None
    state.registered = False
    frame.save("framework", "", SaveFrameworkId(None))


def _kill_asked(frame: Frame, event: KillAsked) -> None:
    for instance_id in event.instance_ids:
        instance = frame.state.instance(instance_id)
        if instance is not None:
            forgotten = event.wipe or (instance.condition in AWAY and not instance.reserved)
            end(frame, instance, Goal.DECOMMISSIONED if forgotten else Goal.RUNNING)


def _reset_delay(state: State, app_id: str) -> None:
    state.delays.pop(app_id, None)
    state.deadlines.drop("delay", app_id)
    if state.delayed.pop(app_id, "") is None:
        state.eager[app_id] = None
        state.unserved = True


def _due(frame: Frame, kind: str, key: str) -> None:
    state = frame.state
    match kind:
        case "delay":
            if key in state.waiting:
                state.delayed.pop(key, None)
                state.eager[key] = None
                state.unserved = True
        case "reconcile":
            _reconcile(frame)
        case "ask again":
            _ask_again(frame)
        case "scale":
            state.look_at_all()
            state.deadlines.set("scale", "", frame.now + state.config.scale_interval_s)
        case "garbage":
            for buried in list(state.garbage.values()):
                if key in buried:
                    frame.forget_garbage(buried[key])
        case "round" | "revive":
            pass  # what ends the turn does it
        case _:
            instance = state.instance(key)
            if instance is not None:
                _due_of(frame, kind, instance)


def _due_of(frame: Frame, kind: str, instance: Instance) -> None:
    match kind:
        case "launch":
            tasks.overdue(frame, instance)
        case "kill":
            if task_lives(instance.condition):
                ask(frame, instance)
        case "inactive":
            tasks.given_up(frame, instance)
        case "expunge":
            if instance.condition in AWAY:
                expunge(frame, instance)
        case _:  # viable
            if instance.condition is Condition.RUNNING and instance.healthy is not False:
                _reset_delay(frame.state, instance.app_id)
