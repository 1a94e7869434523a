"""The loop, the driver and the state of the Marathon-compatible server: what the API asks, and all that it sets off."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast, get_args

from framework.core.events import Event as MesosEvent
from framework.core.events import FrameworkRemoved, Subscribed, TaskUpdate, Tick
from framework.core.ids import FrameworkId
from framework.errors import FrameworkRemovedError, UnavailableError
from framework.local.marathon.control import ChangeRefusedError, Started, View
from framework.local.marathon.core import deploying
from framework.local.marathon.core.effects import Effect, Publish, Save
from framework.local.marathon.core.events import DelayReset, Event, HealthProbed, KillAsked, ReadinessProbed
from framework.local.marathon.core.state import State
from framework.local.marathon.core.step import resume, turn
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.groups import planning
from framework.local.marathon.groups.settling import settle
from framework.local.marathon.happenings import Happening
from framework.local.marathon.performer import Checks, MakeOperations, Performer
from framework.local.marathon.records import Step
from framework.local.marathon.store import MarathonStore
from framework.log import get_logger
from framework.mesos_ports import SchedulerDriver
from framework.ports import Chance, Clock, jittered
from framework.runtime.saving import Saving
from framework.runtime.waiting import fail, tell, until_done, until_due, until_set

log = get_logger(__name__)

Take = Callable[[Happening, float], None]
DriverFactory = Callable[[FrameworkId | None, tuple[str, ...]], SchedulerDriver]
"""Of the framework's id, None for a new one, and of the Mesos roles to subscribe with."""

MAX_PENDING_EVENTS = 100_000
"""They pile up only while the state cannot be saved."""
MAX_ASKING = 1000
"""Changes that wait to be saved."""
SAVE_TIMEOUT_S = 10.0
"""For one change, while the state cannot be saved."""
STOP_TIMEOUT_S = 10.0
"""For what is under way when it is told to stop: one write, one request's answer."""
RENEW_BASE_S = 0.1
RENEW_CAP_S = 60.0
"""Between drivers, should Mesos end one after the other."""
_MAX_BATCH = 1000
_STOPPING = "the server is stopping; try again"
_SAVES = get_args(Save)


class Runtime:
    """``control.Control``. ``run`` once; everything on the event loop's own thread."""

    def __init__(
        self,
        state: State,
        store: MarathonStore,
        new_driver: DriverFactory,
        roles: Sequence[str],
        operations: MakeOperations,
        checks: Checks,
        clock: Clock,
        chance: Chance,
    ) -> None:
        """``roles``: of Mesos, to begin with."""
        self._state = state
        self._store = store
        self._new_driver = new_driver
        self._driver = new_driver(state.framework_id, tuple(roles))
        self._clock = clock
        self._chance = chance
        self._performer = Performer(self._driver, roles, operations, checks, self.emit, self._publish)
        self._events: deque[Event] = deque()
        self._effects: list[Effect] = []  # of changes that are decided, but not saved yet
        self._asking: list[asyncio.Future[None]] = []  # who made them
        self._subscribers: tuple[Take, ...] = ()
        self._told_at = 0.0
        self._wake = asyncio.Event()
        self._stopped = asyncio.Event()
        self._framework_id = state.framework_id
        self._saving = Saving[Save](store.commit, clock, chance, self._stopped)

    # What happens

    def emit(self, event: Event) -> None:
        """Takes an event in. Of too many, updates are let go that Mesos will send again until we acknowledge them, and

        what checks found; the others are bounded by what is live.
        """
        if len(self._events) >= MAX_PENDING_EVENTS and _comes_again(event):
            return
        self._events.append(event)
        self._wake.set()

    async def run(self) -> None:
        """Until ``stop``. Raises StoreError where the state can no longer be kept, MesosRefusedError."""
        loop = asyncio.ensure_future(self._loop())
        driver = asyncio.ensure_future(self._drive())
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({loop, driver, stopped}, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            await until_done(loop, self._clock, STOP_TIMEOUT_S)
            await self._driver.stop()
            await until_done(driver, self._clock, STOP_TIMEOUT_S)
            for task in (loop, driver):
                if task.done():
                    task.result()
        finally:
            loop.cancel()
            driver.cancel()
            stopped.cancel()

    def stop(self) -> None:
        """Leaves Mesos without ending the framework: its tasks run on and are found again by the next start."""
        self._stopped.set()
        self._wake.set()

    async def _loop(self) -> None:
        self._effects += resume(self._state, self._clock.now())
        self._wake.set()
        try:
            while not self._stopped.is_set():
                await until_due(self._wake, self._clock, self._state.deadlines.next())
                self._wake.clear()
                await self._turn()
        finally:
            self._stopped.set()
            fail(self._asking, self._saving.fails or _STOPPING)

    async def _turn(self) -> None:
        """Save, then call: one frame of what was decided since the last turn and what the events at hand lead to."""
        events = [self._events.popleft() for _ in range(min(len(self._events), _MAX_BATCH))]
        if self._events:
            self._wake.set()
        effects, self._effects = self._effects, []
        asking, self._asking = self._asking, []
        now = self._clock.now()
        try:
            effects += turn(self._state, events or (Tick(),), now)
            frame = [effect for effect in effects if isinstance(effect, _SAVES)]
            if not await self._saving.save(frame, lambda reason: fail(asking, reason)):
                return
            tell(asking)
        finally:
            fail(asking, self._saving.fails or _STOPPING)
        self._told_at = now
        await self._performer.perform(effects)

    async def _drive(self) -> None:
        """One driver after the other, should Mesos remove the framework."""
        renewals = 0
        while True:
            try:
                await self._driver.run(self._on_mesos)
            except FrameworkRemovedError as error:
                self.emit(FrameworkRemoved(str(error)))
                self._framework_id = None
            if await until_set(self._stopped, self._clock, jittered(self._chance, renewals, RENEW_BASE_S, RENEW_CAP_S)):
                return
            renewals += 1
            self._driver = self._new_driver(self._framework_id, self._performer.roles)
            self._performer.use(self._driver)

    def _on_mesos(self, event: MesosEvent) -> None:
        if isinstance(event, Subscribed):
            self._framework_id = event.framework_id
        self.emit(cast(Event, event))  # the driver tells nothing that only the builds' scheduler knows

    def _publish(self, happening: Happening) -> None:
        for take in self._subscribers:
            take(happening, self._told_at)

    # control.Control

    @property
    def view(self) -> View:
        return self._state

    def new_version(self) -> str:
        return self._state.new_version(self._clock.now())

    def plan(self, target: Group) -> tuple[Step, ...]:
        root, version = self._state.root, self.new_version()
        first, last = self._state.config.service_ports
        target = settle(root, target, version, first_port=first, last_port=last)
        return planning.plan(root, target, version=version, deployment_id="").steps

    async def deploy(
        self,
        change: Callable[[Group, str], Group],
        *,
        force: bool = False,
        restart: Sequence[str] = (),
        kill: Mapping[str, Sequence[str]] | None = None,
    ) -> Started:
        self._check_serving()
        with self._telling_of_refusal():
            started, effects = deploying.deploy(
                self._state, change, self._clock.now(), force=force, restart=restart, kill=kill
            )
        await self._saved(effects)
        return started

    async def cancel(self, deployment_id: str, *, force: bool) -> Started | None:
        self._check_serving()
        with self._telling_of_refusal():
            started, effects = deploying.cancel(self._state, deployment_id, self._clock.now(), force=force)
        await self._saved(effects)
        return started

    async def kill(self, instance_ids: Sequence[str], *, wipe: bool) -> None:
        self._check_serving()
        await self._saved(turn(self._state, (KillAsked(tuple(instance_ids), wipe),), self._clock.now()))

    async def reset_delay(self, app_id: str) -> bool:
        self._check_serving()
        known = app_id in self._state.waiting
        await self._saved(turn(self._state, (DelayReset(app_id),), self._clock.now()))
        return known

    async def versions(self, app_id: str) -> list[str]:
        return await asyncio.to_thread(self._store.versions, app_id)

    async def app_at(self, app_id: str, version: str) -> App | None:
        return await asyncio.to_thread(self._store.app_at, app_id, version)

    async def group_versions(self, group_id: str) -> list[str]:
        return await asyncio.to_thread(self._store.group_versions, group_id)

    async def group_at(self, group_id: str, version: str) -> Group | None:
        return await asyncio.to_thread(self._store.group_at, group_id, version)

    def subscribe(self, take: Take) -> Callable[[], None]:
        self._subscribers = (*self._subscribers, take)

        def end() -> None:
            self._subscribers = tuple(each for each in self._subscribers if each is not take)

        return end

    async def abdicate(self) -> None:
        log.warning("asked to give up the leadership; ending, to be started again")
        self.stop()

    @contextmanager
    def _telling_of_refusal(self) -> Iterator[None]:
        try:
            yield
        except ChangeRefusedError as error:
            if error.told is not None:
                self._effects.append(Publish(error.told))
                self._wake.set()
            raise

    async def _saved(self, effects: Sequence[Effect]) -> None:
        """Returns once they are. Raises UnavailableError where that takes too long: what was asked for may still be

        done then.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._effects += effects
        self._asking.append(done)
        self._wake.set()
        if not await until_done(done, self._clock, SAVE_TIMEOUT_S):
            done.cancel()
            raise UnavailableError(self._saving.fails or "the server did not get to it in time; try again")
        done.result()

    def _check_serving(self) -> None:
        if self._saving.fails or self._stopped.is_set():
            raise UnavailableError(self._saving.fails or _STOPPING)
        if len(self._asking) >= MAX_ASKING:
            raise UnavailableError("too many changes at once; try again in a second")


def _comes_again(event: Event) -> bool:
    return isinstance(event, HealthProbed | ReadinessProbed) or (isinstance(event, TaskUpdate) and bool(event.uuid))
