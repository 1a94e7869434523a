"""A core whose frames a recorder is told, as the loop tells them."""

from __future__ import annotations

from pathlib import Path

from framework.core import events as ev
from framework.core.effects import Effect, Save, SaveDraining, SaveFrameworkId, SaveRequest, SaveTask, SaveTenant
from framework.core.state import restore
from framework.core.tasks import Request
from framework.ports import Snapshot
from framework.runtime.telemetry.metrics import Metrics
from framework.runtime.telemetry.prices import PriceWatch
from framework.runtime.telemetry.recorder import Recorder
from framework.telemetry.records import BuildRecord, ChangeRecord
from tests.fakes import samples
from tests.fakes.clockwork import ManualClock
from tests.fakes.driving import SeededChance
from tests.fakes.memory_spool import MemorySpool
from tests.fakes.memory_store import MemoryStore
from tests.unit.core.agents_rig import AgentsRig
from tests.unit.core.rig import T0

SAVES = (SaveRequest, SaveTask, SaveTenant, SaveFrameworkId, SaveDraining)
PRICES = "{currency: EUR, prices: [{name: all, cpu_hour: 3.6, mem_gib_hour: 0}]}"
"""A thousandth for each second of a CPU, so 500 millionths for one of ``SMALL``."""


class RecordedRig(AgentsRig):
    """``spool`` has what was told once ``flushed``; ``crash`` loses what was not."""

    def __init__(self, directory: Path, prices: str | None = PRICES, told_until: float = T0) -> None:
        self.store = MemoryStore()
        self.spool = MemorySpool(told_until)
        self.clock = ManualClock(T0)
        self.metrics = Metrics()
        path = None
        if prices is not None:
            path = directory / "prices.yaml"
            path.write_text(prices)
        self.prices = PriceWatch(path, self.clock)
        self.recorder: Recorder | None = None
        super().__init__()
        self._record()

    def _record(self) -> Recorder:
        self.recorder = Recorder(
            self.state, self.store, self.spool, self.prices, self.metrics, self.clock, SeededChance()
        )
        return self.recorder

    def send(self, *events: ev.Event) -> list[Effect]:
        submitted = [event.request for event in events if isinstance(event, ev.Submitted)]
        if submitted:
            self.store.commit((), [samples.new(request) for request in submitted])
            self._told((), submitted)
        super().send(*events)
        self._told([effect for effect in self.last if isinstance(effect, SAVES)], ())
        return self.last

    def _told(self, frame: list[Save] | tuple[()], submitted: list[Request] | tuple[()]) -> None:
        self.clock.advance(self.now - self.clock.now())
        if frame:
            self.store.commit(frame)
        if self.recorder is not None:
            self.recorder.saved(frame, submitted)

    def crash(self) -> Snapshot:
        """All that was not flushed is lost, and a scheduler starts on what the store holds."""
        found = self.store.load()
        tenants = [record.tenant for record in found.tenants]
        hosts = self.state.hosts
        self.state = restore(self.config, found.framework_id, tenants, found.requests, found.tasks, self.now)
        self.state.connected = True
        self.state.set_hosts(hosts)
        self._record()
        return found

    async def flushed(self) -> MemorySpool:
        """Once all that was told is in the spool; nothing is brought there afterwards, until ``crash``."""
        assert self.recorder is not None
        self.recorder.stop()
        await self.recorder.run()
        return self.spool

    async def told(self) -> tuple[list[BuildRecord], list[ChangeRecord]]:
        spool = await self.flushed()
        return spool.builds(), spool.changes()

    async def build(self) -> BuildRecord:
        """The only one there is."""
        (build,) = (await self.flushed()).builds()
        return build
