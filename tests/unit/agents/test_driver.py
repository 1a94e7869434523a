"""The driver of one build against a Mesos agent that misbehaves."""

from __future__ import annotations

from pathlib import Path

from agents.executor import guard
from tests.fakes.odd_agent import OddAgent
from tests.unit.agents.conftest import Start, launch, result


def test_a_task_from_launch_to_exit(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start(MESOS_EXECUTOR_AUTHENTICATION_TOKEN="token-1")
    subscribe = agent.next("SUBSCRIBE")
    assert subscribe["executor_id"] == {"value": "executor-1"}
    assert subscribe["framework_id"] == {"value": "framework-1"}
    assert subscribe["subscribe"] == {"unacknowledged_tasks": [], "unacknowledged_updates": []}
    assert subscribe["authorization"] == "Bearer token-1"
    agent.send(launch("echo built; exit 3"))
    assert agent.state()["state"] == "TASK_RUNNING"
    final = agent.state()
    assert (final["state"], final["message"], final["source"]) == ("TASK_FAILED", "exit code 3", "SOURCE_EXECUTOR")
    assert result(final).exit_code == 3
    assert started.code() == 0
    assert (sandbox / "build.log").read_text() == "built\n"
    assert "token-1" not in started.log()


def test_a_recovering_agent_is_asked_again(start: Start, agent: OddAgent) -> None:
    agent.refusals = [503, 503, 404]
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch("true"))
    assert agent.state()["state"] == "TASK_RUNNING"
    assert agent.state()["state"] == "TASK_FINISHED"
    assert started.code() == 0
    assert started.log().count("HTTP status") == 1


def test_what_was_not_acknowledged_goes_along_with_the_next_subscription(start: Start, agent: OddAgent) -> None:
    agent.acknowledge = False
    started = start()
    agent.next("SUBSCRIBE")
    task = launch("true")
    agent.send(task)
    running, final = agent.state(), agent.state()
    agent.acknowledge = True
    agent.hang_up()
    again = agent.next("SUBSCRIBE")["subscribe"]
    assert again["unacknowledged_tasks"] == [task["launch"]["task"]]
    assert [update["status"]["uuid"] for update in again["unacknowledged_updates"]] == [running["uuid"], final["uuid"]]
    for status in (running, final):
        agent.send({"type": "ACKNOWLEDGED", "acknowledged": {"task_id": status["task_id"], "uuid": status["uuid"]}})
    assert started.code() == 0


def test_an_update_is_sent_again_until_it_is_acknowledged(start: Start, agent: OddAgent) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch("true"))
    agent.acknowledge = False
    running = agent.state()
    agent.acknowledge = True
    assert running["state"] == "TASK_RUNNING"
    seen = [agent.state()["state"] for _ in range(2)]
    assert sorted(seen) == ["TASK_FINISHED", "TASK_RUNNING"]
    assert started.code() == 0


def test_without_checkpointing_a_lost_agent_ends_the_build(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start(MESOS_CHECKPOINT="0")
    agent.next("SUBSCRIBE")
    agent.send(launch("echo $$; sleep 600"))
    agent.state()
    agent.hang_up()
    assert started.code() == 1
    assert not (sandbox / "workspace").exists()
    assert "does not checkpoint" in started.log()


def test_an_agent_that_does_not_come_back_ends_the_build(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start(MESOS_RECOVERY_TIMEOUT="500ms")
    agent.next("SUBSCRIBE")
    agent.send(launch("sleep 600"))
    agent.state()
    agent.refusals = [503] * 1000
    agent.hang_up()
    assert started.code() == 1
    assert not (sandbox / "workspace").exists()
    assert "did not come back" in started.log()


def test_shutdown_ends_the_build_and_tells(start: Start, agent: OddAgent) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch("trap '' TERM; while :; do sleep 0.1; done"))
    agent.state()
    agent.send({"type": "SHUTDOWN"})
    final = agent.state()
    assert (final["state"], result(final).result_class) == ("TASK_KILLED", "cancelled")
    assert started.code() == 0


def test_shutdown_before_any_task(start: Start, agent: OddAgent) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send({"type": "SHUTDOWN"})
    assert started.code() == 0


def test_a_second_task_and_odd_events_do_no_harm(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch("while [ ! -e $HOME/go ]; do sleep 0.05; done"))
    assert agent.state()["state"] == "TASK_RUNNING"
    agent.send({"type": "HEARTBEAT"})
    agent.send({"type": "UNHEARD_OF"})
    agent.send({"type": "KILL", "kill": {}})
    agent.send({"type": "KILL", "kill": {"task_id": {"value": "other"}}})
    agent.send(launch("true", "task-2"))
    second = agent.state()
    assert (second["task_id"], second["state"]) == ({"value": "task-2"}, "TASK_FAILED")
    assert result(second).result_class == "infrastructure"
    (sandbox / "home" / "go").touch()
    assert agent.state()["state"] == "TASK_FINISHED"
    assert started.code() == 0


def test_an_error_event_ends_the_build(start: Start, agent: OddAgent) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch("sleep 600"))
    agent.state()
    agent.send({"type": "ERROR", "error": {"message": "no such framework"}})
    assert agent.state()["state"] == "TASK_KILLED"
    assert started.code() == 0
    assert "no such framework" in started.log()


def test_the_archive_is_found_again_by_the_guard() -> None:
    assert Path(guard.import_root(), "agents", "executor", "main.py").exists()
