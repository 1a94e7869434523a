"""The driver against an agent that misbehaves as a real one cannot be made to: refusals, silence, odd events."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from agents.executor import guard
from agents.pack import build_pyz, command
from agents.spec import BuildResult, BuildSpec, HostPolicy

TIMEOUT_S = 20.0


class OddAgent:
    """Answers an executor's calls as it is told to; ``calls`` are those it got, in order."""

    def __init__(self) -> None:
        self.calls: Queue[dict[str, Any]] = Queue()
        self.refusals: list[int] = []  # HTTP statuses of the next calls, before they are taken
        self.acknowledge = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stream: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._threads: list[threading.Thread] = []
        self._thread.start()

    def send(self, event: dict[str, Any]) -> None:
        assert self._stream is not None
        data = json.dumps(event).encode()
        record = b"%d\n%s" % (len(data), data)
        self._stream.sendall(b"%x\r\n%s\r\n" % (len(record), record))

    def hang_up(self) -> None:
        for made in self._open:
            with contextlib.suppress(OSError):  # one that the executor has closed is closed here too by now
                made.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for made in self._open:
            made.close()
        for thread in self._threads:
            thread.join()

    def next(self, kind: str) -> dict[str, Any]:
        while True:
            call = self.calls.get(timeout=TIMEOUT_S)
            if call["type"] == kind:
                return call

    def state(self) -> dict[str, Any]:
        status: dict[str, Any] = self.next("UPDATE")["update"]["status"]
        return status

    def _accept(self) -> None:
        while True:
            try:
                made, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(made)
            thread = threading.Thread(target=self._serve, args=(made,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, made: socket.socket) -> None:
        with made, made.makefile("rb") as file:
            try:
                while self._take(made, file):
                    pass
            except OSError:
                return

    def _take(self, made: socket.socket, file: Any) -> bool:
        head: dict[str, str] = {}
        if not file.readline():
            return False
        while line := file.readline().decode().strip():
            name, _, value = line.partition(": ")
            head[name] = value
        call = json.loads(file.read(int(head["Content-Length"])))
        call["authorization"] = head.get("Authorization")
        if self.refusals:
            made.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 4\r\n\r\nbusy" % self.refusals.pop(0))
            self.calls.put({"type": "REFUSED", "call": call})
            return True
        if call["type"] == "SUBSCRIBE":
            made.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._stream = made
            self.send({"type": "SUBSCRIBED"})
        else:
            made.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        self.calls.put(call)
        if call["type"] == "UPDATE" and self.acknowledge:
            status = call["update"]["status"]
            self.send({"type": "ACKNOWLEDGED", "acknowledged": {"task_id": status["task_id"], "uuid": status["uuid"]}})
        return True


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
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", command(str(pyz))],
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


def launch(script: str, task_id: str = "task-1") -> dict[str, Any]:
    policy = HostPolicy(isolation="watchdog", uids="310000-310999")
    spec = BuildSpec(task_id, "acme", "job", script, 500, 64, grace_s=1.0, host=policy)
    data = base64.b64encode(json.dumps(asdict(spec)).encode()).decode()
    return {"type": "LAUNCH", "launch": {"task": {"task_id": {"value": task_id}, "data": data, "name": "x"}}}


def result(status: dict[str, Any]) -> BuildResult:
    return BuildResult.from_json(base64.b64decode(status["data"]))


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
