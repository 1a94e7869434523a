"""One turn's effects as they gather, and the few ways in which an instance is changed."""

from __future__ import annotations

from framework.core.effects import Report
from framework.local.marathon.core.effects import (
    Call,
    Checking,
    DropDeployment,
    DropInstance,
    Effect,
    Publish,
    Save,
    SaveDeployment,
    SaveFailure,
    SaveInstance,
)
from framework.local.marathon.core.queue import Waiting
from framework.local.marathon.core.state import State
from framework.local.marathon.happenings import Happening, InstanceChanged
from framework.local.marathon.records import Condition, Deployment, Goal, Instance, TaskFailure


class Frame:
    """``now`` is seconds since the epoch. What is saved twice in a turn is saved as it was last."""

    def __init__(self, state: State, now: float) -> None:
        self.state = state
        self.now = now
        state.take_time(now)
        self._saves: dict[tuple[str, str], Save] = {}
        self._calls: list[Call] = []
        self._checks: list[Checking] = []
        self._told: list[Publish] = []
        self._reports: list[Report] = []

    def effects(self) -> list[Effect]:
        """Of the turn so far, in the order in which they are performed: saves, calls, checks, what is told."""
        return [*self._saves.values(), *self._calls, *self._checks, *self._told, *self._reports]

    def save(self, kind: str, key: str, save: Save) -> None:
        """In place of an earlier one of this kind and key."""
        self._saves[kind, key] = save

    def call(self, call: Call) -> None:
        self._calls.append(call)

    def check(self, checking: Checking) -> None:
        self._checks.append(checking)

    def publish(self, happening: Happening) -> None:
        self._told.append(Publish(happening))

    def report(self, level: str, message: str, instance: Instance | None = None) -> None:
        """For the log; ``level`` as in logging."""
        task_id = instance.task_id if instance is not None else None
        self._reports.append(Report(level, message, task_id=task_id))

    def put(self, instance: Instance) -> None:
        """Takes in and saves the instance as it now is; tells of it where its condition or goal is another."""
        state = self.state
        was = state.instance(instance.id)
        state.put(instance)
        self.save("instance", instance.id, SaveInstance(instance))
        if was is None or (was.condition, was.goal) != (instance.condition, instance.goal):
            self.publish(InstanceChanged(instance, instance.condition, instance.goal))
        self.watch(instance.app_id)
        if instance.condition is Condition.SCHEDULED and instance.goal is Goal.RUNNING:
            state.eager[instance.app_id] = None
            state.unserved = True

    def drop(self, instance: Instance) -> None:
        """Forgets the instance; tells of how it ended."""
        state = self.state
        was = state.instance(instance.id)
        in_the_way = bool(state.spec(instance).constraints)
        state.remove(instance)
        if was is not None and was.condition is not instance.condition:
            self.publish(InstanceChanged(instance, instance.condition, instance.goal))
        self.save("instance", instance.id, DropInstance(instance.id))
        self.watch(instance.app_id)
        if in_the_way and instance.app_id in state.waiting:
            state.eager[instance.app_id] = None
            state.unserved = True

    def forget_garbage(self, instance: Instance) -> None:
        """Nothing is reserved for it any more, or nobody can tell."""
        self.state.unbury(instance)
        self.save("instance", instance.id, DropInstance(instance.id))

    def failed(self, instance: Instance, task_state: str, message: str) -> None:
        """Keeps it as the app's last failure, and has the log tell of it. ``task_state``: TASK_*."""
        self.report("warning", f"the task has failed, as {task_state}: {message}", instance)
        site = instance.site
        failure = TaskFailure(
            app_id=instance.app_id,
            host=site.hostname if site else "",
            message=message,
            state=task_state,
            task_id=instance.task_id,
            timestamp=self.now,
            version=instance.version,
            slave_id=site.host_id if site else None,
        )
        self.state.failures[instance.app_id] = failure
        self.save("failure", instance.app_id, SaveFailure(failure))

    def put_deployment(self, deployment: Deployment) -> None:
        self.state.running[deployment.id].deployment = deployment
        self.save("deployment", deployment.id, SaveDeployment(deployment))

    def drop_deployment(self, deployment_id: str) -> None:
        self.save("deployment", deployment_id, DropDeployment(deployment_id))

    def watch(self, app_id: str) -> None:
        """Has the app looked at at the end of the turn, and keeps the launch queue in step with it."""
        state = self.state
        state.dirty[app_id] = None
        if not state.book(app_id).scheduled:
            state.leave_queue(app_id)
        elif app_id not in state.waiting:
            state.waiting[app_id] = Waiting(self.now)
            state.eager[app_id] = None
