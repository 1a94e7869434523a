"""Learns how long masters take to boot, also where Marathon or a request started them."""

from __future__ import annotations

import asyncio

from framework.errors import StoreError
from framework.log import get_logger
from framework.ports import Clock
from masters.edges import Edges
from masters.service.addresses import Addresses, forget_gone

log = get_logger(__name__)

EVERY_S = 10.0


class Boots:
    """Keeps in the ledger what the next start's grace is made from."""

    def __init__(self, edges: Edges, addresses: Addresses, clock: Clock) -> None:
        self._edges = edges
        self._addresses = addresses
        self._clock = clock
        self._seen: dict[str, str] = {}  # by tenant the task whose boot is noted

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._clock.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        found: dict[str, float] = {}
        seen: dict[str, str] = {}
        for tenant, master in self._addresses.masters.items():
            for task in master.tasks:
                if task.boot_s is not None and self._seen.get(tenant) != task.id:
                    found[tenant], seen[tenant] = task.boot_s, task.id
        if not found:
            return
        try:
            await asyncio.to_thread(self._edges.ledger.save_boots, found)
        except StoreError as error:
            log.warning("boot times cannot be kept", error=str(error))
        else:
            self._seen |= seen
            forget_gone(self._addresses.masters, self._seen)
