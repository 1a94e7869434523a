"""Performs the core's calls through the driver, once the frame that holds their cause is saved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from agents.shared import SHARED_EXECUTOR_ID, is_shared
from agents.spec import AGENT_SECRET, BuildSpec, ContainerSpec, HostPolicy, assignment
from framework.core import effects as ef
from framework.core.events import NodeFailed, TaskUpdate
from framework.core.ids import TaskId, container_task_id
from framework.core.resources import GROUP_DISK_MIB, Resources
from framework.core.tasks import Task
from framework.errors import StoreFullError
from framework.jenkins_ports import NodeKeeper
from framework.log import get_logger
from framework.mesos_ports import Emit, LaunchGroup, LaunchTasks, MesosExecutor, Operation, SchedulerDriver, TaskLaunch
from framework.ports import Store
from framework.runtime.calls import PlainCall, call, report

log = get_logger(__name__)

TASKS_AT_ONCE = 32
"""Launches whose builds are in memory together, but for those of one host: a build may have a megabyte."""


UNSERVED_S = 60.0
"""Until a node is asked for again where no masters are served."""
_NO_ACCESS = "what its agent connects with is not at hand"


@dataclass(frozen=True)
class AgentLaunch:
    """How every Mesos executor is started on its host."""

    command: str
    uris: tuple[str, ...]
    overhead: Resources
    policy: HostPolicy


class Performer:
    """Turns effects into the driver's calls; a launch gets its build from the store first."""

    def __init__(
        self, driver: SchedulerDriver, store: Store, agent: AgentLaunch, emit: Emit, nodes: NodeKeeper | None = None
    ) -> None:
        """``nodes``: None where no masters are served."""
        self._driver = driver
        self._store = store
        self._agent = agent
        self._emit = emit
        self._nodes = nodes

    def use(self, driver: SchedulerDriver) -> None:
        """Another driver from now on."""
        self._driver = driver

    async def perform(self, effects: Sequence[ef.Effect]) -> None:
        """In their order. A launch whose build cannot be read gives its offers back.

        Raises StoreError where the state can no longer be kept.
        """
        specs: dict[TaskId, BuildSpec | None] = {}
        for index, effect in enumerate(effects):
            match effect:
                case ef.Launch():
                    if effect.tasks[0].id not in specs:
                        await self._driver.drain()
                        specs = await self._specs(_tasks_from(effects, index))
                    self._accept(effect, specs)
                case ef.Tell():
                    note = json.dumps({"tell": {"task_id": effect.task_id, "text": effect.text}}).encode()
                    self._driver.message(effect.host_id, effect.mesos_executor_id, note)
                case ef.Report():
                    report(log, effect)
                case ef.Assign():
                    await self._assign(effect)
                case ef.PrepareNode() | ef.RemoveNode() | ef.LookAt():
                    self._at_master(effect)
                case _ if isinstance(effect, PlainCall):
                    call(self._driver, effect)

    async def _specs(self, tasks: Sequence[Task]) -> dict[TaskId, BuildSpec | None]:
        """Of every task; None where its launch cannot be made now, of which the core is told."""
        try:
            found = await asyncio.to_thread(lambda: [self._store.payload(task.request_id) for task in tasks])
        except StoreFullError as error:
            log.error("builds' descriptions cannot be read now; they are tried again", reason=str(error))
            for task in tasks:
                self._emit(TaskUpdate(task.id, "TASK_DROPPED", task.host_id, message=str(error)))
            return {task.id: None for task in tasks}
        specs: dict[TaskId, BuildSpec | None] = {}
        for task, spec in zip(tasks, found, strict=True):
            if spec is None:
                log.error("a build's description is not in the store", tenant=task.tenant, task_id=task.id)
                self._emit(
                    TaskUpdate(task.id, "TASK_ERROR", task.host_id, message="its description is not in the store")
                )
            elif (spec := self._with_access(task.id, spec)) is None:
                log.error("what an agent connects with is not at hand", tenant=task.tenant, task_id=task.id)
                self._emit(TaskUpdate(task.id, "TASK_DROPPED", task.host_id, message=_NO_ACCESS))
            else:
                spec = replace(spec, task_id=task.id, ports=list(task.ports), host=self._agent.policy)
            specs[task.id] = spec
        return specs

    def _with_access(self, task_id: TaskId, spec: BuildSpec) -> BuildSpec | None:
        """With what its agent connects with, where it is one; None where that is not at hand."""
        if spec.agent is None or spec.standby:
            return spec
        access = None if self._nodes is None else self._nodes.access(task_id)
        if self._nodes is None or access is None:
            return None
        self._nodes.forget(task_id)
        agent = replace(spec.agent, url=access.url, node=access.node, jar=access.jar)
        return replace(spec, agent=agent, secrets={**spec.secrets, AGENT_SECRET: access.secret})

    async def _assign(self, effect: ef.Assign) -> None:
        """Sends a spare what it is to be. One that does not hear of it never comes to its master, and is ended."""
        task = effect.task
        try:
            spec = await asyncio.to_thread(self._store.payload, effect.request.id)
        except StoreFullError as error:
            log.error("a build's description cannot be read now", task_id=task.id, reason=str(error))
            return
        given = None if spec is None else self._with_access(task.id, spec)
        if given is None:
            log.error("what a spare is given is not at hand", tenant=task.tenant, task_id=task.id)
            return
        self._driver.message(task.host_id, task.mesos_executor_id or task.id, assignment(task.id, given))
        log.info("a spare was given away", tenant=task.tenant, task_id=task.id, host=task.hostname)

    def _at_master(self, effect: ef.PrepareNode | ef.RemoveNode | ef.LookAt) -> None:
        if self._nodes is None:
            if isinstance(effect, ef.PrepareNode):
                self._emit(NodeFailed(effect.task_id, "this scheduler serves no masters", UNSERVED_S))
            return
        match effect:
            case ef.PrepareNode():
                self._nodes.prepare(effect)
            case ef.RemoveNode():
                self._nodes.remove(effect)
            case ef.LookAt():
                self._nodes.look_at(effect.tenant)

    def _accept(self, launch: ef.Launch, specs: Mapping[TaskId, BuildSpec | None]) -> None:
        operations = self._operations([(task, spec) for task in launch.tasks if (spec := specs[task.id]) is not None])
        self._driver.accept(launch.offer_ids, launch.host_id, operations)
        for task in launch.tasks:
            if specs[task.id] is not None:
                offers = ",".join(launch.offer_ids)
                log.info("launched", tenant=task.tenant, task_id=task.id, offer_id=offers, host=task.hostname)

    def _operations(self, builds: Sequence[tuple[Task, BuildSpec]]) -> list[Operation]:
        """In the order of the tasks, which is that in which the core reckoned them to draw from the offers."""
        operations: list[Operation] = []
        alone: list[TaskLaunch] = []
        for task, spec in builds:
            if spec.containers:
                if alone:
                    operations.append(LaunchTasks(tuple(alone)))
                    alone = []
                operations.append(LaunchGroup(tuple(self._launches(task, spec))))
            else:
                alone += self._launches(task, spec)
        if alone:
            operations.append(LaunchTasks(tuple(alone)))
        return operations

    def _launches(self, task: Task, spec: BuildSpec) -> list[TaskLaunch]:
        """Of every container of the agent, the one that builds last."""
        executor, own = self._mesos_executor(task, spec), task.resources
        if spec.containers:
            disk = Resources(disk_mib=GROUP_DISK_MIB)
            executor, own = structs.replace(executor, resources=executor.resources + disk), own - disk
        launches: list[TaskLaunch] = []
        for container in spec.containers:
            resources = Resources(container.cpu_millis, container.mem_mib, container.disk_mib, container.gpus)
            own -= resources
            launches.append(self._launch(task, _beside(spec, container), resources, executor))
        return [*launches, self._launch(task, spec, own, executor)]

    def _launch(self, task: Task, spec: BuildSpec, resources: Resources, executor: MesosExecutor) -> TaskLaunch:
        return TaskLaunch(
            task_id=TaskId(spec.task_id),
            name=spec.job,
            resources=resources,
            executor=executor,
            ports=() if spec.container else tuple(spec.ports),
            reserved=task.reserved,
            data=spec.to_json(),
            labels={"tenant": task.tenant, "job": spec.job},
        )

    def _mesos_executor(self, task: Task, spec: BuildSpec) -> MesosExecutor:
        """One of its own, or the one that its host's builds share, which is the same in every part for all of them."""
        agent = self._agent
        name = SHARED_EXECUTOR_ID if is_shared(task.mesos_executor_id) else spec.job
        return MesosExecutor(task.mesos_executor_id or task.id, name, agent.overhead, agent.command, agent.uris)


def _beside(spec: BuildSpec, container: ContainerSpec) -> BuildSpec:
    """What one of the agent's other containers is started with."""
    return replace(
        spec,
        task_id=container_task_id(TaskId(spec.task_id), container.name),
        command=container.command,
        cpu_millis=container.cpu_millis,
        mem_mib=container.mem_mib,
        disk_mib=container.disk_mib,
        image=container.image,
        git=None,
        env=container.env,
        artifacts=[],
        gpus=container.gpus,
        containers=[],
        container=container.name,
        files={},
        volumes=container.volumes,
        ready=container.ready,
        user=None,
        agent=None,
        standby=False,
    )


def _tasks_from(effects: Sequence[ef.Effect], index: int) -> list[Task]:
    """Those of the launch at ``index`` and of those that follow, up to about ``TASKS_AT_ONCE``."""
    tasks: list[Task] = []
    for effect in effects[index:]:
        if isinstance(effect, ef.Launch):
            if tasks and len(tasks) + len(effect.tasks) > TASKS_AT_ONCE:
                break
            tasks += effect.tasks
    return tasks
