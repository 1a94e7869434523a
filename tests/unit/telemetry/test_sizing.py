"""Sizes from history: what is recommended, what is not, and what is said of it."""

from __future__ import annotations

import pytest

from framework.telemetry.sizing import Aim, confidence, fewest, rank, recommend
from tests.unit.telemetry.past import past_build

AIM = Aim()


@pytest.mark.parametrize(
    ("coverage", "sure", "builds"), [(0.95, 0.95, 59), (0.9, 0.95, 29), (0.95, 0.99, 90), (0.99, 0.95, 299)]
)
def test_takes_so_many_builds(coverage: float, sure: float, builds: int) -> None:
    """The numbers of Wilks' tables."""
    aim = Aim(coverage, sure)
    assert fewest(aim) == builds
    assert rank(builds, aim) == 1
    assert rank(builds - 1, aim) == 0


def test_of_more_builds_a_smaller_one_will_do() -> None:
    assert [rank(builds, AIM) for builds in (59, 92, 93, 124, 181, 300)] == [1, 1, 2, 3, 5, 9]
    assert confidence(93, 2, 0.95) >= 0.95 > confidence(92, 2, 0.95)


def test_too_few_builds_say_how_many_more() -> None:
    found = recommend([past_build(n, peak_mem_mib=500.0) for n in range(40)], AIM)
    assert found is not None
    assert (found.mem_mib, found.builds, found.missing, found.confidence) == (None, 40, 19, 0.0)
    assert "19 more" in found.reason


def test_recommends_with_room_to_grow_in_steps() -> None:
    builds = [past_build(n, peak_mem_mib=500.0 + n, used_cpu_ms=30_000 + 10 * n) for n in range(59)]
    found = recommend(builds, AIM)
    assert found is not None
    assert found.mem_mib == 704  # 558 * 1.2 = 669.6
    assert found.cpu_millis == 550  # 30.58 s of CPU in a minute: 509.7
    assert found.confidence == pytest.approx(1 - 0.95**59)
    assert (found.asked_mem_mib, found.asked_cpu_millis) == (4096, 2000)
    assert "95.0% of builds stay within 558 MiB (confidence 95.2%)" in found.reason
    assert "on average" in found.reason


def test_what_has_been_enough_is_not_exceeded() -> None:
    """The kernel keeps files in what memory is left, so a peak at the limit does not mean that more is needed."""
    found = recommend([past_build(n, peak_mem_mib=1023.0, limit_mem_mib=1024) for n in range(100)], AIM)
    assert found is not None
    assert found.mem_mib == 1024


def test_more_than_what_one_was_killed_with_lately() -> None:
    builds = [past_build(n, peak_mem_mib=500.0, limit_mem_mib=1024) for n in range(200)]
    builds[10] = past_build(10, result_class="oom", peak_mem_mib=1024.0, limit_mem_mib=1024)
    found = recommend(builds, AIM)
    assert found is not None
    assert (found.mem_mib, found.ooms) == (1088, 1)
    long_ago = [*builds[:10], past_build(10, peak_mem_mib=500.0, limit_mem_mib=1024), *builds[11:]]
    long_ago[150] = past_build(150, result_class="oom", limit_mem_mib=1024)
    found = recommend(long_ago, AIM)
    assert found is not None
    assert found.mem_mib == 640


def test_those_that_were_killed_count_among_those_that_need_most() -> None:
    """Of 100 builds the second largest is sure enough; with two that were killed nobody knows it."""
    builds = [past_build(n, peak_mem_mib=500.0, limit_mem_mib=1024) for n in range(98)]
    builds += [past_build(n, result_class="oom", limit_mem_mib=1024) for n in (98, 99)]
    found = recommend(builds, AIM)
    assert found is not None
    assert found.mem_mib is None
    assert "2 of 100 builds were killed" in found.reason


def test_after_it_was_given_more_only_builds_with_more_count() -> None:
    builds = [past_build(n, peak_mem_mib=1500.0, limit_mem_mib=4096) for n in range(60)]
    builds += [past_build(60 + n, result_class="oom", limit_mem_mib=1024) for n in range(40)]
    found = recommend(builds, AIM)
    assert found is not None
    assert (found.builds, found.mem_mib, found.ooms) == (60, 1856, 0)
    assert "had 1024 MiB were killed" in found.reason


def test_a_job_that_grew_starts_anew() -> None:
    builds = [past_build(n, peak_mem_mib=2000.0 + n) for n in range(25)]
    builds += [past_build(25 + n, peak_mem_mib=500.0) for n in range(100)]
    found = recommend(builds, AIM)
    assert found is not None
    assert (found.builds, found.mem_mib, found.missing) == (25, None, 34)
    assert "the newest 25 builds all need more" in found.reason


def test_builds_that_did_not_go_through_tell_nothing() -> None:
    others = [{"result_class": one} for one in ("failed", "cancelled", "infrastructure", "timeout", "preempted")]
    others += [{"result": one} for one in ("FAILURE", "ABORTED", "NOT_BUILT")]
    builds = [past_build(n, peak_mem_mib=10.0, **others[n % len(others)]) for n in range(100)]
    assert recommend(builds, AIM) is None
    assert recommend([past_build(n) for n in range(100)], AIM) is None  # not measured
    assert recommend([], AIM) is None


def test_only_the_newest_300_count() -> None:
    builds = [past_build(n, peak_mem_mib=500.0 if n < 300 else 4000.0) for n in range(400)]
    found = recommend(builds, AIM)
    assert found is not None
    assert (found.builds, found.mem_mib) == (300, 640)
