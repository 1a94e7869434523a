"""Who ran beside a build, and beside whose builds those of others take longer."""

from __future__ import annotations

import random

import pytest

from framework.telemetry import neighbours
from framework.telemetry.neighbours import beside, noisy
from framework.telemetry.records import BuildRecord
from tests.unit.telemetry.past import NOW_MS, past_build

MINUTE_MS = 60_000


def build(number: int, begin_min: float, length_min: float, **given: object) -> BuildRecord:
    ended_ms = NOW_MS + round((begin_min + length_min) * MINUTE_MS)
    return past_build(number, ended_at_ms=ended_ms, run_ms=round(length_min * MINUTE_MS), **given)


def test_tells_who_ran_beside_it_and_for_how_long() -> None:
    own = build(0, 10, 10)
    others = [
        own,
        build(1, 0, 15, job="quiet", used_cpu_ms=5 * MINUTE_MS),
        build(2, 12, 4, job="hog", tenant="games", asked_cpu_millis=500, used_cpu_ms=16 * MINUTE_MS),
        build(3, 0, 10, job="before"),
        build(4, 20, 5, job="after"),
        build(5, 10, 10, job="elsewhere", host="host-2"),
        build(6, 0, 40, job="never ran", running_at_ms=None, launched_at_ms=None),
    ]
    found = beside(own, others, [])
    assert [(one.job, one.together_ms) for one in found.neighbours] == [
        ("hog", 4 * MINUTE_MS),
        ("quiet", 5 * MINUTE_MS),
    ]
    hog = found.neighbours[0]
    assert (hog.tenant, hog.build, hog.asked_cpu_millis) == ("games", "b000002", 500)
    assert (hog.used_cpu_millis, hog.above_cpu_millis) == (4000, 3500)
    assert (found.usual_ms, found.slower, found.more) == (None, None, 0)


def test_tells_whether_it_took_longer_than_usual() -> None:
    own = build(0, 0, 15)
    usual = [own, *(build(n, -100 * n, 10) for n in range(1, 8)), build(9, -900, 1, result="FAILURE")]
    found = beside(own, [], usual)
    assert (found.usual_ms, found.usual_builds, found.slower) == (10 * MINUTE_MS, 7, 1.5)
    assert beside(own, [], usual[:4]).slower is None


def test_lists_so_many_neighbours() -> None:
    others = [build(n, 0, 10, job=f"job-{n}") for n in range(1, 31)]
    found = beside(build(0, 0, 10), others, [], most=5)
    assert (len(found.neighbours), found.more) == (5, 25)


def history(slowed: float) -> list[BuildRecord]:
    """Sixty builds each of two jobs that vary by a tenth, every second one beside a hog, and all beside a mouse."""
    chance = random.Random(7)
    found = []
    for slot in range(60):
        begin_min, hogged = slot * 40.0, slot % 2 == 0
        for number, (tenant, job, length_min) in enumerate((("payments", "long", 20.0), ("games", "short", 5.0))):
            length_min *= chance.uniform(0.9, 1.1) * (slowed if hogged else 1.0)
            found.append(build(4 * slot + number, begin_min, length_min, tenant=tenant, job=job))
        found.append(build(4 * slot + 2, begin_min, 39, tenant="mice", job="mouse", result="FAILURE"))
        if hogged:
            hog = {"tenant": "hogs", "job": "hog", "used_cpu_ms": 5 * 35 * MINUTE_MS}
            found.append(build(4 * slot + 3, begin_min, 35, **hog))
    return found


def test_ranks_jobs_beside_which_others_take_longer() -> None:
    ranking = noisy(history(1.4))
    first = ranking.jobs[0]
    assert (first.tenant, first.job, first.jobs) == ("hogs", "hog", 2)
    assert first.least < 1.4 < first.most
    assert first.slower == pytest.approx(1.4, rel=0.05)
    assert (first.beside, first.without) == (60, 60)
    assert first.above_cpu_millis == pytest.approx(3000)
    assert "mouse" not in [one.job for one in ranking.jobs]  # nobody ever ran without it
    assert not ranking.cut_short


def test_blames_nobody_where_nothing_takes_longer() -> None:
    hog = next(one for one in noisy(history(1.0)).jobs if one.job == "hog")
    assert hog.least < 1 < hog.most


def test_a_tenant_is_told_of_its_own_builds_and_of_others_without_names() -> None:
    ranking = noisy(history(1.4), "payments")
    assert {(one.tenant, one.job) for one in ranking.jobs} <= {neighbours.OTHERS, ("payments", "long")}
    found = noisy([one for one in history(1.4) if one.tenant in ("payments", "hogs")], "payments")
    assert [(one.tenant, one.job, one.jobs) for one in found.jobs] == [(*neighbours.OTHERS, 1)]
    assert found.jobs[0].slower == pytest.approx(1.4, rel=0.05)


def test_what_is_too_much_is_cut_to_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MAX_PAIRS", 150)
    ranking = noisy(history(1.4))
    assert ranking.cut_short
    assert 0 < ranking.builds < 120


def test_builds_that_all_ran_at_once_take_bounded_time() -> None:
    runs = [build(n, n / 1000, 60, job=f"job-{n % 50}") for n in range(20_000)]
    assert noisy(runs).cut_short


def test_nothing_comes_of_nothing() -> None:
    assert noisy([]).jobs == []
