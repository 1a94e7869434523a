"""Many clients that keep their connections open and ask without pause, each always the same address."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

ANSWER_TIMEOUT_S = 30.0
PAUSE_S = 0.05


@dataclass
class Seen:
    """By host name: answers of status 200, and everything else in words."""

    good: Counter[str] = field(default_factory=Counter)
    bad: dict[str, list[str]] = field(default_factory=dict)

    def failed(self, host: str, what: str) -> None:
        self.bad.setdefault(host, []).append(what)


@contextlib.asynccontextmanager
async def keep_alive_clients(
    address: str, port: int, hosts: Sequence[str], path: str = "/login", pause_s: float = PAUSE_S
) -> AsyncIterator[Seen]:
    """One client for each of ``hosts``, which may name one more than once; all are connected once this is entered.

    A connection that is closed is opened anew; that it was closed counts as a failure, unless the answer before said
    that it would be.
    """
    seen = Seen()
    first = [asyncio.get_running_loop().create_future() for _ in hosts]
    tasks = [
        asyncio.create_task(_client(address, port, host, path, pause_s, seen, ready))
        for host, ready in zip(hosts, first, strict=True)
    ]
    try:
        await asyncio.wait_for(asyncio.gather(*first), ANSWER_TIMEOUT_S * 2)
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _client(
    address: str, port: int, host: str, path: str, pause_s: float, seen: Seen, ready: asyncio.Future[None]
) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    while True:
        writer = None
        try:
            reader, writer = await asyncio.open_connection(address, port)
            while await _ask(reader, writer, request, host, seen):
                if not ready.done():
                    ready.set_result(None)
                await asyncio.sleep(pause_s)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            seen.failed(host, f"{type(error).__name__}: {error}")
            await asyncio.sleep(pause_s)
        finally:
            if writer is not None:
                writer.close()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, host: str, seen: Seen
) -> bool:
    """Whether the connection stays open."""
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        await reader.readexactly(length)
    status = head.split(" ", 2)[1]
    if status == "200":
        seen.good[host] += 1
    else:
        seen.failed(host, status)
    return "connection: close" not in head
