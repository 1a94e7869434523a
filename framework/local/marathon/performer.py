"""Performs the core's calls, once the frame that holds their cause is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from framework.core import effects as mesos
from framework.core.events import TaskUpdate
from framework.errors import ButleryError
from framework.local.marathon.core import effects as ef
from framework.local.marathon.core.events import Event
from framework.local.marathon.definition.app import App
from framework.local.marathon.happenings import Happening
from framework.local.marathon.records import Instance
from framework.log import get_logger
from framework.mesos_ports import DestroyVolumes, LaunchTasks, Operation, SchedulerDriver, Unreserve
from framework.runtime.calls import PlainCall, call, report

log = get_logger(__name__)

MakeOperations = Callable[[ef.Placement], Sequence[Operation]]
"""Of one launch, as they go into an ACCEPT. Raises ButleryError where it cannot be made."""


class Checks(Protocol):
    """What makes the server's own health and readiness checks."""

    def start(self, app: App, instance: Instance) -> None: ...
    def stop(self, instance_id: str) -> None: ...
    def start_readiness(self, app: App, instance: Instance) -> None: ...
    def stop_readiness(self, instance_id: str) -> None: ...


class Performer:
    """Turns effects into calls of the driver, checks and what subscribers are told."""

    def __init__(
        self,
        driver: SchedulerDriver,
        roles: Iterable[str],
        operations: MakeOperations,
        checks: Checks,
        emit: Callable[[Event], None],
        publish: Callable[[Happening], None],
    ) -> None:
        """``roles``: those the driver subscribes with."""
        self._driver = driver
        self._roles = list(roles)
        self._operations = operations
        self._checks = checks
        self._emit = emit
        self._publish = publish

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(self._roles)

    def use(self, driver: SchedulerDriver) -> None:
        """Another driver from now on."""
        self._driver = driver

    async def perform(self, effects: Sequence[ef.Effect]) -> None:
        """In their order."""
        for effect in effects:
            match effect:
                case ef.Publish():
                    self._publish(effect.happening)
                case ef.Launch():
                    await self._driver.drain()
                    self._launch(effect)
                case ef.Free():
                    operations = _freeing(effect)
                    self._driver.accept(effect.offer_ids, effect.host_id, operations)
                case ef.SaveRoot():
                    self._take_up(app.role for app in effect.apps)
                case ef.StartChecks():
                    self._checks.start(effect.app, effect.instance)
                case ef.StopChecks():
                    self._checks.stop(effect.instance_id)
                case ef.StartReadiness():
                    self._checks.start_readiness(effect.app, effect.instance)
                case ef.StopReadiness():
                    self._checks.stop_readiness(effect.instance_id)
                case mesos.Report():
                    report(log, effect)
                case _ if isinstance(effect, PlainCall):
                    call(self._driver, effect)

    def _launch(self, launch: ef.Launch) -> None:
        operations: list[Operation] = []
        for placement in launch.placements:
            instance = placement.instance
            try:
                made = self._operations(placement)
            except ButleryError as error:
                self._emit(TaskUpdate(instance.task_id, "TASK_ERROR", launch.host_id, message=str(error)))
                continue
            _add(operations, made)
            log.info("launched", app=instance.app_id, task_id=instance.task_id, host=placement.placed.site.hostname)
        self._driver.accept(launch.offer_ids, launch.host_id, operations)

    def _take_up(self, roles: Iterable[str]) -> None:
        """Mesos is asked for offers of roles that apps newly have; none is given up before the next start."""
        new = dict.fromkeys(role for role in roles if role not in self._roles)
        if new:
            self._roles += new
            self._driver.update_framework(self._roles)


def _add(operations: list[Operation], more: Iterable[Operation]) -> None:
    """Launches that follow each other become one."""
    for one in more:
        if isinstance(one, LaunchTasks) and operations and isinstance(operations[-1], LaunchTasks):
            operations[-1] = LaunchTasks((*operations[-1].tasks, *one.tasks))
        else:
            operations.append(one)


def _freeing(free: ef.Free) -> list[Operation]:
    operations: list[Operation] = []
    if free.volumes:
        operations.append(DestroyVolumes(free.volumes))
    if free.reserved:
        operations.append(Unreserve(free.reserved))
    return operations
