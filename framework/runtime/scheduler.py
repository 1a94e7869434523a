"""One scheduler: the core in its loop, a driver, the hosts as Mesos lists them, and the state they start from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from framework.core.events import Event, FrameworkRemoved, HostsObserved, Subscribed
from framework.core.ids import FrameworkId
from framework.core.offers import Host
from framework.core.state import Config, restore
from framework.errors import ButleryError, FrameworkRemovedError, UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, ClusterView, SchedulerDriver, Snapshot, Store, jittered
from framework.runtime.control import RuntimeControl
from framework.runtime.loop import Loop
from framework.runtime.performer import AgentLaunch, Performer
from framework.runtime.waiting import until_done, until_set

log = get_logger(__name__)

HOSTS_EVERY_S = 10.0
"""How often Mesos is asked which hosts there are; offers tell of free ones at once anyway."""
HOSTS_RETRY_BASE_S = 1.0
"""Where Mesos does not answer, or has no hosts yet; up to ``HOSTS_EVERY_S``."""

REMOVED_BASE_S = 0.1
REMOVED_CAP_S = 60.0
"""Between framework ids, should Mesos remove one after the other."""

STOP_TIMEOUT_S = 10.0
"""For what is under way when it is told to stop: one write, one request's answer."""

DriverFactory = Callable[[FrameworkId | None], SchedulerDriver]


class Scheduler:
    """Everything between the API and Mesos. ``run`` once, on the event loop's thread."""

    def __init__(
        self,
        store: Store,
        snapshot: Snapshot,
        new_driver: DriverFactory,
        cluster: ClusterView,
        config: Config,
        agent: AgentLaunch,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._cluster = cluster
        self._new_driver = new_driver
        self._driver = new_driver(snapshot.framework_id)
        tenants = [record.tenant for record in snapshot.tenants]
        state = restore(config, snapshot.framework_id, tenants, snapshot.requests, snapshot.tasks, clock.now())
        self._performer = Performer(self._driver, store, agent, self._emit)
        self.loop = Loop(state, store, self._performer, clock, chance)
        tokens = {record.tenant.name: record.token_sha256 for record in snapshot.tenants if record.token_sha256}
        self.control = RuntimeControl(self.loop, store, cluster, tokens, clock, chance)
        self._stopped = asyncio.Event()
        self._subscribed = asyncio.Event()

    async def run(self) -> None:
        """Until ``stop``. Raises MesosRefusedError, StoreError."""
        try:
            await self._run()
        except BaseExceptionGroup as group:
            raise _foreseen(group) or group from None

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            loop = group.create_task(self.loop.run())
            hosts = group.create_task(self._watch_hosts())
            driver = group.create_task(self._drive())
            await self._stopped.wait()
            hosts.cancel()
            self.loop.stop()
            await until_done(loop, self._clock, STOP_TIMEOUT_S)
            await self._driver.stop()
            await until_done(driver, self._clock, STOP_TIMEOUT_S)
            loop.cancel()
            driver.cancel()

    def stop(self) -> None:
        """Leaves Mesos without ending the framework: its tasks run on and are found again by the next start."""
        self._stopped.set()

    def _emit(self, event: Event) -> None:
        if isinstance(event, Subscribed):
            self._subscribed.set()
        self.loop.emit(event)

    async def _drive(self) -> None:
        removals = 0
        while True:
            try:
                await self._driver.run(self._emit)
            except FrameworkRemovedError as error:
                self._emit(FrameworkRemoved(str(error)))
                pause_s = jittered(self._chance, removals, REMOVED_BASE_S, REMOVED_CAP_S)
                if await until_set(self._stopped, self._clock, pause_s):
                    return
                removals += 1
                self._driver = self._new_driver(None)
                self._performer.use(self._driver)
            else:
                return

    async def _watch_hosts(self) -> None:
        """Tells the core of every host; the first time as soon as Mesos answers, so that sizes can be judged."""
        told = True
        retries = 0
        while True:
            self._subscribed.clear()
            hosts: tuple[Host, ...] = ()
            try:
                hosts = await self._cluster.hosts()
            except UnavailableError as error:
                if told:
                    log.warning("Mesos does not list its hosts", reason=str(error))
                told = False
            else:
                told = True
                if not self.loop.saving_fails:  # else nobody would take it in, again and again
                    self._emit(HostsObserved(hosts))
            pause_s = HOSTS_EVERY_S if hosts else jittered(self._chance, retries, HOSTS_RETRY_BASE_S, HOSTS_EVERY_S)
            retries = 0 if hosts else retries + 1
            if await until_set(self._subscribed, self._clock, pause_s):
                retries = 0


def _foreseen(group: BaseExceptionGroup) -> ButleryError | None:
    """The first error of the group that was raised on purpose."""
    for error in group.exceptions:
        found = _foreseen(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, ButleryError):
            return found
    return None
