"""Builds of one Mesos executor: whatever one of them does, the others neither notice nor pay."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.pack import command
from agents.shared import SHARED_EXECUTOR_ID, folder_of
from agents.spec import BuildResult, BuildSpec
from tests.fakes.odd_agent import OddAgent
from tests.integration.agents.conftest import Executor, assert_nothing_left, read, until
from tests.integration.agents.test_hogs import CPU_HOG, ENDLESS_LOG, FORK_BOMB, MEMORY_HOG

pytestmark = pytest.mark.root

MARKER = "butlery-shared-test"
CODE_TIMEOUT_S = 60.0
NEIGHBOUR = "while [ ! -e $HOME/go ]; do echo tick; sleep 0.1; done"
LEFT_BEHIND = "sleep 600 & (setsid setsid sleep 600 &); exit 0"


class Shared:
    """A Mesos executor under way, with a Mesos agent that hands it what a test says."""

    def __init__(self, executor: Executor) -> None:
        self.agent = OddAgent()
        self.sandbox = executor.directory / "sandbox"
        self.sandbox.mkdir()
        self._policy = executor.policy
        if executor.user:
            os.chown(self.sandbox, executor.user, executor.user)
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", command(str(executor.pyz))],
            env={
                "MESOS_AGENT_ENDPOINT": f"127.0.0.1:{self.agent.port}",
                "MESOS_FRAMEWORK_ID": "framework-1",
                "MESOS_EXECUTOR_ID": SHARED_EXECUTOR_ID,
                "MESOS_SANDBOX": str(self.sandbox),
                "MESOS_CHECKPOINT": "1",
            },
            preexec_fn=executor.enter,
            start_new_session=True,
        )
        self.agent.next("SUBSCRIBE")

    def launch(self, task_id: str, script: str, **wanted: Any) -> None:
        self.agent.send({"type": "LAUNCH", "launch": {"task": self.task(task_id, script, **wanted)}})

    def launch_group(self, *tasks: dict[str, Any]) -> None:
        self.agent.send({"type": "LAUNCH_GROUP", "launch_group": {"task_group": {"tasks": tasks}}})

    def task(self, task_id: str, script: str, **wanted: Any) -> dict[str, Any]:
        given = {"cpu_millis": 500, "mem_mib": 64, "timeout_s": 60.0, "grace_s": 2.0, "host": self._policy, **wanted}
        spec = BuildSpec(task_id=task_id, tenant="acme", job="job", command=script, env={"MARKER": MARKER}, **given)
        return {"task_id": {"value": task_id}, "data": base64.b64encode(spec.to_json()).decode()}

    def folder(self, task_id: str) -> Path:
        return self.sandbox / folder_of(task_id, SHARED_EXECUTOR_ID)

    def end(self) -> tuple[str, BuildResult]:
        """The next build that ends: its task and result."""
        while True:
            status = self.agent.state()
            if status["state"] != "TASK_RUNNING":
                return status["task_id"]["value"], BuildResult.from_json(base64.b64decode(status["data"]))

    def close(self) -> None:
        self.agent.send({"type": "SHUTDOWN"})
        self.process.wait(CODE_TIMEOUT_S)
        self.agent.close()
        assert_nothing_left(MARKER)


@pytest.fixture
def shared(executor: Executor) -> Iterator[Shared]:
    """In each isolation that this machine has."""
    made = Shared(executor)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("hog", "wanted", "end"),
    [
        pytest.param(MEMORY_HOG, {}, "oom", id="memory"),
        pytest.param(CPU_HOG, {"timeout_s": 2.0}, "timeout", id="cpu"),
        pytest.param(FORK_BOMB, {"mem_mib": 96}, "pids", id="forks"),
        pytest.param(ENDLESS_LOG, {}, "log_limit", id="log"),
        pytest.param(LEFT_BEHIND, {}, "passed", id="leftovers"),
        pytest.param("dd if=/dev/zero of=big bs=1048576 count=30 2>&1; sleep 60", {"disk_mib": 20}, "disk", id="disk"),
    ],
)
def test_a_hog_is_ended_and_its_neighbour_is_not_harmed(
    shared: Shared, hog: str, wanted: dict[str, Any], end: str
) -> None:
    shared.launch("neighbour", NEIGHBOUR, mem_mib=32)
    until(lambda: "tick" in read(shared.folder("neighbour") / "build.log"), "the neighbour")
    shared.launch("hog", hog, **wanted)
    task_id, result = shared.end()
    assert (task_id, result.result_class) == ("hog", end), result
    if end == "passed" and result.isolation != "docker":  # there the kernel kills them with the container, uncounted
        assert result.leftover_processes == 2
    ticks = read(shared.folder("neighbour") / "build.log").count("tick")
    until(lambda: read(shared.folder("neighbour") / "build.log").count("tick") > ticks, "the neighbour to go on")
    (shared.folder("neighbour") / "home" / "go").touch()
    task_id, result = shared.end()
    assert (task_id, result.result_class, result.exit_code) == ("neighbour", "passed", 0), result
    assert result.leftover_processes == 0


def test_builds_of_one_executor_cannot_reach_each_other(shared: Shared, executor: Executor) -> None:
    if executor.user:
        return  # without root all builds are one user's
    shared.launch("owner", "echo mine > $WORKSPACE/file; echo ready; " + NEIGHBOUR)
    log = shared.folder("owner") / "build.log"
    until(lambda: "ready" in read(log), "the owner")
    shared.launch("other", f"cat {shared.folder('owner')}/workspace/file {log} && exit 5; kill -9 -1; exit 0")
    task_id, result = shared.end()
    assert task_id == "other"
    assert result.exit_code != 5
    (shared.folder("owner") / "home" / "go").touch()
    task_id, result = shared.end()
    assert (task_id, result.result_class) == ("owner", "passed")
