"""Helps tests to drive a SchedulerDriver: time to order, what happened, and tasks to launch."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from framework.core.effects import Acknowledge
from framework.core.events import Disconnected, Event, OffersReceived, OperationUpdate, Subscribed, TaskUpdate
from framework.core.ids import FrameworkId, TaskId
from framework.core.offers import Offer
from framework.core.resources import Resources
from framework.mesos_ports import LaunchTasks, MesosExecutor, Operation, SchedulerDriver, TaskLaunch
from tests.fakes.clockwork import call_after

EXECUTOR = Path(__file__).parent / "pretending_executor.py"
DEADLINE_S = 60.0
OF_MESOS_EXECUTOR = Resources(cpu_millis=100, mem_mib=32)
E = TypeVar("E", bound=Event)


class FastClock:
    """Real time, but that waits take ``scale`` of it; they are noted down."""

    def __init__(self) -> None:
        self._scale = 1.0
        self._changed = asyncio.Event()
        self.sleeps: list[float] = []

    @property
    def scale(self) -> float:
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        """Counts for waits under way too."""
        self._scale = scale
        self._changed.set()
        self._changed = asyncio.Event()

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        while seconds > 0:
            started, scale, changed = time.monotonic(), self._scale, self._changed
            try:
                await asyncio.wait_for(changed.wait(), seconds * scale)
            except TimeoutError:
                return
            seconds -= (time.monotonic() - started) / scale

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.Task[None]:
        return call_after(self.sleep(seconds), callback)


class SeededChance:
    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def token(self) -> str:
        return self._random.randbytes(24).hex()

    def uuid4(self) -> bytes:
        return uuid.UUID(bytes=self._random.randbytes(16), version=4).bytes


class Driving:
    """A driver that runs, and all that it told. Acknowledges every update, unless told not to."""

    def __init__(self, driver: SchedulerDriver) -> None:
        self.driver = driver
        self.events: list[Event] = []
        self.acknowledging = True
        self._happened = asyncio.Event()
        self.running = asyncio.create_task(driver.run(self._emit))
        self.running.add_done_callback(lambda _: self._happened.set())

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self._happened.set()
        if isinstance(event, TaskUpdate) and self.acknowledging:
            self.acknowledge(event)
        if isinstance(event, OperationUpdate) and event.uuid and self.acknowledging:
            self.driver.acknowledge_operation(event)

    def acknowledge(self, update: TaskUpdate) -> None:
        if update.uuid and update.host_id is not None:
            self.driver.acknowledge(Acknowledge(update.task_id, update.host_id, update.uuid))

    async def until(self, found: Callable[[], E | None]) -> E:
        """What ``found`` returns as soon as it is not None; it is asked whenever something happened."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                event = found()
                if event is not None:
                    return event
                if self.running.done():
                    self.running.result()
                    raise AssertionError(f"the driver ended; events: {self.events}")
                self._happened.clear()
                await self._happened.wait()

    def of(self, kind: type[E], after: int = 0) -> list[E]:
        return [event for event in self.events[after:] if isinstance(event, kind)]

    async def nth(self, kind: type[E], count: int = 1) -> E:
        """The ``count``-th event of a kind."""
        return await self.until(lambda: found[count - 1] if len(found := self.of(kind)) >= count else None)

    async def subscribed(self, count: int = 1) -> FrameworkId:
        return (await self.nth(Subscribed, count)).framework_id

    async def disconnected(self, count: int = 1) -> str:
        return (await self.nth(Disconnected, count)).reason

    async def offer(self, after: int = 0, suits: Callable[[Offer], bool] = lambda _: True) -> Offer:
        """The first offer among the events from the ``after``-th on."""
        offers: list[Offer] = []

        def found() -> OffersReceived | None:
            for event in self.of(OffersReceived, after):
                offers.extend(offer for offer in event.offers if suits(offer))
                if offers:
                    return event
            return None

        await self.until(found)
        return offers[0]

    async def update(
        self, task_id: str, *states: str, after: int = 0, suits: Callable[[TaskUpdate], bool] = bool
    ) -> TaskUpdate:
        """The first update of the task with one of the states."""

        def found() -> TaskUpdate | None:
            updates = [update for update in self.of(TaskUpdate, after) if update.task_id == task_id and suits(update)]
            return next((update for update in updates if update.state in states), None)

        return await self.until(found)

    async def operation(self, operation_id: str, after: int = 0) -> OperationUpdate:
        """The first update of the operation."""

        def found() -> OperationUpdate | None:
            return next((each for each in self.of(OperationUpdate, after) if each.operation_id == operation_id), None)

        return await self.until(found)

    async def end(self) -> None:
        """Tears the framework down, so that its tasks go, and stops the driver."""
        try:
            if self.driver.connected:
                await self.driver.teardown()
        finally:
            await self.driver.stop()
            await asyncio.wait({self.running}, timeout=DEADLINE_S)
            assert self.running.done()


def launch(
    task_id: str,
    run_s: float | None = 0.0,
    *,
    result: str | None = None,
    write: tuple[str, str] | None = None,
    resources: Resources = Resources(cpu_millis=500, mem_mib=64),  # noqa: B008  (immutable)
    mesos_executor_id: str | None = None,
    **fields: Any,
) -> TaskLaunch:
    """A task that pretends to build for ``run_s``; None: until it is killed. ``fields`` are further ones of TaskLaunch.

    It writes ``write``, a file and a text, and its result is then what the file held before, if it was there.
    """
    told: dict[str, Any] = {"run_s": run_s, "result": result}
    return TaskLaunch(
        TaskId(task_id),
        "pretends",
        resources,
        MesosExecutor(
            mesos_executor_id or task_id,
            "pretends",
            OF_MESOS_EXECUTOR,
            f"exec {sys.executable} {EXECUTOR}",
            environment={"PRETENDS": "1"},
            shutdown_grace_s=5.0,
        ),
        data=json.dumps(told | {"write": write} if write else told).encode(),
        labels={"tenant": "contract"},
        **fields,
    )


def launching(*tasks: TaskLaunch) -> list[Operation]:
    """The operations of an ACCEPT that launches these."""
    return [LaunchTasks(tasks)]
