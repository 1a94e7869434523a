"""The way of records to the spool: gathered on the loop's thread, written by another twice a second.

Nobody waits for it. Builds that it has no room for, that the spool does not take or has lost, or that were saved when
the scheduler crashed, are owed: until they are found again in the state ``told_until`` stays where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from framework.errors import ButleryError, UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, Store, jittered
from framework.runtime.telemetry.beside import beside
from framework.runtime.telemetry.costs import Costs
from framework.runtime.telemetry.pieces import pieces
from framework.runtime.telemetry.recovery import Recovery
from framework.runtime.waiting import until_done, until_set
from framework.telemetry.records import Kind, Record
from framework.telemetry_ports import Batch, Spool

log = get_logger(__name__)

FLUSH_EVERY_S = 0.5
MAX_GATHERED = 20_000
"""Records of a kind that wait for the spool: ten minutes of 30 builds a second, some 20 MB."""
MAX_BATCH = 5000
"""Records of a batch, some 4 MB."""
RETRY_BASE_S = 1.0
RETRY_CAP_S = 60.0
STOP_S = 5.0
"""For the last that was put here."""
HELD_S = 60.0
"""So much earlier than the spool says builds are told again, should the clock have been set back meanwhile."""
FULL = "the spool is full; builds are told later, from the state, and state changes and samples are lost"

_Gathered: TypeAlias = dict[tuple[Kind, bool], list[Record]]
"""By kind, and whether they may have been told before."""


class Outlet:
    """For the event loop's own thread; ``run`` once."""

    def __init__(
        self,
        store: Store,
        spool: Spool,
        costs: Costs,
        clock: Clock,
        chance: Chance,
        prepare: Callable[[], Awaitable[None]],
    ) -> None:
        """``prepare`` is awaited before builds are told again. It may raise StoreError, and is called again then."""
        self._told_at = clock.now()  # all that ended before was put here, or is owed
        self.appended_until = min(spool.told_until, self._told_at)  # should the clock have been set back since
        self.dropped = 0
        """State changes and samples that there was no room for."""
        self._spool = spool
        self._clock = clock
        self._chance = chance
        self._prepare = prepare
        self._recovery = Recovery(store, spool, costs)
        self._gathered: _Gathered = {}
        self._debts = 1  # grows with each; those of an earlier process are the first
        self._paid = 0
        self._failing = ""  # why nothing goes into the spool now
        self._failures = 0
        self._unpaid = ""  # why builds that are owed cannot be told now
        self._stopped = asyncio.Event()

    @property
    def notices(self) -> list[str]:
        return [f"telemetry: {each}" for each in (self._failing, self._unpaid) if each]

    def put(self, kind: Kind, record: Record, *, again: bool = False) -> None:
        """``again``: it may have been told before this process started."""
        gathered = self._gathered.setdefault((kind, again), [])
        if len(gathered) < MAX_GATHERED:
            gathered.append(record)
        else:
            self._let_go(kind, 1)

    def told(self, now: float) -> None:
        """All that ended before was put here, or is owed."""
        if now < self._told_at:  # the clock was set back
            self.appended_until = min(self.appended_until, now)
        self._told_at = now

    def owe(self) -> None:
        """A build has ended that was not put here, and is to be found in the state."""
        self._debts += 1

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        """Until ``stop``; what was put here is in the spool then, where that takes it."""
        paying = asyncio.create_task(self._pay())
        try:
            pause_s = FLUSH_EVERY_S
            while not await until_set(self._stopped, self._clock, pause_s):
                await self._flush()
                pause_s = FLUSH_EVERY_S
                if self._failing:
                    pause_s = jittered(self._chance, self._failures - 1, RETRY_BASE_S, RETRY_CAP_S)
            flushing = asyncio.ensure_future(self._flush())
            await until_done(flushing, self._clock, STOP_S)
        finally:
            self._recovery.stop()
            paying.cancel()
            await asyncio.wait({paying})

    async def _flush(self) -> None:
        """Puts what was gathered into the spool, or keeps it where that does not take it."""
        found = self._spool.told_until
        if found < self.appended_until:  # a part of it is lost
            self.appended_until = found
            self.owe()
        if not self._gathered:
            return
        taken, self._gathered = self._gathered, {}
        until = self._told_at if self._paid == self._debts else self.appended_until
        try:
            fits = await beside(partial(self._append, taken, until))
            failing = "" if fits else FULL
        except UnavailableError as error:
            failing = str(error)
        except Exception as error:  # of ours: what could not be written would never be
            log.exception("telemetry is at fault: records are lost", count=sum(map(len, taken.values())))
            failing, taken = f"telemetry is at fault: {type(error).__name__}", {}
            self.owe()
        if failing:
            self._failures += 1
            if not self._failing:
                log.error("records are kept in memory", reason=failing)
            for key, records in taken.items():
                fresh, room = self._gathered.get(key, []), MAX_GATHERED - len(records)
                self._let_go(key[0], len(fresh) - room)
                self._gathered[key] = records + fresh[:room]
        else:
            self._failures = 0
            self.appended_until = until
            if self._failing:
                log.info("records go into the spool again")
        self._failing = failing

    def _append(self, taken: _Gathered, told_until: float) -> bool:
        batches = [
            Batch.of(kind, some, again=again)
            for (kind, again), records in taken.items()
            for some in pieces(records, MAX_BATCH)
        ]
        return self._spool.append(batches, told_until)

    def _let_go(self, kind: Kind, count: int) -> None:
        if count <= 0:
            return
        if kind is Kind.BUILDS:
            self.owe()
        else:
            self.dropped += count

    async def _pay(self) -> None:
        """Tells builds that are owed, for ever."""
        failures = 0
        while not self._stopped.is_set():
            pause_s = RETRY_BASE_S
            if self._paid != self._debts:
                debts, since = self._debts, self.appended_until - HELD_S
                try:
                    await self._prepare()
                    told = await beside(partial(self._recovery.tell, since, lambda: self.appended_until))
                except Exception as error:
                    foreseen = isinstance(error, ButleryError)
                    reason = str(error) if foreseen else f"a fault in butlery itself ({type(error).__name__})"
                    if not self._unpaid and foreseen:
                        log.warning("builds that have ended cannot be told again now", reason=reason)
                    elif not self._unpaid:
                        log.exception("telemetry is at fault: builds that have ended are not told again")
                    self._unpaid = f"builds that have ended are yet to be told: {reason}"
                    failures += 1
                    pause_s = jittered(self._chance, failures - 1, RETRY_BASE_S, RETRY_CAP_S)
                else:
                    if told:
                        log.info("builds were told again, from the state", count=told)
                    self._unpaid, failures, self._paid = "", 0, debts
            await until_set(self._stopped, self._clock, pause_s)
