"""Everything of tenants' masters in one scheduler: how they are spoken to, their nodes, queues, and what they tell."""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from framework.core.ids import TenantName
from framework.errors import StoreFullError
from framework.jenkins_ports import Intake, MasterEdge, MasterRecord, Sizes
from framework.log import get_logger
from framework.mesos_ports import Emit
from framework.ports import Chance, Clock, Store, jittered
from framework.runtime.confirming import Confirm, Confirming
from framework.runtime.jenkins.intake import DemandIntake
from framework.runtime.jenkins.keeper import Keeper
from framework.runtime.jenkins.poller import Poller
from framework.runtime.jenkins.troubles import Troubles
from framework.runtime.loop import Loop
from framework.runtime.spares import SparesKeeper
from framework.runtime.templates import TemplateWatch
from framework.settings import JenkinsSettings

log = get_logger(__name__)

LOAD_BASE_S = 0.1
LOAD_CAP_S = 5.0
"""Between tries to read how masters are spoken to."""


class MastersAccess(NamedTuple):
    """What a scheduler that serves masters is given: of the process, whoever leads."""

    edge: MasterEdge
    templates: TemplateWatch
    settings: JenkinsSettings
    sizes: Sizes | None = None


class Reach:
    """What calls masters. Whoever performs the core's effects is made with its ``keeper``, before the desk is."""

    def __init__(
        self, access: MastersAccess, emit: Emit, clock: Clock, chance: Chance, confirm: Confirm | None = None
    ) -> None:
        """``confirm`` is asked before a node is removed; None where nobody else may lead."""
        edge, settings = access.edge, access.settings
        self.troubles = Troubles(clock)
        self.poller = Poller(
            edge, emit, self.troubles, settings.poll_every_s, settings.cross_check_every_s, clock, chance
        )
        confirming = None if confirm is None else Confirming(confirm, clock, chance)
        self.keeper = Keeper(
            edge, emit, self.poller.look_soon, self.troubles, settings.calls_at_once, clock, chance, confirming
        )

    def know(self, tenant: TenantName, record: MasterRecord | None) -> None:
        self.keeper.know(tenant, record)
        self.poller.know(tenant, record)
        self.troubles.over(tenant)


class MastersDesk:
    """``run`` it beside the loop; only the scheduler that leads has one."""

    def __init__(
        self, access: MastersAccess, reach: Reach, loop: Loop, store: Store, clock: Clock, chance: Chance
    ) -> None:
        self._reach = reach
        self._templates = access.templates
        self._loop = loop
        self._store = store
        self._clock = clock
        self._chance = chance
        self._told: set[TenantName] = set()  # of whom we were told since we began
        self._spares = SparesKeeper(loop, access.templates, clock, chance)
        self._intake = DemandIntake(
            loop,
            store,
            access.templates,
            reach.poller.heard,
            reach.poller.look_soon,
            access.settings.events_per_s,
            clock,
            chance,
            access.sizes,
        )

    @property
    def intake(self) -> Intake:
        return self._intake

    def know(self, tenant: TenantName, record: MasterRecord | None) -> None:
        """How the tenant's master is spoken to from now on; None forgets it."""
        self._told.add(tenant)
        self._reach.know(tenant, record)
        if record is None:
            self._intake.forget(tenant)

    def notices(self) -> list[str]:
        """For the operator."""
        return [*self._reach.troubles.notices(self._busy().__contains__), *self._spares.notices()]

    async def run(self) -> None:
        """Until it is cancelled."""
        unfollow = self._templates.follow(self._loop.emit)
        try:
            await self._load()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reach.keeper.run())
                group.create_task(self._spares.run())
                group.create_task(self._reach.poller.run(self._intake.found, self._busy))
        finally:
            unfollow()

    async def _load(self) -> None:
        """Those with something to do come first: they are looked at in this order."""
        busy = self._busy()
        tenants = sorted(self._loop.state.tenants, key=lambda tenant: tenant not in busy)
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

    def _busy(self) -> AbstractSet[TenantName]:
        """Whose masters have items that wait, or agents."""
        return self._intake.busy() | self._loop.state.masters.wanted()
