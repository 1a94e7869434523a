"""A Mesos agent that can be made to misbehave as a real one cannot: refusals, silence, odd events."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

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


def task(script: str, task_id: str = "task-1", **wanted: Any) -> dict[str, Any]:
    policy = HostPolicy(isolation="watchdog", uids="310000-310999")
    spec = BuildSpec(task_id, "acme", "job", script, 500, 64, host=policy, **{"grace_s": 1.0, **wanted})
    data = base64.b64encode(spec.to_json()).decode()
    return {"task_id": {"value": task_id}, "data": data, "name": "x"}


def launch(script: str, task_id: str = "task-1", **wanted: Any) -> dict[str, Any]:
    return {"type": "LAUNCH", "launch": {"task": task(script, task_id, **wanted)}}


def result(status: dict[str, Any]) -> BuildResult:
    return BuildResult.from_json(base64.b64decode(status["data"]))
