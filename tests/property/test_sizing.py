"""Recommended sizes keep what they promise, whatever a job's use is distributed like."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.telemetry.sizing import Aim, confidence, fewest, rank, recommend
from tests.unit.telemetry.past import past_build

REPEATS = 400
ROOM = 1_000_000
"""MiB that the builds are given, so that nothing but their own use bounds them."""

Draw = Callable[[random.Random], float]
Below = Callable[[float], float]


def _normal(value: float) -> float:
    return (1 + math.erf(value / math.sqrt(2))) / 2


def _two_humps(value: float) -> float:
    return 0.93 * min(1.0, max(0.0, (value - 5000) / 1000)) + 0.07 * min(1.0, max(0.0, (value - 90_000) / 5000))


DISTRIBUTIONS: dict[str, tuple[Draw, Below]] = {
    "even": (lambda chance: chance.uniform(10_000, 60_000), lambda value: (value - 10_000) / 50_000),
    "long tail": (
        lambda chance: 10_000 * chance.lognormvariate(0, 1),
        lambda value: _normal(math.log(value / 10_000)),
    ),
    "two humps": (
        lambda chance: chance.uniform(5000, 6000) if chance.random() < 0.93 else chance.uniform(90_000, 95_000),
        _two_humps,
    ),
    "no mean": (lambda chance: 10_000 * chance.paretovariate(0.9), lambda value: 1 - (10_000 / value) ** 0.9),
}


@pytest.mark.parametrize("builds", [59, 130, 300])
@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_covers_as_much_as_it_says_as_often_as_it_says(kind: str, builds: int) -> None:
    """Of many histories so many parts at least lead to a size that is enough for 95 % of the builds to come."""
    draw, below = DISTRIBUTIONS[kind]
    chance = random.Random(f"{kind} {builds}")
    aim = Aim(0.95, 0.95, headroom=1.0)
    kept = 0
    for _ in range(REPEATS):
        history = [past_build(n, peak_mem_mib=draw(chance), limit_mem_mib=ROOM) for n in range(builds)]
        found = recommend(history, aim)
        assert found is not None and found.mem_mib is not None
        kept += found.mem_mib == ROOM or below(found.mem_mib) >= aim.coverage
    slack = 3.5 * math.sqrt(0.05 * 0.95 / REPEATS)
    assert kept / REPEATS >= aim.confidence - slack


@given(st.floats(0.5, 0.99), st.floats(0.5, 0.99), st.integers(1, 300))
def test_the_rank_is_the_largest_that_is_sure_enough(coverage: float, sure: float, builds: int) -> None:
    aim = Aim(coverage, sure)
    kth = rank(builds, aim)
    assert (kth > 0) == (builds >= fewest(aim))
    assert kth == 0 or confidence(builds, kth, coverage) >= sure - 1e-9
    assert confidence(builds, kth + 1, coverage) < sure


@given(
    st.lists(
        st.tuples(st.floats(1, 5000), st.sampled_from([512, 1024, 4096]), st.sampled_from(["passed", "oom"])),
        max_size=320,
    )
)
def test_never_at_or_below_what_one_was_killed_with_lately(told: list[tuple[float, int, str]]) -> None:
    history = [
        past_build(n, peak_mem_mib=min(peak, limit), limit_mem_mib=limit, result_class=result)
        for n, (peak, limit, result) in enumerate(told)
    ]
    found = recommend(history, Aim())
    if found is None or found.mem_mib is None:
        return
    lately = [limit for _, limit, result in told[: min(59, found.builds)] if result == "oom"]
    assert all(found.mem_mib > limit for limit in lately)
    assert found.confidence >= 0.95
