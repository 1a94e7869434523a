"""When each tenant's address was last used, from what HAProxy counts."""

from __future__ import annotations

from framework.ports import Clock
from masters.ingress.runtime import Runtime


class Uses:
    def __init__(self, runtime: Runtime, clock: Clock, last: dict[str, float]) -> None:
        """``last``: what an earlier service knew, unix s."""
        self._runtime = runtime
        self._clock = clock
        self.last = dict(last)

    async def poll(self) -> None:
        """Raises UnavailableError."""
        uses = await self._runtime.uses()
        now = self._clock.now()
        for tenant, use in uses.items():
            at = now if use.now else now - use.age_s
            self.last[tenant] = max(at, self.last.get(tenant, 0.0))

    def forget(self, tenants: set[str]) -> None:
        for tenant in tenants & self.last.keys():
            del self.last[tenant]
