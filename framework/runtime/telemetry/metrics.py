"""What is counted for Prometheus, as it happens. All of it is done on the loop's thread, by plain additions."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence, Sized

import msgspec

from framework.telemetry.records import BuildRecord, ChangeRecord

WAIT_BOUNDS_S = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Few, as there is a histogram a tenant: an agent is there within a second or five, or a team notices."""
START_BOUNDS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
RUN_BOUNDS_S = (1.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0)
TURN_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
COMMIT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Histogram:
    """Counts of values up to and including each bound, and above the last."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def copy(self) -> Histogram:
        copied = Histogram(self.bounds)
        copied.counts, copied.sum = self.counts.copy(), self.sum
        return copied


class Counted(msgspec.Struct, frozen=True):
    """All that was counted since the process started; times in seconds, money in millionths."""

    ended: dict[tuple[str, str], int]  # builds by tenant and result class
    attempts: dict[str, int]  # by result class
    waits: dict[str, Histogram]  # by tenant
    starts: dict[str, Histogram]  # by source; so the next
    runs: dict[str, Histogram]
    cpu_ms: dict[str, int]  # by tenant
    cost_micros: dict[tuple[str, str], int]  # by tenant and currency
    unpriced: dict[str, int]  # builds by tenant
    turns: Histogram
    commits: Histogram
    queued: int  # events that wait for the loop's next turn


class Metrics:
    """Fed by the recorder and the loop."""

    def __init__(self) -> None:
        self._ended: Counter[tuple[str, str]] = Counter()
        self._attempts: Counter[str] = Counter()
        self._waits: dict[str, Histogram] = {}
        self._starts: dict[str, Histogram] = {}
        self._runs: dict[str, Histogram] = {}
        self._cpu_ms: Counter[str] = Counter()
        self._cost_micros: Counter[tuple[str, str]] = Counter()
        self._unpriced: Counter[str] = Counter()
        self._turns = Histogram(TURN_BOUNDS_S)
        self._commits = Histogram(COMMIT_BOUNDS_S)
        self._events: Sized = ()

    def ended(self, record: BuildRecord, *, cost_known: bool = True) -> None:
        """A build has ended, told for the first time in this process; what it cost may be found out later alone."""
        tenant = record.tenant
        self._ended[tenant, record.result_class] += 1
        if record.wait_ms is not None:
            _add(self._waits, tenant, WAIT_BOUNDS_S, record.wait_ms)
        ready_at_ms = record.connected_at_ms or record.running_at_ms
        if record.launched_at_ms is not None and ready_at_ms is not None:
            _add(self._starts, record.source, START_BOUNDS_S, max(0, ready_at_ms - record.launched_at_ms))
        if record.run_ms is not None:
            _add(self._runs, record.source, RUN_BOUNDS_S, record.run_ms)
        if record.used_cpu_ms is not None:
            self._cpu_ms[tenant] += record.used_cpu_ms
        if not cost_known:
            return
        if record.cost_micros is not None:
            self._cost_micros[tenant, record.currency] += record.cost_micros
        else:
            self._unpriced[tenant] += 1

    def changed(self, record: ChangeRecord) -> None:
        """A build came to another state."""
        if record.result_class:
            self._attempts[record.result_class] += 1

    def queues(self, events: Sized) -> None:
        """Where events wait for the loop's next turn."""
        self._events = events

    def turned(self, took_s: float) -> None:
        """The loop has decided what follows of a turn's events."""
        self._turns.add(max(0.0, took_s))  # the wall clock may have been set

    def committed(self, took_s: float) -> None:
        """A frame was saved."""
        self._commits.add(max(0.0, took_s))

    def counted(self) -> Counted:
        """As of now; it stays so, whatever is counted next."""
        return Counted(
            ended=dict(self._ended),
            attempts=dict(self._attempts),
            waits={tenant: waits.copy() for tenant, waits in self._waits.items()},
            starts={source: starts.copy() for source, starts in self._starts.items()},
            runs={source: runs.copy() for source, runs in self._runs.items()},
            cpu_ms=dict(self._cpu_ms),
            cost_micros=dict(self._cost_micros),
            unpriced=dict(self._unpriced),
            turns=self._turns.copy(),
            commits=self._commits.copy(),
            queued=len(self._events),
        )


def _add(histograms: dict[str, Histogram], key: str, bounds: Sequence[float], ms: int) -> None:
    found = histograms.get(key)
    if found is None:
        found = histograms[key] = Histogram(bounds)
    found.add(ms / 1000)
