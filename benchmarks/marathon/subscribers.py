"""Many subscribers of the event stream: whether each gets the same, once and in order, and one that reads nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
import time
from typing import Any

import aiohttp
import msgspec

from framework.errors import UnavailableError

PATH = "/v2/events?plan-format=light"
"""Without whole root groups in the events of deployments: each would hold thousands of apps, twice."""
ATTACH_TIMEOUT_S = 60.0
END_TIMEOUT_S = 120.0
STOP_POLL_S = 0.2
READ_BYTES = 1 << 16
SMALLEST_BUFFER_BYTES = 2048


class Seen(msgspec.Struct):
    """What one subscriber got between the two marks: ``digest`` of all of it, in order."""

    digest: str = ""
    events: int = 0
    ended: bool = False


class Subscribers:
    """``count`` of them in a thread of their own; events count from the one that holds ``first`` to that with ``last``.

    ``kept``: the events of the first subscriber, as they came.
    """

    def __init__(self, host: str, port: int, authorization: str, count: int, first: str, last: str) -> None:
        self.seen = [Seen() for _ in range(count)]
        self.kept: list[bytes] = []
        self._url = f"http://{host}:{port}{PATH}"
        self._headers = {"Authorization": authorization, "Accept": "text/event-stream"}
        self._marks = (first.encode(), last.encode())
        self._attached = 0
        self._failures: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Returns when all are attached. Raises UnavailableError."""
        self._thread.start()
        deadline = time.monotonic() + ATTACH_TIMEOUT_S
        while self._attached < len(self.seen):
            if self._failures or time.monotonic() > deadline:
                raise UnavailableError(f"{self._attached} of {len(self.seen)} subscribers are attached{self._why()}")
            time.sleep(0.05)

    def wait(self) -> None:
        """Returns when all have seen the last mark, or ``END_TIMEOUT_S`` after."""
        self._thread.join(END_TIMEOUT_S)

    def leave(self) -> None:
        """Ends those that still listen."""
        self._stop.set()
        self._thread.join(ATTACH_TIMEOUT_S)

    def events(self) -> list[dict[str, Any]]:
        """What the first subscriber got, decoded."""
        lines = (line for block in self.kept for line in block.splitlines() if line.startswith(b"data:"))
        return [json.loads(line[5:]) for line in lines]

    def _why(self) -> str:
        return f": {self._failures[0]}" if self._failures else ""

    def _run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=ATTACH_TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._headers) as session:
            tasks = [asyncio.create_task(self._one(session, number)) for number in range(len(self.seen))]
            while not self._stop.is_set():
                _, waiting = await asyncio.wait(tasks, timeout=STOP_POLL_S)
                if not waiting:
                    return
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, session: aiohttp.ClientSession, number: int) -> None:
        try:
            async with session.get(self._url) as answer:
                answer.raise_for_status()
                self._attached += 1
                await self._follow(answer.content, number)
        except (OSError, aiohttp.ClientError) as error:
            self._failures.append(f"{error or type(error).__name__}")

    async def _follow(self, stream: aiohttp.StreamReader, number: int) -> None:
        """Until the last mark, or the stream's end."""
        seen, digest = self.seen[number], hashlib.blake2b(digest_size=16)
        first, last = self._marks
        begun, rest = False, b""
        async for data in stream.iter_any():
            *blocks, rest = (rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
            for block in blocks:
                block = block.strip()  # of the beats of an idle stream, which are empty lines
                if not block:
                    continue
                begun = begun or first in block
                if begun:
                    digest.update(block)
                    seen.events += 1
                    if number == 0:
                        self.kept.append(block)
                    if last in block:
                        seen.digest, seen.ended = digest.hexdigest(), True
                        return


class StuckSubscriber:
    """Asks for the events and then reads none of them."""

    def __init__(self, host: str, port: int, authorization: str, path: str = PATH) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_BUFFER_BYTES)
        self._socket.settimeout(ATTACH_TIMEOUT_S)
        self._socket.connect((host, port))
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {host}:{port}",
            "Accept: text/event-stream",
            f"Authorization: {authorization}",
        )
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def was_cut(self) -> bool:
        """Whether the server has ended the stream: what is left of it comes to an end within ``END_TIMEOUT_S``."""
        self._socket.settimeout(1.0)
        deadline = time.monotonic() + END_TIMEOUT_S
        try:
            while time.monotonic() < deadline:
                if not self._socket.recv(READ_BYTES):
                    return True
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()
