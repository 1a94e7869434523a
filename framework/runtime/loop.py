"""The loop: events in, one turn of the core, the frame saved, its calls performed. Nothing else changes state."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from framework.core.effects import Effect, Save, SaveFrameworkId, SaveRequest, SaveTask, SaveTenant
from framework.core.events import Event, Submitted, Tick
from framework.core.ids import RequestId
from framework.core.state import State
from framework.core.step import turn
from framework.core.tasks import RequestState
from framework.errors import IdempotencyConflictError, StoreFullError, UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, NewRequest, Store, jittered
from framework.runtime.performer import Performer

log = get_logger(__name__)

MAX_PENDING_SUBMISSIONS = 2000
_MAX_BATCH = 1000
_MAX_SLEEP_S = 60.0  # the wall clock may be set while we sleep
_SAVE_TYPES = (SaveRequest, SaveTask, SaveTenant, SaveFrameworkId)


class Loop:
    """Owns the state. ``emit`` and the waiting methods are for the event loop's own thread."""

    def __init__(self, state: State, store: Store, performer: Performer, clock: Clock, chance: Chance) -> None:
        self.state = state
        self._store = store
        self._performer = performer
        self._clock = clock
        self._chance = chance
        self._events: deque[tuple[Event, asyncio.Future[None] | None]] = deque()
        self._submissions: deque[tuple[NewRequest, asyncio.Future[RequestId]]] = deque()
        self._ended: dict[RequestId, set[asyncio.Future[None]]] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self.saving_fails = ""  # why, while the state cannot be saved

    def emit(self, event: Event) -> None:
        """Takes an event in. What edges emit is bounded by what is live: Mesos waits for our acknowledgements."""
        self._events.append((event, None))
        self._wake.set()

    async def settled(self, event: Event, timeout_s: float) -> None:
        """Takes an event in and returns once its frame is saved. Raises UnavailableError after ``timeout_s``."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._events.append((event, done))
        self._wake.set()
        await self._bounded(done, timeout_s)

    async def submit(self, new: NewRequest, timeout_s: float) -> RequestId:
        """Durably takes a request; the id of the one that stands for it.

        Raises IdempotencyConflictError, StoreFullError, UnavailableError.
        """
        if len(self._submissions) >= MAX_PENDING_SUBMISSIONS:
            raise UnavailableError("too many submissions at once; try again in a second")
        done: asyncio.Future[RequestId] = asyncio.get_running_loop().create_future()
        self._submissions.append((new, done))
        self._wake.set()
        await self._bounded(done, timeout_s)
        return done.result()

    async def ended(self, request_id: RequestId, timeout_s: float) -> None:
        """Returns when the request has ended and that is saved, or after ``timeout_s``."""
        if request_id not in self.state.requests:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended.setdefault(request_id, set()).add(done)
        try:
            await asyncio.wait([done], timeout=timeout_s)
        finally:
            waiters = self._ended.get(request_id, set())
            waiters.discard(done)
            if not waiters:
                self._ended.pop(request_id, None)

    def stop(self) -> None:
        """Ends ``run`` after the turn under way."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until ``stop``. Raises StoreError where the state can no longer be kept."""
        while not self._stopping:
            await self._sleep()
            self._wake.clear()
            batch = [self._events.popleft() for _ in range(min(len(self._events), _MAX_BATCH))]
            if self._events:
                self._wake.set()
            submitted = await self._save_submissions()
            events: list[Event] = [event for event, _ in batch]
            events += submitted
            effects = turn(self.state, events or (Tick(),), self._clock.now())
            await self._save([effect for effect in effects if isinstance(effect, _SAVE_TYPES)])
            for _, done in batch:
                if done is not None and not done.done():
                    done.set_result(None)
            await self._performer.perform(effects)
            self._tell_ended(effects)

    async def _sleep(self) -> None:
        if self._wake.is_set():
            return
        due = self.state.deadlines.next()
        timeout_s = _MAX_SLEEP_S if due is None else min(_MAX_SLEEP_S, max(0.0, due - self._clock.now()))
        try:
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        except TimeoutError:
            return

    async def _save_submissions(self) -> list[Submitted]:
        """Saves what was submitted, all in one write, and answers those who wait for it."""
        batch = [self._submissions.popleft() for _ in range(min(len(self._submissions), _MAX_BATCH))]
        if self._submissions:
            self._wake.set()
        batch = [(new, done) for new, done in batch if not done.done()]
        if not batch:
            return []
        try:
            ids = await asyncio.to_thread(self._store.add_submissions, [new for new, _ in batch])
        except StoreFullError as error:
            log.error("a submission could not be saved", reason=str(error))
            for _, done in batch:
                if not done.done():
                    done.set_exception(UnavailableError(str(error)))
            return []
        events = []
        for (new, done), request_id in zip(batch, ids, strict=True):
            if isinstance(request_id, IdempotencyConflictError):
                if not done.done():
                    done.set_exception(request_id)
                continue
            if request_id == new.request.id:
                events.append(Submitted(new.request))
            if not done.done():
                done.set_result(request_id)
        return events

    async def _save(self, frame: Sequence[Save]) -> None:
        """Writes the frame; while that cannot be done nothing else is, for a call must never run ahead of its cause."""
        if not frame:
            return
        attempt = 0
        while True:
            try:
                await asyncio.to_thread(self._store.commit, frame)
            except StoreFullError as error:
                if not self.saving_fails:
                    log.error("the state cannot be saved; waiting until it can", reason=str(error))
                self.saving_fails = str(error)
                await self._clock.sleep(jittered(self._chance, attempt, base_s=0.2, cap_s=5.0))
                attempt += 1
                continue
            if self.saving_fails:
                log.info("the state can be saved again")
                self.saving_fails = ""
            return

    def _tell_ended(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SaveRequest) and effect.request.state is RequestState.ENDED:
                for done in self._ended.pop(effect.request.id, set()):
                    if not done.done():
                        done.set_result(None)

    async def _bounded(self, done: asyncio.Future[None] | asyncio.Future[RequestId], timeout_s: float) -> None:
        finished, _ = await asyncio.wait([done], timeout=timeout_s)
        if not finished:
            done.cancel()
            raise UnavailableError(self.saving_fails or "the scheduler did not get to it in time; try again")
        if (error := done.exception()) is not None:
            raise error
