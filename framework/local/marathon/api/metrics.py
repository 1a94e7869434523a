"""What the server measures of itself: /metrics, and /metrics/prometheus for Prometheus.

Names are those of Marathon 1.9's documentation, for what there is here as well.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from framework.local.marathon.api.exchange import TEXT, Answer, Call, encoded
from framework.local.marathon.api.statistics import STAGED, TaskCounts
from framework.local.marathon.groups.tree import apps_of, groups_of

KEPT = 2048
"""Durations that percentiles are made of: the last so many requests of a kind."""
RATES_S = {"m1_rate": 60.0, "m5_rate": 300.0, "m15_rate": 900.0}
TICK_S = 5.0
_QUANTILES = {"p50": 0.5, "p75": 0.75, "p95": 0.95, "p98": 0.98, "p99": 0.99, "p999": 0.999}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Meter:
    """Moving averages of a rate, as ``uptime`` reckons them: each tick's rate weighs in by the average's length."""

    def __init__(self, now: float) -> None:
        self.count = 0
        self._begun = self._ticked = now
        self._since_tick = 0
        self._rates: dict[str, float] = {}

    def mark(self, now: float) -> None:
        self._tick(now)
        self.count += 1
        self._since_tick += 1

    def shown(self, now: float) -> dict[str, float]:
        self._tick(now)
        rates = {name: self._rates.get(name, 0.0) for name in RATES_S}
        return {"count": self.count, **rates, "mean_rate": self.count / max(now - self._begun, 1e-9)}

    def _tick(self, now: float) -> None:
        passed_s = now - self._ticked
        if passed_s < TICK_S:
            return
        rate = self._since_tick / passed_s
        for name, length_s in RATES_S.items():
            last = self._rates.get(name, rate)
            self._rates[name] = last + (1 - math.exp(-passed_s / length_s)) * (rate - last)
        self._ticked, self._since_tick = now, 0


class Timer:
    def __init__(self, now: float) -> None:
        self._meter = Meter(now)
        self._durations_s: deque[float] = deque(maxlen=KEPT)

    def took(self, duration_s: float, now: float) -> None:
        self._meter.mark(now)
        self._durations_s.append(duration_s)

    def shown(self, now: float) -> dict[str, object]:
        units = {"duration_units": "seconds", "rate_units": "events/second"}
        return {**_histogram(self._durations_s), **self._meter.shown(now), **units}


class Metrics:
    """Of the requests; the rest is asked for where it is shown."""

    def __init__(self) -> None:
        now = time.monotonic()
        self._begun = now
        self.active = 0
        self._bytes: Counter[str] = Counter()
        self._responses = {kind: Meter(now) for kind in ("1xx", "2xx", "3xx", "4xx", "5xx")}
        self._timers = {"": Timer(now)}

    def answered(self, method: str, status: int, duration_s: float, sent: int, gzipped: bool) -> None:
        now = time.monotonic()
        self._responses[f"{status // 100}xx"].mark(now)
        self._timers[""].took(duration_s, now)
        if method in _METHODS:
            name = f"{method.lower()}."
            if name not in self._timers:
                self._timers[name] = Timer(now)
            self._timers[name].took(duration_s, now)
        self._bytes["marathon.http.responses.size.counter.bytes"] += sent
        if gzipped:
            self._bytes["marathon.http.responses.size.gzipped.counter.bytes"] += sent

    def received(self, size: int) -> None:
        self._bytes["marathon.http.requests.size.counter.bytes"] += size

    def shown(self, call: Call) -> dict[str, Any]:
        now = time.monotonic()
        counters = {**self._bytes, "marathon.http.event-streams.responses.size.counter.bytes": call.hub.sent_bytes}
        meters = {f"marathon.http.responses.{kind}.rate": one.shown(now) for kind, one in self._responses.items()}
        timers = {f"marathon.http.requests.{kind}duration.timer.seconds": one for kind, one in self._timers.items()}
        return {
            "version": "4.0.0",
            "counters": {name: {"count": count} for name, count in counters.items()},
            "gauges": {name: {"value": value} for name, value in self._gauges(call, now).items()},
            "histograms": {},
            "meters": {name: {**shown, "units": "events/second"} for name, shown in meters.items()},
            "timers": {name: one.shown(now) for name, one in timers.items()},
        }

    def _gauges(self, call: Call, now: float) -> dict[str, float]:
        view = call.view
        instances = view.all_instances()
        counts = TaskCounts.of(instances)
        overdue = time.time() - call.settings.launch_timeout_s
        return {
            "marathon.apps.active.gauge": sum(1 for _ in apps_of(view.root)),
            "marathon.groups.active.gauge": sum(1 for _ in groups_of(view.root)),
            "marathon.pods.active.gauge": 0,
            "marathon.deployments.active.gauge": len(view.deployments()),
            "marathon.instances.staged.gauge": counts.staged,
            "marathon.instances.running.gauge": counts.running,
            "marathon.instances.launch-overdue.gauge": sum(
                1 for one in instances if one.condition in STAGED and one.since < overdue
            ),
            "marathon.http.requests.active.gauge": self.active,
            "marathon.http.event-streams.active.gauge": call.hub.active,
            "marathon.uptime.gauge.seconds": now - self._begun,
            "marathon.leadership.duration.gauge.seconds": now - self._begun,
            "marathon.process.memory.resident.gauge.bytes": _resident_bytes(),
        }


async def show(call: Call) -> Answer:
    if call.prefers_text():
        return await prometheus(call)
    return encoded(call.metrics.shown(call))


async def prometheus(call: Call) -> Answer:
    return Answer("".join(_exposition(call.metrics.shown(call))).encode(), media_type=f"{TEXT};version=0.0.4")


def _exposition(shown: dict[str, Any]) -> Iterable[str]:
    """The text format of Prometheus, version 0.0.4."""
    kinds = (("counters", "count", "counter"), ("gauges", "value", "gauge"), ("meters", "count", "counter"))
    for group, field, kind in kinds:
        for name, values in shown[group].items():
            yield f"# TYPE {_plain(name)} {kind}\n{_plain(name)} {values[field]}\n"
    for name, values in shown["timers"].items():
        yield f"# TYPE {_plain(name)} summary\n"
        for quantile, part in _QUANTILES.items():
            yield f'{_plain(name)}{{quantile="{part}"}} {values[quantile]}\n'
        yield f"{_plain(name)}_count {values['count']}\n"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _histogram(values: Iterable[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]
    mean = math.fsum(ordered) / len(ordered)
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in ordered) / len(ordered))
    quantiles = {name: _quantile(ordered, part) for name, part in _QUANTILES.items()}
    return {"min": ordered[0], "mean": mean, "max": ordered[-1], "stddev": spread, **quantiles}


def _quantile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
