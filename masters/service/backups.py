"""Has masters make the backups that are due, a few at once."""

from __future__ import annotations

import asyncio
import calendar
import math
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from framework.errors import ButleryError, UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, jittered
from masters.edges import Edges
from masters.operations.backups import DONE, FAILED, backup_of, known_backups, start_backup
from masters.ports import Backup
from masters.records import MasterState, ObservedMaster
from masters.service.addresses import Addresses, forget_gone

log = get_logger(__name__)

EVERY_S = 5.0
AT_ONCE = 3
"""Each reads and writes a whole home; more at once would only make each other slow."""
POLL_S = 3.0
LONGEST_S = 6 * 3600.0
FIRST_WITHIN_S = 3600.0
"""A master without a backup makes its first one within so long, or within its schedule's own time, spread by name."""
RETRY_BASE_S = 60.0
RETRY_CAP_S = 3600.0


class Backups:
    def __init__(self, edges: Edges, addresses: Addresses, clock: Clock, chance: Chance) -> None:
        self._edges = edges
        self._addresses = addresses
        self._clock = clock
        self._chance = chance
        self._due_at: dict[str, float] = {}  # unix s
        self._since: dict[str, float] = {}  # unix s: since when a tenant is known that has no backup yet
        self._last: dict[str, float] = {}  # unix s: when the last one was begun that was made
        self._wanted: dict[str, float] = {}  # before its master sleeps: one of what was done until then, unix s
        self._failures: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="backup")
        self._running: set[str] = set()

    def let_sleep(self, tenant: str, master: ObservedMaster, used_at: float) -> bool:
        """Whether what was done until ``used_at`` (unix s) is in a backup, or none is to be made; else one is made now.

        While its master sleeps none can be made, however long that is.
        """
        if tenant in self._running:
            return False
        if master.policy.backup_every_s is None or self._last.get(tenant, 0.0) >= used_at:
            return True
        self._wanted[tenant] = used_at
        return False

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    for tenant, master in list(self._addresses.masters.items()):
                        if len(self._running) >= AT_ONCE:
                            break
                        if tenant not in self._running and self._due(tenant, master):
                            self._running.add(tenant)
                            group.create_task(self._tend(tenant, master))
                    known = (self._due_at, self._since, self._last, self._wanted, self._failures)
                    forget_gone(self._addresses.masters, *known)
                    await self._clock.sleep(EVERY_S)
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _due(self, tenant: str, master: ObservedMaster) -> bool:
        if master.policy.backup_every_s is None:
            self._due_at.pop(tenant, None)
            return False
        now = self._clock.now() >= self._due_at.get(tenant, 0.0)
        return master.state is MasterState.ON and (now or (tenant in self._wanted and tenant not in self._failures))

    async def _tend(self, tenant: str, master: ObservedMaster) -> None:
        every_s = master.policy.backup_every_s or 0.0
        loop = asyncio.get_running_loop()
        try:
            known = await loop.run_in_executor(self._pool, known_backups, self._edges, master)
            since = self._since.setdefault(tenant, self._clock.now())
            self._due_at[tenant] = due_at(tenant, every_s, known, since)
            self._last[tenant] = max(_times(known), default=0.0)
            if self._last[tenant] >= self._wanted.get(tenant, math.inf):
                del self._wanted[tenant]
            if self._clock.now() < self._due_at[tenant] and tenant not in self._wanted.keys() | self._failures.keys():
                return  # just seen for the first time, or somebody else had one made
            began = self._clock.now()
            made = await self._make(tenant, master)
            self._failures.pop(tenant, None)
            self._wanted.pop(tenant, None)
            self._last[tenant] = began
            self._due_at[tenant] = self._clock.now() + every_s
            log.info(
                "a backup was made, unpacked again and compared", tenant=tenant, backup=made.name, bytes=made.bytes
            )
        except ButleryError as error:
            wait_s = jittered(self._chance, self._failures[tenant], RETRY_BASE_S, RETRY_CAP_S)
            self._failures[tenant] += 1
            self._due_at[tenant] = self._clock.now() + wait_s
            log.error("a backup failed", tenant=tenant, error=str(error), again_s=round(wait_s))
        finally:
            self._running.discard(tenant)

    async def _make(self, tenant: str, master: ObservedMaster) -> Backup:
        """Raises ButleryError where it is not made."""
        loop = asyncio.get_running_loop()
        now = self._clock.now()
        name = await loop.run_in_executor(self._pool, start_backup, self._edges, master, now)
        log.info("a backup begins", tenant=tenant, backup=name)
        silent = None
        while self._clock.now() - now < LONGEST_S:
            await self._clock.sleep(POLL_S)
            latest = self._addresses.masters.get(tenant)
            if latest is None or latest.state is not MasterState.ON:
                raise UnavailableError(f"{tenant}: its master ended while it made a backup")
            try:
                found = await loop.run_in_executor(self._pool, backup_of, self._edges, latest, name)
            except UnavailableError as error:
                silent = str(error)  # it is busy with the very backup, perhaps
                continue
            if found is None:
                raise ButleryError(f"{tenant}: its master knows nothing of the backup {name} that it began")
            if found.state == FAILED:
                raise ButleryError(f"{tenant}: {name}: {found.message}")
            if found.state == DONE:
                return found
        raise UnavailableError(f"{tenant}: {name} has no end after {LONGEST_S / 3600:g} hours; {silent or 'it runs'}")


def due_at(tenant: str, every_s: float, known: Iterable[Backup], since: float) -> float:
    """When the next one is due, unix s: ``every_s`` after the last that was made, else soon after ``since``."""
    made = _times(known)
    if made:
        return max(made) + every_s
    return since + min(every_s, FIRST_WITHIN_S) * (zlib.crc32(tenant.encode()) / 2**32)


def _times(known: Iterable[Backup]) -> list[float]:
    """When those were begun that were made, unix s."""
    return [at for backup in known if backup.state == DONE and (at := made_at(backup.name)) is not None]


def made_at(name: str) -> float | None:
    """Unix s, of a name such as ``payments-20261121T203000Z``; None where it is no such name."""
    try:
        return float(calendar.timegm(time.strptime(name.rpartition("-")[2], "%Y%m%dT%H%M%SZ")))
    except ValueError:
        return None
