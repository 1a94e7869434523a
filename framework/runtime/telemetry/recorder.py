"""What is saved becomes records, made on the loop's thread at once: what is saved now may change with the next turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from framework.core.effects import Save, SaveRequest, SaveTask
from framework.core.ids import HostId, RequestId, TaskId
from framework.core.state import State
from framework.core.stories import Stage
from framework.core.tasks import SPARES, Request, RequestState, Task, TaskState
from framework.log import get_logger
from framework.ports import Chance, Clock, Store
from framework.runtime.telemetry.beside import beside
from framework.runtime.telemetry.costs import Costs
from framework.runtime.telemetry.metrics import Metrics
from framework.runtime.telemetry.outlet import HELD_S, Outlet
from framework.runtime.telemetry.pieces import pieces
from framework.runtime.telemetry.prices import PriceWatch
from framework.telemetry.making import (
    Spent,
    attempt_of,
    build_record,
    change_record,
    end_record,
    lost_record,
    reached,
)
from framework.telemetry.pooled import number_of, pooled_records, serves_many, was_taken
from framework.telemetry.prices import Cost
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, SampleRecord
from framework.telemetry_ports import Spool

log = get_logger(__name__)

HOSTS_S = 30.0
"""For Mesos to list its hosts, whose attributes tell the prices of builds that ended before we started."""
_HOSTS_LOOK_S = 0.5
_READ_AT_ONCE = 200
_BITS = {stage: 1 << number for number, stage in enumerate(Stage)}


class _Live:
    """What is to be remembered of a live request."""

    __slots__ = ("attempt", "costs", "host_id", "request", "served", "told", "unread", "waits")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.attempt = 0
        self.told = 0  # which states of that attempt
        self.served = 0  # builds of its agent of a pool that were told
        self.host_id: HostId | None = None  # of the newest attempt
        self.costs: dict[TaskId, Cost | None] | None = None  # of attempts that ended
        self.waits: Counter[str] | None = None
        self.unread = False  # it had attempts before we started, which are yet to be read

    def spent(self) -> Spent:
        spent = Spent()
        for cost in (self.costs or {}).values():
            spent = spent.and_of(cost)
        return spent

    def waited_for(self) -> str:
        return "" if self.waits is None else self.waits.most_common(1)[0][0]


class Recorder:
    """Of one leadership. For the event loop's own thread; ``run`` once. Nothing of it fails whoever calls it."""

    def __init__(
        self,
        state: State,
        store: Store,
        spool: Spool,
        prices: PriceWatch,
        metrics: Metrics,
        clock: Clock,
        chance: Chance,
        made: Callable[[BuildRecord], None] = lambda _: None,
    ) -> None:
        """``made`` is called with each build's record as it is made; it never blocks."""
        self._state = state
        self._store = store
        self._metrics = metrics
        self._made = made
        self._clock = clock
        self._costs = Costs(state, prices)
        self._outlet = Outlet(store, spool, self._costs, clock, chance, self._read)
        self._live: dict[RequestId, _Live] = {}
        self._broken = False  # a fault of ours was logged
        self._guarded(self._begin, state.requests.values())

    @property
    def notices(self) -> list[str]:
        return self._outlet.notices

    @property
    def dropped(self) -> int:
        """State changes and samples that there was no room for on their way to the spool."""
        return self._outlet.dropped

    async def run(self) -> None:
        """Until ``stop``; what was told by then is in the spool when it returns, where that takes it."""
        await self._outlet.run()

    def stop(self) -> None:
        self._outlet.stop()

    def saved(self, frame: Sequence[Save], submitted: Sequence[Request]) -> None:
        """A frame is saved, with requests that were submitted."""
        self._guarded(self._saved, frame, submitted)

    def waits(self, reasons: Mapping[RequestId, str]) -> None:
        """What each of these waiting requests waits for now."""
        for request_id, reason in reasons.items():
            live = self._live.get(request_id)
            if live is not None:
                if live.waits is None:
                    live.waits = Counter()
                live.waits[reason] += 1

    def sampled(self, samples: Iterable[SampleRecord]) -> None:
        for sample in samples:
            self._outlet.put(Kind.SAMPLES, sample)

    def _guarded(self, tell: Callable[..., None], *told: Any) -> None:
        try:
            tell(*told)
        except Exception:
            if not self._broken:
                self._broken = True
                log.exception("telemetry is at fault: records of what was saved now are not whole")
            self._outlet.owe()

    def _begin(self, requests: Iterable[Request]) -> None:
        """What live requests came to before is told where it may not have been."""
        since = self._outlet.appended_until - HELD_S
        for request in requests:
            live = self._known(request)
            if live is None:
                continue
            live.attempt = attempt_of(request)
            live.unread = request.attempt > 1 or live.attempt > request.attempt > 0 or serves_many(request)
            task = self._state.live_task(request)
            live.host_id = None if task is None else task.host_id
            for stage, at in reached(request):
                if at is None or at < since:
                    live.told |= _BITS[stage]
            self._tell_changes(live, request, self._clock.now(), again=True)

    async def _read(self) -> None:
        """Reads what attempts cost that ended before we started; and tells again what agents of pools have served.

        Raises StoreError.
        """
        waited_s = 0.0
        while self._costs.blind and waited_s < HOSTS_S:
            await self._clock.sleep(_HOSTS_LOOK_S)
            waited_s += _HOSTS_LOOK_S
        unread = [live for live in self._live.values() if live.unread]
        for some in pieces(unread, _READ_AT_ONCE):
            found = await beside(partial(self._tasks_of, [live.request.id for live in some]))
            for live, tasks in zip(some, found, strict=True):
                before = {task.id: self._costs.of_task(task) for task in tasks if task.state is TaskState.ENDED}
                live.costs = {**before, **(live.costs or {})}
                live.unread = False
        for live in self._live.values():
            if serves_many(live.request):
                for record in self._served(live, 0):
                    live.served = max(live.served, number_of(record))
                    self._outlet.put(Kind.BUILDS, record, again=True)

    def _tasks_of(self, ids: Iterable[RequestId]) -> list[list[Task]]:
        return [self._store.tasks_of(each) for each in ids]

    def _saved(self, frame: Sequence[Save], submitted: Sequence[Request]) -> None:
        now = self._clock.now()
        self._costs.know_hosts()
        requests: dict[RequestId, Request] = {request.id: request for request in submitted}
        tasks: dict[TaskId, Task] = {}
        for save in frame:
            if isinstance(save, SaveRequest):
                requests[save.request.id] = save.request
            elif isinstance(save, SaveTask):
                tasks[save.task.id] = save.task
        for task in tasks.values():
            self._task_saved(task)
        for request in requests.values():
            self._request_saved(request, now)
        self._outlet.told(now)

    def _task_saved(self, task: Task) -> None:
        live = self._live.get(task.request_id)
        if live is None:
            return
        live.host_id = task.host_id
        if task.state is not TaskState.ENDED:
            return
        request = live.request
        if self._costs.blind:
            live.unread = True
        elif not serves_many(request):
            if live.costs is None:
                live.costs = {}
            live.costs[task.id] = self._costs.of_task(task)
        if (lost := lost_record(request, task)) is not None:
            self._change(lost)

    def _request_saved(self, request: Request, now: float) -> None:
        live = self._known(request)
        if live is None:
            if request.tenant != SPARES:  # a fault of ours kept it from being known
                self._outlet.owe()
            return
        attempt = attempt_of(request)
        if attempt != live.attempt:
            live.attempt, live.told = attempt, 0
        self._tell_changes(live, request, now)
        if request.state is RequestState.ENDED:
            self._change(end_record(request))
            del self._live[request.id]
            self._tell_end(live, request)
        elif serves_many(request):
            self._tell_served(live)

    def _known(self, request: Request) -> _Live | None:
        """None where it is nobody's build, or ended before."""
        live = self._live.get(request.id)
        if live is None and request.tenant != SPARES and request.state is not RequestState.ENDED:
            live = self._live[request.id] = _Live(request)
        return live

    def _tell_changes(self, live: _Live, request: Request, now: float, *, again: bool = False) -> None:
        for stage, at in reached(request):
            bit = _BITS[stage]
            if not live.told & bit:
                live.told |= bit
                self._change(change_record(request, stage, now if at is None else at), again=again)

    def _tell_end(self, live: _Live, request: Request) -> None:
        if was_taken(request):
            return
        if live.unread:  # it is told once what it cost can be
            self._outlet.owe()
            if not serves_many(request):
                record = build_record(request, Spent(), live.waited_for())
                self._metrics.ended(record, cost_known=False)
                self._made(record)
        elif serves_many(request):
            self._tell_served(live)
        else:
            self._build(build_record(request, live.spent(), live.waited_for()))

    def _tell_served(self, live: _Live) -> None:
        if not live.unread:
            for record in self._served(live, live.served):
                live.served = number_of(record)
                self._build(record)

    def _served(self, live: _Live, told: int) -> Iterator[BuildRecord]:
        request = live.request
        cost_of = self._costs.of_agent(request, live.host_id)
        return pooled_records(request, told, live.spent(), cost_of, live.waited_for())

    def _build(self, record: BuildRecord) -> None:
        self._metrics.ended(record)
        self._outlet.put(Kind.BUILDS, record)
        self._made(record)

    def _change(self, record: ChangeRecord, *, again: bool = False) -> None:
        if not again:
            self._metrics.changed(record)
        self._outlet.put(Kind.CHANGES, record, again=again)
