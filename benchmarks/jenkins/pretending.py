"""Agents of the stand-in's masters that are a socket each: packed in place of the executor's ``builds``, for load.

What takes their tasks, reports and is told to end them is the real executor; connections to masters are the real
protocol. A build of theirs is a number of seconds: that of the first ``sleep`` in its script. Standard library only.
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Report = Callable[[str, str, str, bytes], None]

CONNECT_TIMEOUT_S = 30.0
LEAVE_S = 10.0
"""After which an agent whose node is gone notices, as agent.jar does."""
SECRET = "JENKINS_SECRET"  # noqa: S105 its name
_TEXT = b"\x82"  # one whole binary message
_PING, _PONG = 9, 10


class Builds:
    """All of one executor, with the methods of the executor's own that the driver calls."""

    def __init__(self, sandbox: str, shared: bool, poll: select.poll, report: Report) -> None:
        del sandbox, shared
        self._poll, self._report = poll, report
        self._agents: dict[str, _Agent] = {}
        self._by_fd: dict[int, _Agent] = {}

    def launch(self, given: list[tuple[str, bytes]]) -> None:
        for task_id, data in given:
            spec = json.loads(data)
            self._report(task_id, "TASK_RUNNING", "", b"")
            try:
                agent = _Agent(task_id, spec["agent"], spec["secrets"][SECRET])
            except (KeyError, TypeError, ValueError, OSError) as error:
                self._report(task_id, "TASK_FAILED", str(error), _result("connect", str(error)))
                continue
            self._agents[task_id] = self._by_fd[agent.socket.fileno()] = agent
            self._poll.register(agent.socket, select.POLLIN)

    @property
    def patience_s(self) -> float:
        now_s = time.monotonic()
        return max(0.0, min((agent.due_s for agent in self._agents.values()), default=now_s + 60.0) - now_s)

    def read(self, fd: int) -> None:
        agent = self._by_fd.get(fd)
        if agent is not None and not agent.read():
            self._unheard(agent)

    def tend(self, now_s: float) -> None:
        for agent in [one for one in self._agents.values() if one.due_s <= now_s]:
            if agent.left:
                self._end(agent.task_id, "TASK_FAILED", "connect", "the master let it go")
            elif not agent.tend():
                self._unheard(agent)

    def kill(self, task_id: str, grace_s: float | None = None) -> None:
        del grace_s
        if task_id in self._agents:
            self._end(task_id, "TASK_KILLED", "cancelled", "cancelled")

    def tell(self, task_id: str, text: str) -> None:
        """Nothing: they have no log."""

    def end_all(self, grace_s: float) -> None:
        for task_id in list(self._agents):
            self.kill(task_id, grace_s)

    def abandon(self, timeout_s: float) -> bool:
        del timeout_s
        return True

    def _unheard(self, agent: _Agent) -> None:
        """Its connection is gone; so will it be, unless it is told so before."""
        agent.left, agent.due_s = True, time.monotonic() + LEAVE_S
        self._forget(agent)

    def _end(self, task_id: str, state: str, result_class: str, message: str) -> None:
        self._forget(self._agents.pop(task_id))
        self._report(task_id, state, message, _result(result_class, message))

    def _forget(self, agent: _Agent) -> None:
        fd = agent.socket.fileno()
        if fd >= 0:
            self._poll.unregister(fd)
            del self._by_fd[fd]
            agent.socket.close()


class _Agent:
    """One, from its connection on. ``due_s`` of time.monotonic: when to tend to it next."""

    def __init__(self, task_id: str, told: dict[str, Any], secret: str) -> None:
        """Raises OSError, KeyError, ValueError."""
        self.task_id = task_id
        self.left = False
        self.due_s = time.monotonic() + CONNECT_TIMEOUT_S
        self._open = False
        self._step: bytes | None = None  # id of the build's step that runs
        self._buffer = b""
        host, _, path = told["url"].partition("://")[2].partition("/")
        name, _, port = host.partition(":")
        self.socket = socket.create_connection((name, int(port or 80)), CONNECT_TIMEOUT_S)
        prefix = f"/{path.rstrip('/')}".rstrip("/")
        lines = [
            f"GET {prefix}/wsagents HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            f"Node-Name: {told['node']}",
            f"Secret-Key: {secret}",
            "X-Remoting-Capability: pretended",
            "\r\n",
        ]
        self.socket.sendall("\r\n".join(lines).encode())

    def read(self) -> bool:
        """False once the master closed, or would not have it."""
        try:
            data = self.socket.recv(65536)
        except OSError:
            return False
        self._buffer += data
        if not self._open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if end:
                if b" 101 " not in head.partition(b"\r\n")[0]:
                    return False
                self._open, self._buffer, self.due_s = True, rest, float("inf")
        while self._open and (frame := self._frame()) is not None:
            kind, payload = frame
            if kind == _PING and not self._send(bytes([0x80 | _PONG]), payload):
                return False
            if payload[:1] == b"R":
                self._step = payload[1:5]
                self.due_s = time.monotonic() + _seconds_of(payload)
                if not self._send(_TEXT, b"S" + self._step + b"/tmp/pretended.sh"):
                    return False
        return bool(data)

    def tend(self) -> bool:
        """The build is over; or the master did not answer in time, which is False."""
        self.due_s = float("inf")
        return self._step is not None and self._send(_TEXT, b"E" + self._step + struct.pack(">i", 0))

    def _frame(self) -> tuple[int, bytes] | None:
        """The first whole one of what was read."""
        data = self._buffer
        if len(data) < 2:
            return None
        size, at = data[1] & 0x7F, 2
        if size > 125:
            at = 4 if size == 126 else 10
            if len(data) < at:
                return None
            size = int.from_bytes(data[2:at], "big")
        if len(data) < at + size:
            return None
        self._buffer = data[at + size :]
        return data[0] & 0x0F, data[at : at + size]

    def _send(self, head: bytes, payload: bytes) -> bool:
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
        try:
            self.socket.sendall(head + length + b"\0\0\0\0" + payload)  # a mask that changes nothing
        except OSError:
            return False
        return True


def _seconds_of(message: bytes) -> float:
    found = re.search(rb"\bsleep ([0-9.]+)", message)
    return float(found[1]) if found is not None else 0.0


def _result(result_class: str, message: str) -> bytes:
    """A BuildResult in all that is needed."""
    return json.dumps({"version": 1, "result_class": result_class, "message": message}).encode()
