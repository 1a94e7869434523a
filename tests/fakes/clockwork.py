"""Time that stands still until a test moves it on."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Coroutine
from typing import Any

PATIENCE_S = 20.0
"""Of a test for what a thread of the runtime does; nothing here takes a hundredth of it."""


def call_after(sleep: Coroutine[Any, Any, None], callback: Callable[[], None]) -> asyncio.Task[None]:
    """Calls it when the sleep is over, unless that is cancelled before."""
    sleeper = asyncio.ensure_future(sleep)
    sleeper.add_done_callback(lambda done: None if done.cancelled() else callback())
    return sleeper


class ManualClock:
    """Implements ``framework.ports.Clock``."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), woken))
        await woken

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.Task[None]:
        return call_after(self.sleep(seconds), callback)

    def advance(self, seconds: float) -> None:
        """Wakes all whose time comes, the earliest first."""
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)

    def set_back(self, seconds: float) -> None:
        """As somebody sets a wall clock: who sleeps sleeps no longer for it."""
        self._now -= seconds
        self._sleepers = [(when - seconds, number, woken) for when, number, woken in self._sleepers]

    def sleeping_s(self) -> list[float]:
        """How much longer each sleeper sleeps."""
        return sorted(when - self._now for when, _, woken in self._sleepers if not woken.done())


async def eventually(condition: Callable[[], object], what: str = "it") -> None:
    """Lets tasks and threads run until ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        await asyncio.sleep(0.001)


async def quiet(turns: int = 50) -> None:
    """Lets everything that could happen now happen, for a test that nothing does."""
    for _ in range(turns):
        await asyncio.sleep(0.001)
