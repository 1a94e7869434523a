"""Questions about a million past builds, of which a month is asked for statistics, in either sink.

Each question is asked as the API asks it, of what it tells the time runs until the answer is there as records. Builds
alone: their state changes are looked up by the build, and no list or statistic reads them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from elasticsearch import Elasticsearch

from benchmarks.cluster import Say
from benchmarks.figures import percentile, rounded
from benchmarks.telemetry import past
from benchmarks.telemetry.client import settings_for
from framework.edges.elasticsearch.sink import ElasticsearchSink
from framework.edges.sqlite_history import SqliteHistory
from framework.telemetry.asking import DAY_MS
from framework.telemetry.records import Kind
from framework.telemetry_ports import Batch, BuildQuery, Dimension, Order, Sink, StatsQuery

PREFIX = "history"
AT_ONCE = 5000
SAY_EVERY_S = 10.0
SPAN_D = 40
"""Over which the builds ended. Of a million three quarters are in the month that is asked for."""
MONTH_D = 30
KEEP_D = 400


def measure(url: str, directory: Path, builds: int, lists: int, statistics: int, say: Say) -> dict[str, Any]:
    """The figures: ``lists`` questions for lists, ``statistics`` of each kind of statistics."""
    end_ms = int(time.time() * 1000)
    sinks: dict[str, Sink] = {
        "sqlite": SqliteHistory(directory / "history.db", dict.fromkeys(Kind, KEEP_D)),
        "elasticsearch": ElasticsearchSink(settings_for(url, PREFIX)),
    }
    try:
        loaded = _load(sinks, builds, end_ms, say)
        with Elasticsearch(url) as client:
            client.indices.refresh(index=f"{PREFIX}-*")
        figures: dict[str, Any] = {"builds": builds, "span_d": SPAN_D}
        for name, sink in sinks.items():
            say(f"{name}: {lists} lists, {statistics} of each kind of statistics")
            asked = _asked(sink, builds, end_ms, lists, statistics)
            figures[name] = {"loaded_per_s": rounded(builds / loaded[name], 1), **asked}
        for key in ("lists_p99_ms", "statistics_p99_ms"):
            figures[key] = max(figures[name][key] for name in sinks)
        return figures
    finally:
        for sink in sinks.values():
            sink.close()


def _load(sinks: dict[str, Sink], builds: int, end_ms: int, say: Say) -> dict[str, float]:
    """In how many seconds each took them, in the order in which they ended."""
    took = dict.fromkeys(sinks, 0.0)
    said = time.monotonic()
    for begin in range(0, builds, AT_ONCE):
        numbers = range(begin, min(builds, begin + AT_ONCE))
        records = [past.drawn(number, _ended_ms(number, builds, end_ms)) for number in numbers]
        batch = Batch.of(Kind.BUILDS, records)
        for name, sink in sinks.items():
            started = time.perf_counter()
            if rejected := sink.take([batch]):
                raise AssertionError(f"{name} refuses {rejected[0]}")
            took[name] += time.perf_counter() - started
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            say(f"{numbers.stop} of {builds} builds are in both")
    return took


def _ended_ms(number: int, builds: int, end_ms: int) -> int:
    return end_ms - SPAN_D * DAY_MS * (builds - number) // builds


def _asked(sink: Sink, builds: int, end_ms: int, lists: int, statistics: int) -> dict[str, Any]:
    chance = random.Random(7)
    times = [_timed(sink.builds, query) for query in _lists(chance, builds, end_ms, lists)]
    pages, after = [], None
    for _ in range(lists // 10):  # one list, page after page
        started = time.perf_counter()
        page = sink.builds(BuildQuery(limit=1000, after=after))
        pages.append(time.perf_counter() - started)
        after = page.next
    by = {
        "by_tenant_and_label": StatsQuery(0, 0, (Dimension.TENANT, Dimension.LABEL), order=Order.COST),
        "by_job": StatsQuery(0, 0, (Dimension.JOB,)),
        "by_tenant": StatsQuery(0, 0, (Dimension.TENANT,), order=Order.WAIT),
        "by_day_and_class": StatsQuery(0, 0, (Dimension.DAY, Dimension.RESULT_CLASS), order=Order.KEY),
        "jobs_of_a_tenant": StatsQuery(0, 0, (Dimension.JOB,), tenant="team-0000", order=Order.COST),
    }
    told: dict[str, list[float]] = {}
    for name, query in by.items():
        first, *others = _months(chance, query, end_ms, statistics + 1)
        sink.stats(first)  # while Java compiles what it takes, which it does once
        told[name] = [_timed(sink.stats, each) for each in others]
    return {
        "lists_p50_ms": _ms(times + pages, 0.5),
        "lists_p99_ms": _ms(times + pages, 0.99),
        "pages_p99_ms": _ms(pages, 0.99),
        "statistics_p50_ms": _ms([each for some in told.values() for each in some], 0.5),
        "statistics_p99_ms": max(_ms(some, 0.99) for some in told.values()),
        **{f"{name}_p99_ms": _ms(some, 0.99) for name, some in told.items()},
    }


def _lists(chance: random.Random, builds: int, end_ms: int, count: int) -> Iterator[BuildQuery]:
    """What somebody looks for, from the commonest to what hardly ever is there."""
    for number in range(count):
        build = past.drawn(chance.randrange(builds), end_ms)
        begin_ms = end_ms - chance.randrange(SPAN_D * DAY_MS)
        yield (
            BuildQuery(),
            BuildQuery(tenant=build.tenant),
            BuildQuery(tenant=build.tenant, job=build.job),
            BuildQuery(tenant=build.tenant, result_classes=("failed", "oom", "timeout")),
            BuildQuery(label=build.label or "gpu", result_classes=("oom",)),
            BuildQuery(host=build.host, since_ms=begin_ms, until_ms=begin_ms + DAY_MS),
            BuildQuery(until_ms=begin_ms, limit=1000),
            BuildQuery(tenant="team-1999", job="product-1999/service-19", result_classes=("infrastructure",)),
            BuildQuery(template=build.template, host=build.host, tenant=build.tenant),
            BuildQuery(tenant="nobody"),
        )[number % 10]


def _months(chance: random.Random, query: StatsQuery, end_ms: int, count: int) -> Iterator[StatsQuery]:
    """Of a month each, that begins in the middle of some hour."""
    for _ in range(count):
        begin_ms = end_ms - MONTH_D * DAY_MS - chance.randrange((SPAN_D - MONTH_D) * DAY_MS)
        yield msgspec.structs.replace(query, since_ms=begin_ms, until_ms=begin_ms + MONTH_D * DAY_MS)


def _timed(ask: Callable[[Any], object], query: object) -> float:
    started = time.perf_counter()
    ask(query)
    return time.perf_counter() - started


def _ms(seconds: Sequence[float], share: float) -> float:
    return round(1000 * (percentile(seconds, share) or 0.0), 1)
