"""Puts masters to sleep that nobody uses: no request through the ingress, no build that runs or waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from framework.errors import ButleryError, UnavailableError
from framework.log import get_logger
from framework.ports import Clock
from masters.edges import Edges
from masters.operations.lifecycle import hibernate
from masters.ports import Jenkins
from masters.records import MasterState, ObservedMaster
from masters.service.addresses import Addresses, forget_gone

log = get_logger(__name__)

EVERY_S = 1.0
AT_ONCE = 4
ASK_AGAIN_S = 30.0
"""Where a master was busy, or could not be asked: not asked again for so long."""
SEEN_S = 120.0
"""How long it may take until Marathon tells that a master sleeps."""


Allowed = Callable[[str, ObservedMaster, float], bool]


class Hibernation:
    def __init__(self, edges: Edges, addresses: Addresses, clock: Clock, allowed: Allowed) -> None:
        """``allowed``: whether it may sleep after its last use (unix s), for the sake of its backups."""
        self._edges = edges
        self._addresses = addresses
        self._clock = clock
        self._allowed = allowed
        self._started_at = clock.now()
        self._not_before: dict[str, float] = {}  # unix s
        self._busy_at: dict[str, float] = {}  # unix s
        self._working: set[str] = set()
        self._unasked: set[str] = set()  # told once that they cannot be asked
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hibernate")

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    for tenant, master in list(self._addresses.masters.items()):
                        if len(self._working) >= AT_ONCE:
                            break
                        if tenant not in self._working and self._due(tenant, master):
                            self._working.add(tenant)
                            group.create_task(self._tend(tenant, master))
                    forget_gone(self._addresses.masters, self._not_before, self._busy_at)
                    self._unasked &= self._addresses.masters.keys()
                    await self._clock.sleep(EVERY_S)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _due(self, tenant: str, master: ObservedMaster) -> bool:
        if self._clock.now() < self._not_before.get(tenant, 0.0):
            return False
        if tenant in self._addresses.quieted:
            return True  # by a service that was killed
        idle_s = master.policy.idle_s
        if idle_s is None or master.state is not MasterState.ON or master.deployments:
            return False
        used_at = self._used_at(tenant, master)
        return self._clock.now() - used_at >= idle_s and self._allowed(tenant, master, used_at)

    def _used_at(self, tenant: str, master: ObservedMaster) -> float:
        """Unix s. Being started is a use, by whoever did it."""
        started = max((task.healthy_at or task.started_at or self._started_at for task in master.tasks), default=0.0)
        return max(started, self._addresses.last_use(tenant) or 0.0, self._busy_at.get(tenant, 0.0))

    async def _tend(self, tenant: str, master: ObservedMaster) -> None:
        try:
            if tenant in self._addresses.quieted:
                await self._undo(tenant, master)
            else:
                await self._put_to_sleep(tenant, master)
            self._unasked.discard(tenant)
        except (ButleryError, OSError) as error:
            self._not_before[tenant] = self._clock.now() + ASK_AGAIN_S
            if tenant not in self._unasked:
                self._unasked.add(tenant)
                log.warning("a master that nobody uses stays awake", tenant=tenant, error=str(error))
        finally:
            self._working.discard(tenant)

    async def _put_to_sleep(self, tenant: str, master: ObservedMaster) -> None:
        """Raises ButleryError, OSError."""
        loop = asyncio.get_running_loop()
        jenkins = await loop.run_in_executor(self._pool, self._edges.jenkins, master)
        if not await loop.run_in_executor(self._pool, self._rests, tenant, jenkins, False):
            self._busy_at[tenant] = self._clock.now()
            return
        self._addresses.note_quieted(tenant, True)
        asleep = False
        try:
            await loop.run_in_executor(self._pool, jenkins.quiet_down, True)
            await self._addresses.hold(tenant)
            if await self._unused_still(tenant, master) and await loop.run_in_executor(
                self._pool, self._rests, tenant, jenkins, True
            ):
                await loop.run_in_executor(self._pool, hibernate, self._edges, master)
                asleep = True
                self._addresses.note_quieted(tenant, False)
                log.info("a master that nobody used goes to sleep", tenant=tenant, idle_s=master.policy.idle_s)
                await self._seen(tenant, master)
        finally:
            self._addresses.release(tenant)
            if not asleep:
                self._busy_at[tenant] = self._clock.now()
                with suppress(ButleryError):  # tried again by _due, as long as it is noted
                    await self._undo(tenant, master, jenkins)

    async def _unused_still(self, tenant: str, master: ObservedMaster) -> bool:
        """Nobody came between the first look and the moment from which requests are held."""
        await self._addresses.count_uses()
        idle_s = master.policy.idle_s or 0.0
        return not self._addresses.held(tenant) and self._clock.now() - self._used_at(tenant, master) >= idle_s

    def _rests(self, tenant: str, jenkins: Jenkins, quieted: bool) -> bool:
        """Whether it builds nothing and is to build nothing. One that others quieted is theirs. Blocks."""
        if self._edges.scheduler.building(tenant):
            return False
        activity = jenkins.activity()
        return not activity.busy and not activity.queued and (quieted or not activity.quieting)

    async def _undo(self, tenant: str, master: ObservedMaster, jenkins: Jenkins | None = None) -> None:
        """Takes builds again. Raises ButleryError."""
        if master.state is MasterState.ON:
            loop = asyncio.get_running_loop()
            if jenkins is None:
                jenkins = await loop.run_in_executor(self._pool, self._edges.jenkins, master)
            await loop.run_in_executor(self._pool, jenkins.quiet_down, False)
        elif master.wanted == "on":
            raise UnavailableError(f"{tenant}: its master is starting")  # perhaps only its check fails
        self._addresses.note_quieted(tenant, False)

    async def _seen(self, tenant: str, master: ObservedMaster) -> None:
        """Waits until Marathon tells what it was asked for; until then its requests are held."""
        self._addresses.hint(master.app_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(SEEN_S):
                while (found := self._addresses.masters.get(tenant)) is not None and found.wanted == "on":
                    await self._clock.sleep(0.1)
