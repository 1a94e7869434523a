"""Masters that tell as their init script does (``masters/image/init.groovy.d/butlery-50-demand.groovy``)."""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.demand.prepared import LABEL, Agent
from framework.errors import UnavailableError

GAP_S = (0.15, 0.3)
BATCH = 500
PAUSE_S = 0.2
"""As the script has them."""
ANSWER_TIMEOUT_S = 30.0
TICK_S = 0.005
"""What is due within it is told at once. Masters take little of their core: two cores may be halves of one, whose work

slows the other.
"""

Record = dict[str, Any]
_encoder = msgspec.json.Encoder()


class Master:
    """One master's thread that posts: one connection, a batch after the other."""

    def __init__(self, url: str, token: str, number: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._head = (
            f"POST /v1/demand HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-ndjson\r\n"
            f"Authorization: Bearer {token}\r\n"
        )
        self._session, self._seq = f"{number:08x}", 0
        self._records: list[Record] = []
        self._some = asyncio.Event()
        self._ended = False
        self.took_s: list[float] = []
        self.told = self.taken = self.retries = 0

    def put(self, record: Record) -> None:
        self._seq += 1
        self._records.append(
            {**record, "session": self._session, "seq": self._seq, "sent_ms": time.time_ns() // 1_000_000}
        )
        self.told += 1
        self._some.set()

    def end(self) -> None:
        """Once all is told."""
        self._ended = True
        self._some.set()

    async def run(self) -> None:
        """Raises UnavailableError."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        posted_at = 0.0
        try:
            while not (self._ended and not self._records):
                await self._some.wait()
                self._some.clear()
                while self._records:
                    await asyncio.sleep(posted_at + random.uniform(*GAP_S) - time.monotonic())
                    batch, self._records = self._records[:BATCH], self._records[BATCH:]
                    posted_at = time.monotonic()
                    lines = _encoder.encode_lines(batch)
                    while not await self._post(reader, writer, lines):
                        self.retries += 1
                        await asyncio.sleep(PAUSE_S)
        except (OSError, EOFError, ValueError, IndexError, TimeoutError) as error:
            raise UnavailableError(f"the scheduler does not take demand: {error!r}") from error
        finally:
            writer.close()

    async def _post(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> bool:
        """Whether it was taken; else it is to be tried again."""
        began = time.monotonic()
        writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(None, 2)[1])
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            answer = msgspec.json.decode(await reader.readexactly(length))
        self.took_s.append(time.monotonic() - began)
        if status in (429, 503):
            return False
        if status != 200:
            raise UnavailableError(f"the scheduler answers {status}: {answer.get('detail')}")
        self.taken += answer["taken"]
        return True


async def play(masters: Sequence[Master], agents: Sequence[Agent], builds_per_s: float) -> None:
    """Each agent serves its build, and a new one is queued for each: eight records, as a real build has them."""
    of = {f"team-{number}": master for number, master in enumerate(masters)}
    due: list[tuple[float, int, Master, Record]] = []
    number = 0
    for index, agent in enumerate(agents):
        for after_s, record in _build(agent, len(agents) + index + 1):
            number += 1
            due.append((index / builds_per_s + after_s, number, of[agent.tenant], record))
    heapq.heapify(due)
    began = time.monotonic()
    while due:
        at, _, master, record = heapq.heappop(due)
        if began + at > time.monotonic():
            await asyncio.sleep(max(TICK_S, began + at - time.monotonic()))
        master.put(record)


def _build(agent: Agent, queued: int) -> list[tuple[float, Record]]:
    """Seconds after its beginning, and what is told then."""
    item = {"item": agent.item.number, "in_queue_since_ms": agent.item.since_ms, "task": f"job-{agent.item.number - 1}"}
    new = {"item": queued, "in_queue_since_ms": 2, "task": f"job-{queued}", "task_url": f"job/job-{queued}/"}
    on = {"node": agent.node}
    run = {"url": f"job/{item['task']}/1/", "job": item["task"], "build": 1, "queue_item": agent.item.number, **on}
    return [
        (0.0, {"event": "buildable", **new, "label": LABEL}),
        (0.02, {"event": "online", **on}),
        (0.03, {"event": "left", "cancelled": False, **item, "label": LABEL}),
        (0.031, {"event": "accepted", **on, **item}),
        (0.033, {"event": "started", **run}),
        (0.5, {"event": "served", **on, "task": item["task"], "duration_ms": 467}),
        (0.501, {"event": "finished", "result": "SUCCESS", "duration_ms": 468, **run}),
        (0.55, {"event": "offline", **on, "cause": "Connection was broken"}),
    ]
