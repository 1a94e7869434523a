"""What Mesos tells of tasks, and what becomes of their instances."""

from __future__ import annotations

from msgspec.structs import replace

from framework.core.effects import Acknowledge, Kill
from framework.core.events import TaskUpdate
from framework.core.ids import TaskId
from framework.local.marathon.core import health
from framework.local.marathon.core.frame import Frame
from framework.local.marathon.core.killing import AWAY, ask_anew, end, expunge, stop_checks, without_task
from framework.local.marathon.core.queue import back_off
from framework.local.marathon.core.state import State, task_lives
from framework.local.marathon.definition.app import DEFAULT_KILL_GRACE_S
from framework.local.marathon.happenings import StatusUpdate, UnknownTerminated
from framework.local.marathon.records import ActionKind, Condition, Goal, Instance, instance_id_of

_CONDITIONS = {
    "TASK_STAGING": Condition.STAGING,
    "TASK_STARTING": Condition.STARTING,
    "TASK_RUNNING": Condition.RUNNING,
    "TASK_KILLING": Condition.KILLING,
    "TASK_FINISHED": Condition.FINISHED,
    "TASK_FAILED": Condition.FAILED,
    "TASK_KILLED": Condition.KILLED,
    "TASK_ERROR": Condition.ERROR,
    "TASK_UNREACHABLE": Condition.UNREACHABLE,
    "TASK_GONE": Condition.GONE,
    "TASK_GONE_BY_OPERATOR": Condition.GONE,
    "TASK_DROPPED": Condition.DROPPED,
    "TASK_UNKNOWN": Condition.UNKNOWN,
}

# Of TASK_LOST: the host may come back with the task (Marathon's TaskStatusReducer).
_MIGHT_COME_BACK = frozenset({"REASON_RECONCILIATION", "REASON_SLAVE_DISCONNECTED", "REASON_SLAVE_REMOVED"})

# Marathon's NotifyRateLimiterStep: ends that no healthy service comes to.
_WORTH_A_DELAY = frozenset({
    Condition.DROPPED, Condition.ERROR, Condition.FAILED, Condition.GONE, Condition.FINISHED,
})  # fmt: skip
# A task of which its host tells this was launched, and so what was to be reserved for it before has been.
_LAUNCHED = frozenset({Condition.FAILED, Condition.FINISHED, Condition.KILLED})

_FAILURES = frozenset({
    Condition.DROPPED, Condition.ERROR, Condition.FAILED, Condition.GONE, Condition.UNKNOWN,
})  # fmt: skip


def condition_of(update: TaskUpdate) -> Condition:
    """That an update brings its instance into."""
    if update.state == "TASK_LOST":
        if update.reason in _MIGHT_COME_BACK and "unknown" not in update.message.lower():
            return Condition.UNREACHABLE
        return Condition.DROPPED
    return _CONDITIONS.get(update.state, Condition.UNKNOWN)


def take_update(frame: Frame, update: TaskUpdate) -> None:
    """Of a task of ours or of none; it is acknowledged either way, after what it changed is saved."""
    if update.uuid and update.host_id is not None:
        frame.call(Acknowledge(update.task_id, update.host_id, update.uuid))
    frame.state.unanswered.pop(update.task_id, None)
    condition = condition_of(update)
    instance = instance_of(frame.state, update.task_id)
    if instance is None:
        _unknown(frame, update, condition)
    elif condition.terminal:
        _ended(frame, instance, condition, update)
    elif condition is Condition.UNREACHABLE:
        _out_of_sight(frame, instance, update)
    else:
        _lives(frame, instance, condition, update)


def instance_of(state: State, task_id: TaskId) -> Instance | None:
    """None where the task is not the present one of an instance."""
    instance = state.instance(instance_id_of(task_id))
    if instance is None or instance.task_id != task_id or not task_lives(instance.condition):
        return None
    return instance


def _unknown(frame: Frame, update: TaskUpdate, condition: Condition) -> None:
    """A task that lives though nobody wants it is killed; one that is out of sight is when it comes back."""
    if condition.terminal:
        instance_id = instance_id_of(update.task_id)
        if frame.state.instance(instance_id) is None and update.uuid:
            app_id = "/" + instance_id.partition(".instance-")[0].replace("_", "/")
            frame.publish(UnknownTerminated(instance_id, app_id, condition))
    elif condition is not Condition.UNREACHABLE and update.host_id is not None:
        frame.report("warning", f"task {update.task_id} is of no instance and is killed")
        frame.call(Kill(update.task_id, update.host_id, DEFAULT_KILL_GRACE_S))


def _lives(frame: Frame, instance: Instance, condition: Condition, update: TaskUpdate) -> None:
    state = frame.state
    begins = condition is Condition.RUNNING and instance.started_at is None
    if instance.condition is Condition.KILLING and condition is not Condition.KILLING:
        condition = Condition.KILLING
    now_as = replace(
        instance,
        condition=condition,
        since=instance.since if condition is instance.condition else frame.now,
        mesos_state=update.state,
        started_at=frame.now if begins else instance.started_at,
        addresses=update.addresses or instance.addresses,
        reserved=bool(instance.volumes),  # what was to be reserved with the launch has been
    )
    for kind in ("inactive", "expunge"):
        state.deadlines.drop(kind, instance.id)
    if update.state != instance.mesos_state:
        frame.publish(StatusUpdate(now_as, update.state, update.message))
    if now_as != instance:
        frame.put(now_as)
    if update.check is not None:
        state.checks[instance.id] = update.check
    if begins:
        state.deadlines.drop("launch", instance.id)
        if instance.app_id in state.delays:
            state.deadlines.set("viable", instance.id, frame.now + state.config.viable_s)
    if condition is Condition.RUNNING and instance.condition is not Condition.RUNNING:
        health.start_checks(frame, now_as)
    unheard = instance.condition in AWAY or not state.deadlines.has("kill", instance.id)
    if now_as.kill_asked_at is not None and unheard:
        ask_anew(frame, now_as)
    elif update.healthy is not None and condition is Condition.RUNNING:
        health.told_by_executor(frame, now_as, update, healthy=update.healthy)


def _out_of_sight(frame: Frame, instance: Instance, update: TaskUpdate) -> None:
    if instance.condition in AWAY:
        return
    instance = replace(instance, condition=Condition.UNREACHABLE, since=frame.now, mesos_state=update.state)
    frame.publish(StatusUpdate(instance, update.state, update.message))
    frame.put(instance)
    stop_checks(frame, instance)
    if instance.goal is Goal.DECOMMISSIONED:
        expunge(frame, instance)
        return
    wait_for(frame, instance)


def wait_for(frame: Frame, instance: Instance) -> None:
    """As the app's unreachableStrategy has it: replaced after a while, and after another forgotten."""
    strategy = frame.state.spec(instance).unreachable_strategy
    if isinstance(strategy, str):
        return
    deadlines = frame.state.deadlines
    deadlines.set("expunge", instance.id, instance.since + strategy.expunge_after_seconds)
    if instance.condition is Condition.UNREACHABLE:
        deadlines.set("inactive", instance.id, instance.since + strategy.inactive_after_seconds)


def given_up(frame: Frame, instance: Instance) -> None:
    """It has been out of sight for so long that another takes its place."""
    if instance.condition is Condition.UNREACHABLE:
        frame.put(replace(instance, condition=Condition.UNREACHABLE_INACTIVE))


def _ended(frame: Frame, instance: Instance, condition: Condition, update: TaskUpdate) -> None:
    state = frame.state
    app = state.spec(instance)
    asked = instance.kill_asked_at is not None
    stop_checks(frame, instance)
    told = replace(
        instance, condition=condition, since=frame.now, mesos_state=update.state, healthy=None, ready=None, addresses=()
    )
    frame.publish(StatusUpdate(told, update.state, update.message))
    if condition in _FAILURES and not asked:
        frame.failed(instance, update.state, update.message)
    if condition in _WORTH_A_DELAY and not asked:
        back_off(state, app, instance.staged_at, frame.now)
    if update.state == "TASK_GONE_BY_OPERATOR":
        told = replace(told, reserved=False, volumes=())
    elif condition in _LAUNCHED and told.volumes:
        told = replace(told, reserved=True)
    state.clear_task(instance.id)
    if told.goal is Goal.RUNNING and (told.reserved or _goes_on(state, told)):
        frame.put(told)
        anew = replace(told, condition=Condition.SCHEDULED, kill_asked_at=None, started_at=None, mesos_state=None)
        frame.put(anew if told.reserved else replace(anew, site=None, ports=(), staged_at=None))
    else:
        without_task(frame, told)


def _goes_on(state: State, instance: Instance) -> bool:
    """Whether an instance without volumes gets another task: not one that a failed launch may have made some for, nor

    one of an older configuration, whose place a new instance takes.
    """
    app, acting = state.app(instance.app_id), state.acting.get(instance.app_id)
    if app is None or instance.volumes or instance.version < app.version_info.last_config_change_at:
        return False
    rolled = acting is not None and acting.action.kind is ActionKind.RESTART
    return not (acting and rolled and instance.version < acting.action.app.version)


def overdue(frame: Frame, instance: Instance) -> None:
    """It was launched long ago and does not run: it is killed, and another takes its place."""
    if instance.condition not in (Condition.PROVISIONED, Condition.STAGING, Condition.STARTING):
        return
    limit_s = frame.state.config.launch_timeout_s
    frame.report("warning", f"the task does not run {limit_s:.0f} s after its launch and is killed", instance)
    end(frame, instance, Goal.RUNNING if instance.reserved else Goal.DECOMMISSIONED)
