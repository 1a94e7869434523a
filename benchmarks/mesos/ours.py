"""The whole scheduler but for its HTTP API: core, loop, store on disk, driver. Told on standard input what to run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from agents import pack
from agents.spec import BuildSpec, HostPolicy
from benchmarks.mesos.plan import Plan, Progress, read_plan
from framework.core.effects import Acknowledge, Save, SaveRequest, SaveTenant
from framework.core.events import Event, Subscribed, TaskUpdate
from framework.core.ids import FrameworkId, RequestId, TenantName
from framework.core.resources import Resources
from framework.core.state import Config
from framework.core.tasks import Request, Tenant
from framework.core.templates import Template
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.operator import MesosOperator
from framework.edges.sqlite import SqliteStore
from framework.errors import IdempotencyConflictError
from framework.mesos_ports import Emit
from framework.ports import NewRequest
from framework.runtime.chance import SystemChance, SystemClock
from framework.runtime.garbage import look_seldom
from framework.runtime.performer import AgentLaunch
from framework.runtime.scheduler import Scheduler

TENANT = TenantName("bench")


class CountingDriver(MesosDriver):
    """Counts an update when it is acknowledged, for then its change is saved."""

    progress: Progress
    states: dict[bytes, str]

    async def run(self, emit: Emit) -> None:
        def noting(event: Event) -> None:
            if isinstance(event, Subscribed):
                self.progress.subscribed()
            elif isinstance(event, TaskUpdate):
                self.states[event.uuid] = event.state
            emit(event)

        await super().run(noting)

    def acknowledge(self, call: Acknowledge) -> None:
        super().acknowledge(call)
        request_id = call.task_id.partition(".")[0]
        generation, number = int(request_id[1]), int(request_id[3:])
        self.progress.updated(generation, number, call.task_id, self.states.pop(call.uuid, ""))


class CountingStore(SqliteStore):
    """Tells of every request that has ended, once that is saved."""

    def __init__(self, path: Path, on_ended: Callable[[int], None]) -> None:
        super().__init__(path)
        self._on_ended = on_ended

    def commit(
        self, frame: Sequence[Save], batch: Sequence[NewRequest] = ()
    ) -> list[RequestId | IdempotencyConflictError]:
        taken = super().commit(frame, batch)
        self._on_ended(sum(isinstance(save, SaveRequest) and save.request.outcome is not None for save in frame))
        return taken


async def run(plan: Plan) -> None:
    """Returns when every request has ended, the framework torn down."""
    clock, chance = SystemClock(), SystemChance()
    progress = Progress(plan.tasks)
    told = FrameworkSettings(
        name=plan.name, user="root", roles=(plan.role,), failover_timeout_s=60.0, hostname="localhost"
    )
    drivers: list[CountingDriver] = []

    def new_driver(framework_id: FrameworkId | None) -> CountingDriver:
        driver = CountingDriver([plan.url], told, clock, chance, framework_id)
        driver.progress, driver.states = progress, {}
        drivers.append(driver)
        return driver

    loop = asyncio.get_running_loop()

    def on_ended(count: int) -> None:
        loop.call_soon_threadsafe(progress.ended, count)

    store = CountingStore(Path(plan.directory) / "state.db", on_ended)
    store.commit([SaveTenant(Tenant(TENANT))])
    store.commit((), [_request(plan, generation, n) for generation in (0, 1) for n in range(plan.tasks)])
    overhead = Resources(plan.overhead_cpu_millis, plan.overhead_mem_mib)
    config = Config(overhead=overhead, max_waiting=2 * plan.tasks, launch_timeout_s=600.0)
    agent = AgentLaunch(pack.command(plan.executor, plan.python), (), overhead, HostPolicy())
    cluster = MesosOperator([plan.url])
    scheduler = Scheduler(store, store.load(), new_driver, cluster, config, agent, clock, chance)
    running = asyncio.create_task(scheduler.run())
    await asyncio.wait({running, asyncio.create_task(progress.over.wait())}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if not running.done():
            (driver,) = drivers
            await driver.teardown()
        scheduler.stop()
        await running
    finally:
        await cluster.close()
    lost = 0
    for generation in (0, 1):
        for n in range(plan.tasks):
            request = store.request(_id(generation, n))
            lost += request is None or request.outcome is None or request.outcome.result_class != "passed"
    store.close()
    progress.end(lost)


def _id(generation: int, n: int) -> RequestId:
    return RequestId(f"r{generation}-{n:05d}")


def _request(plan: Plan, generation: int, n: int) -> NewRequest:
    resources = Resources(plan.cpu_millis, plan.mem_mib)
    template = Template(resources, timeout_s=3600.0, shared=True)
    request = Request(_id(generation, n), TENANT, "pretend", template, SystemClock().now(), priority=-generation)
    path = plan.second_file if generation else plan.first_file
    spec = BuildSpec("", TENANT, "pretend", "true", plan.cpu_millis, plan.mem_mib, pretend_until=path)
    return NewRequest(request, spec, None, "")


if __name__ == "__main__":
    look_seldom()
    uvloop.run(run(read_plan()))
