"""What brings an app to the instances it is to have, and what an action of a deployment does to it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from msgspec.structs import replace

from framework.local.marathon.core.books import Book, alive
from framework.local.marathon.core.effects import DropFailure
from framework.local.marathon.core.frame import Frame
from framework.local.marathon.core.killing import AWAY, end, ended_goal, to_scale_down
from framework.local.marathon.core.state import Acting
from framework.local.marathon.definition.app import App
from framework.local.marathon.happenings import AppTerminated, HealthCheckSet
from framework.local.marathon.records import ActionKind, Condition, Goal, Instance


def perform(frame: Frame, acting: Acting) -> bool:
    """Goes on with the action as far as it can now, and tells whether it is done."""
    app = acting.action.app
    if not acting.begun:
        acting.begun = True
        _begin(frame, acting)
    match acting.action.kind:
        case ActionKind.STOP:
            done = stop(frame, app.id)
        case ActionKind.RESTART:
            done = _roll(frame, app, acting.before)
        case _:
            done = toward(frame, app, acting.action.scale_to, acting.action.kill)
    if done and acting.action.kind is ActionKind.STOP:
        frame.state.forget_app(app.id)
        frame.save("failure", app.id, DropFailure(app.id))
        frame.publish(AppTerminated(app.id))
    return done


def toward(frame: Frame, app: App, count: int, kill: Sequence[str] = ()) -> bool:
    """Ends what is too much and schedules what is missing; whether so many are there, and those that this version of

    the app has brought do their work. What is dying still takes its place, so that there are never more at once than
    wanted.
    """
    book = frame.state.book(app.id)
    if book.wanted > count:
        for one in to_scale_down(book, app, book.wanted - count, kill):
            end(frame, one, ended_goal(one))
    else:
        missing = count - book.wanted - book.doomed
        schedule(frame, app, missing)
        _unschedule(frame, app, -missing)
    book = frame.state.book(app.id)
    return book.wanted == count and not book.doomed and (book.good + book.away >= count or not _awaits(book, app))


def _awaits(book: Book, app: App) -> bool:
    """Whether one that came with this version does not do its work yet.

    As with Marathon, those from before are not waited for: an app that is ill can be scaled, and others go on.
    """
    return any(
        one.version >= app.version
        and one.goal is Goal.RUNNING
        and one.condition not in AWAY
        and not book.is_good(one.id)
        for one in reversed(book.instances.values())  # the last to come are the last to be well
    )


def stop(frame: Frame, app_id: str) -> bool:
    """Ends all instances for good; whether none is left."""
    for one in frame.state.instances(app_id):
        if one.goal is not Goal.DECOMMISSIONED:
            end(frame, one, Goal.DECOMMISSIONED)
    return not frame.state.book(app_id).instances


def schedule(frame: Frame, app: App, count: int) -> None:
    """Puts so many more into the launch queue, those first that have a reservation to go back to."""
    if count <= 0:
        return
    book = frame.state.book(app.id)
    for instance_id in list(itertools.islice(book.stopped, count)):
        one = book.instances[instance_id]
        frame.put(_anew(frame, replace(one, version=app.version, role=app.role)))
        count -= 1
    name = app.id.strip("/").replace("/", "_")
    for _ in range(count):
        frame.put(
            Instance(
                id=f"{name}.instance-{frame.state.new_uuid()}",
                app_id=app.id,
                version=app.version,
                role=app.role,
                goal=Goal.RUNNING,
                condition=Condition.SCHEDULED,
                since=frame.now,
            )
        )


def _unschedule(frame: Frame, app: App, count: int) -> None:
    """Takes so many out of the launch queue again that a roll, of which nothing came, had more room for."""
    book = frame.state.book(app.id)
    for instance_id in list(book.scheduled)[: max(0, count)]:
        end(frame, book.instances[instance_id], ended_goal(book.instances[instance_id]))


def _anew(frame: Frame, instance: Instance) -> Instance:
    return replace(instance, goal=Goal.RUNNING, condition=Condition.SCHEDULED, since=frame.now, kill_asked_at=None)


def _begin(frame: Frame, acting: Acting) -> None:
    state, action = frame.state, acting.action
    app = action.app
    book = state.book(app.id)
    acting.before = book.wanted - len(book.scheduled)
    if action.kind is ActionKind.RESTART:
        state.delays.pop(app.id, None)
    if action.kind is ActionKind.SCALE and app.version == app.version_info.last_config_change_at:
        return  # its checks were told of when it was started
    for index in range(len(app.health_checks)):
        frame.publish(HealthCheckSet(app.id, app.version, index, added=action.kind is not ActionKind.STOP))


def capacities(app: App, before: int) -> tuple[int, int]:
    """How many instances have to do their work all through a roll, and how many there may be at once.

    Of ``before`` instances no more than these are kept: an app that also grows has its first new ones take the place of
    old ones, where there is not room for all. The rounding is Marathon's (TaskReplaceActor.computeRestartStrategy).
    Where both are the same nothing could ever move, so one more may run, or, as resident instances cannot have a second
    place, one fewer.
    """
    strategy = app.upgrade_strategy
    least = min(math.ceil(app.instances * strategy.minimum_health_capacity), before)
    most = int(app.instances * (1 + strategy.maximum_over_capacity))
    if least < most:
        return least, most
    return (least - 1, most) if app.resident else (least, most + 1)


def _roll(frame: Frame, app: App, before: int) -> bool:
    """Replaces what runs an older version, with never fewer at work or more at once than its strategy has it."""
    least, most = capacities(app, before)
    book = frame.state.book(app.id)
    old: list[Instance] = []
    new: list[Instance] = []
    for one in tuple(book.instances.values()):
        if one.goal is not Goal.RUNNING:
            continue
        if one.version < app.version:
            if one.condition is Condition.SCHEDULED and one.reserved:
                frame.put(replace(one, version=app.version))
                new.append(one)
            elif alive(one):
                old.append(one)
            else:
                end(frame, one, ended_goal(one))
        elif alive(one) or one.condition is Condition.SCHEDULED:
            new.append(one)
    remaining = _retire(frame, app, old, least, sum(book.is_good(one.id) for one in new))
    book = frame.state.book(app.id)
    surplus = len(new) - app.instances
    if surplus > 0:
        of_new = frozenset(one.id for one in new)
        order = [one for one in to_scale_down(book, app, book.wanted, ()) if one.id in of_new]
        for one in order[:surplus]:
            end(frame, one, ended_goal(one))
    schedule(frame, app, min(-surplus, most - book.wanted - book.doomed))
    book = frame.state.book(app.id)
    return not remaining and not book.doomed and book.wanted == app.instances and book.good >= app.instances


def _retire(frame: Frame, app: App, old: list[Instance], least: int, new_working: int) -> int:
    """Ends as many old ones as may be, first those that do no work; the number of those that stay."""
    book = frame.state.book(app.id)
    working = new_working + sum(book.is_good(one.id) for one in old)
    old.sort(key=lambda one: (book.is_good(one.id), one.started_at or 0.0))
    remaining = len(old)
    for one in old:
        if remaining + new_working <= least:
            break
        if book.is_good(one.id):
            if working <= least:
                break
            working -= 1
        remaining -= 1
        end(frame, one, ended_goal(one))
    return remaining
