"""Which masters answer already that Marathon does not call healthy yet.

Mesos looks a second after a start and then at each ``health.interval_s`` only, and for so long would requests be held
from a master that is back. What is asked, and which answer counts, is what its health check says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

import aiohttp
from yarl import URL

from masters.ingress.due import Due
from masters.ingress.routes import Endpoint

AT_ONCE = 16
PAUSE_S = 0.05
"""Of each worker after each question: 320 a second at most, should all masters start at once."""
TIMEOUT_S = 3.0
SOONEST_S, LATEST_S = 0.25, 2.0
"""Between two questions to one master, a twentieth of how long it has been asked, within these."""
PART_OF_BOOT = 20


class Start(NamedTuple):
    """Of one task that runs and was never healthy."""

    to: Endpoint
    path: str


class Starting:
    """``answered`` has the ids of those tasks that answered; ``changed`` is called when one does."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._due = Due()
        self._starts: dict[str, Start] = {}
        self._since: dict[str, float] = {}  # of the loop's clock
        self.answered: set[str] = set()

    def take(self, starts: Mapping[str, Start]) -> None:
        """All there are now, by the id of the task."""
        self.answered &= starts.keys()
        for task_id in self._starts.keys() - starts.keys():
            self._due.drop(task_id)
            del self._since[task_id]
        for task_id in starts.keys() - self._starts.keys():
            self._since[task_id] = asyncio.get_running_loop().time()
            self._due.set(task_id)
        self._starts = dict(starts)

    async def work(self) -> None:
        """Until it is cancelled; AT_ONCE of these run side by side."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session:
            while True:
                task_id = await self._due.next()
                start = self._starts[task_id]
                answers = await _answers(session, start)
                if answers and self._starts.get(task_id) == start:
                    self.answered.add(task_id)
                    self._changed()
                elif task_id in self._starts:
                    asked_s = asyncio.get_running_loop().time() - self._since[task_id]
                    self._due.set(task_id, min(LATEST_S, max(SOONEST_S, asked_s / PART_OF_BOOT)))
                await asyncio.sleep(PAUSE_S)


async def _answers(session: aiohttp.ClientSession, start: Start) -> bool:
    """As Mesos' check reads it: from 200 to 399."""
    try:
        async with session.get(URL(start.to.url() + start.path, encoded=True), allow_redirects=False) as answer:
            return 200 <= answer.status < 400
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return False
