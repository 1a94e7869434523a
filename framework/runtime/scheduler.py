"""One scheduler: the core in its loop, a driver, the hosts as Mesos lists them, and the state they start from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from framework.core.effects import Save, SaveRequest
from framework.core.events import Disconnected, Event, FrameworkRemoved, HostsObserved, NotSubscribed, Subscribed
from framework.core.ids import FrameworkId
from framework.core.offers import Host
from framework.core.state import Config
from framework.core.tasks import Request
from framework.errors import ButleryError, FrameworkRemovedError, FrameworkTakenError, UnavailableError
from framework.log import get_logger
from framework.mesos_ports import ClusterView, SchedulerDriver
from framework.ports import Chance, Clock, Snapshot, Store, jittered
from framework.runtime.confirming import Confirm
from framework.runtime.control import RuntimeControl
from framework.runtime.jenkins.desk import MastersAccess, MastersDesk, Reach
from framework.runtime.loop import Loop
from framework.runtime.performer import AgentLaunch, Performer
from framework.runtime.saved import restored, tokens_of
from framework.runtime.statuses import Statuses
from framework.runtime.telemetry.desk import TelemetryDesk
from framework.runtime.telemetry.metrics import Metrics
from framework.runtime.waiting import until_done, until_set

log = get_logger(__name__)

HOSTS_EVERY_S = 10.0
"""How often Mesos is asked which hosts there are; offers tell of free ones at once anyway."""
HOSTS_RETRY_BASE_S = 1.0
"""Where Mesos does not answer, or has no hosts yet; up to ``HOSTS_EVERY_S``."""

RENEW_BASE_S = 0.1
RENEW_CAP_S = 60.0
"""Between drivers, should Mesos end one after the other."""
STOOD_S = 15.0
"""A subscription that stood for so long, a heartbeat of Mesos, was none of those that come and go."""

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
        confirm: Confirm | None = None,
        masters: MastersAccess | None = None,
        statuses: Statuses | None = None,
        metrics: Metrics | None = None,
        telemetry: TelemetryDesk | None = None,
    ) -> None:
        """With ``confirm`` it is asked before every subscription and whenever a node is removed; without, the driver

        subscribes as it sees fit.

        Without ``masters`` nobody's queue is served, without ``statuses`` no forge is told how a commit's build goes,
        and without ``telemetry`` nothing is recorded.
        """
        self._clock = clock
        self._chance = chance
        self._cluster = cluster
        self._new_driver = new_driver
        self._framework_id = snapshot.framework_id
        self._driver = new_driver(snapshot.framework_id)
        self._confirm = confirm
        self._ending_driver: asyncio.Task[None] | None = None
        self._subscribed_at = 0.0
        state = restored(config, snapshot, clock.now())
        reach = None if masters is None else Reach(masters, self._emit, clock, chance, confirm)
        self._performer = Performer(self._driver, store, agent, self._emit, None if reach is None else reach.keeper)
        self._statuses = statuses or Statuses({}, (), store, "", clock, chance)
        for request in snapshot.requests:
            self._statuses.changed(request)
        self._watch = None if telemetry is None else telemetry.watch(state, store)
        self.loop = Loop(state, store, self._performer, clock, chance, self._saved, metrics)
        self._desk = (
            None if reach is None or masters is None else MastersDesk(masters, reach, self.loop, store, clock, chance)
        )
        self.control = RuntimeControl(
            self.loop, store, cluster, tokens_of(snapshot), clock, chance, self._desk, self._statuses
        )
        self._stopped = asyncio.Event()
        self._abandoned = False
        self._subscribed = asyncio.Event()

    async def run(self) -> None:
        """Until ``stop`` or ``abandon``. Raises MesosRefusedError, and StoreError, of which DeposedError is one."""
        try:
            await self._run()
        except BaseExceptionGroup as group:
            raise _foreseen(group) or group from None
        finally:
            await self._driver.stop()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            loop = group.create_task(self.loop.run())
            hosts = group.create_task(self._watch_hosts())
            driver = group.create_task(self._drive())
            desk = None if self._desk is None else group.create_task(self._desk.run())
            statuses = group.create_task(self._statuses.run())
            watch = None if self._watch is None else group.create_task(self._watch.run())
            await self._stopped.wait()
            hosts.cancel()
            statuses.cancel()
            if desk is not None:
                desk.cancel()
            if self._abandoned:
                await self._driver.stop()
            self.loop.stop()
            await until_done(loop, self._clock, STOP_TIMEOUT_S)
            if self._watch is not None:
                self._watch.stop()
            await self._driver.stop()
            await until_done(driver, self._clock, STOP_TIMEOUT_S)
            if watch is not None:
                await until_done(watch, self._clock, STOP_TIMEOUT_S)
                watch.cancel()
            loop.cancel()
            driver.cancel()

    def stop(self) -> None:
        """Leaves Mesos without ending the framework: its tasks run on and are found again by the next start."""
        self._stopped.set()

    def abandon(self) -> None:
        """As ``stop``, for one that leads no more: the connection to Mesos is closed first, whatever is under way."""
        self._abandoned = True
        self._stopped.set()

    def _saved(self, frame: Sequence[Save], submitted: Sequence[Request]) -> None:
        if self._watch is not None:
            self._watch.saved(frame, submitted)
        for request in (*(save.request for save in frame if isinstance(save, SaveRequest)), *submitted):
            if request.origin is not None:
                self._statuses.changed(request)

    def _emit(self, event: Event) -> None:
        if isinstance(event, Subscribed):
            self._framework_id = event.framework_id
            self._subscribed_at = self._clock.now()
            self._subscribed.set()
        elif isinstance(event, Disconnected) and self._confirm is not None:
            self._ending_driver = asyncio.ensure_future(self._driver.stop())  # before it subscribes again by itself
        self.loop.emit(event)

    async def _drive(self) -> None:
        """One driver after the other, for as long as Mesos ends what they have."""
        renewals = 0
        while True:
            begun_at = self._clock.now()
            try:
                await self._confirmed()
                if not self._stopped.is_set():
                    await self._driver.run(self._emit)
            except FrameworkRemovedError as error:
                self._emit(FrameworkRemoved(str(error)))
                self._framework_id = None
            except FrameworkTakenError as error:
                if self._confirm is None:
                    raise
                log.warning("another scheduler subscribed as ours", reason=str(error))
            if self._stopped.is_set():
                return
            if self._subscribed_at >= begun_at and self._clock.now() - self._subscribed_at > STOOD_S:
                renewals = 0
            pause_s = jittered(self._chance, renewals, RENEW_BASE_S, RENEW_CAP_S)
            if await until_set(self._stopped, self._clock, pause_s):
                return
            renewals += 1
            self._driver = self._new_driver(self._framework_id)
            self._performer.use(self._driver)

    async def _confirmed(self) -> None:
        """Returns once we lead for certain, as far as there is anybody to ask, or are stopped. Raises DeposedError."""
        if self._confirm is None:
            return
        retries = 0
        while not self._stopped.is_set():
            try:
                await self._confirm()
            except UnavailableError as error:
                told = "whether we lead cannot be known now, so Mesos is not subscribed to"
                if not retries:
                    log.warning(told, reason=str(error))
                self._emit(NotSubscribed(f"{told}: {error}"))
                await until_set(self._stopped, self._clock, jittered(self._chance, retries, RENEW_BASE_S, STOOD_S))
                retries += 1
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
