"""The executor under a real Mesos: launched, killed, left alone by a crashed agent and found again."""

from __future__ import annotations

import base64
import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agents.executor import processes
from agents.pack import command
from agents.spec import BuildResult, BuildSpec, HostPolicy
from framework.local.cluster import MesosCluster
from tests.integration.agents.conftest import KERNEL, TEST_UIDS, assert_nothing_left, processes_marked, read, until
from tests.integration.conftest import ClusterFactory
from tests.integration.local.tiny_framework import TinyFramework

pytestmark = pytest.mark.root

MARKER = "butlery-mesos-test"
END = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED")
EXECUTOR_MIB = 32  # what driver, guard and runner need beside the build


class Framework(TinyFramework):
    def build(self, pyz: Path, script: str, mem_mib: int = 64, **wanted: Any) -> str:
        """Launches a build and returns its task id."""
        policy = HostPolicy(isolation="auto", docker_socket="/nonexistent", uids=TEST_UIDS, pids=60)
        spec = BuildSpec("task-1", "acme", "job", script, 500, mem_mib, env={"MARKER": MARKER}, host=policy, **wanted)
        offer = self.launch(command(str(pyz)), data=asdict(spec), mem_mib=mem_mib + EXECUTOR_MIB)
        running = self.status("TASK_RUNNING")
        self.agent_id = offer["agent_id"]
        task_id: str = running["task_id"]["value"]
        return task_id

    def kill(self, task_id: str, grace_s: float) -> None:
        policy = {"grace_period": {"nanoseconds": int(grace_s * 1e9)}}
        self._call("KILL", kill={"task_id": {"value": task_id}, "agent_id": self.agent_id, "kill_policy": policy})

    def result(self) -> tuple[str, BuildResult]:
        status = self.status(*END)
        return status["state"], BuildResult.from_json(base64.b64decode(status["data"]))


@pytest.fixture
def cluster(mesos_cluster: ClusterFactory) -> MesosCluster:
    return mesos_cluster(hosts=1, isolation=KERNEL)


@pytest.fixture
def framework(cluster: MesosCluster) -> Iterator[Framework]:
    with Framework(cluster.url) as made:
        yield made
        made._call("TEARDOWN")
    assert_nothing_left(MARKER)


def sandbox_of(cluster: MesosCluster, task_id: str) -> Path:
    (found,) = {path.resolve() for path in cluster.work_dir.glob(f"**/slaves/**/executors/{task_id}/runs/latest")} - {
        path.resolve() for path in cluster.work_dir.glob(f"**/meta/**/executors/{task_id}/runs/latest")
    }
    return found


def test_a_build_passes_and_its_log_is_readable_meanwhile(
    cluster: MesosCluster, framework: Framework, pyz: Path
) -> None:
    task_id = framework.build(pyz, "echo first; while [ ! -e $HOME/go ]; do sleep 0.1; done; echo last")
    sandbox = sandbox_of(cluster, task_id)
    until(lambda: "first" in files_read(cluster, sandbox / "build.log"), "the log through Mesos")
    home = sandbox / "home"
    (home / "go").touch()
    state, result = framework.result()
    assert (state, result.result_class, result.isolation) == ("TASK_FINISHED", "passed", KERNEL), result
    assert read(sandbox / "build.log") == "first\nlast\n"
    until(lambda: "exits with code 0" in read(sandbox / "stderr"), "the executor to exit")


def files_read(cluster: MesosCluster, path: Path) -> str:
    with urllib.request.urlopen(f"{cluster.url}/files/read?path={path}&offset=0&length=1000", timeout=10) as answer:
        text: str = json.load(answer)["data"]
    return text


def test_a_build_over_its_memory_is_told_by_its_executor(framework: Framework, pyz: Path) -> None:
    framework.build(pyz, 'python3 -c "kept = []\nwhile True: kept.append(bytearray(1 << 20))"')
    state, result = framework.result()
    assert (state, result.result_class, result.message) == (
        "TASK_FAILED",
        "oom",
        "out of memory: peak 64 MiB, limit 64 MiB",
    )


def test_kill_with_grace(framework: Framework, pyz: Path) -> None:
    task_id = framework.build(pyz, "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    framework.kill(task_id, 20.0)
    state, result = framework.result()
    assert (state, result.result_class) == ("TASK_KILLED", "cancelled"), result


def test_kill_of_what_ignores_term(framework: Framework, pyz: Path) -> None:
    task_id = framework.build(pyz, "trap '' TERM; while :; do sleep 0.1; done")
    framework.kill(task_id, 0.5)
    state, result = framework.result()
    assert (state, result.signal) == ("TASK_KILLED", signal.SIGKILL), result


def test_a_spec_that_cannot_be_read(framework: Framework, pyz: Path) -> None:
    framework.launch(command(str(pyz)), data={"version": 99}, mem_mib=64)
    state, result = framework.result()
    assert (state, result.result_class) == ("TASK_FAILED", "infrastructure"), result
    assert "version" in result.message


def test_a_killed_executor_leaves_nothing(cluster: MesosCluster, framework: Framework, pyz: Path) -> None:
    task_id = framework.build(pyz, "(setsid setsid sleep 600 &); echo up; sleep 600")
    until(lambda: "up" in read(sandbox_of(cluster, task_id) / "build.log"), "the build")
    (driver,) = drivers_of(cluster, task_id)
    os.kill(driver, signal.SIGKILL)
    assert_nothing_left(MARKER)
    assert framework.status("TASK_FAILED")["reason"] == "REASON_EXECUTOR_TERMINATED"


def drivers_of(cluster: MesosCluster, task_id: str) -> list[int]:
    del cluster
    marked = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and is_of(path, task_id)]
    return [pid for pid in marked if not any(pid in processes.descendants(other) for other in marked)]


def is_of(process: Path, task_id: str) -> bool:
    try:
        return f"MESOS_EXECUTOR_ID={task_id}".encode() in (process / "environ").read_bytes()
    except OSError:
        return False


def test_a_build_outlives_a_crash_of_its_mesos_agent(mesos_cluster: ClusterFactory, pyz: Path) -> None:
    cluster = mesos_cluster(hosts=1, isolation=KERNEL, fresh=True)
    with Framework(cluster.url) as before:
        task_id = before.build(pyz, "echo up; while [ ! -e $HOME/go ]; do sleep 0.1; done; echo on")
        build = processes_marked(MARKER)
        assert build
        cluster.kill9()
    cluster.restart()
    cluster.wait_ready()
    with Framework(cluster.url, before.framework_id) as after:
        assert set(build) & set(processes_marked(MARKER))
        (sandbox_of(cluster, task_id) / "home" / "go").touch()
        state, result = after.result()
        assert (state, result.result_class) == ("TASK_FINISHED", "passed"), result
        assert read(sandbox_of(cluster, task_id) / "build.log") == "up\non\n"
        after._call("TEARDOWN")
    assert_nothing_left(MARKER)


def test_a_build_that_ends_while_its_mesos_agent_is_away_is_reported(mesos_cluster: ClusterFactory, pyz: Path) -> None:
    cluster = mesos_cluster(hosts=1, isolation=KERNEL, fresh=True)
    with Framework(cluster.url) as before:
        task_id = before.build(pyz, "echo up; sleep 1; echo on")
        sandbox = sandbox_of(cluster, task_id)
        cluster.kill9()
    until(lambda: "TASK_FINISHED" in read(sandbox / "stderr"), "the build's end")
    cluster.restart()
    cluster.wait_ready()
    with Framework(cluster.url, before.framework_id) as after:
        state, result = after.result()
        assert (state, result.result_class) == ("TASK_FINISHED", "passed"), result
        after._call("TEARDOWN")
