from __future__ import annotations

from pathlib import Path

import pytest

from agents.executor.cgroup_v2 import CgroupV2
from agents.executor.limits import (
    PIDS_STREAK_S,
    PidsPressure,
    Wanted,
    cpu_shares,
    cpu_weight,
    read_counter,
    read_int,
)
from agents.executor.watchdog import nice_level


@pytest.mark.parametrize(("millis", "shares"), [(1000, 1024), (250, 256), (1, 2), (0, 2), (16000, 16384)])
def test_shares(millis: int, shares: int) -> None:
    assert cpu_shares(millis) == shares


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, 1), (1024, 100), (262144, 10000), (0, 1), (999999, 10000), (2000, 170)]
)
def test_weights_are_those_of_runc(shares: int, weight: int) -> None:
    assert cpu_weight(shares) == weight


def test_weights_grow_with_shares() -> None:
    weights = [cpu_weight(shares) for shares in range(2, 20000, 97)]
    assert weights == sorted(weights)


@pytest.mark.parametrize(("millis", "nice"), [(4000, 0), (16000, 0), (1000, 6), (100, 17), (1, 19), (0, 19)])
def test_nice_levels(millis: int, nice: int) -> None:
    assert nice_level(millis) == nice


def test_a_limit_hit_all_the_time_is_told_from_one_hit_now_and_then() -> None:
    bomb, busy = PidsPressure(), PidsPressure()
    assert not bomb.sustained(0.0, hit=True)
    assert not bomb.sustained(PIDS_STREAK_S / 2, hit=True)
    assert bomb.sustained(PIDS_STREAK_S, hit=True)
    assert not any(busy.sustained(second * 5.0, hit=True) for second in range(10))
    assert not busy.sustained(50.0, hit=False)


def test_kernel_files(tmp_path: Path) -> None:
    file = tmp_path / "memory.events"
    file.write_text("low 0\noom 3\noom_kill 2\n")
    assert read_counter(str(file), "oom_kill") == 2
    assert read_counter(str(file), "none") == 0
    assert read_counter(str(tmp_path / "gone"), "oom_kill") == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert read_int(str(tmp_path / "memory.max")) is None
    assert read_int(str(tmp_path / "gone")) is None


def test_what_a_group_used_is_known_when_it_is_gone(tmp_path: Path) -> None:
    """As a container's is, which the engine removes. Files as of a kernel with memory.peak."""
    files = {"memory.current": "1048576\n", "memory.peak": "3145728\n", "cpu.stat": "usage_usec 2500000\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = CgroupV2(Wanted(mem_mib=64, cpu_millis=500, pids=60), str(tmp_path))
    assert group.check(0.0) is None
    assert vars(group.usage()) == {"peak_mem_mib": 3.0, "cpu_s": 2.5}
    for name in files:
        (tmp_path / name).unlink()
    assert group.check(1.0) is None
    assert vars(group.usage()) == {"peak_mem_mib": 3.0, "cpu_s": 2.5}
