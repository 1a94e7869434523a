"""A whole runtime on a fake Mesos, a store in memory and a clock that the test moves."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest

from agents.spec import HostPolicy
from framework.core.effects import Acknowledge
from framework.core.events import OffersReceived, Subscribed, TaskUpdate
from framework.core.ids import FrameworkId, RequestId, TaskId
from framework.core.resources import Resources
from framework.core.state import Config
from framework.core.tasks import FailureClass, Outcome, Request
from framework.errors import ButleryError
from framework.runtime.control import RuntimeControl
from framework.runtime.performer import AgentLaunch
from framework.runtime.scheduler import Scheduler
from tests.fakes import samples
from tests.fakes.clockwork import ManualClock, eventually
from tests.fakes.driving import SeededChance
from tests.fakes.memory_store import MemoryStore
from tests.fakes.mesos_edges import Accepted, FakeCluster, FakeDriver

AGENT = AgentLaunch("exec executor", ("http://pyz",), Resources(50, 32), HostPolicy(log_mib=7))
K = TypeVar("K")


class Rig:
    """The runtime and all that it stands on."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock()
        self.cluster = FakeCluster()
        self.drivers: list[FakeDriver] = []
        self.offers = 0
        self.scheduler: Scheduler
        self.running: asyncio.Task[None]

    @property
    def journal(self) -> list[object]:
        return self.store.journal

    @property
    def control(self) -> RuntimeControl:
        return self.scheduler.control

    @property
    def driver(self) -> FakeDriver:
        return self.drivers[-1]

    async def start(self) -> None:
        """Also again, after ``crash``: from what the store holds."""
        self.scheduler = Scheduler(
            self.store, self.store.load(), self._new_driver, self.cluster, Config(), AGENT, self.clock, SeededChance()
        )
        self.running = asyncio.create_task(self.scheduler.run())
        await eventually(lambda: self.driver.running, "the driver's start")

    async def crash(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])

    async def stop(self) -> None:
        self.scheduler.stop()
        await asyncio.wait_for(self.running, 20)

    async def subscribe(self, tenant: str | None = samples.TEAM) -> None:
        """Mesos takes the subscription and tells of its host; there is a tenant too."""
        self.driver.tell(Subscribed(FrameworkId("f-1")))
        await eventually(lambda: self.control.health().connected, "the subscription")
        await eventually(self.control.hosts, "the list of hosts")
        if tenant is not None:
            await self.control.set_tenant(samples.tenant(tenant), new_token=False)

    async def submit(self, count: int = 1) -> list[RequestId]:
        taken = [await self.control.submit(samples.submission()) for _ in range(count)]
        return [request.id for request in taken]

    async def offer(self) -> None:
        self.offers += 1
        self.driver.tell(OffersReceived((samples.offer(f"o{self.offers}"),)))

    async def launched(self, count: int = 1) -> list[TaskId]:
        """The tasks of every ACCEPT, once there are so many."""
        await eventually(lambda: len(self._tasks()) >= count, "a launch")
        return self._tasks()

    async def run_one(self) -> tuple[RequestId, TaskId]:
        (request_id,) = await self.submit()
        before = len(self._tasks())
        await self.offer()
        task_id = (await self.launched(before + 1))[-1]
        await self.update(task_id, "TASK_RUNNING")
        return request_id, task_id

    async def update(self, task_id: TaskId, state: str, result: FailureClass | None = None) -> bytes:
        """Tells of the task and returns once that is acknowledged."""
        number = self.tell(task_id, state, result)
        await eventually(lambda: number in self.acknowledged(), f"the acknowledgement of {state}")
        return number

    def tell(self, task_id: TaskId, state: str, result: FailureClass | None = None) -> bytes:
        number = uuid.uuid4().bytes
        outcome = None if result is None else Outcome(result, "said the executor", exit_code=0)
        self.driver.tell(TaskUpdate(task_id, state, samples.HOST.id, uuid=number, outcome=outcome))
        return number

    def acknowledged(self) -> list[bytes]:
        return [call.uuid for call in self.calls(Acknowledge)]

    def calls(self, kind: type[K]) -> list[K]:
        return [call for call in self.journal if isinstance(call, kind)]

    async def state_of(self, request_id: RequestId) -> str:
        request = await self.control.request(request_id)
        assert isinstance(request, Request)
        return request.state.value

    def _tasks(self) -> list[TaskId]:
        return [launch.task_id for call in self.calls(Accepted) for launch in call.launches]

    def _new_driver(self, framework_id: FrameworkId | None) -> FakeDriver:
        self.drivers.append(FakeDriver(framework_id, self.journal))
        return self.drivers[-1]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.start()
    yield made
    if not made.running.done():
        made.store.failing = None
        await made.stop()
    if not made.running.cancelled():
        error = made.running.exception()
        assert error is None or isinstance(error, ButleryError)  # others nobody foresaw


@pytest.fixture
async def ready(rig: Rig) -> Rig:
    """Subscribed, with a host and a tenant."""
    await rig.subscribe()
    return rig
