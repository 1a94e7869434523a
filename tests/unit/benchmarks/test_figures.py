"""Numbers as the benchmarks tell them."""

from __future__ import annotations

import pytest

from benchmarks.figures import percentile, spread


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([7.0], 0.0, 7.0),
        ([7.0], 0.99, 7.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([4.0, 3.0, 2.0, 1.0], 0.5, 2.0),
        ([float(number) for number in range(1, 101)], 0.99, 99.0),
        ([float(number) for number in range(1, 101)], 1.0, 100.0),
    ],
)
def test_percentile_is_the_nearest_rank(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


def test_spread_of_nothing_has_no_numbers() -> None:
    assert spread([]) == {
        "count": 0,
        "min_s": None,
        "p50_s": None,
        "p90_s": None,
        "p99_s": None,
        "max_s": None,
        "stdev_s": None,
    }
