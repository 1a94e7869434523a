"""What may wait for telemetry's disk or its history, on threads of its own: those that save the state are not taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from framework.errors import UnavailableError
from framework.ports import Clock
from framework.runtime.waiting import until_done

T = TypeVar("T")

THREADS = 6
"""Who writes the spool, tells builds again, looks up sizes, asks how records fare, has refused ones sent; one more."""
ANSWER_S = 5.0
"""For the disk of ``telemetry.path``: half of what Prometheus waits by default."""

_threads = ThreadPoolExecutor(THREADS, "telemetry")


def beside(work: Callable[[], T]) -> asyncio.Future[T]:
    """Its result, or what it raises."""
    return asyncio.get_running_loop().run_in_executor(_threads, work)


class OneAtATime(Generic[T]):
    """A question to that disk: asked once at a time, whoever waits for the answer. For the event loop's own thread."""

    def __init__(self, question: Callable[[], T], clock: Clock) -> None:
        self._question = question
        self._clock = clock
        self._asked: asyncio.Future[T] | None = None
        self._late = False

    async def answer(self) -> T:
        """Raises UnavailableError where there is none within ``ANSWER_S``, and at once until that one is there."""
        if self._asked is None or self._asked.done():
            self._asked, self._late = beside(self._question), False
        asked = self._asked
        if self._late or not await until_done(asked, self._clock, ANSWER_S):
            self._late = not asked.done()
            raise UnavailableError(f"telemetry: the disk of telemetry.path does not answer within {ANSWER_S:g} s")
        return asked.result()
