"""An election that a test decides."""

from __future__ import annotations

import asyncio

from framework.errors import DeposedError
from framework.ports import Leader


class FakeElection:
    """Implements ``framework.ports.Election``. ``elect`` and ``depose`` are what the other schedulers do."""

    def __init__(self) -> None:
        self.leader: Leader | None = None
        self.connected = True
        self.standbys = 1
        self.epoch = 0
        self.unconfirmed: Exception | None = None
        self.journal: list[str] = []
        self._elected = asyncio.Event()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def elect(self) -> None:
        self._elected.set()

    def depose(self, reason: str = "the session is lost") -> None:
        if not self._over.done():
            self._over.set_result(reason)

    async def lead(self) -> int:
        self.journal.append("stands")
        await self._elected.wait()
        self._elected.clear()
        self._over = asyncio.get_running_loop().create_future()
        self.epoch += 1
        self.leader = Leader("http://here:8080", "here", "1.0", self.epoch, 1000.0)
        self.journal.append("leads")
        return self.epoch

    async def deposed(self) -> str:
        return await asyncio.shield(self._over)

    async def step_down(self) -> None:
        self.journal.append("steps down")
        self.leader = None
        self.depose("it stepped down")

    async def confirm(self) -> None:
        if self.unconfirmed is not None:
            raise self.unconfirmed
        if self._over.done():
            raise DeposedError("this scheduler does not lead")

    async def close(self) -> None:
        self.journal.append("closed")
