"""What the scheduler tells telemetry: every frame once it is saved, as it was saved."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from framework.core.effects import Save, SaveRequest, SaveTask
from framework.core.state import Config, State
from framework.core.tasks import FailureClass, Request, RequestState
from framework.ports import Store
from framework.runtime.scheduler import Scheduler
from framework.runtime.telemetry.desk import TelemetryDesk
from tests.fakes.clockwork import eventually
from tests.fakes.driving import SeededChance
from tests.unit.runtime.conftest import AGENT, Rig


class Noting:
    """In place of the desk and of what it has a scheduler watched by."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.differing: list[Any] = []
        self.ended_well = False
        self._stopped = asyncio.Event()

    def watch(self, _: State, store: Store) -> Noting:
        self._store = store
        return self

    def saved(self, frame: Sequence[Save], submitted: Sequence[Request]) -> None:
        requests = {save.request.id: save.request for save in frame if isinstance(save, SaveRequest)}
        for request in (*requests.values(), *submitted):
            self.told.append((request.id, request.state.value))
            if self._store.request(request.id) != request:
                self.differing.append(request)
        tasks = {save.task.id: save.task for save in frame if isinstance(save, SaveTask)}
        self.differing += [task for task in tasks.values() if task not in self._store.tasks_of(task.request_id)]

    async def run(self) -> None:
        await self._stopped.wait()
        self.ended_well = True

    def stop(self) -> None:
        self._stopped.set()


class WatchedRig(Rig):
    def __init__(self, noting: Noting) -> None:
        super().__init__()
        self.noting = noting

    async def start(self) -> None:
        self.scheduler = Scheduler(
            self.store, self.store.load(), self._new_driver, self.cluster, Config(), AGENT, self.clock, SeededChance(),
            telemetry=cast(TelemetryDesk, self.noting),
        )  # fmt: skip
        self.running = asyncio.create_task(self.scheduler.run())
        await eventually(lambda: self.driver.running, "the driver's start")


async def test_frames_are_told_as_they_were_saved_and_submissions_before_what_follows_of_them() -> None:
    noting = Noting()
    rig = WatchedRig(noting)
    await rig.start()
    await rig.subscribe()
    await rig.offer()
    ids = await rig.submit(5)  # onto what is offered, so they are launched in the turn that takes them in
    for task_id in await rig.launched(1):
        await rig.update(task_id, "TASK_RUNNING")
        await rig.update(task_id, "TASK_FINISHED", FailureClass.PASSED)
    assert noting.differing == []
    first = ids[0]
    assert [state for request_id, state in noting.told if request_id == first] == [
        RequestState.WAITING, RequestState.LAUNCHING, RequestState.RUNNING, RequestState.ENDED,
    ]  # fmt: skip
    await rig.stop()
    assert noting.ended_well
