"""Standing by, leading, and handing over: one process's life among the schedulers that share a state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from framework.core.state import Config
from framework.errors import DeposedError, NoStandbyError, StoreFullError, UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, Control, Election, Leader, Snapshot, Store, jittered
from framework.runtime.scheduler import Scheduler
from framework.runtime.standby import Revision, StandbyControl
from framework.runtime.waiting import until_done

log = get_logger(__name__)

T = TypeVar("T")

LOAD_BASE_S = 0.1
LOAD_CAP_S = 5.0
"""Between tries to read the state as its new leader."""
STEP_DOWN_TIMEOUT_S = 30.0
"""The turn under way, Mesos' connection and ZooKeeper's, each of which has 10 s."""


class Leadership:
    """``framework.ports.Seat``. ``run`` it once, on the event loop's thread."""

    def __init__(
        self,
        store: Store,
        revision: Revision,
        election: Election,
        new_scheduler: Callable[[Snapshot], Scheduler],
        config: Config,
        url: str,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._store = store
        self._election = election
        self._new_scheduler = new_scheduler
        self._url = url
        self._clock = clock
        self._chance = chance
        self._standby = StandbyControl(store, revision, config, clock)
        self._scheduler: Scheduler | None = None
        self._stopped = asyncio.Event()
        self._stepping: asyncio.Future[None] | None = None  # done when it has been handed over
        self._end = asyncio.Event()  # of this leadership, by ``stop`` or ``step_down``

    @property
    def control(self) -> Control:
        return self._standby if self._scheduler is None else self._scheduler.control

    @property
    def leads(self) -> bool:
        return self._scheduler is not None

    @property
    def leader(self) -> Leader | None:
        return self._election.leader

    @property
    def url(self) -> str:
        return self._url

    @property
    def standbys(self) -> int:
        return self._election.standbys

    async def step_down(self, force: bool) -> None:
        if not self.leads:
            raise UnavailableError("this scheduler does not lead; the one that does is about to be known")
        if not self._election.connected:
            raise UnavailableError("the connection to ZooKeeper is lost, so nobody could take over now")
        if not force and not self.standbys:
            raise NoStandbyError("no other scheduler shares the state and could take over")
        if self._stepping is None:
            self._stepping = asyncio.get_running_loop().create_future()
            self._end.set()
        if not await until_done(self._stepping, self._clock, STEP_DOWN_TIMEOUT_S):
            raise UnavailableError("the leadership is being handed over; it takes longer than it should")

    def stop(self) -> None:
        """Ends ``run``. Builds run on, and another scheduler takes over where there is one."""
        self._stopped.set()
        self._end.set()

    async def run(self) -> None:
        """Until ``stop``. Raises MesosRefusedError, StoreError."""
        while not self._stopped.is_set():
            epoch = await self._elected()
            if epoch is not None:
                await self._lead(epoch)

    async def _elected(self) -> int | None:
        """Stands by until we lead; the epoch, or None where we are stopped."""
        log.info("standing by")
        async with (
            _running(self._election.lead()) as standing,
            _running(self._standby.follow()) as following,
            _running(self._stopped.wait()) as stopped,
        ):
            either: set[asyncio.Task[Any]] = {standing, following, stopped}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
            return standing.result() if standing.done() else None

    async def _lead(self, epoch: int) -> None:
        """Until we are deposed, step down or are stopped."""
        self._end.clear()
        if self._stopped.is_set():
            return
        try:
            async with (
                _running(self._election.deposed()) as deposed,
                _running(self._end.wait()) as end,
                _running(self._load()) as loading,
            ):
                either: set[asyncio.Task[Any]] = {deposed, end, loading}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if loading.done() and not deposed.done():
                    self._scheduler = self._new_scheduler(loading.result())
                    log.info("leading", epoch=epoch)
                    await self._schedule(self._scheduler, deposed, end)
                if deposed.done():
                    log.warning("leading no more", reason=deposed.result())
        except DeposedError as error:
            log.warning("leading no more", reason=str(error))
        finally:
            self._scheduler = None
        await self._election.step_down()
        if self._stepping is not None:
            log.info("stepped down")
            self._stepping.set_result(None)
            self._stepping = None

    async def _load(self) -> Snapshot:
        retries = 0
        while True:
            try:
                return await asyncio.to_thread(self._store.load)
            except StoreFullError as error:
                log.warning("the state cannot be read now", reason=str(error))
                await self._clock.sleep(jittered(self._chance, retries, LOAD_BASE_S, LOAD_CAP_S))
                retries += 1

    async def _schedule(self, scheduler: Scheduler, deposed: asyncio.Future[str], end: asyncio.Future[Any]) -> None:
        """Raises DeposedError where the state said so first, MesosRefusedError, StoreError."""
        running = asyncio.ensure_future(scheduler.run())
        try:
            either: set[asyncio.Future[Any]] = {running, deposed, end}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if deposed.done():
                scheduler.abandon()
            else:
                scheduler.stop()
            await running
        finally:
            running.cancel()


class LoneElection:
    """``framework.ports.Election`` of a scheduler whose state nobody shares: it leads."""

    def __init__(self, url: str, name: str, version: str, clock: Clock) -> None:
        self._leader = Leader(url, name, version, 0, clock.now())
        self._clock = clock

    async def lead(self) -> int:
        self._leader = msgspec.structs.replace(self._leader, epoch=self._leader.epoch + 1, since=self._clock.now())
        return self._leader.epoch

    async def deposed(self) -> str:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def step_down(self) -> None:
        pass

    @property
    def leader(self) -> Leader | None:
        return self._leader

    @property
    def connected(self) -> bool:
        return True

    async def confirm(self) -> None:
        pass

    @property
    def standbys(self) -> int:
        return 0

    async def close(self) -> None:
        pass


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Beside the block; ended with it, and then over."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
