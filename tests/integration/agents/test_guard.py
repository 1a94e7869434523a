"""Whoever of the executor's processes is killed, nothing of the build is left alive, locked or on disk."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from agents.executor import processes
from tests.integration.agents.conftest import (
    GONE_TIMEOUT_S,
    TEST_UIDS,
    DockerDaemon,
    Executor,
    Running,
    assert_nothing_left,
    until,
)

pytestmark = pytest.mark.root

HIDING = (
    "sleep 600 &\nsetsid sleep 600 &\n(setsid setsid sleep 600 &)\n"
    "trap '' TERM INT HUP\necho hidden; while :; do sleep 600; done"
)


def executors_of(running: Running) -> tuple[int, int, int]:
    """Process ids of driver, guard and runner."""
    driver = running.process.pid
    (guard,) = processes.children(driver)
    (runner,) = processes.children(guard)
    return driver, guard, runner


def groups_left() -> list[str]:
    names = [f"butlery-u{uid}" for uid in range(*map(int, TEST_UIDS.split("-")))]
    # os.walk, as groups go while one looks, which Path.rglob takes for an error.
    return [f"{parent}/{name}" for parent, below, _ in os.walk("/sys/fs/cgroup") for name in below if name in names]


def locks_held() -> list[str]:
    held = []
    for path in Path("/run/butlery/uids").glob("300*"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                held.append(path.name)
    return held


def assert_cleared(running: Running) -> None:
    assert_nothing_left(running.marker)
    until(lambda: not groups_left() and not locks_held(), f"{groups_left()} {locks_held()} to go", GONE_TIMEOUT_S)
    until(lambda: not (running.sandbox / "workspace").exists(), "the workspace to go", GONE_TIMEOUT_S)


def test_the_driver_killed(executor: Executor) -> None:
    running = executor.start(HIDING)
    running.wait_for_log("hidden\n")
    running.process.kill()
    running.process.wait()
    assert_cleared(running)


def test_the_runner_killed(executor: Executor) -> None:
    running = executor.start(HIDING)
    running.wait_for_log("hidden\n")
    os.kill(executors_of(running)[2], signal.SIGKILL)
    ended = running.finish()
    assert ended.result.result_class == "infrastructure", ended
    assert_cleared(running)


def test_driver_and_runner_killed_together(executor: Executor) -> None:
    running = executor.start(HIDING)
    running.wait_for_log("hidden\n")
    driver, _, runner = executors_of(running)
    os.kill(driver, signal.SIGKILL)
    os.kill(runner, signal.SIGKILL)
    running.process.wait()
    assert_cleared(running)


def test_the_guard_killed_leaves_the_build_to_the_runner(executor: Executor) -> None:
    running = executor.start(HIDING)
    running.wait_for_log("hidden\n")
    os.kill(executors_of(running)[1], signal.SIGKILL)
    running.process.send_signal(signal.SIGTERM)
    assert running.finish().result.result_class == "cancelled"
    assert_cleared(running)


def test_the_driver_killed_under_a_fork_bomb(executor: Executor) -> None:
    running = executor.start('echo "go"; while :; do sh "$0" & sh "$0" & sleep 0.1; done', mem_mib=256)
    running.wait_for_log("go\ngo\n")
    running.process.kill()
    running.process.wait()
    assert_cleared(running)


def test_a_killed_drivers_container_is_gone(docker: Executor, docker_daemon: DockerDaemon) -> None:
    running = docker.start("echo up; sleep 600", image=docker_daemon.image)
    running.wait_for_log("up\n")
    assert len(docker_daemon.names()) == 1
    driver, _, runner = executors_of(running)
    os.kill(driver, signal.SIGKILL)
    os.kill(runner, signal.SIGKILL)
    running.process.wait()
    assert_cleared(running)
    until(lambda: docker_daemon.names() == [], "the container to go", GONE_TIMEOUT_S)


@pytest.mark.parametrize("count", [3])
def test_builds_at_once_have_users_of_their_own(watchdog: Executor, count: int) -> None:
    started = [watchdog.start("id -u; sleep 600") for _ in range(count)]
    for running in started:
        running.wait_for_log("\n")
    assert len({(running.sandbox / "build.log").read_text() for running in started}) == count
    assert len(locks_held()) == count
    for running in started:
        running.process.send_signal(signal.SIGTERM)
    for running in started:
        running.finish()
    assert locks_held() == []


def test_a_neighbour_is_not_touched_by_the_killing_of_another(watchdog: Executor) -> None:
    neighbour = watchdog.start("echo up; sleep 2; echo well")
    neighbour.wait_for_log("up\n")
    assert watchdog.run("sleep 600", timeout_s=0.5, grace_s=0.0).result.result_class == "timeout"
    ended = neighbour.finish()
    assert (ended.result.result_class, ended.log) == ("passed", "up\nwell\n")
