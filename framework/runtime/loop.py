"""The loop: events in, one turn of the core, the frame saved, its calls performed. Nothing else changes state."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from framework.core.effects import Effect, Save, SaveDraining, SaveFrameworkId, SaveRequest, SaveTask, SaveTenant
from framework.core.events import Event, MasterObserved, Submitted, TaskUpdate, Tick
from framework.core.ids import RequestId
from framework.core.state import State
from framework.core.step import turn
from framework.core.tasks import Request, RequestState
from framework.errors import IdempotencyConflictError, StoreFullError, UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, NewRequest, Store
from framework.runtime.performer import Performer
from framework.runtime.saving import Saving
from framework.runtime.telemetry.metrics import Metrics
from framework.runtime.waiting import fail, tell, until_done, until_due, until_set

log = get_logger(__name__)

MAX_PENDING_SUBMISSIONS = 2000
MAX_PENDING_EVENTS = 100_000
"""Four times the updates of 8000 tasks; they pile up only while the state cannot be saved."""
_MAX_BATCH = 1000
_STOPPING = "the scheduler is stopping; try again"
Taken: TypeAlias = list[RequestId | IdempotencyConflictError]
_Submission: TypeAlias = tuple[Sequence[NewRequest], asyncio.Future[Taken]]
Saved: TypeAlias = Callable[[Sequence[Save], Sequence[Request]], None]
"""Called with each frame that is saved and the requests that were submitted with it, as they are then; never blocks."""
_SAVE_TYPES = (SaveRequest, SaveTask, SaveTenant, SaveFrameworkId, SaveDraining)


class Loop:
    """Owns the state. ``emit`` and the waiting methods are for the event loop's own thread."""

    def __init__(
        self,
        state: State,
        store: Store,
        performer: Performer,
        clock: Clock,
        chance: Chance,
        saved: Saved = lambda _, __: None,
        metrics: Metrics | None = None,
    ) -> None:
        self.state = state
        self._saved = saved
        self._store = store
        self._performer = performer
        self._clock = clock
        self._events: deque[tuple[Event, asyncio.Future[None] | None]] = deque()
        self._metrics = metrics or Metrics()
        self._metrics.queues(self._events)
        self._submissions: deque[_Submission] = deque()
        self._submitted = 0  # requests in these
        self._effects: list[Effect] = []  # of what the last write submitted; saved with the next frame
        self._ended: dict[RequestId, set[asyncio.Future[None]]] = {}
        self._ending: set[RequestId] = set()  # ended in the frame under way, which is not saved yet, and with the next
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._wrote_at = -math.inf  # when the turn began that wrote last
        self._saving = Saving[Save](store.commit, clock, chance, self._stop)

    def emit(self, event: Event) -> None:
        """Takes an event in. While nothing can be saved looks at masters are let go, as others follow.

        Of too many events updates are let go that Mesos will send again until we acknowledge them; the others are
        bounded by what is live.
        """
        if isinstance(event, MasterObserved) and self.saving_fails:
            return
        if len(self._events) >= MAX_PENDING_EVENTS and isinstance(event, TaskUpdate) and event.uuid:
            return
        self._events.append((event, None))
        self._wake.set()

    async def settled(self, event: Event, timeout_s: float) -> None:
        """Takes an event in and returns once its frame is saved.

        Raises UnavailableError after ``timeout_s``, and at once, the event not taken in, while nothing can be saved.
        """
        await self.settled_all((event,), timeout_s)

    async def settled_all(self, events: Sequence[Event], timeout_s: float) -> None:
        """As ``settled``, of several events: in this order, and once for all."""
        await self.take_all((), events, timeout_s)

    async def submit(self, new: NewRequest, timeout_s: float) -> RequestId:
        """Durably takes a request; the id of the one that stands for it.

        Raises IdempotencyConflictError, UnavailableError.
        """
        (taken,) = await self.submit_all((new,), timeout_s)
        if isinstance(taken, IdempotencyConflictError):
            raise taken
        return taken

    async def submit_all(self, batch: Sequence[NewRequest], timeout_s: float) -> Taken:
        """As ``submit``, of several requests, all or none: for each the id, or why there is none."""
        return await self.take_all(batch, (), timeout_s)

    async def take_all(self, batch: Sequence[NewRequest], events: Sequence[Event], timeout_s: float) -> Taken:
        """As ``submit_all`` and ``settled_all`` at once, with one wait for both.

        Raises UnavailableError, though some of it may have been taken in then.
        """
        self._check_serving()
        if batch and self._submitted >= MAX_PENDING_SUBMISSIONS:
            raise UnavailableError("too many submissions at once; try again in a second")
        submitted: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if batch:
            self._submissions.append((batch, submitted))
            self._submitted += len(batch)
        else:
            submitted.set_result([])
        if events:
            self._events.extend((event, None) for event in events[:-1])
            self._events.append((events[-1], settled))
        else:
            settled.set_result(None)
        self._wake.set()
        try:
            await self._bounded(settled, timeout_s)
        except BaseException:
            if not submitted.cancel():
                submitted.exception()  # looked at, as nobody else will
            raise
        await self._bounded(submitted, timeout_s)
        return submitted.result()

    async def ended(self, request_id: RequestId, timeout_s: float) -> None:
        """Returns when the request has ended and that is saved, or after ``timeout_s``, or when the loop stops."""
        if self._stop.is_set() or not (request_id in self.state.requests or request_id in self._ending):
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended.setdefault(request_id, set()).add(done)
        try:
            await until_done(done, self._clock, timeout_s)
        finally:
            waiters = self._ended.get(request_id, set())
            waiters.discard(done)
            if not waiters:
                self._ended.pop(request_id, None)

    def stop(self) -> None:
        """Ends ``run`` after the turn under way; one whose frame cannot be saved is given up, and not performed."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Until ``stop``. Raises StoreError where the state can no longer be kept."""
        try:
            while not self._stop.is_set():
                await until_due(self._wake, self._clock, self.state.deadlines.next())
                await self._gather()
                self._wake.clear()
                await self._turn()
        finally:
            self._stop.set()
            self._send_away()

    async def _gather(self) -> None:
        """Lets more come where the store wants few writes and the last was but now; after quiet it goes at once.

        So an event waits for less than ``commit_every_s``.
        """
        every_s = self._store.commit_every_s
        left_s = min(every_s, self._wrote_at + every_s - self._clock.now())  # whatever the wall clock was set to
        if left_s > 0:
            await until_set(self._stop, self._clock, left_s)

    async def _turn(self) -> None:
        begun_at = self._clock.now()
        batch = [self._events.popleft() for _ in range(min(len(self._events), _MAX_BATCH))]
        if self._events:
            self._wake.set()
        waiting = [done for _, done in batch if done is not None]
        submitting = self._next_submissions()
        try:
            events: list[Event] = [event for event, _ in batch]
            effects, self._effects = self._effects, []
            frame: list[Save] = []
            calls: list[Effect] = []
            for effect in (*effects, *turn(self.state, events or (Tick(),), begun_at)):
                if isinstance(effect, _SAVE_TYPES):
                    frame.append(effect)
                else:
                    calls.append(effect)
            decided_at = self._clock.now()
            self._metrics.turned(decided_at - begun_at)
            if frame or submitting:
                self._wrote_at = begun_at
            if not await self._save(frame, submitting):
                return
            if frame or submitting:
                self._metrics.committed(self._clock.now() - decided_at)
            tell(waiting)
        finally:
            fail(waiting, self.saving_fails or _STOPPING)
            fail([done for _, done in submitting], _STOPPING)
        await self._performer.perform(calls)

    def _next_submissions(self) -> list[_Submission]:
        """Those that the next write takes with it."""
        taken: list[_Submission] = []
        count = 0
        while self._submissions and count < _MAX_BATCH:
            batch, done = self._submissions.popleft()
            self._submitted -= len(batch)
            if not done.done():
                taken.append((batch, done))
                count += len(batch)
        if self._submissions:
            self._wake.set()
        return taken

    async def _save(self, frame: Sequence[Save], submitting: Sequence[_Submission]) -> bool:
        """Writes the frame and what was submitted at once; where that cannot be done the frame alone, as ``Saving``.

        Who waits for the end of a request is told once that is saved.
        """
        ended = _ended(frame)
        self._ending.update(request.id for request in ended)
        if not (submitting and await self._saved_with(frame, submitting)):
            if not await self._saving.save(frame, self._refuse_submissions):
                return False
            self._saved(frame, ())
        self._ending = {request.id for request in _ended(self._effects)}
        for request in ended:
            tell(self._ended.pop(request.id, ()))
        return True

    async def _saved_with(self, frame: Sequence[Save], submitting: Sequence[_Submission]) -> bool:
        """Writes both and takes in what is new, or refuses what was submitted."""
        news = [new for batch, _ in submitting for new in batch]
        try:
            ids = await asyncio.to_thread(self._store.commit, frame, news)
        except StoreFullError as error:
            log.error("submissions could not be saved", count=len(news), reason=str(error))
            fail([done for _, done in submitting], str(error))
            return False
        fresh = [Submitted(new.request) for new, taken in zip(news, ids, strict=True) if taken == new.request.id]
        self._saved(frame, [one.request for one in fresh])
        if fresh:
            self._effects = turn(self.state, fresh, self._clock.now())
            self._wake.set()
        begin = 0
        for batch, done in submitting:
            if not done.done():
                done.set_result(ids[begin : begin + len(batch)])
            begin += len(batch)
        return True

    @property
    def saving_fails(self) -> str:
        """Why, while the state cannot be saved."""
        return self._saving.fails

    def _check_serving(self) -> None:
        if self.saving_fails or self._stop.is_set():
            raise UnavailableError(self.saving_fails or _STOPPING)

    def _refuse_submissions(self, reason: str) -> None:
        fail([done for _, done in self._submissions], reason)
        self._submissions.clear()
        self._submitted = 0

    def _send_away(self) -> None:
        """Nobody may wait for a loop that has ended."""
        self._refuse_submissions(_STOPPING)
        fail([done for _, done in self._events if done is not None], _STOPPING)
        for waiters in self._ended.values():
            tell(waiters)

    async def _bounded(self, done: asyncio.Future[None] | asyncio.Future[Taken], timeout_s: float) -> None:
        if not await until_done(done, self._clock, timeout_s):
            done.cancel()
            raise UnavailableError(self.saving_fails or "the scheduler did not get to it in time; try again")
        if (error := done.exception()) is not None:
            raise error


def _ended(effects: Iterable[Effect]) -> list[Request]:
    saved = [effect.request for effect in effects if isinstance(effect, SaveRequest)]
    return [request for request in saved if request.state is RequestState.ENDED]
