"""Several tasks of one Mesos executor under a real Mesos: a host's builds, and the containers of one agent."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.executor import processes
from agents.pack import command
from agents.shared import RUNNER_MEM_MIB, SHARED_EXECUTOR_ID, folder_of
from agents.spec import BuildResult, BuildSpec, HostPolicy, ReadyCheck
from framework.local.cluster import MesosCluster, free_port
from tests.integration.agents.conftest import KERNEL, TEST_UIDS, assert_nothing_left, processes_marked, read, until
from tests.integration.agents.test_hogs import FORK_BOMB, MEMORY_HOG
from tests.integration.agents.test_mesos import sandbox_of
from tests.integration.conftest import ClusterFactory
from tests.integration.local.tiny_framework import TinyFramework

pytestmark = pytest.mark.root

MARKER = "butlery-mesos-shared-test"
PENDING = "echo up; while [ ! -e $HOME/go ]; do sleep 0.1; done; echo on"
END = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED")


class Framework(TinyFramework):
    """Launches tasks of one Mesos executor; ``pyz`` as the hosts know it."""

    def __init__(self, url: str, pyz: Path, framework_id: str | None = None) -> None:
        super().__init__(url, framework_id)
        self._pyz = pyz
        self.agent_id: dict[str, str] = {}
        self._ended: list[dict[str, Any]] = []  # statuses that came while others were waited for

    def builds(self, executor_id: str, *specs: BuildSpec, group: bool = False) -> None:
        offer: dict[str, Any] = self.wait("OFFERS")["offers"]["offers"][0]
        self.agent_id = offer["agent_id"]
        executor = {
            "type": "CUSTOM",
            "executor_id": {"value": executor_id},
            "framework_id": {"value": self.framework_id},
            "command": {"value": command(str(self._pyz))},
            "resources": resources(cpus=0.1, mem=32, disk=32),  # that of a group must have some of each
        }
        tasks = [
            {
                "name": "task",
                "task_id": {"value": spec.task_id},
                "agent_id": self.agent_id,
                "resources": resources(cpus=0.1, mem=spec.mem_mib + RUNNER_MEM_MIB),
                "data": base64.b64encode(spec.to_json()).decode(),
            }
            for spec in specs
        ]
        if group:
            body = {"executor": executor, "task_group": {"tasks": tasks}}
            operation: dict[str, Any] = {"type": "LAUNCH_GROUP", "launch_group": body}
        else:
            operation = {"type": "LAUNCH", "launch": {"task_infos": [{**task, "executor": executor} for task in tasks]}}
        self._call("ACCEPT", accept={"offer_ids": [offer["id"]], "operations": [operation]})

    def kill(self, task_id: str) -> None:
        self._call("KILL", kill={"task_id": {"value": task_id}, "agent_id": self.agent_id})

    def tell(self, executor_id: str, task_id: str, text: str) -> None:
        self.send(executor_id, json.dumps({"tell": {"task_id": task_id, "text": text}}).encode())

    def send(self, executor_id: str, said: bytes) -> None:
        ids = {"agent_id": self.agent_id, "executor_id": {"value": executor_id}}
        self._call("MESSAGE", message={**ids, "data": base64.b64encode(said).decode()})

    def running(self, count: int) -> set[str]:
        found: set[str] = set()
        while len(found) < count:
            status = self.status("TASK_RUNNING", *END)
            if status["state"] == "TASK_RUNNING":
                found.add(status["task_id"]["value"])
            else:
                self._ended.append(status)
        return found

    def ends(self, count: int) -> dict[str, tuple[str, BuildResult]]:
        found, self._ended = self._ended, []
        found += [self.status(*END) for _ in range(count - len(found))]
        return {
            status["task_id"]["value"]: (status["state"], BuildResult.from_json(base64.b64decode(status["data"])))
            for status in found
        }


def resources(**amounts: float) -> list[dict[str, Any]]:
    return [
        {"name": name, "type": "SCALAR", "scalar": {"value": float(value)}, "allocation_info": {"role": "tiny"}}
        for name, value in amounts.items()
    ]


def spec(task_id: str, script: str, **wanted: Any) -> BuildSpec:
    policy = HostPolicy(isolation="auto", docker_socket="/nonexistent", uids=TEST_UIDS, pids=60)
    given: dict[str, Any] = {"mem_mib": 64, "env": {"MARKER": MARKER}, "host": policy, "grace_s": 1.0, **wanted}
    return BuildSpec(task_id, "acme", "job", script, 500, **given)


@pytest.fixture
def cluster(mesos_cluster: ClusterFactory) -> MesosCluster:
    return mesos_cluster(hosts=1, isolation=KERNEL)


@pytest.fixture
def framework(cluster: MesosCluster, pyz: Path) -> Iterator[Framework]:
    with Framework(cluster.url, pyz) as made:
        yield made
        made._call("TEARDOWN")
    assert_nothing_left(MARKER)


def log_of(cluster: MesosCluster, task_id: str) -> Path:
    return sandbox_of(cluster, SHARED_EXECUTOR_ID) / folder_of(task_id, SHARED_EXECUTOR_ID) / "build.log"


def drivers_of(framework: Framework) -> list[int]:
    """The framework's executors, without what they have started."""
    marked = processes_marked("MESOS_FRAMEWORK_ID=" + framework.framework_id)
    return [pid for pid in marked if not any(pid in processes.descendants(other) for other in marked)]


def test_hogs_and_kills_are_their_own_builds_affair(cluster: MesosCluster, framework: Framework) -> None:
    names = ("neighbour", "hog", "bomb", "killed")
    scripts = (PENDING, MEMORY_HOG, FORK_BOMB, "sleep 600")
    framework.builds(SHARED_EXECUTOR_ID, *(spec(name, script) for name, script in zip(names, scripts, strict=True)))
    assert framework.running(4) == set(names)
    framework.kill("killed")
    ends = framework.ends(3)
    assert {name: result.result_class for name, (_, result) in ends.items()} == {
        "hog": "oom",
        "bomb": "pids",
        "killed": "cancelled",
    }
    assert ends["hog"][1].message == "out of memory: peak 64 MiB, limit 64 MiB"
    framework.tell(SHARED_EXECUTOR_ID, "neighbour", "maintenance in an hour")
    until(lambda: "maintenance in an hour" in read(log_of(cluster, "neighbour")), "the note")
    framework.builds(SHARED_EXECUTOR_ID, spec("later", "echo later"))
    framework.running(1)
    assert framework.ends(1)["later"][1].result_class == "passed"
    (log_of(cluster, "neighbour").parent / "home" / "go").touch()
    state, result = framework.ends(1)["neighbour"]
    assert (state, result.result_class, result.isolation) == ("TASK_FINISHED", "passed", KERNEL)
    assert len(drivers_of(framework)) == 1


def test_builds_outlive_a_crash_of_their_mesos_agent(mesos_cluster: ClusterFactory, pyz: Path) -> None:
    cluster = mesos_cluster(hosts=1, isolation=KERNEL, fresh=True)
    with Framework(cluster.url, pyz) as before:
        names = ("stays", "passes", "fails")
        before.builds(
            SHARED_EXECUTOR_ID,
            *(spec(name, script) for name, script in zip(names, (PENDING, "sleep 1", "sleep 1; exit 3"), strict=True)),
        )
        before.running(3)
        cluster.kill9()
    stderr = sandbox_of(cluster, SHARED_EXECUTOR_ID) / "stderr"
    until(lambda: "TASK_FINISHED" in read(stderr) and "TASK_FAILED" in read(stderr), "two ends")
    cluster.restart()
    cluster.wait_ready()
    with Framework(cluster.url, pyz, before.framework_id) as after:
        ends = after.ends(2)
        assert {name: result.result_class for name, (_, result) in ends.items()} == {
            "passes": "passed",
            "fails": "failed",
        }
        (log_of(cluster, "stays").parent / "home" / "go").touch()
        assert after.ends(1)["stays"][1].result_class == "passed"
        after._call("TEARDOWN")
    assert_nothing_left(MARKER)


def test_a_killed_executor_leaves_nothing_of_any_build(framework: Framework) -> None:
    framework.builds(SHARED_EXECUTOR_ID, spec("one", PENDING), spec("two", "(setsid setsid sleep 600 &); sleep 600"))
    framework.running(2)
    (driver,) = drivers_of(framework)
    os.kill(driver, signal.SIGKILL)
    assert_nothing_left(MARKER)
    reasons = [framework.status("TASK_FAILED")["reason"] for _ in range(2)]
    assert reasons == ["REASON_EXECUTOR_TERMINATED"] * 2


def test_the_containers_of_an_agent(cluster: MesosCluster, framework: Framework) -> None:
    port = free_port()
    serve = f"exec python3 -m http.server --bind 127.0.0.1 {port}"
    fetch = f"python3 -c \"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}')\""
    framework.builds(
        "agent-1",
        spec("agent-1~web", serve, container="web", ready=ReadyCheck(port=port)),
        spec("agent-1", fetch + " && echo fetched", mem_mib=96),
        group=True,
    )
    assert framework.running(2) == {"agent-1", "agent-1~web"}
    ends = framework.ends(2)
    assert ends["agent-1"][0] == "TASK_FINISHED", ends
    assert (ends["agent-1~web"][0], ends["agent-1~web"][1].message) == ("TASK_FINISHED", "ended with its agent")
    sandbox = sandbox_of(cluster, "agent-1")
    assert "fetched" in read(sandbox / "build.log")
    assert "GET / HTTP" in read(sandbox / "containers" / "web.log")
    until(lambda: "exits with code 0" in read(sandbox / "stderr"), "the executor to exit")


def test_a_container_over_its_memory_ends_its_agent(framework: Framework) -> None:
    framework.builds(
        "agent-2", spec("agent-2~db", MEMORY_HOG, container="db"), spec("agent-2", "sleep 600"), group=True
    )
    ends = framework.ends(2)
    assert ends["agent-2~db"][1].result_class == "oom", ends
    state, result = ends["agent-2"]
    assert (state, result.result_class) == ("TASK_FAILED", "failed")
    assert result.message.startswith("its container db ended: oom: out of memory"), result


def test_kill_of_the_one_that_builds_ends_the_agent(framework: Framework) -> None:
    framework.builds(
        "agent-3", spec("agent-3~db", "sleep 600", container="db"), spec("agent-3", "sleep 600"), group=True
    )
    framework.running(2)
    framework.kill("agent-3")
    ends = framework.ends(2)
    assert {name: state for name, (state, _) in ends.items()} == {
        "agent-3": "TASK_KILLED",
        "agent-3~db": "TASK_FINISHED",
    }
