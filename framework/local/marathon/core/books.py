"""The instances of one app, counted as they change, so that a turn costs by what changed and not by their number."""

from __future__ import annotations

from framework.local.marathon.definition.app import App
from framework.local.marathon.records import Condition, Goal, Instance

_ALIVE = frozenset({
    Condition.PROVISIONED, Condition.STAGING, Condition.STARTING, Condition.RUNNING, Condition.KILLING,
    Condition.UNREACHABLE,
})  # fmt: skip


def works(instance: Instance, app: App) -> bool:
    """Whether it does its work: runs, is healthy where the app says what that is, and ready."""
    if instance.condition is not Condition.RUNNING or instance.goal is not Goal.RUNNING:
        return False
    if instance.kill_asked_at is not None:
        return False
    if app.health_checks and not instance.healthy:
        return False
    return instance.ready is True or not app.readiness_checks


def alive(instance: Instance) -> bool:
    """Whether it has a task that takes a place. One that is unreachable for too long is replaced, so it takes none."""
    return instance.condition in _ALIVE


class Book:
    """Of one app. ``good`` is what ``works`` says of an instance and the version of the app that it runs."""

    def __init__(self) -> None:
        self.instances: dict[str, Instance] = {}  # the oldest first
        self.scheduled: dict[str, None] = {}  # that wait to be launched
        self.stopped: dict[str, None] = {}  # without a task, but with a reservation
        self.wanted = 0  # whose goal it is to run, and which take a place or wait for one
        self.doomed = 0  # that take a place though it is not their goal to run
        self.away = 0  # of those that are wanted: out of Mesos' sight
        self.good = 0  # that do their work
        self._good: set[str] = set()

    def put(self, instance: Instance, *, good: bool) -> None:
        self._count(self.instances.get(instance.id), -1)
        self.instances[instance.id] = instance
        self._count(instance, 1)
        self._set_good(instance.id, good)
        if instance.condition is Condition.SCHEDULED and instance.goal is Goal.RUNNING:
            self.scheduled[instance.id] = None
        else:
            self.scheduled.pop(instance.id, None)
        if instance.goal is Goal.STOPPED and (instance.condition.terminal or instance.condition is Condition.SCHEDULED):
            self.stopped[instance.id] = None
        else:
            self.stopped.pop(instance.id, None)

    def remove(self, instance_id: str) -> None:
        self._count(self.instances.pop(instance_id, None), -1)
        self._set_good(instance_id, False)
        self.scheduled.pop(instance_id, None)
        self.stopped.pop(instance_id, None)

    def is_good(self, instance_id: str) -> bool:
        return instance_id in self._good

    def _count(self, instance: Instance | None, by: int) -> None:
        if instance is None:
            return
        if instance.goal is Goal.RUNNING:
            if alive(instance) or instance.condition is Condition.SCHEDULED:
                self.wanted += by
            if instance.condition is Condition.UNREACHABLE:
                self.away += by
        elif alive(instance) and instance.condition is not Condition.UNREACHABLE:
            self.doomed += by

    def _set_good(self, instance_id: str, good: bool) -> None:
        if good:
            self._good.add(instance_id)
        else:
            self._good.discard(instance_id)
        self.good = len(self._good)
