"""The whole server but its HTTP, on a fake Mesos, a real store and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from agents.spec import HostPolicy
from framework.core.effects import Acknowledge
from framework.core.events import OffersReceived, Subscribed, TaskUpdate
from framework.core.ids import FrameworkId, TaskId
from framework.core.resources import Resources
from framework.errors import StoreError
from framework.local.marathon.core.config import Config
from framework.local.marathon.core.effects import Placement, Save
from framework.local.marathon.core.state import State
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.groups.tree import with_apps
from framework.local.marathon.happenings import Happening
from framework.local.marathon.launching import LaunchSettings, operations
from framework.local.marathon.matching.match import Matcher
from framework.local.marathon.matching.rules import MatchSettings
from framework.local.marathon.records import Instance
from framework.local.marathon.runtime import Runtime
from framework.local.marathon.secret_store import SecretFiles
from framework.local.marathon.store import MarathonStore
from framework.mesos_ports import Operation
from tests.fakes import samples
from tests.fakes.clockwork import ManualClock, eventually
from tests.fakes.driving import SeededChance
from tests.fakes.mesos_edges import Accepted, FakeDriver

OVERHEAD = Resources(50, 32)
K = TypeVar("K")


class Saved:
    """A frame that is on disk."""

    def __init__(self, frame: Sequence[Save]) -> None:
        self.frame = tuple(frame)


class WatchedStore(MarathonStore):
    """Puts what it has written into a journal; ``failing`` is raised in its place."""

    journal: list[object]
    failing: StoreError | None = None

    def commit(self, frame: Sequence[Save]) -> None:
        if self.failing is not None:
            raise self.failing
        super().commit(frame)
        self.journal.append(Saved(frame))


class Probes:
    """Checks that are begun and ended."""

    def __init__(self, journal: list[object]) -> None:
        self._journal = journal

    def start(self, app: App, instance: Instance) -> None:
        self._journal.append(("start", instance.id))

    def stop(self, instance_id: str) -> None:
        self._journal.append(("stop", instance_id))

    def start_readiness(self, app: App, instance: Instance) -> None:
        self._journal.append(("start readiness", instance.id))

    def stop_readiness(self, instance_id: str) -> None:
        self._journal.append(("stop readiness", instance_id))

    async def close(self) -> None:
        self._journal.append("checks closed")


class Rig:
    """The runtime and all that it stands on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.chance = SeededChance()
        self.journal: list[object] = []
        self.drivers: list[tuple[FakeDriver, tuple[str, ...]]] = []
        self.told: list[Happening] = []
        self.offers = 0
        self.store: WatchedStore
        self.runtime: Runtime
        self.running: asyncio.Task[None]

    @property
    def driver(self) -> FakeDriver:
        return self.drivers[-1][0]

    async def start(self) -> None:
        """Also again, after ``crash``: from what the store holds."""
        self.store = WatchedStore(self.path / "state.db")
        self.store.journal = self.journal
        matcher = Matcher(MatchSettings(OVERHEAD), self.chance, lambda: state.framework_id)
        state = State(self.store.load(), Config(), self.chance, matcher)
        self.runtime = Runtime(
            state,
            self.store,
            self._new_driver,
            ("*",),
            self._operations,
            Probes(self.journal),
            self.clock,
            self.chance,
        )
        self.runtime.subscribe(lambda happening, _: self.told.append(happening))
        self.running = asyncio.create_task(self.runtime.run())
        await eventually(lambda: self.driver.running, "the driver's start")

    async def crash(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])
        self.store.close()

    async def stop(self) -> None:
        self.runtime.stop()
        await asyncio.wait_for(self.running, 20)

    async def subscribe(self) -> None:
        self.driver.tell(Subscribed(FrameworkId("f-1")))
        await eventually(lambda: self.runtime.view.connected, "the subscription")

    async def offer(self) -> None:
        self.offers += 1
        self.driver.tell(OffersReceived((samples.offer(f"o{self.offers}"),)))

    async def deploy(self, *apps: App, force: bool = False) -> str:
        changes: dict[str, App | None] = {one.id: one for one in apps}
        return (await self.runtime.deploy(lambda root, _: with_apps(root, changes), force=force)).deployment_id

    async def launched(self, count: int) -> list[TaskId]:
        """The tasks of every ACCEPT, once there are so many."""
        await eventually(lambda: len(self.tasks()) >= count, "a launch")
        return self.tasks()

    def tasks(self) -> list[TaskId]:
        return [launch.task_id for call in self.calls(Accepted) for launch in call.launches]

    async def update(self, task_id: TaskId, state: str) -> None:
        """Tells of the task and returns once that is acknowledged."""
        number = self.chance.uuid4()
        self.driver.tell(TaskUpdate(task_id, state, samples.HOST.id, uuid=number))
        await eventually(lambda: number in [call.uuid for call in self.calls(Acknowledge)], f"the answer to {state}")

    def calls(self, kind: type[K]) -> list[K]:
        return [call for call in self.journal if isinstance(call, kind)]

    def _new_driver(self, framework_id: FrameworkId | None, roles: tuple[str, ...]) -> FakeDriver:
        self.drivers.append((FakeDriver(framework_id, self.journal), roles))
        return self.driver

    def _operations(self, placement: Placement) -> list[Operation]:
        settings = LaunchSettings("exec it", (), OVERHEAD, HostPolicy(), FrameworkId("f-1"))
        secrets = SecretFiles(self.path / "secrets")
        return operations(placement.app, placement.instance, placement.placed, settings, secrets.read)


def root_of(rig: Rig) -> Group:
    return rig.runtime.view.root


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path)
    await made.start()
    yield made
    if not made.running.done():
        made.store.failing = None
        await made.stop()
    made.store.close()
