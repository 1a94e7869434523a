"""Agents of several containers: all of them or none, and none longer than the one that builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.odd_agent import OddAgent
from tests.unit.agents.conftest import Start, group, kill, message, result, task, until

PENDING = "echo up; while [ ! -e $HOME/go ]; do sleep 0.05; done"


def beside(name: str, script: str, **wanted: Any) -> dict[str, Any]:
    return task(script, f"task-1~{name}", container=name, **wanted)


def test_the_others_start_first_and_end_with_the_one_that_builds(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(group(task("echo built"), beside("db", "echo db; sleep 600"), beside("web", "echo web; sleep 600")))
    seen = [agent.state() for _ in range(3)]
    assert [status["task_id"]["value"] for status in seen] == ["task-1~db", "task-1~web", "task-1"]
    assert {status["state"] for status in seen} == {"TASK_RUNNING"}
    built = agent.state()
    assert (built["task_id"]["value"], built["state"], built["message"]) == ("task-1", "TASK_FINISHED", "exit code 0")
    others = agent.states(2)
    assert {(status["state"], status["message"]) for status in others.values()} == {
        ("TASK_FINISHED", "ended with its agent")
    }
    assert started.code() == 0
    assert (sandbox / "build.log").read_text() == "built\n"
    assert sorted(path.name for path in (sandbox / "containers").iterdir()) == ["db.log", "web.log"]
    assert (sandbox / "containers" / "db.log").read_text().startswith("db\n")


def test_one_that_ends_by_itself_ends_the_agent(start: Start, agent: OddAgent) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(group(beside("db", "sleep 0.5; exit 7"), beside("web", "sleep 600"), task("sleep 600")))
    agent.states(3)
    ends = agent.states(3)
    assert ends["task-1~db"]["message"] == "exit code 7"
    main = result(ends["task-1"])
    assert (ends["task-1"]["state"], main.result_class) == ("TASK_FAILED", "failed")
    assert main.message == "its container db ended: failed: exit code 7"
    assert ends["task-1~web"]["state"] == "TASK_FINISHED"
    assert started.code() == 0


def test_one_that_cannot_start_keeps_the_rest_from_starting(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(group(task("true"), beside("db", "true", image="db:1"), beside("web", "sleep 600")))
    ends = agent.states(3)
    assert result(ends["task-1~db"]).result_class == "image"
    assert result(ends["task-1"]).result_class == "image"
    assert result(ends["task-1"]).message.startswith("its container db ended: image: needs image db:1")
    assert ends["task-1~web"]["state"] == "TASK_KILLED"
    assert started.code() == 0
    assert not (sandbox / "build.log").exists()


@pytest.mark.parametrize(
    "others",
    [
        [beside("../db", "true")],
        [beside("db", "true"), beside("db", "true") | {"task_id": {"value": "task-1~twin"}}],
        [beside("db", "true") | {"data": "e30="}],
        [task("true", "task-2")],
    ],
)
def test_none_starts_where_one_is_not_understood(start: Start, agent: OddAgent, others: list[dict[str, Any]]) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(group(*others, task("true")))
    ends = agent.states(len(others) + 1)
    assert {result(status).result_class for status in ends.values()} == {"infrastructure"}
    assert started.code() == 0


def test_kill_of_the_one_that_builds_ends_all(start: Start, agent: OddAgent) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(group(beside("db", "sleep 600"), task("sleep 600")))
    agent.states(2)
    agent.send(kill("task-1"))
    ends = agent.states(2)
    assert ends["task-1"]["state"] == "TASK_KILLED"
    assert ends["task-1~db"]["state"] == "TASK_FINISHED"
    assert started.code() == 0


def test_kill_before_all_have_started(start: Start, agent: OddAgent) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(group(beside("db", "sleep 600"), task("sleep 600")))
    agent.send(kill("task-1"))
    seen = [agent.state()["state"]]
    while not seen.count("TASK_KILLED") or not seen.count("TASK_FINISHED"):
        seen.append(agent.state()["state"])
    assert started.code() == 0


def test_kill_of_another_ends_the_agent(start: Start, agent: OddAgent) -> None:
    start()
    agent.next("SUBSCRIBE")
    agent.send(group(beside("db", "sleep 600"), task("sleep 600")))
    agent.states(2)
    agent.send(kill("task-1~db"))
    ends = agent.states(2)
    assert ends["task-1~db"]["state"] == "TASK_KILLED"
    assert result(ends["task-1"]).message == "its container db ended: cancelled: cancelled"


def test_the_others_have_no_time_of_their_own(start: Start, agent: OddAgent, sandbox: Path) -> None:
    start()
    agent.next("SUBSCRIBE")
    agent.send(group(beside("db", "sleep 600", timeout_s=0.1), task(PENDING, timeout_s=1.5)))
    agent.states(2)
    ends = agent.states(2)
    assert result(ends["task-1"]).result_class == "timeout"
    assert ends["task-1~db"]["state"] == "TASK_FINISHED"


def test_each_container_is_told_in_its_own_log(start: Start, agent: OddAgent, sandbox: Path) -> None:
    start()
    agent.next("SUBSCRIBE")
    agent.send(group(beside("db", "sleep 600"), task(PENDING)))
    agent.states(2)
    agent.send(message({"tell": {"task_id": "task-1~db", "text": "to the one"}}))
    agent.send(message({"tell": {"task_id": "task-1", "text": "to the other"}}))
    until(lambda: "to the one" in (sandbox / "containers" / "db.log").read_text(), "the one's note")
    until(lambda: "to the other" in (sandbox / "build.log").read_text(), "the other's note")
    (sandbox / "home" / "go").touch()
    agent.states(2)


def test_shutdown_ends_all_containers(start: Start, agent: OddAgent) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(group(beside("db", "sleep 600"), task("sleep 600")))
    agent.states(2)
    agent.send({"type": "SHUTDOWN"})
    ends = agent.states(2)
    assert ends["task-1"]["state"] == "TASK_KILLED"
    assert started.code() == 0


def test_pretended_containers_end_together(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(group(beside("db", ""), task("", pretend_until=str(sandbox / "go"))))
    agent.states(2)
    agent.send(kill("task-1"))
    assert {status["state"] for status in agent.states(2).values()} == {"TASK_KILLED"}
    assert started.code() == 0
