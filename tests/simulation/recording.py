"""Histories that telemetry records: into a spool on disk, which may be full or fail, over crashes at any point."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import msgspec

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.ids import HostId, RequestId
from framework.core.tasks import SPARES, Request, RequestState, Task
from framework.edges.spool import FileSpool
from framework.errors import UnavailableError
from framework.ports import Store
from framework.runtime.telemetry.beside import THREADS, beside
from framework.runtime.telemetry.costs import Costs
from framework.runtime.telemetry.metrics import Metrics
from framework.runtime.telemetry.prices import PriceWatch
from framework.runtime.telemetry.recorder import Recorder
from framework.runtime.telemetry.recovery import Recovery
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, SampleRecord
from framework.telemetry_ports import Batch
from tests.fakes.clockwork import PATIENCE_S, call_after
from tests.fakes.driving import SeededChance
from tests.fakes.memory_spool import MemorySpool, R
from tests.simulation.simulation import SAVES, Disk, Simulation

PRICES = "{currency: EUR, prices: [{name: all, cpu_hour: 3.6, mem_gib_hour: 0}]}"
"""A millionth for each thousandth of a CPU in each second."""
_MIB = 1 << 20


class DiskStore:
    """What of ``framework.ports.Store`` telemetry asks, of a simulation's disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def tasks_of(self, request_id: RequestId) -> list[Task]:
        tasks = (msgspec.msgpack.decode(each, type=Task) for each in list(self._disk.tasks.values()))
        return sorted((each for each in tasks if each.request_id == request_id), key=lambda task: task.launched_at)

    def ended_since(self, at_s: float) -> Iterator[Request]:
        ended = [each for each in self._disk.load_requests().values() if (each.ended_at or 0.0) >= at_s]
        ended = [each for each in ended if each.state is RequestState.ENDED]
        yield from sorted(ended, key=lambda request: (request.ended_at, request.id))


class OddSpool(FileSpool):
    """``trouble``: what is the matter with it. ``appends`` that were tried."""

    trouble: str = ""
    appends = 0

    def append(self, batches: Sequence[Batch], told_until: float) -> bool:
        self.appends += 1
        if self.trouble == "full":
            return False
        if self.trouble:
            raise UnavailableError(self.trouble)
        return super().append(batches, told_until)

    def of(self, kind: Kind, record: type[R]) -> list[R]:
        """All that it has of a kind, in the order in which it came."""
        batches = [each for each in self.read("sink", 1 << 30)[0] if each.kind is kind]
        return [msgspec.json.decode(line, type=record) for batch in batches for line in batch.documents()]


class SimulatedClock:
    """The simulation's time, which stands still while the recorder runs; what it waits for comes in moments."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def now(self) -> float:
        return self._now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 500)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.Task[None]:
        return call_after(self.sleep(seconds), callback)


class Recording(Simulation):
    """To be put before another simulation. ``directory`` gets a folder for each life of the scheduler."""

    directory: Path
    now = 0.0  # before its first turn

    def __init__(self) -> None:
        self.clock = SimulatedClock(lambda: self.now)
        self.directory.joinpath("prices.yaml").write_text(PRICES)
        self.prices = PriceWatch(self.directory / "prices.yaml", self.clock)
        self.spool = self._spool(0)
        self.lives = 0
        self.failed = False  # the spool, ever
        self.lost: set[HostId] = set()  # ever: after a crash nobody knows their attributes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._recorder: Recorder | None = None
        self._recorded: object = None  # the state that it is of
        self._told_at = 0.0
        super().__init__()

    @property
    def store(self) -> Store:
        return cast(Store, DiskStore(self.disk))

    # What the scheduler does

    def restart(self) -> None:
        super().restart()
        self.turn([self.mesos.observed()])  # as whoever watches the hosts tells at once

    def turn(self, events: list[ev.Event]) -> None:
        recorder = self._living()
        submitted = {event.request.id: event.request for event in events if isinstance(event, ev.Submitted)}
        if submitted:
            self._told_at = self.now
            recorder.saved((), list(submitted.values()))
        super().turn(events)

    def _perform(self, effects: list[ef.Effect]) -> None:
        super()._perform(effects)
        saves = [each for each in effects if isinstance(each, SAVES)]
        if saves:
            self._told_at = self.now
            self._living().saved(saves, ())

    def _living(self) -> Recorder:
        """That of the state as it is: another one after a crash, to which nothing is left but the spool's files."""
        if self._recorder is None or self._recorded is not self.state:
            self._die()
            self._loop, self._recorded, self._told_at = asyncio.new_event_loop(), self.state, self.now
            self._recorder = Recorder(
                self.state,
                self.store,
                self.spool,
                self.prices,
                Metrics(),
                self.clock,
                SeededChance(),
            )
            self._running = self._loop.create_task(self._recorder.run())
        return self._recorder

    def _die(self) -> None:
        if self._loop is None:
            return
        self._running.cancel()
        self._loop.run_until_complete(asyncio.wait([self._running]))
        self._loop.run_until_complete(_idle())
        self._loop.close()
        before, self.lives = self.spool, self.lives + 1
        shutil.copytree(self._folder(self.lives - 1), self._folder(self.lives))
        self.spool = self._spool(self.lives)
        self.spool.trouble = before.trouble
        before.close()

    def _folder(self, life: int) -> Path:
        return self.directory / f"spool-{life}"

    def _spool(self, life: int) -> OddSpool:
        return OddSpool(self._folder(life), {"sink": frozenset(Kind)}, 64 * _MIB, self.clock, _MIB)

    # What a history is made of

    def _do_flush(self, a: int, b: int) -> None:
        """What was told is brought to the spool; all of it or what it comes to in a moment."""
        if b % 2 and not self.spool.trouble:
            self.all_told()
        else:
            before = self.spool.appends
            self._until(lambda: self.spool.appends > before)

    def _do_spool(self, a: int, b: int) -> None:
        self.spool.trouble = ("", "", "", "full", "the disk is broken")[b % 5]
        self.failed |= bool(self.spool.trouble)

    def _do_lose_host(self, a: int, b: int) -> None:
        super()._do_lose_host(a, b)
        self.lost.add(self._host(a))

    def _do_set_back(self, a: int, b: int) -> None:
        """The scheduler's machine is set back, and starts anew."""
        self.now -= (3600.0, 100.0, 5.0)[b % 3]
        self.restart()

    def all_told(self) -> None:
        """Until the spool says that it has every build that ended until now."""
        self.now += 0.001
        self._told_at = self.now
        self._living().saved((), ())
        self._until(lambda: self.spool.told_until == self._told_at)

    def _until(self, reached: Callable[[], bool]) -> None:
        recorder, loop = self._living(), self._loop
        assert loop is not None

        async def there() -> None:
            async with asyncio.timeout(PATIENCE_S):
                count = 0
                while not reached():
                    count += 1
                    recorder.sampled([SampleRecord(f"{count}~", 0, 1, "cluster", 0, 0, 0, 0, 0)])
                    await asyncio.sleep(0.001)

        loop.run_until_complete(there())

    def close(self) -> None:
        self.spool.trouble = ""
        self._die()
        self.spool.close()

    # What there is to look at

    def builds(self) -> dict[str, list[BuildRecord]]:
        """All that the spool has, by id."""
        return _by_id(self.spool.of(Kind.BUILDS, BuildRecord))

    def changes(self) -> dict[str, list[ChangeRecord]]:
        return _by_id(self.spool.of(Kind.CHANGES, ChangeRecord))

    def told_anew(self) -> dict[str, BuildRecord]:
        """What a scheduler would tell that never told anything."""
        spool = MemorySpool()
        Recovery(self.store, spool, Costs(self.state, self.prices)).tell(0.0, lambda: 0.0)
        return {key: only for key, (only,) in _by_id(spool.builds()).items()}

    def ended(self) -> list[Request]:
        found = self.disk.load_requests().values()
        return [each for each in found if each.state is RequestState.ENDED and each.tenant != SPARES]


async def _idle() -> None:
    """Once nothing is under way on telemetry's threads."""
    barrier = threading.Barrier(THREADS)
    await asyncio.gather(*(beside(partial(barrier.wait, PATIENCE_S)) for _ in range(THREADS)))


def _by_id(records: Sequence[R]) -> dict[str, list[R]]:
    found: dict[str, list[R]] = {}
    for each in records:
        found.setdefault(each.id, []).append(each)
    return found
