"""A stand-in for a Mesos master, in a process of its own, that does just what a life cycle of a task takes.

A real master would spend most of the run on agents, and differently each time; what the drivers cost is what they read
and write. ``python -m benchmarks.wire.master`` prints its port. ``GET /tasks?of=NAME&count=N&at_once=W`` then runs N
life cycles on the framework of that name and answers when the last is acknowledged; ``GET /offers?of=NAME&count=N``
sends N OFFERS events of 317 hosts and answers when they have been taken.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httptools

from benchmarks.wire import messages

STATES = ("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")


class Framework:
    """One subscription, and the life cycles under way on it."""

    def __init__(self, stream: asyncio.Transport) -> None:
        self._stream = stream
        self._next_offer = 0
        self._left = 0
        self._under_way: dict[str, tuple[str, int]] = {}  # task id -> host id, and the state told last
        self._done: Callable[[], None] | None = None

    def run_tasks(self, count: int, at_once: int, done: Callable[[], None]) -> None:
        self._left, self._done = count, done
        for _ in range(min(count, at_once)):
            self._offer_one()

    def send_offers(self, count: int, done: Callable[[], None]) -> None:
        """The life cycle that follows them tells that they were read."""
        offers = messages.offers(range(messages.HOSTS))
        for _ in range(count):
            self._send(offers)
        self.run_tasks(1, 1, done)

    def accepted(self, call: dict[str, Any]) -> None:
        for operation in call["accept"]["operations"]:
            for task in operation["launch"]["task_infos"]:
                self._tell(task["task_id"]["value"], task["agent_id"]["value"], 0)

    def acknowledged(self, call: dict[str, Any]) -> None:
        task_id = call["acknowledge"]["task_id"]["value"]
        host_id, state = self._under_way.pop(task_id)
        if state + 1 < len(STATES):
            self._tell(task_id, host_id, state + 1)
        elif self._left:
            self._offer_one()
        elif not self._under_way and self._done is not None:
            done, self._done = self._done, None
            done()

    def _offer_one(self) -> None:
        self._left -= 1
        self._next_offer += 1
        self._send(messages.offers(range(self._next_offer, self._next_offer + 1)))

    def _tell(self, task_id: str, host_id: str, state: int) -> None:
        self._under_way[task_id] = (host_id, state)
        self._send(messages.update(task_id, host_id, STATES[state], time.time()))

    def _send(self, record: bytes) -> None:
        self._stream.write(b"%x\r\n%b\r\n" % (len(record), record))


class Connection(asyncio.Protocol):
    """Any connection: a subscription, calls, or the benchmark's own questions."""

    def __init__(self, frameworks: dict[str, Framework]) -> None:
        self._frameworks = frameworks
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = bytearray()
        self._stream_id = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._stream_id = b"", ""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"mesos-stream-id":
            self._stream_id = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        url = urlsplit(self._url.decode())
        if url.path == "/version":
            self._answer(b"200 OK", b'{"version":"1.11.0"}')
        elif url.path == "/api/v1/scheduler":
            self._call(json.loads(bytes(self._body)))
        else:
            self._asked(url.path, {key: values[0] for key, values in parse_qs(url.query).items()})

    def _call(self, call: dict[str, Any]) -> None:
        if call["type"] == "SUBSCRIBE":
            name = call["subscribe"]["framework_info"]["name"]
            self._frameworks[name] = Framework(self._transport)
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
                b"Mesos-Stream-Id: %b\r\n\r\n" % name.encode()
            )
            first = messages.subscribed()
            self._transport.write(b"%x\r\n%b\r\n" % (len(first), first))
            return
        self._answer(b"202 Accepted", b"")
        framework = self._frameworks[self._stream_id]
        if call["type"] == "ACCEPT":
            framework.accepted(call)
        elif call["type"] == "ACKNOWLEDGE":
            framework.acknowledged(call)

    def _asked(self, path: str, given: dict[str, str]) -> None:
        def done() -> None:
            self._answer(b"200 OK", b"")

        framework = self._frameworks.get(given["of"])
        if framework is None:
            self._answer(b"404 Not Found", b"")
        elif path == "/tasks":
            framework.run_tasks(int(given["count"]), int(given["at_once"]), done)
        elif path == "/offers":
            framework.send_offers(int(given["count"]), done)
        else:
            done()

    def _answer(self, status: bytes, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


async def _serve() -> None:
    frameworks: dict[str, Framework] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Connection(frameworks), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - what this program is asked for
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
