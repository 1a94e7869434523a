"""Whether we lead, asked before what only a leader may do: once for all who come while it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from framework.errors import UnavailableError
from framework.ports import Chance, Clock, jittered

Confirm = Callable[[], Awaitable[None]]
"""As ``framework.ports.Election.confirm``."""

RETRY_BASE_S = 0.2
RETRY_CAP_S = 5.0


class Confirming:
    """For one event loop."""

    def __init__(self, confirm: Confirm, clock: Clock, chance: Chance) -> None:
        self._confirm = confirm
        self._clock = clock
        self._chance = chance
        self._one = asyncio.Lock()
        self._next: asyncio.Future[None] | None = None  # not begun yet, so of use to whoever comes now

    async def until_known(self) -> None:
        """Returns once it is known that we led after this was called, however long that takes.

        Raises DeposedError where we do not.
        """
        attempt = 0
        while True:
            try:
                await self._asked()
            except UnavailableError:
                await self._clock.sleep(jittered(self._chance, attempt, RETRY_BASE_S, RETRY_CAP_S))
                attempt += 1
            else:
                return

    async def _asked(self) -> None:
        if self._next is None:
            self._next = asyncio.ensure_future(self._ask())
        await asyncio.shield(self._next)

    async def _ask(self) -> None:
        async with self._one:
            self._next = None
            await self._confirm()
