"""What a master's init scripts send to the scheduler: its own access at each start, and events of demand."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

LOG = logging.getLogger("jenkins")

_TIMEOUT_S = 10.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.2, 30.0
_AGAIN_S = 1800.0
_UNKNOWN_PAUSE_S = 300.0
"""After a 404: a scheduler that takes no events yet is not asked again soon."""
_BOUND, _BATCH = 10_000, 500

Record = dict[str, Any]


class Endpoint:
    """The scheduler, with the tenant's token."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token

    async def send(self, method: str, path: str, body: bytes, content_type: str) -> int | None:
        """The status; None where there was no answer."""
        parts = urlsplit(self._url)
        secure = parts.scheme == "https"
        head = (
            f"{method} {parts.path.rstrip('/')}{path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {self._token}\r\nConnection: close\r\n\r\n"
        )
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                port = parts.port or (443 if secure else 80)
                reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure or None)
                try:
                    writer.write(head.encode("latin-1") + body)
                    line = await reader.readline()
                    return int(line.split()[1])
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError, IndexError):
            return None


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

    def put(self, record: Record) -> None:
        if len(self._records) < _BOUND:
            self._records.append({**record, "sent_ms": time.time_ns() // 1_000_000})
        else:
            self._lost = True
        self._some.set()

    async def run(self, announced: Callable[[], list[Record]]) -> None:
        while True:
            if self._lost:
                self._lost = False
                self._records.clear()
                for record in announced():
                    self.put(record)
            await self._some.wait()
            batch = [self._records.popleft() for _ in range(min(_BATCH, len(self._records)))]
            if not self._records:
                self._some.clear()
            if batch:
                await self._deliver("".join(json.dumps(one) + "\n" for one in batch).encode())

    async def _deliver(self, body: bytes) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._lost:
            status = await self._endpoint.send("POST", "/v1/demand", body, "application/x-ndjson")
            if status is not None and 200 <= status < 300:
                return
            if status in (404, 405):
                self._lost = True
                await asyncio.sleep(_UNKNOWN_PAUSE_S)
            elif status in (400, 413, 422):
                self._lost = True
                LOG.warning("the scheduler refuses events of demand: HTTP %d", status)
                await asyncio.sleep(_LAST_PAUSE_S)
            else:
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)


async def hand_over(endpoint: Endpoint, tenant: str, access: Mapping[str, str]) -> None:
    """Tells the scheduler how to reach this master: until it is taken, and now and then, lest it forget."""
    pause_s = _FIRST_PAUSE_S
    body = json.dumps(access).encode()
    while True:
        status = await endpoint.send("PUT", f"/v1/tenants/{tenant}/master", body, "application/json")
        if status is not None and 200 <= status < 300:
            LOG.info("handed over its access to the scheduler")
            pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(_AGAIN_S)
            continue
        LOG.info("the scheduler did not take this master's access: %s", status or "no answer")
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(pause_s * 2, _LAST_PAUSE_S)
