"""Percentiles from buckets: near the exact ones whatever was counted, and the same however it was put together."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from framework.telemetry.histogram import ACCURACY, BUCKETS, bucket_of, middle_ms, percentiles_ms

TEN_YEARS_MS = 10 * 366 * 86_400_000
times = st.integers(0, TEN_YEARS_MS) | st.integers(0, 100)


@given(times)
def test_a_bucket_tells_its_times_nearly(ms: int) -> None:
    assert 0 <= bucket_of(ms) < BUCKETS - 1
    assert abs(middle_ms(bucket_of(ms)) - ms) <= ms * ACCURACY * (1 + 1e-9)


@given(times, times)
def test_a_longer_time_is_in_no_lower_bucket(one: int, other: int) -> None:
    assert (bucket_of(one) <= bucket_of(other)) == (one <= other) or bucket_of(one) == bucket_of(other)


@given(st.lists(times, min_size=1, max_size=300), st.lists(st.floats(0, 1), max_size=5))
def test_percentiles_are_near_the_exact_ones(values: list[int], parts: list[float]) -> None:
    told = percentiles_ms(Counter(map(bucket_of, values)), sorted(parts))
    assert len(told) == len(parts)
    for part, found in zip(sorted(parts), told, strict=True):
        exact = sorted(values)[max(0, math.ceil(part * len(values) - 1e-9) - 1)]
        assert abs(found - exact) <= exact * ACCURACY * (1 + 1e-9)


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentiles_ms({}, [0.5]) == []


@given(st.integers(-TEN_YEARS_MS, 0) | st.integers(10**30, 10**40))
def test_times_past_all_sense_have_a_bucket_too(ms: int) -> None:
    assert bucket_of(ms) in {0, BUCKETS - 1}
