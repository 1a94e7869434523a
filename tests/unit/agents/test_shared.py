"""One Mesos executor for many builds, and for many that are only pretended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agents.executor import processes
from agents.executor.folders import Folders
from agents.shared import SHARED_EXECUTOR_ID, folder_of
from tests.fakes.odd_agent import OddAgent
from tests.unit.agents.conftest import Start, kill, launch, message, result, until

SHARED = {"MESOS_EXECUTOR_ID": SHARED_EXECUTOR_ID}
PENDING = "echo up; while [ ! -e $HOME/go ]; do sleep 0.05; done; echo on"


def folder(sandbox: Path, task_id: str) -> Path:
    return sandbox / folder_of(task_id, SHARED_EXECUTOR_ID)


def test_builds_end_each_by_itself_and_the_executor_leaves_when_idle(
    start: Start, agent: OddAgent, sandbox: Path
) -> None:
    started = start(**SHARED, IDLE_TIMEOUT_S="1")
    agent.next("SUBSCRIBE")
    agent.send(launch(PENDING, "stays"))
    assert agent.state()["state"] == "TASK_RUNNING"
    agent.send(launch("echo failing; exit 4", "fails"))
    agent.send(launch("echo passing", "passes"))
    seen = [agent.state() for _ in range(4)]
    ends = {status["task_id"]["value"]: status["message"] for status in seen if status["state"] != "TASK_RUNNING"}
    assert ends == {"fails": "exit code 4", "passes": "exit code 0"}
    (folder(sandbox, "stays") / "home" / "go").touch()
    assert agent.state()["state"] == "TASK_FINISHED"
    assert started.code() == 0
    logs = {task_id: (folder(sandbox, task_id) / "build.log").read_text() for task_id in ("stays", "fails", "passes")}
    assert logs == {"stays": "up\non\n", "fails": "failing\n", "passes": "passing\n"}
    assert [path.name for path in folder(sandbox, "fails").iterdir()] == ["build.log"]


def test_kill_is_of_one(start: Start, agent: OddAgent, sandbox: Path) -> None:
    start(**SHARED)
    agent.next("SUBSCRIBE")
    for task_id in ("one", "two"):
        agent.send(launch(PENDING, task_id))
    agent.states(2)
    agent.send(kill("one"))
    ended = agent.state()
    assert (ended["task_id"]["value"], ended["state"]) == ("one", "TASK_KILLED")
    (folder(sandbox, "two") / "home" / "go").touch()
    ended = agent.state()
    assert (ended["task_id"]["value"], ended["state"]) == ("two", "TASK_FINISHED")


def test_shutdown_ends_all(start: Start, agent: OddAgent) -> None:
    started = start(**SHARED)
    agent.next("SUBSCRIBE")
    for task_id in ("one", "two", "three"):
        agent.send(launch("sleep 600", task_id))
    agent.states(3)
    agent.send({"type": "SHUTDOWN"})
    assert {status["state"] for status in agent.states(3).values()} == {"TASK_KILLED"}
    assert started.code() == 0


def test_a_lost_runner_is_its_own_builds_loss_only(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start(**SHARED)
    agent.next("SUBSCRIBE")
    agent.send(launch(PENDING, "stays"))
    agent.state()
    before = processes.children(started.process.pid)
    agent.send(launch("sleep 600", "lost"))
    agent.state()
    (guard,) = set(processes.children(started.process.pid)) - set(before)
    processes.signal_all(processes.children(guard), processes.SIGKILL)
    lost = agent.state()
    assert (lost["task_id"]["value"], result(lost).result_class) == ("lost", "infrastructure")
    (folder(sandbox, "stays") / "home" / "go").touch()
    assert agent.state()["state"] == "TASK_FINISHED"


def test_all_that_was_not_acknowledged_goes_along_with_the_next_subscription(start: Start, agent: OddAgent) -> None:
    start(**SHARED)
    agent.next("SUBSCRIBE")
    agent.send(launch(PENDING, "known"))
    agent.state()
    agent.acknowledge = False
    for task_id in ("running", "ended"):
        agent.send(launch("true" if task_id == "ended" else PENDING, task_id))
    seen = [agent.state()["uuid"] for _ in range(3)]
    agent.hang_up()
    again = agent.next("SUBSCRIBE")["subscribe"]
    assert [task["task_id"]["value"] for task in again["unacknowledged_tasks"]] == ["running", "ended"]
    assert sorted(update["status"]["uuid"] for update in again["unacknowledged_updates"]) == sorted(seen)


def test_a_launch_repeated_is_no_second_build(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start(**SHARED)
    agent.next("SUBSCRIBE")
    for _ in range(2):
        agent.send(launch(PENDING, "one"))
    agent.state()
    until(lambda: "launched again" in started.log(), "the second launch")
    (folder(sandbox, "one") / "home" / "go").touch()
    assert agent.state()["state"] == "TASK_FINISHED"


def test_a_task_that_would_leave_the_folder_is_refused(start: Start, agent: OddAgent) -> None:
    start(**SHARED)
    agent.next("SUBSCRIBE")
    agent.send(launch("true", "../up"))
    refused = agent.state()
    assert (refused["state"], result(refused).result_class) == ("TASK_FAILED", "infrastructure")


def test_a_note_is_in_the_log_at_once_and_masked(start: Start, agent: OddAgent, sandbox: Path) -> None:
    start(**SHARED)
    agent.next("SUBSCRIBE")
    # Half of the secret is written when the note comes, which must not bring that half to light.
    agent.send(
        launch("printf tops; while [ ! -e $HOME/go ]; do sleep 0.05; done; echo ecret", secrets={"S": "topsecret"})
    )
    agent.state()
    log = folder(sandbox, "task-1") / "build.log"
    strange: list[Any] = ["text", [], {"tell": 3}, {"tell": {"task_id": "other", "text": "x"}}, {"tell": {"text": "x"}}]
    for odd in strange:
        agent.send(message(odd))
    agent.send(message({"tell": {"task_id": "task-1", "text": "two\nlines of topsecret \ud800" + 1000 * "x"}}))
    until(lambda: "two lines" in log.read_text(), "the note")
    (folder(sandbox, "task-1") / "home" / "go").touch()
    assert agent.state()["state"] == "TASK_FINISHED"
    note, output = log.read_text().splitlines()
    assert note.startswith("[butlery] 20")
    assert "Z two lines of ****  xxx" in note
    assert len(note) < 600
    assert output == "****"


def test_too_many_notes_are_dropped(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start(**SHARED)
    agent.next("SUBSCRIBE")
    agent.send(launch(PENDING))
    agent.state()
    for number in range(30):
        agent.send(message({"tell": {"task_id": "task-1", "text": f"note {number}"}}))
    until(lambda: "too many notes" in started.log(), "notes to be dropped")
    (folder(sandbox, "task-1") / "home" / "go").touch()
    agent.state()
    assert 10 <= (folder(sandbox, "task-1") / "build.log").read_text().count("note ") < 20


def test_pretended_builds_are_no_processes(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start(**SHARED, IDLE_TIMEOUT_S="1")
    agent.next("SUBSCRIBE")
    names = [f"task-{number}" for number in range(100)]
    for name in names:
        agent.send(launch("exit 1", name, pretend_until=str(sandbox / "go")))
    running = agent.states(100)
    assert {status["state"] for status in running.values()} == {"TASK_RUNNING"}
    assert processes.children(started.process.pid) == []
    agent.send(message({"tell": {"task_id": "task-0", "text": "not heard"}}))
    agent.send(kill("task-0"))
    killed = agent.state()
    assert (killed["task_id"]["value"], result(killed).result_class) == ("task-0", "cancelled")
    (sandbox / "go").touch()
    passed = agent.states(99)
    assert {status["state"] for status in passed.values()} == {"TASK_FINISHED"}
    assert {result(status).result_class for status in passed.values()} == {"passed"}
    assert started.code() == 0


def test_pretended_builds_end_on_shutdown(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start(**SHARED)
    agent.next("SUBSCRIBE")
    for number in range(3):
        agent.send(launch("", f"task-{number}", pretend_until=str(sandbox / f"go-{number}")))
    agent.states(3)
    agent.send({"type": "SHUTDOWN"})
    assert {status["state"] for status in agent.states(3).values()} == {"TASK_KILLED"}
    assert started.code() == 0


def test_folders_of_ended_builds_are_bounded(tmp_path: Path) -> None:
    folders = Folders(max_folders=3, max_bytes=100_000)
    for number in range(5):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "build.log").write_text("x")
        folders.add(str(tmp_path / f"{number}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "4"]
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "build.log").write_bytes(bytes(200_000))
    folders.add(str(tmp_path / "big"))
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def test_what_no_build_could_be_read_from(start: Start, agent: OddAgent) -> None:
    start(**SHARED)
    agent.next("SUBSCRIBE")
    for number, data in enumerate(["%%%", "e30=", json.dumps({}), "bm90IEpTT04="]):
        agent.send({"type": "LAUNCH", "launch": {"task": {"task_id": {"value": f"task-{number}"}, "data": data}}})
    refused = agent.states(4)
    assert {result(status).result_class for status in refused.values()} == {"infrastructure"}
