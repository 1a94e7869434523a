"""``python -m benchmarks.poller.crowd COUNT``: masters that only answer looks, each at a port of its own.

It is one process. It prints the ports as one JSON list once all listen, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from functools import partial

from framework.runtime.serving import allow_files

_BACKLOG = 8
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
NODES = [
    {
        "name": f"butlery-{number:016d}.1",
        "description": f"butlery: agent of task {number:016d}.1",
        "offline": False,
        "idle": False,
    }
    for number in range(4)
]
ITEMS = [
    {
        "item": number,
        "task": f"app-{number}",
        "task_url": f"job/app-{number}/",
        "label": "maven&&jdk17",
        "in_queue_since_ms": 1795225361695 + number,
        "buildable": True,
    }
    for number in range(2)
]
"""The reference installation's 2000 masters ran 8000 builds: four each, and some more that wait."""


def session_of(number: int) -> str:
    return f"s{number:07d}"


class _Master(asyncio.Protocol):
    """One connection to one master."""

    def __init__(self, pages: dict[bytes, bytes]) -> None:
        self._pages = pages
        self._rest = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        assert self._transport is not None  # noqa: S101 - for the type checker
        for request in requests:
            path = request.split(b" ", 2)[1].partition(b"?")[0]
            self._transport.write(self._pages.get(path, _MISSING))


def _pages(session: str) -> dict[bytes, bytes]:
    answers = {
        b"/whoAmI/api/json": {"_class": "hudson.security.WhoAmI", "name": "anonymous"},
        b"/butlery/queue": {"session": session, "items": ITEMS, "nodes": NODES},
    }
    return {path: _page(session, json.dumps(answer).encode()) for path, answer in answers.items()}


def _page(session: str, body: bytes) -> bytes:
    return (
        "HTTP/1.1 200 OK\r\nX-Jenkins: 2.463\r\n"
        f"X-Jenkins-Session: {session}\r\nX-Frame-Options: deny\r\nContent-Type: application/json;charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nServer: Jetty(10.0.21)\r\n\r\n"
    ).encode() + body


async def _serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    ports: list[int] = []
    for number in range(count):
        pages = _pages(session_of(number))
        server = await loop.create_server(partial(_Master, pages), "127.0.0.1", 0, backlog=_BACKLOG)
        ports.append(server.sockets[0].getsockname()[1])
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    allow_files()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1])))
