"""Users of masters, by way of their one address: connections that are kept alive, and what becomes of each request."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from framework.errors import UnavailableError

ANSWER_TIMEOUT_S = 60.0
CONNECT_AT_ONCE = 50
RETRY_S = 0.1
STOP_TIMEOUT_S = 30.0


class AnotherMasterError(ValueError):
    """It answered in the place of the one that was asked."""


@dataclass
class Steady:
    """What came of the requests to masters that stay where they are."""

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)  # by what went wrong
    slowest_s: float = 0.0


class Move(NamedTuple):
    """Another task answered for a master than before, at a time (unix s), so long after it could; ``elsewhere``: at

    another port than the one before.
    """

    at: float
    follow_s: float
    elsewhere: bool


@dataclass
class Followed:
    """One master that moves, as its one client sees it. ``last``: what it last said of itself; ``misled``: how often

    another answered for it.
    """

    last: dict[str, Any] | None = None
    moves: list[Move] = field(default_factory=list)
    misled: int = 0


class Clients:
    """On a thread of their own. ``steady`` ones stay with a master each, one request every ``every_s``; a follower asks

    each of the ``moving`` ones again and again.
    """

    def __init__(self, host: str, port: int, steady: Sequence[str], moving: Sequence[str], every_s: float) -> None:
        self.steady = Steady()
        self.followed = {name: Followed() for name in moving}
        self._host, self._port, self._every_s = host, port, every_s
        self._names = list(steady)
        self._connected = 0
        self._fault: Exception | None = None
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def connected(self) -> int:
        """Of the steady ones, those that have had their first answer."""
        return self._connected

    def ended(self) -> bool:
        """Before they were told to stop that is a fault, which ``stop`` raises."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Raises UnavailableError where they do not end, and the fault that has ended them before."""
        if self._fault is None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(ANSWER_TIMEOUT_S + STOP_TIMEOUT_S)
        if self._thread.is_alive():
            raise UnavailableError("the clients do not end")
        self._loop.close()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._all())
        except Exception as error:  # noqa: BLE001 raised where they are stopped
            self._fault = error

    async def _all(self) -> None:
        gate = asyncio.Semaphore(CONNECT_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for name in self._names:
                group.create_task(self._stay(name, gate))
            for name in self.followed:
                group.create_task(self._follow(name))

    async def _stay(self, name: str, gate: asyncio.Semaphore) -> None:
        """One connection; where it breaks that is a failure, and another is opened. So is another task's answer."""
        task: str | None = None
        with closing(_Connection(self._host, self._port, name)) as connection:
            while not self._stop.is_set():
                begun = time.monotonic()
                try:
                    if task is None:
                        async with gate:
                            begun = time.monotonic()
                            task = (await connection.ask())["task"]
                        self._connected += 1
                    else:
                        await connection.ask(task)
                except (OSError, ValueError, EOFError, TimeoutError) as error:
                    self.steady.failures[str(error) or type(error).__name__] += 1
                    connection.close()
                self.steady.requests += 1
                self.steady.slowest_s = max(self.steady.slowest_s, time.monotonic() - begun)
                await self._pause(random.uniform(0.5, 1.5) * self._every_s)

    async def _follow(self, name: str) -> None:
        """Its moves are noticed by another process' answering; until then whatever happens is tried again."""
        seen = self.followed[name]
        with closing(_Connection(self._host, self._port, name)) as connection:
            while not self._stop.is_set():
                try:
                    told = await connection.ask()
                except (OSError, ValueError, EOFError, TimeoutError) as error:
                    seen.misled += isinstance(error, AnotherMasterError)
                    connection.close()
                else:
                    if seen.last is not None and told["task"] != seen.last["task"]:
                        now = time.time()
                        seen.moves.append(Move(now, now - told["booted_at"], told["port"] != seen.last["port"]))
                    seen.last = told
                await self._pause(RETRY_S)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


class _Connection:
    """Kept alive; opened where it is not."""

    def __init__(self, host: str, port: int, name: str) -> None:
        self._host, self._port, self._tenant = host, port, name.partition(".")[0]
        self._request = f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, task: str | None = None) -> dict[str, Any]:
        """What the master, that ``task`` where it is given, says of itself.

        Raises OSError, EOFError, TimeoutError; ValueError of another's answer.
        """
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
            status = head.split(b" ", 2)[1].decode()
            if status != "200":
                raise ValueError(f"status {status}")
            told: dict[str, Any] = json.loads(body)
            if not isinstance(told, dict) or told.get("tenant") != self._tenant:
                raise AnotherMasterError("another master")
            if task is not None and told["task"] != task:
                raise ValueError("another task")
            return told

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
