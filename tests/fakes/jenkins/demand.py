"""What a master's init scripts send to the scheduler: its own access at each start, and events of demand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

LOG = logging.getLogger("jenkins")

_TIMEOUT_S = 10.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.2, 30.0
_AGAIN_S = 1800.0
_UNKNOWN_PAUSE_S = 300.0
"""After a 404: a scheduler that takes no events yet is not asked again soon."""
_BOUND, _BATCH = 10_000, 500
_GAP_S = (0.15, 0.3)
_ALIVE_S = 30.0

Record = dict[str, Any]


class Answer(NamedTuple):
    status: int
    text: bytes
    wait_s: float  # for which the scheduler wants to be left alone


class Endpoint:
    """The scheduler, with the tenant's token. One connection, kept as Java keeps it; for one caller at a time."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, body: bytes, content_type: str) -> Answer | None:
        """None where there was no answer."""
        parts = urlsplit(self._url)
        head = (
            f"{method} {parts.path.rstrip('/')}{path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {self._token}\r\n\r\n"
        )
        kept = self._kept is not None
        answer = await self._exchange(head.encode("latin-1") + body)
        if answer is None and kept:  # the scheduler had closed it
            answer = await self._exchange(head.encode("latin-1") + body)
        return answer

    async def _exchange(self, message: bytes) -> Answer | None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reader, writer = self._kept or await self._connect()
                self._kept = None
                try:
                    writer.write(message)
                    status = int((await reader.readline()).split()[1])
                    headers = await _headers(reader)
                    text = await reader.readexactly(int(headers.get("content-length", "0")))
                except BaseException:
                    writer.close()
                    raise
                if headers.get("connection", "").lower() == "close":
                    writer.close()
                else:
                    self._kept = reader, writer
                return Answer(status, text, float(headers.get("retry-after", "0")))
        except (OSError, TimeoutError, ValueError, IndexError, EOFError):
            return None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._url)
        secure = parts.scheme == "https"
        return await asyncio.open_connection(parts.hostname, parts.port or (443 if secure else 80), ssl=secure or None)

    def close(self) -> None:
        if self._kept is not None:
            self._kept[1].close()


async def _headers(reader: asyncio.StreamReader) -> dict[str, str]:
    found = {}
    while line := (await reader.readline()).decode("latin-1").strip():
        name, _, text = line.partition(":")
        found[name.strip().lower()] = text.strip()
    return found


class Outbox:
    """Events in order, sent in batches until they are taken.

    It begins with what ``announced`` tells, and so it does again where events were lost for want of room, or because
    the scheduler did not want them.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._records: deque[Record] = deque()
        self._some = asyncio.Event()
        self._lost = True
        self._seq = 0
        self._posted_at = -_ALIVE_S

    def put(self, record: Record) -> None:
        if len(self._records) < _BOUND:
            self._records.append({**record, "sent_ms": _now_ms()})
        else:
            self._lost = True
        self._some.set()

    async def run(
        self, session: str, announced: Callable[[], list[Record]], unserved: Callable[[list[Record]], None]
    ) -> None:
        """``unserved`` is given the items that no agent will come for, as the scheduler answers them."""
        try:
            while True:
                batch = self._announced(announced) if self._lost else await self._taken()
                for record in batch:
                    self._seq += 1
                    record |= {"session": session, "seq": self._seq}
                for begin in range(0, len(batch), _BATCH):
                    lines = "".join(json.dumps(one) + "\n" for one in batch[begin : begin + _BATCH])
                    if not await self._deliver(lines.encode(), unserved):
                        break
        finally:
            self._endpoint.close()

    def _announced(self, announced: Callable[[], list[Record]]) -> list[Record]:
        self._lost = False
        self._records.clear()
        return [{**record, "sent_ms": _now_ms()} for record in announced()]

    async def _taken(self) -> list[Record]:
        if not self._records:
            self._some.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._some.wait(), self._posted_at + _ALIVE_S - time.monotonic())
        if not self._records:
            return [] if self._lost else [{"event": "alive", "sent_ms": _now_ms()}]
        await asyncio.sleep(self._posted_at + random.uniform(*_GAP_S) - time.monotonic())
        return [self._records.popleft() for _ in range(min(_BATCH, len(self._records)))]

    async def _deliver(self, body: bytes, unserved: Callable[[list[Record]], None]) -> bool:
        """Whether it was taken; else all is to be announced anew."""
        pause_s = _FIRST_PAUSE_S
        while not self._lost:
            self._posted_at = time.monotonic()
            answer = await self._endpoint.send("POST", "/v1/demand", body, "application/x-ndjson")
            status = None if answer is None else answer.status
            if answer is not None and 200 <= answer.status < 300:
                if answer.text and (told := json.loads(answer.text).get("unserved")):
                    unserved(told)
                return True
            if status in (404, 405):
                self._lost = True
                await asyncio.sleep(_UNKNOWN_PAUSE_S)
            elif status in (400, 413, 422):
                self._lost = True
                LOG.warning("the scheduler refuses events of demand: HTTP %d", status)
                await asyncio.sleep(_LAST_PAUSE_S)
            else:
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0) + (0.0 if answer is None else answer.wait_s))
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)
        return False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def hand_over(endpoint: Endpoint, tenant: str, access: Mapping[str, str]) -> None:
    """Tells the scheduler how to reach this master: until it is taken, and now and then, lest it forget."""
    pause_s = _FIRST_PAUSE_S
    body = json.dumps(access).encode()
    while True:
        answer = await endpoint.send("PUT", f"/v1/tenants/{tenant}/master", body, "application/json")
        if answer is not None and 200 <= answer.status < 300:
            LOG.info("handed over its access to the scheduler")
            pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(_AGAIN_S)
            continue
        LOG.info("the scheduler did not take this master's access: %s", answer.status if answer else "no answer")
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(pause_s * 2, _LAST_PAUSE_S)
