"""A Mesos agent that can be made to misbehave as a real one cannot: refusals, silence, odd events."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from queue import Queue
from typing import Any

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

    def states(self, count: int) -> dict[str, dict[str, Any]]:
        """The next ``count`` statuses, which are of different tasks, by task."""
        found = [self.state() for _ in range(count)]
        by_task = {status["task_id"]["value"]: status for status in found}
        assert len(by_task) == count, found
        return by_task

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
