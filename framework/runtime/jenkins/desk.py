"""Everything of tenants' masters in one scheduler: how they are spoken to, their nodes, queues, and what they tell."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from framework.core.ids import TenantName
from framework.core.state import State
from framework.errors import StoreFullError
from framework.jenkins_ports import (
    DemandAnswer,
    DemandRecord,
    Intake,
    Look,
    MasterEdge,
    MasterRecord,
    NodeKeeper,
    Unserved,
)
from framework.log import get_logger
from framework.ports import Chance, Clock, Emit, Store, jittered
from framework.runtime.jenkins.keeper import Keeper
from framework.runtime.jenkins.poller import Poller
from framework.runtime.jenkins.troubles import Troubles
from framework.settings import JenkinsSettings

log = get_logger(__name__)

LOAD_BASE_S = 0.1
LOAD_CAP_S = 5.0
"""Between tries to read how masters are spoken to."""


class Reach:
    """What calls masters. Others are made with its ``keeper`` before the desk is."""

    def __init__(self, edge: MasterEdge, emit: Emit, settings: JenkinsSettings, clock: Clock, chance: Chance) -> None:
        self.troubles = Troubles(clock)
        self.poller = Poller(
            edge, emit, self.troubles, settings.poll_every_s, settings.cross_check_every_s, clock, chance
        )
        self._keeper = Keeper(edge, emit, self.poller.look_soon, self.troubles, settings.calls_at_once, clock, chance)

    @property
    def keeper(self) -> NodeKeeper:
        return self._keeper

    def know(self, tenant: TenantName, record: MasterRecord | None) -> None:
        self._keeper.know(tenant, record)
        self.poller.know(tenant, record)
        if record is None:
            self.troubles.over(tenant)

    async def keep(self) -> None:
        """Until it is cancelled."""
        await self._keeper.run()


class MastersDesk:
    """A ``framework.jenkins_ports.Intake``, over the one that it is given. ``run`` it beside the loop."""

    def __init__(self, reach: Reach, intake: Intake, store: Store, state: State, clock: Clock, chance: Chance) -> None:
        """``state`` is the loop's, read only."""
        self._reach = reach
        self._intake = intake
        self._store = store
        self._state = state
        self._clock = clock
        self._chance = chance
        self._told: set[TenantName] = set()  # of whom we were told since we began

    async def take(self, tenant: TenantName, records: Sequence[DemandRecord]) -> DemandAnswer:
        self._reach.poller.heard(tenant)
        return await self._intake.take(tenant, records)

    async def found(self, tenant: TenantName, look: Look) -> None:
        await self._intake.found(tenant, look)

    def unserved(self, tenant: TenantName) -> Sequence[Unserved]:
        return self._intake.unserved(tenant)

    def know(self, tenant: TenantName, record: MasterRecord | None) -> None:
        """How the tenant's master is spoken to from now on; None forgets it."""
        self._told.add(tenant)
        self._reach.know(tenant, record)

    def notices(self) -> list[str]:
        """For the operator."""
        busy = self._busy()
        return self._reach.troubles.notices(busy.__contains__)

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._load()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reach.keep())
            group.create_task(self._reach.poller.run(self._intake.found, self._busy))

    async def _load(self) -> None:
        """Those with something to do come first: they are looked at in this order."""
        busy = self._busy()
        tenants = sorted(self._state.tenants, key=lambda tenant: tenant not in busy)
        retries = 0
        while True:
            try:
                records = await asyncio.to_thread(lambda: [self._store.master(tenant) for tenant in tenants])
                break
            except StoreFullError as error:
                log.warning("how masters are spoken to cannot be read now", reason=str(error))
                await self._clock.sleep(jittered(self._chance, retries, LOAD_BASE_S, LOAD_CAP_S))
                retries += 1
        for tenant, record in zip(tenants, records, strict=True):
            if record is not None and tenant not in self._told:
                self._reach.know(tenant, record)

    def _busy(self) -> set[TenantName]:
        return {request.tenant for request in self._state.requests.values() if request.jenkins is not None}
