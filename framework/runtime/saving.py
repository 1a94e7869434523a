"""Frames written to a state that may have to be waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from framework.errors import StoreFullError
from framework.log import get_logger
from framework.ports import Chance, Clock, jittered
from framework.runtime.waiting import until_set

log = get_logger(__name__)

SaveT = TypeVar("SaveT")

RETRY_BASE_S = 0.2
RETRY_CAP_S = 5.0
"""Between two tries of one frame."""


class Saving(Generic[SaveT]):
    """One frame after the other. ``fails``: why, while the state cannot be saved.

    ``commit`` writes all of a frame or nothing. It blocks, so it is called on another thread; it raises StoreFullError
    where a retry can help, else StoreError.
    """

    def __init__(
        self, commit: Callable[[Sequence[SaveT]], object], clock: Clock, chance: Chance, stop: asyncio.Event
    ) -> None:
        self.fails = ""
        self._commit = commit
        self._clock = clock
        self._chance = chance
        self._stop = stop

    async def save(self, frame: Sequence[SaveT], refuse: Callable[[str], None]) -> bool:
        """Writes the frame; while that cannot be done nothing else is, for a call must never run ahead of its cause.

        ``refuse`` is told why, at each try, so that nobody waits for it. False where it was told to stop before it
        could: Mesos tells of it all again. Raises StoreError.
        """
        attempt = 0
        while frame:
            try:
                await asyncio.to_thread(self._commit, frame)
            except StoreFullError as error:
                if not self.fails:
                    log.error("the state cannot be saved; waiting until it can", reason=str(error))
                self.fails = str(error)
                refuse(self.fails)
                if await until_set(self._stop, self._clock, jittered(self._chance, attempt, RETRY_BASE_S, RETRY_CAP_S)):
                    return False
                attempt += 1
            else:
                break
        if frame and self.fails:
            log.info("the state can be saved again")
            self.fails = ""
        return True
