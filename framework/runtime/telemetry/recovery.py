"""Builds that have ended and may not have been told, found in the state and told again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from framework.core.tasks import SPARES, Request, Task, TaskState
from framework.errors import UnavailableError
from framework.ports import Store
from framework.runtime.telemetry.costs import Costs
from framework.runtime.telemetry.pieces import pieces
from framework.telemetry.making import Spent, build_record, change_record, end_record, lost_record, reached
from framework.telemetry.pooled import pooled_records, serves_many, was_taken
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind
from framework.telemetry_ports import Batch, Spool

_AT_ONCE = 200


class Recovery:
    """``tell`` is for another thread than the loop's."""

    def __init__(self, store: Store, spool: Spool, costs: Costs) -> None:
        self._store = store
        self._spool = spool
        self._costs = costs
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def tell(self, since: float, told_until: Callable[[], float]) -> int:
        """Puts builds that ended since then (seconds since the epoch) into the spool; how many. ``told_until``: what is

        appended with them, which falls where a part of the spool is lost meanwhile.

        Raises StoreError where the state cannot be read, UnavailableError where the spool does not take them all.
        """
        count = 0
        for requests in pieces(self._store.ended_since(since), _AT_ONCE):
            if self._stopped.is_set():
                raise UnavailableError("the scheduler is stopping")
            builds: list[BuildRecord] = []
            changes: list[ChangeRecord] = []
            for request in requests:
                if request.tenant != SPARES and request.outcome is not None and request.ended_at is not None:
                    tasks = self._store.tasks_of(request.id)
                    builds += self._records(request, tasks)
                    changes += _changes(request, tasks)
            batches = [Batch.of(Kind.BUILDS, builds, again=True), Batch.of(Kind.CHANGES, changes, again=True)]
            if not self._spool.append([batch for batch in batches if batch.count], told_until()):
                raise UnavailableError("the spool is full")
            count += len(builds)
        return count

    def _records(self, request: Request, tasks: Sequence[Task]) -> list[BuildRecord]:
        if was_taken(request):
            return []
        spent = Spent()
        last = tasks[-1] if tasks and serves_many(request) else None
        for task in tasks:
            if task is not last and task.state is TaskState.ENDED:
                spent = spent.and_of(self._costs.of_task(task))
        if not serves_many(request):
            return [build_record(request, spent)]
        cost_of = self._costs.of_agent(request, None if last is None else last.host_id)
        return list(pooled_records(request, 0, spent, cost_of))


def _changes(request: Request, tasks: Sequence[Task]) -> Iterator[ChangeRecord]:
    for task in tasks:
        lost = lost_record(request, task)
        if lost is not None:
            yield lost
    for stage, at in reached(request):
        if at is not None:
            yield change_record(request, stage, at)
    yield end_record(request)
