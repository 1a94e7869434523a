"""Builds that misbehave, in every isolation this machine has: each ends with its class and leaves nothing alive."""

from __future__ import annotations

import pytest

from tests.integration.agents.conftest import Executor

pytestmark = pytest.mark.root

MEMORY_HOG = 'exec python3 -c "kept = []\nwhile True:\n    kept.append(bytearray(1 << 20))"'
CPU_HOG = "while :; do :; done"
FORK_BOMB = (
    'while :; do sh "$0" & sh "$0" & sleep 0.2; done'  # no faster than the limits, which every executor here has
)
ENDLESS_LOG = "yes a line of the log that never ends"


def test_a_memory_hog_ends_as_oom_with_peak_and_limit(executor: Executor) -> None:
    ended = executor.run(MEMORY_HOG)
    assert ended.result.result_class == "oom", ended
    assert "limit 64 MiB" in ended.result.message
    assert "peak" in ended.result.message
    assert ended.result.limit_mem_mib == 64
    assert ended.result.peak_mem_mib is not None
    assert ended.result.peak_mem_mib >= 60


def test_a_child_over_the_limit_ends_the_whole_build(executor: Executor) -> None:
    ended = executor.run(MEMORY_HOG.replace("exec ", "") + "\necho survived; sleep 60")
    assert ended.result.result_class == "oom", ended


def test_a_cpu_hog_ends_as_timeout(executor: Executor) -> None:
    ended = executor.run(CPU_HOG, timeout_s=2.0)
    assert ended.result.result_class == "timeout", ended
    assert ended.result.message == "over its time of 2 s"
    assert ended.result.cpu_s is not None
    assert ended.result.cpu_s > 0.1


def test_a_fork_bomb_ends_as_pids(executor: Executor) -> None:
    ended = executor.run(FORK_BOMB, mem_mib=256)
    assert ended.result.result_class == "pids", ended
    assert "60 processes" in ended.result.message


def test_an_endless_log_ends_as_log_limit(executor: Executor) -> None:
    ended = executor.run(ENDLESS_LOG)
    assert ended.result.result_class == "log_limit", ended
    assert (1 << 20) <= ended.result.log_bytes < (1 << 20) + 1000
    assert (ended.sandbox / "build.log").stat().st_size == ended.result.log_bytes


def test_background_children_do_not_outlive_the_build(executor: Executor) -> None:
    ended = executor.run("sleep 600 &\nsetsid sh -c 'sleep 600 & sleep 600' &\n(setsid setsid sleep 600 &) ; echo done")
    assert ended.result.result_class == "passed", ended
    assert ended.log == "done\n"
    if ended.result.isolation != "docker":  # there the kernel kills them with the container, uncounted
        assert ended.result.leftover_processes == 5


def test_a_build_that_ignores_term_is_killed_after_its_grace(executor: Executor) -> None:
    ended = executor.run("trap '' TERM; sleep 600 & sleep 600 & while :; do wait; done", timeout_s=1.5, grace_s=0.5)
    assert ended.result.result_class == "timeout", ended


def test_a_build_may_clean_up_when_its_time_is_over(executor: Executor) -> None:
    ended = executor.run(
        "trap 'echo cleaned; exit 3' TERM; echo ready; while :; do sleep 0.1; done", timeout_s=2.0, grace_s=20.0
    )
    assert ended.result.result_class == "timeout", ended
    assert "cleaned\n" in ended.log


def test_a_full_workspace_ends_as_disk(executor: Executor) -> None:
    ended = executor.run("dd if=/dev/zero of=big bs=1048576 count=30 2>&1; sleep 60", disk_mib=20)
    assert ended.result.result_class == "disk", ended
    assert "limit 20 MiB" in ended.result.message


def test_the_most_that_a_build_had_on_disk_is_told(executor: Executor) -> None:
    """Of its workspace and temporary files, without any limit; None of one that never began."""
    write = "dd if=/dev/zero of=%s bs=1048576 count=%d 2>&1"
    ended = executor.run(f"{write % ('big', 20)}; {write % ('$TMPDIR/tmp', 7)}")
    assert ended.result.result_class == "passed", ended
    assert ended.result.peak_disk_mib is not None
    assert 27 <= ended.result.peak_disk_mib < 32
