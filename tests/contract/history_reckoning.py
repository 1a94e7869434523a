"""Builds of many kinds, and what statistics of builds come to, reckoned the plain way."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise

from framework.telemetry.records import BuildRecord
from framework.telemetry_ports import Dimension, Order, Percentiles, Stats, StatsAnswer, StatsQuery
from tests.fakes.records import DAY_MS, FIRST_DAY_MS, HOUR_MS, build

TOLERANCE = 0.03


def random_builds(count: int, seed: int, jobs: int = 6) -> list[BuildRecord]:
    """Of twelve days; names repeat over tenants, fields are missing, many end at the edges of days and hours."""
    chance = random.Random(seed)
    told = []
    for n in range(count):
        at_ms = FIRST_DAY_MS + chance.randrange(12 * DAY_MS)
        if chance.random() < 0.3:
            at_ms -= at_ms % chance.choice([HOUR_MS, DAY_MS])
        run_ms = chance.choice([None, 0, chance.randrange(100_000), chance.randrange(4 * HOUR_MS)])
        priced = chance.random() < 0.7
        told.append(
            build(
                f"{chance.randrange(36**5):x}-{n}",
                at_ms,
                run_ms,
                tenant=f"tenant-{chance.randrange(4)}",
                job=f"job-{chance.randrange(jobs)}",
                label=chance.choice(["", "linux", "windows && big"]),
                template=chance.choice(["", "small", "big"]),
                host=chance.choice(["", "host-1", "host-2"]),
                result_class=chance.choice(["passed", "passed", "passed", "failed", "oom"]),
                attempts=chance.randrange(4),
                asked_cpu_millis=chance.choice([100, 1500, 8000]),
                asked_mem_mib=chance.choice([100, 4096]),
                wait_ms=chance.choice([None, 0, 1, chance.randrange(10_000), chance.randrange(DAY_MS)]),
                used_cpu_ms=chance.choice([None, 0, chance.randrange(100_000)]),
                peak_mem_mib=chance.choice([None, 0.0, 1023.4567, 12.5]),
                cost_micros=chance.randrange(10**9) if priced else None,
                currency=chance.choice(["EUR", "USD"]) if priced else "",
            )
        )
    return told


def _begin(at_ms: int, length_ms: int) -> str:
    return datetime.fromtimestamp((at_ms - at_ms % length_ms) / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _value(one: BuildRecord, dimension: Dimension) -> str:
    if dimension is Dimension.DAY:
        return _begin(one.at_ms, DAY_MS)
    if dimension is Dimension.HOUR:
        return _begin(one.at_ms, HOUR_MS)
    value: str = getattr(one, dimension.value)
    return value


def check_statistics(answer: StatsAnswer, told: list[BuildRecord], query: StatsQuery) -> None:
    """Holds an answer against what the builds that were taken come to."""
    within = [
        one
        for one in told
        if query.since_ms <= one.at_ms < query.until_ms
        and all(getattr(query, name) in {None, getattr(one, name)} for name in ("tenant", "job", "label", "template"))
    ]
    expected: dict[tuple[str, ...], list[BuildRecord]] = defaultdict(list)
    for one in within:
        expected[tuple(_value(one, dimension) for dimension in query.by)].append(one)
    check_group(answer.total, within)
    assert answer.total.key == {}
    found = [tuple(one.key[dimension.value] for dimension in query.by) for one in answer.groups]
    assert len(set(found)) == len(found) == min(len(expected), query.limit), query
    assert answer.more == (len(expected) > query.limit)
    for key, group in zip(found, answer.groups, strict=True):
        assert len(group.key) == len(query.by)
        check_group(group, expected[key])
    check_order(answer, found, expected, query)


def check_order(
    answer: StatsAnswer,
    found: list[tuple[str, ...]],
    expected: dict[tuple[str, ...], list[BuildRecord]],
    query: StatsQuery,
) -> None:
    """Of groups that are equal in an order, any may go before the others."""
    if query.order is Order.KEY:
        assert found == sorted(expected)[: query.limit]
    elif query.order is Order.BUILDS:
        counts = sorted((len(group) for group in expected.values()), reverse=True)
        assert [one.builds for one in answer.groups] == counts[: query.limit]
    elif query.order is Order.COST:
        costs = sorted((sum(one.cost_micros or 0 for one in group) for group in expected.values()), reverse=True)
        assert [sum(one.cost_micros.values()) for one in answer.groups] == costs[: query.limit]
    else:
        told = [-1.0 if one.waits is None else one.waits.p99_ms for one in answer.groups]
        assert told == sorted(told, reverse=True)
        if answer.more:
            left_out = [group for key, group in expected.items() if key not in found]
            for group in left_out:
                waits = sorted(one.wait_ms for one in group if one.wait_ms is not None)
                assert not waits or bounds(waits, 0.99)[0] <= told[-1] * (1 + 2 * TOLERANCE)


def check_group(group: Stats, builds: list[BuildRecord]) -> None:
    assert group.builds == len(builds)
    assert group.by_class == Counter(one.result_class for one in builds)
    assert group.attempts == sum(one.attempts for one in builds)
    assert group.unpriced == sum(one.cost_micros is None for one in builds)
    costs: Counter[str] = Counter()
    for one in builds:
        if one.cost_micros is not None:
            costs[one.currency] += one.cost_micros
    assert group.cost_micros == dict(costs)
    check_percentiles(group.waits, [one.wait_ms for one in builds if one.wait_ms is not None])
    check_percentiles(group.runs, [one.run_ms for one in builds if one.run_ms is not None])
    assert group.used_cpu_ms == sum(one.used_cpu_ms or 0 for one in builds)
    measured_cpu = [one for one in builds if one.used_cpu_ms is not None]
    measured_mem = [one for one in builds if one.peak_mem_mib is not None]
    # A sum of whole numbers, or the whole number of a sum: that much is free.
    for told, thousandths in (
        (group.asked_cpu_ms, sum(one.asked_cpu_millis * (one.run_ms or 0) for one in builds)),
        (group.measured_cpu_ms, sum(one.asked_cpu_millis * (one.run_ms or 0) for one in measured_cpu)),
        (group.asked_mem_mib_s, sum(one.asked_mem_mib * (one.run_ms or 0) for one in builds)),
        (group.measured_mem_mib_s, sum(one.asked_mem_mib * (one.run_ms or 0) for one in measured_mem)),
        (group.peak_mem_mib_s, sum((one.peak_mem_mib or 0) * (one.run_ms or 0) for one in measured_mem)),
    ):
        assert isinstance(told, int)
        assert abs(told - thousandths / 1000) <= len(builds) + 1


def check_percentiles(told: Percentiles | None, values: list[int]) -> None:
    assert (told is None) == (not values)
    if told is None:
        return
    ordered = sorted(values)
    for found, part in ((told.p50_ms, 0.5), (told.p90_ms, 0.9), (told.p99_ms, 0.99)):
        least, most = bounds(ordered, part)
        assert least * (1 - TOLERANCE) <= found <= most * (1 + TOLERANCE), (part, found, least, most)
    assert all(lower <= higher for lower, higher in pairwise([told.p50_ms, told.p90_ms, told.p99_ms]))


def bounds(ordered: list[int], part: float) -> tuple[int, int]:
    """The values around a percentile: between them it is by any of the usual definitions."""
    place = part * len(ordered)
    return ordered[max(0, math.floor(place) - 1)], ordered[min(len(ordered) - 1, math.ceil(place))]
