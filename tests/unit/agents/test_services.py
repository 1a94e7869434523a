"""Services without an image, under a Mesos agent that is a fake."""

from __future__ import annotations

import base64
import os
import pwd
import signal
import socket
from pathlib import Path
from typing import Any

from agents.executor import processes
from agents.service_spec import ServiceCheck, ServiceHost, ServiceMount, ServiceSpec
from agents.shared import SHARED_EXECUTOR_ID
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
    home = pwd.getpwuid(os.geteuid()).pw_dir
    assert (sandbox / "stdout").read_text() == f"{sandbox}\nbar {home}\n"
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
    agent.send(launch(f"setsid sh -c 'trap \"\" TERM; echo $$ > hidden; {LOOP}' & echo $$; {LOOP}", grace_s=0.3))
    states(agent, "TASK_STARTING", "TASK_RUNNING")
    until(lambda: (sandbox / "hidden").exists() and (sandbox / "hidden").read_text() != "", "the hidden one")
    hidden = int((sandbox / "hidden").read_text())
    agent.send(kill("task-1"))
    assert states(agent, "TASK_KILLED")["message"] == "Command terminated with signal Terminated"
    assert started.code() == 0
    assert processes.state(hidden) == ""


def test_health_is_told_and_a_sick_one_is_killed(start: Start, agent: OddAgent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        check = ServiceCheck("tcp", port, delay_s=0, interval_s=0.1, max_failures=2)
        told = ServiceCheck("command", command=["sh", "-c", "exit 3"], delay_s=0, interval_s=30)
        started = start()
        agent.next("SUBSCRIBE")
        agent.send(launch("exec sleep 600", health=[check], check=told))
        first = states(agent, "TASK_STARTING", "TASK_RUNNING")
        assert first["check_status"] == {"type": "COMMAND", "command": {}}
        seen = [states(agent, "TASK_RUNNING") for _ in range(2)]
        assert {status["reason"] for status in seen} == {
            "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
            "REASON_TASK_CHECK_STATUS_UPDATED",
        }
        assert (seen[1]["healthy"], seen[1]["check_status"]["command"]) == (True, {"exit_code": 3})
    sick = [states(agent, "TASK_RUNNING") for _ in range(2)]
    assert [status["healthy"] for status in sick] == [False, False]
    assert sick[0]["message"] == f"cannot connect to port {port}: Connection refused"
    final = states(agent, "TASK_KILLED")
    assert (final["healthy"], final["message"]) == (False, "Command terminated with signal Terminated")
    assert started.code() == 0


def test_a_check_that_hangs_is_killed(start: Start, agent: OddAgent) -> None:
    start()
    agent.next("SUBSCRIBE")
    check = ServiceCheck("command", command=["sleep 600"], delay_s=0, interval_s=60, timeout_s=0.1, grace_s=0)
    agent.send(launch("exec sleep 600", health=[check]))
    sick = states(agent, "TASK_STARTING", "TASK_RUNNING", "TASK_RUNNING")
    assert (sick["healthy"], sick["message"]) == (False, "timed out after 0.1 s")
    agent.send(kill("task-1"))
    states(agent, "TASK_KILLED")


def test_a_terminal(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch("test -t 0 && test -t 1 && echo it is > /dev/tty", tty=True))
    states(agent, "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert started.code() == 0
    assert "it is" in (sandbox / "stdout").read_text()


def test_a_secrets_file_is_gone_with_the_service(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    secret = ServiceMount("", "etc/key", content=base64.b64encode(b"hush").decode())
    agent.send(launch("cat etc/key; readlink etc/key >&2", mounts=[secret]))
    states(agent, "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert started.code() == 0
    assert (sandbox / "stdout").read_text() == "hush"
    assert not (sandbox / "etc" / "key").exists()
    assert "hush" not in started.log()


def test_what_cannot_be_started(start: Start, agent: OddAgent) -> None:
    for wanted, message in (
        ({"argv": ["/no/such/program"]}, "/no/such/program: [Errno 2] No such file or directory"),
        ({"shell": "true", "user": "nosuch"}, "user 'nosuch' is not known on this host"),
        ({}, "there is no command to be started"),
    ):
        started = start()
        agent.next("SUBSCRIBE")
        agent.send(launch(**wanted))
        assert states(agent, "TASK_STARTING", "TASK_FAILED")["message"].startswith(message)
        assert started.code() == 0


def test_a_document_that_is_not_understood(start: Start, agent: OddAgent) -> None:
    start()
    agent.next("SUBSCRIBE")
    task = launch("true")
    task["launch"]["task"]["data"] = base64.b64encode(b'{"kind": "service", "version": 99}').decode()
    agent.send(task)
    assert states(agent, "TASK_FAILED")["message"].endswith("not a service of version 1")


def test_more_output_than_is_kept(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch("yes 123456789 | head -c 3000000; echo end", host=ServiceHost(log_mib=1)))
    states(agent, "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert started.code() == 0
    assert (sandbox / "stdout").read_text().endswith("end\n")
    assert sum((sandbox / name).stat().st_size for name in ("stdout", "stdout.1")) <= 1 << 19


def test_a_shutdown_is_a_kill(start: Start, agent: OddAgent, sandbox: Path) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch(f"trap 'exit 4' TERM; touch ready; {LOOP}"))
    states(agent, "TASK_STARTING", "TASK_RUNNING")
    until((sandbox / "ready").exists, "its trap")
    agent.send({"type": "SHUTDOWN"})
    assert states(agent, "TASK_KILLED")["message"] == "Command exited with status 4"
    assert started.code() == 0


def test_a_killed_guard_or_driver_leaves_nothing(start: Start, agent: OddAgent, sandbox: Path) -> None:
    for of_guard in (False, True):
        (sandbox / "pid").unlink(missing_ok=True)
        started = start()
        agent.next("SUBSCRIBE")
        agent.send(launch("(setsid setsid sleep 600 & echo $! > pid); exec sleep 600"))
        states(agent, "TASK_STARTING", "TASK_RUNNING")
        until(lambda: (sandbox / "pid").exists() and (sandbox / "pid").read_text() != "", "the hidden one")
        below = processes.descendants(started.process.pid)
        assert len(below) >= 3  # the driver, the service and what that hides
        os.kill(started.process.pid if of_guard else below[0], signal.SIGKILL)
        started.code()
        until(lambda: not processes.living(below), "their end")  # noqa: B023 - it is called here and now
        while agent.calls.qsize():
            agent.calls.get()


def test_thousands_pretend_in_one_executor(start: Start, agent: OddAgent) -> None:
    start(MESOS_EXECUTOR_ID=SHARED_EXECUTOR_ID)
    agent.next("SUBSCRIBE")
    spec = ServiceSpec("", 500, 64, "true", pretend=True, health=[ServiceCheck("tcp", 1)])
    data = base64.b64encode(spec.to_json()).decode()
    for number in range(1000):
        task = {"task_id": {"value": f"task-{number}"}, "data": data, "name": "x"}
        agent.send({"type": "LAUNCH", "launch": {"task": task}})
    running = agent.states(1000)
    assert {(status["state"], status["healthy"]) for status in running.values()} == {("TASK_RUNNING", True)}
    agent.send(kill("task-7"))
    final = agent.state()
    assert (final["task_id"]["value"], final["state"]) == ("task-7", "TASK_KILLED")
    agent.send({"type": "SHUTDOWN"})
    assert {status["state"] for status in agent.states(999).values()} == {"TASK_KILLED"}


def test_a_real_service_has_no_shared_executor(start: Start, agent: OddAgent) -> None:
    start(MESOS_EXECUTOR_ID=SHARED_EXECUTOR_ID)
    agent.next("SUBSCRIBE")
    agent.send(launch("true"))
    assert states(agent, "TASK_FAILED")["message"] == "a service has a Mesos executor of its own"
