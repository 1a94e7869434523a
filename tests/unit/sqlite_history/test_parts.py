"""Parts of the history in SQLite by themselves: spans of time put together of sums, and packed histograms."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from framework.edges.sqlite_history.packing import joined, pack, pack_one, unpacked, waits_and_runs
from framework.edges.sqlite_history.spans import HOUR_MS, pieces
from framework.telemetry.asking import DAY_MS
from framework.telemetry.histogram import bucket_of
from framework.telemetry_ports import Dimension

moments = st.integers(0, 40 * DAY_MS) | st.integers(0, 40 * 24).map(lambda hours: hours * HOUR_MS)


@settings(max_examples=300)
@given(moments, moments, st.sets(st.sampled_from(Dimension)))
def test_a_span_of_time_is_put_together_without_gap_or_overlap(
    since_ms: int, until_ms: int, dimensions: set[Dimension]
) -> None:
    found = pieces(since_ms, until_ms, dimensions)
    place_ms = since_ms
    for cube, first, end in found:
        length_ms = 1 if cube is None else cube.length_ms
        assert first * length_ms == place_ms
        assert end > first
        place_ms = end * length_ms
        if cube is not None:
            assert cube.jobs or Dimension.JOB not in dimensions
            assert cube.tenants or Dimension.TENANT not in dimensions
            assert cube.labels or not {Dimension.LABEL, Dimension.TEMPLATE} & dimensions
            assert length_ms <= HOUR_MS or Dimension.HOUR not in dimensions
            assert length_ms <= DAY_MS or Dimension.DAY not in dimensions
    assert place_ms == max(since_ms, until_ms)


@settings(max_examples=100)
@given(st.lists(st.dictionaries(st.integers(0, 2047), st.integers(1, 10_000_000), max_size=400), max_size=6))
def test_packed_histograms_add_up_one_behind_the_other(parts: list[dict[int, int]]) -> None:
    expected: Counter[int] = Counter()
    packed = together = b""
    for part in parts:
        expected.update(part)
        packed += pack(part)
        together = joined(together, pack(part))
    assert unpacked(packed) == unpacked(together) == expected


@given(st.none() | st.integers(0, 10**9), st.none() | st.integers(0, 10**9))
def test_a_builds_wait_and_run_are_told_apart(wait_ms: int | None, run_ms: int | None) -> None:
    waits, runs = waits_and_runs(unpacked(pack_one(wait_ms, run_ms)))
    assert waits == ({} if wait_ms is None else {bucket_of(wait_ms): 1})
    assert runs == ({} if run_ms is None else {bucket_of(run_ms): 1})
