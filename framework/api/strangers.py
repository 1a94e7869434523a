"""Requests of which nobody knows yet who sent them, while their bodies are read: so many at once, and who gives way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from framework.api.problems import ProblemError

MAX_READING = 64
"""At once, of whomever; each may take ``api.max_body_bytes`` of memory."""


class Strangers:
    """For the event loop's own thread.

    Who sends slowly keeps nobody out: where there are too many, the oldest of the address with the most of them gives
    way to the newest. (Behind a proxy all have one address: then it is the oldest of all.)
    """

    def __init__(self, most: int = MAX_READING) -> None:
        self._most = most
        self._reading: dict[str, dict[asyncio.Timeout, None]] = {}  # by address, the oldest first

    @asynccontextmanager
    async def reading(self, address: str) -> AsyncIterator[None]:
        """While a body is read that comes from there. Raises ProblemError (408) where it has to give way."""
        if sum(map(len, self._reading.values())) >= self._most:
            self._end_one()
        given_way = asyncio.timeout(None)
        try:
            async with given_way:
                self._reading.setdefault(address, {})[given_way] = None
                try:
                    yield
                finally:
                    self._forget(address, given_way)
        except TimeoutError:
            detail = "Too many messages are read now, and others came sooner; send it again, in one piece."
            raise ProblemError(408, "timeout", detail, headers={"Connection": "close"}) from None

    def _end_one(self) -> None:
        address = max(self._reading, key=lambda one: len(self._reading[one]))
        oldest = next(iter(self._reading[address]))
        self._forget(address, oldest)
        oldest.reschedule(asyncio.get_running_loop().time())

    def _forget(self, address: str, one: asyncio.Timeout) -> None:
        of_it = self._reading.get(address, {})
        of_it.pop(one, None)
        if not of_it:
            self._reading.pop(address, None)


def address_of(client: tuple[str, int] | None) -> str:
    return "" if client is None else client[0]
