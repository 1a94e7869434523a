"""The packed executor, started under a Mesos agent that is a fake, and what that may send it."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.pack import build_pyz, command
from agents.spec import BuildResult, BuildSpec, HostPolicy
from tests.fakes.odd_agent import TIMEOUT_S, OddAgent


@pytest.fixture
def agent() -> Iterator[OddAgent]:
    made = OddAgent()
    yield made
    made.close()


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pyz(tmp_path_factory.mktemp("pyz"))


@pytest.fixture
def sandbox() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="butlery-test-") as directory:
        Path(directory).chmod(0o755)
        made = Path(directory, "sandbox")
        made.mkdir()
        yield made


Start = Callable[..., "Started"]


class Started:
    def __init__(self, pyz: Path, agent: OddAgent, sandbox: Path, **environment: str) -> None:
        self.sandbox = sandbox
        start = command(str(pyz))
        if "IDLE_TIMEOUT_S" in environment:  # no setting of the executor's: its constant is another one here
            constant = f"from agents.executor import driver; driver.IDLE_TIMEOUT_S = {environment['IDLE_TIMEOUT_S']}; "
            start = start.replace("from agents.executor.main", constant + "from agents.executor.main")
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", start],
            env={
                "MESOS_AGENT_ENDPOINT": f"127.0.0.1:{agent.port}",
                "MESOS_SLAVE_PID": f"slave(3)@127.0.0.1:{agent.port}",
                "MESOS_FRAMEWORK_ID": "framework-1",
                "MESOS_EXECUTOR_ID": "executor-1",
                "MESOS_SANDBOX": str(sandbox),
                "MESOS_CHECKPOINT": "1",
                "MESOS_RECOVERY_TIMEOUT": "10secs",
                "MESOS_SUBSCRIPTION_BACKOFF_MAX": "200ms",
                "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "3secs",
                **environment,
            },
            start_new_session=True,
        )

    def code(self) -> int:
        return self.process.wait(TIMEOUT_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)

    def log(self) -> str:
        return (self.sandbox / "stderr").read_text()


@pytest.fixture
def start(pyz: Path, agent: OddAgent, sandbox: Path) -> Iterator[Start]:
    """Starts the executor of ``agent``, with more of an environment where given."""
    made: list[Started] = []

    def begin(**environment: str) -> Started:
        made.append(Started(pyz, agent, sandbox, **environment))
        return made[-1]

    yield begin
    for started in made:
        started.close()


def task(script: str, task_id: str = "task-1", tenant: str = "acme", **wanted: Any) -> dict[str, Any]:
    policy = HostPolicy(isolation="watchdog", uids="310000-310999")
    spec = BuildSpec(task_id, tenant, "job", script, 500, 64, host=policy, **{"grace_s": 1.0, **wanted})
    data = base64.b64encode(spec.to_json()).decode()
    return {"task_id": {"value": task_id}, "data": data, "name": "x"}


def launch(script: str, task_id: str = "task-1", **wanted: Any) -> dict[str, Any]:
    return {"type": "LAUNCH", "launch": {"task": task(script, task_id, **wanted)}}


def group(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "LAUNCH_GROUP", "launch_group": {"task_group": {"tasks": list(tasks)}}}


def kill(task_id: str) -> dict[str, Any]:
    return {"type": "KILL", "kill": {"task_id": {"value": task_id}}}


def message(said: Any) -> dict[str, Any]:
    return {"type": "MESSAGE", "message": {"data": base64.b64encode(json.dumps(said).encode()).decode()}}


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {TIMEOUT_S} s for {what}"
        time.sleep(0.02)


def result(status: dict[str, Any]) -> BuildResult:
    return BuildResult.from_json(base64.b64decode(status["data"]))
