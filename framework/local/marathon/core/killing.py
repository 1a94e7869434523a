"""How instances end: which go first, and how their tasks are asked to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from framework.core.effects import Kill, Reconcile
from framework.local.marathon.core.books import Book, alive
from framework.local.marathon.core.effects import StopChecks, StopReadiness
from framework.local.marathon.core.frame import Frame
from framework.local.marathon.core.state import task_lives
from framework.local.marathon.definition.app import App
from framework.local.marathon.records import Condition, Goal, Instance, Site
from framework.ports import jittered

AWAY = (Condition.UNREACHABLE, Condition.UNREACHABLE_INACTIVE)

# Which go first, as Marathon's ScalingProposition weighs them; before those what has no task yet.
_WEIGHTS = {
    Condition.SCHEDULED: 0,
    Condition.PROVISIONED: 1,
    Condition.UNREACHABLE: 2,
    Condition.STAGING: 3,
    Condition.STARTING: 4,
}
_UNWELL, _WELL = 5, 6


def ended_goal(instance: Instance) -> Goal:
    """Of one that is not wanted now: what is reserved for it is kept, so that it can be taken up again."""
    return Goal.STOPPED if instance.reserved else Goal.DECOMMISSIONED


def end(frame: Frame, instance: Instance, goal: Goal) -> None:
    """Has the instance's task killed, and the instance follow ``goal`` then; at once where it has no task.

    With the goal to run, it is launched again where it was. What is out of Mesos' sight is forgotten unless something
    is to be kept of it; should it come back it is killed, as nobody knows it.
    """
    if not task_lives(instance.condition):
        if goal is not Goal.RUNNING:
            without_task(frame, replace(instance, goal=goal))
        return
    if instance.condition in AWAY and goal is Goal.DECOMMISSIONED:
        expunge(frame, instance)
        return
    if instance.goal is Goal.DECOMMISSIONED or goal is Goal.RUNNING:
        goal = instance.goal
    asked_at = frame.now if instance.kill_asked_at is None else instance.kill_asked_at
    instance = replace(instance, goal=goal, kill_asked_at=asked_at)
    frame.put(instance)
    ask(frame, instance)


def ask(frame: Frame, instance: Instance) -> None:
    """Sends the kill, now and again until the task has ended."""
    state = frame.state
    if instance.site is None:
        return
    grace_s = state.spec(instance).kill_grace_s
    frame.call(Kill(instance.task_id, instance.site.host_id, grace_s))
    attempt = state.kills.get(instance.id, 0)
    if attempt:
        frame.call(Reconcile(((instance.task_id, instance.site.host_id),)))
    state.kills[instance.id] = attempt + 1
    config = state.config
    wait_s = grace_s + jittered(state.chance, attempt, config.kill_retry_s, config.kill_retry_max_s)
    state.deadlines.set("kill", instance.id, frame.now + wait_s)


def ask_anew(frame: Frame, instance: Instance) -> None:
    """As ``ask``, where what was asked so far cannot have been heard."""
    frame.state.kills.pop(instance.id, None)
    ask(frame, instance)


def without_task(frame: Frame, instance: Instance) -> None:
    """The instance has no task any more and is not to get one: what is reserved for it stays, or goes, or there is

    nothing. A launch that failed may have reserved all the same.
    """
    if not instance.volumes:
        frame.drop(instance)
    elif instance.goal is Goal.DECOMMISSIONED or not instance.reserved:
        bury(frame, instance)
    else:
        frame.put(instance)


def bury(frame: Frame, instance: Instance) -> None:
    """Ended for good; its volumes are destroyed once its host is offered."""
    if not instance.condition.terminal:
        instance = replace(instance, condition=Condition.KILLED, since=frame.now)
    frame.put(replace(instance, goal=Goal.DECOMMISSIONED))
    frame.state.deadlines.set("garbage", instance.id, frame.now + frame.state.config.garbage_s)
    frame.state.unserved = True


def expunge(frame: Frame, instance: Instance) -> None:
    """Forgets an instance whose task may still live out of Mesos' sight."""
    stop_checks(frame, instance)
    if instance.volumes:
        bury(frame, replace(instance, condition=Condition.UNKNOWN, since=frame.now))
    else:
        frame.drop(instance)


def stop_checks(frame: Frame, instance: Instance) -> None:
    """Those that the server makes itself."""
    app = frame.state.spec(instance)
    if any(not each.by_executor for each in app.health_checks):
        frame.check(StopChecks(instance.id))
    if app.readiness_checks:
        frame.check(StopReadiness(instance.id))


def to_scale_down(book: Book, app: App, count: int, first: Sequence[str]) -> list[Instance]:
    """So many of those that are wanted: named ones, those that do no work yet, then as the app's killSelection has it.

    An app that is to be spread by GROUP_BY loses them where most are.
    """
    named = frozenset(first)

    def rank(one: Instance) -> tuple[bool, int]:
        weight = _WEIGHTS.get(one.condition, _WELL if book.is_good(one.id) else _UNWELL)
        return one.id not in named, weight

    youngest_first = app.kill_selection == "YOUNGEST_FIRST"
    candidates = [one for one in book.instances.values() if _wanted(one)]
    candidates.sort(key=_age, reverse=youngest_first)
    candidates.sort(key=rank)
    field = next((each[0] for each in app.constraints if len(each) > 1 and each[1] == "GROUP_BY"), None)
    if field is None:
        return candidates[:count]
    plain = [one for one in candidates if rank(one) != (True, _WELL)]
    return plain[:count] + _evenly(candidates[len(plain) :], field, count - len(plain))


def _evenly(candidates: Iterable[Instance], field: str, count: int) -> list[Instance]:
    by_value: defaultdict[str | None, list[Instance]] = defaultdict(list)
    for one in candidates:
        by_value[_value(one.site, field)].append(one)
    for instances in by_value.values():
        instances.reverse()  # so that the first to go is the last
    chosen: list[Instance] = []
    while len(chosen) < count and by_value:
        chosen.append(max(by_value.values(), key=len).pop())
    return chosen


def _value(site: Site | None, field: str) -> str | None:
    if site is None:
        return None
    return site.hostname if field in ("hostname", "@hostname") else site.attributes.get(field)


def _wanted(instance: Instance) -> bool:
    return instance.goal is Goal.RUNNING and (alive(instance) or instance.condition is Condition.SCHEDULED)


def _age(instance: Instance) -> float:
    return instance.started_at or instance.staged_at or instance.since
