"""Services without an image, under a Mesos agent that is a fake."""

from __future__ import annotations

import base64
import os
import signal
from pathlib import Path
from typing import Any

from agents.executor import processes
from agents.service_spec import ServiceCheck, ServiceMount, ServiceSpec
from tests.fakes.odd_agent import OddAgent
from tests.unit.agents.conftest import Start, kill, until

LOOP = "while :; do sleep 0.05; done"


def launch(shell: str | None = None, **wanted: Any) -> dict[str, Any]:
    spec = ServiceSpec("task-1", 500, 64, shell, **{"grace_s": 5.0, **wanted})
    data = base64.b64encode(spec.to_json()).decode()
    return {"type": "LAUNCH", "launch": {"task": {"task_id": {"value": "task-1"}, "data": data, "name": "x"}}}


def states(agent: OddAgent, *expected: str) -> dict[str, Any]:
    """The last of the next statuses, which have the expected states."""
    found = [agent.state() for _ in expected]
    assert [status["state"] for status in found] == list(expected), found
    return found[-1]


def test_a_service_that_ends_by_itself(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch("pwd; echo $FOO $HOME; echo bad >&2; exit 3", env={"FOO": "bar"}))
    final = states(agent, "TASK_STARTING", "TASK_RUNNING", "TASK_FAILED")
    assert final["message"] == "Command exited with status 3"
    assert started.code() == 0
    assert (sandbox / "stdout").read_text() == f"{sandbox}\nbar {Path.home()}\n"
    assert "bad\n" in started.log()


def test_exit_status_0_is_a_finish(start: Start, agent: OddAgent) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch(argv=["sh", "-c", "exit 0"]))
    final = states(agent, "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert final["message"] == "Command exited with status 0"
    assert started.code() == 0


def test_a_kill_ends_the_whole_tree(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch(f"setsid sh -c 'echo $$ > hidden; trap \"\" TERM; {LOOP}' & echo $$; {LOOP}", grace_s=0.3))
    states(agent, "TASK_STARTING", "TASK_RUNNING")
    until(lambda: (sandbox / "hidden").exists(), "the hidden one")
    hidden = int((sandbox / "hidden").read_text())
    agent.send(kill("task-1"))
    assert states(agent, "TASK_KILLED")["message"] == "Command terminated with signal Terminated"
    assert started.code() == 0
    assert processes.state(hidden) == ""
