"""Looks at masters' queues and nodes: often where something waits and nothing is told, else now and then."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet

import msgspec

from framework.core.ids import TenantName
from framework.errors import StoreFullError, UnavailableError
from framework.jenkins_ports import Look, MasterEdge, MasterError, MasterRecord
from framework.log import get_logger
from framework.mesos_ports import Emit
from framework.ports import Chance, Clock
from framework.runtime.jenkins.troubles import Troubles
from framework.runtime.waiting import until_due

log = get_logger(__name__)

SILENT_S = 45.0
"""A master whose last event is older tells none: its init script says every 30 s that it is alive."""
FRESH_S = 60.0
"""A master that has started anew is looked at often for so long where it has agents: they come back one by one, and no

event tells of builds that ended with the process before.
"""
REVIEW_EVERY_S = 2.0
"""How often it is asked which tenants have something waiting."""
AGAIN_S = 1.0
"""Between two looks at one master, whoever asks for them."""
AWAY_TIMES = 10
"""A master that sleeps or is away is looked at so many times less often, in the end."""

LOOKS_AT_ONCE = 32
FAILING_AT_ONCE = 8
"""Of those, at masters that did not answer the last time: each may take a timeout."""
LOOKS_PER_S = 40.0
"""In all, so that however many masters fall silent, looking takes no more than a tenth of a core: some 2 ms each, as

``butlery bench poller`` measures. Those that somebody asked for go first.
"""
_BURST = 20
_SOONEST, _LATEST = 0.8, 1.2
"""Times of its pause at which a master's next look is due."""

Found = Callable[[TenantName, Look], Awaitable[None]]


class _Watched(msgspec.Struct):
    tenant: TenantName
    record: MasterRecord
    due: float = math.inf  # when it is looked at next; infinite while it is
    heard_at: float = 0.0
    fresh_until: float = 0.0  # what its process before knew and did not tell may show until then
    began_at: float = 0.0
    failures: int = 0
    asked: bool = False  # for a look, which has not begun
    looking: bool = False
    again: bool = False  # asked for while it was being looked at


class Poller:
    """``run`` it once, beside the loop."""

    def __init__(
        self,
        edge: MasterEdge,
        emit: Emit,
        troubles: Troubles,
        poll_every_s: float,
        cross_check_every_s: float,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._edge = edge
        self._emit = emit
        self._troubles = troubles
        self._poll_every_s = poll_every_s
        self._cross_check_every_s = cross_check_every_s
        self._clock = clock
        self._chance = chance
        self._masters: dict[TenantName, _Watched] = {}
        self._busy: AbstractSet[TenantName] = frozenset()
        self._asked: list[tuple[float, TenantName]] = []  # heaps of when who is due
        self._due: list[tuple[float, TenantName]] = []
        self._deferred: set[TenantName] = set()  # failing ones that are due, while others of them are being looked at
        self._wake = asyncio.Event()
        self._under_way = self._failing_under_way = 0
        self._allowance = float(_BURST)
        self._allowed_at = 0.0

    def know(self, tenant: TenantName, record: MasterRecord | None) -> None:
        """How the tenant's master is spoken to from now on; it is looked at soon. None: it is gone."""
        if record is None:
            self._masters.pop(tenant, None)
            return
        known = self._masters.get(tenant)
        master = self._masters.setdefault(tenant, _Watched(tenant, record))
        if known is None or known.record.session != record.session:
            master.fresh_until = self._clock.now() + FRESH_S
        master.record, master.failures = record, 0
        if master.looking:
            master.again = True
        else:
            self._schedule(master, self._clock.now())

    def heard(self, tenant: TenantName) -> None:
        """Its master told something."""
        master = self._masters.get(tenant)
        if master is not None:
            master.heard_at = self._clock.now()
            if master.failures and not master.looking:
                self.look_soon(tenant)

    def look_soon(self, tenant: TenantName) -> None:
        """However often it is asked for, one look follows that begins after this."""
        master = self._masters.get(tenant)
        if master is None:
            return
        if master.looking:
            master.again = True
        elif not master.asked:
            master.asked = True
            master.due = min(master.due, max(self._clock.now(), master.began_at + AGAIN_S))
            self._push(master, self._asked)

    async def run(self, found: Found, busy: Callable[[], AbstractSet[TenantName]]) -> None:
        """Until it is cancelled. ``busy`` tells which tenants have a request, live or waiting, from their queues."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._review(busy))
            while True:
                await until_due(self._wake, self._clock, self._next_due())
                self._wake.clear()
                while (master := self._next()) is not None:
                    await self._paced()
                    self._under_way += 1
                    self._failing_under_way += master.failures > 0
                    master.began_at = self._clock.now()
                    group.create_task(self._look(master, found))

    async def _review(self, busy: Callable[[], AbstractSet[TenantName]]) -> None:
        """Brings looks forward that are due later than they should be: something waits now, or the clock was set."""
        while True:
            self._busy = busy()
            now = self._clock.now()
            for master in self._masters.values():
                if not master.looking and master.due > now + self._every_s(master) * _LATEST:
                    self._schedule(master, now + self._pause_s(master))
            await self._clock.sleep(REVIEW_EVERY_S)

    @property
    def _heaps(self) -> list[list[tuple[float, TenantName]]]:
        """That have somebody."""
        return [heap for heap in (self._asked, self._due) if heap]

    def _next_due(self) -> float | None:
        """None while there is no room for another look: the end of one wakes us."""
        if self._under_way >= LOOKS_AT_ONCE:
            return None
        return min((heap[0][0] for heap in self._heaps), default=None)

    def _next(self) -> _Watched | None:
        """One that is due, and marked as such no more."""
        now = self._clock.now()
        while self._under_way < LOOKS_AT_ONCE:
            heap = next((heap for heap in self._heaps if heap[0][0] <= now), None)
            if heap is None:
                return None
            due, tenant = heapq.heappop(heap)
            master = self._masters.get(tenant)
            if master is None or master.due != due:
                continue  # forgotten, or put elsewhere since
            if master.failures and self._failing_under_way >= FAILING_AT_ONCE:
                self._deferred.add(tenant)
                continue
            master.due, master.asked, master.looking = math.inf, False, True
            return master
        return None

    async def _look(self, master: _Watched, found: Found) -> None:
        record, was_failing = master.record, master.failures > 0
        try:
            look = await self._edge.look(record, master.tenant, labels=True)
        except MasterError as error:
            if master.record is record:
                master.failures += 1
                self._troubles.note(master.tenant, error)
        else:
            master.failures = 0
            self._troubles.over(master.tenant)
            if self._masters.get(master.tenant) is master:
                self._emit(look.observed)
                await self._told(master, look, found)
        finally:
            self._under_way -= 1
            self._failing_under_way -= was_failing
            master.looking = False
            self._plan(master)

    async def _told(self, master: _Watched, look: Look, found: Found) -> None:
        try:
            await found(master.tenant, look)
        except (UnavailableError, StoreFullError) as error:
            log.warning("what a master's queue holds cannot be taken in now", tenant=master.tenant, reason=str(error))

    def _plan(self, master: _Watched) -> None:
        """When it is looked at next, and those that waited for a place."""
        if self._masters.get(master.tenant) is master:
            now = self._clock.now()
            again = master.again
            master.again = False
            if again:
                self.look_soon(master.tenant)
            else:
                self._schedule(master, now + self._pause_s(master))
        for tenant in self._deferred:
            if (other := self._masters.get(tenant)) is not None and other.due < math.inf:
                heapq.heappush(self._due, (other.due, tenant))
        if self._deferred or self._under_way == LOOKS_AT_ONCE - 1:
            self._deferred.clear()
            self._wake.set()

    def _schedule(self, master: _Watched, due: float) -> None:
        """At ``due``, unless it is to be looked at sooner anyway."""
        if due < master.due:
            master.due = due
            self._push(master, self._due)

    def _push(self, master: _Watched, heap: list[tuple[float, TenantName]]) -> None:
        heapq.heappush(heap, (master.due, master.tenant))
        if heap[0][1] == master.tenant:
            self._wake.set()

    def _every_s(self, master: _Watched) -> float:
        if master.failures:
            longest_s = self._cross_check_every_s * AWAY_TIMES
            return min(longest_s, self._poll_every_s * 2.0 ** min(master.failures, 20))
        now = self._clock.now()
        silent = now - master.heard_at > SILENT_S or now < master.fresh_until
        return self._poll_every_s if silent and master.tenant in self._busy else self._cross_check_every_s

    def _pause_s(self, master: _Watched) -> float:
        """About its time: no two masters stay in step."""
        return self._every_s(master) * self._chance.uniform(_SOONEST, _LATEST)

    async def _paced(self) -> None:
        """Waits until one more look keeps to ``LOOKS_PER_S``."""
        while True:
            now = self._clock.now()
            self._allowance = min(_BURST, self._allowance + max(0.0, now - self._allowed_at) * LOOKS_PER_S)
            self._allowed_at = now
            if self._allowance >= 1:
                self._allowance -= 1
                return
            await self._clock.sleep((1 - self._allowance) / LOOKS_PER_S)
