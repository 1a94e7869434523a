"""Samples: the use of the cluster and of tenants now and then, and what waiting builds wait for."""

from __future__ import annotations

import asyncio

from framework.core.explain import health, tenant_uses
from framework.core.state import State
from framework.log import get_logger
from framework.ports import Clock
from framework.runtime.telemetry.recorder import Recorder
from framework.runtime.waiting import until_set
from framework.telemetry.making import cluster_sample, tenant_sample
from framework.telemetry.reasons import Waits, look
from framework.telemetry_ports import Use

log = get_logger(__name__)

FIRST_S = 5.0
"""From the start until the first sample, where they are not more frequent anyway."""


class Sampler:
    """For the event loop's own thread; ``run`` once. ``use``: as last sampled."""

    def __init__(self, state: State, recorder: Recorder, every_s: float, clock: Clock) -> None:
        self.use: Use | None = None
        self._state = state
        self._recorder = recorder
        self._every_s = every_s
        self._clock = clock
        self._broken = False  # a fault of ours was logged
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        """Until ``stop``."""
        pause_s = min(FIRST_S, self._every_s)
        while not await until_set(self._stopped, self._clock, pause_s):
            pause_s = self._every_s
            try:
                await self.sample()
            except Exception:
                if not self._broken:
                    self._broken = True
                    log.exception("telemetry is at fault: the use of the cluster is not sampled")

    async def sample(self) -> None:
        """One sample of the cluster, and one of each tenant that has or wants something."""
        waits, begun_at = Waits(), self._clock.now()
        for _ in look(self._state, begun_at, waits):
            await asyncio.sleep(0)  # whatever is due comes first
        now = self._clock.now()
        uses = tenant_uses(self._state)
        reasons = {str(tenant): dict(counts) for tenant, counts in waits.reasons.items()}
        self.use = Use(now, uses, reasons)
        self._recorder.waits(waits.of)
        self._recorder.sampled([cluster_sample(now, uses, reasons, self._state.total, health(self._state, [], now))])
        self._recorder.sampled(
            tenant_sample(now, use, reasons.get(use.tenant.name, {}))
            for use in uses
            if use.waiting or use.launching or use.running
        )
