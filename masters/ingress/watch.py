"""What Marathon tells of masters, kept fresh: its events as hints of what to read anew, and all of it now and then."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from framework.errors import ButleryError
from framework.log import get_logger
from framework.ports import Chance, Clock, jittered
from masters.ingress.routes import serving_task, starting_task
from masters.records import ObservedMaster

log = get_logger(__name__)

READ_ALL_EVERY_S = 30.0
READERS = 4
"""Single masters read at once."""
MANY = 64
"""So many hints at once, and all masters are read rather than each of them."""
GATHER_S = 0.1
"""Between two rounds of readings: a master that starts tells five times within a second, and is read twice."""
RETRY_BASE_S = 0.5
RETRY_CAP_S = 15.0
RESOLVE_TIMEOUT_S = 5.0


class Source(Protocol):
    """Of ``masters.ports.Marathon`` what is asked here."""

    def masters(self) -> dict[str, ObservedMaster]: ...

    def master(self, app_id: str) -> ObservedMaster | None: ...

    def events(self, stop: Callable[[], bool]) -> Iterator[str]: ...


class Watch:
    """``masters`` is what is known, by tenant; ``changed`` is called on the loop after each reading of it."""

    def __init__(self, marathon: Source, group: str, clock: Clock, chance: Chance) -> None:
        self._marathon = marathon
        self._prefix = group + "/"
        self._clock = clock
        self._chance = chance
        self._pool = ThreadPoolExecutor(READERS + 1, thread_name_prefix="marathon")
        self._hints: set[str] = set()
        self._hinted = asyncio.Event()
        self._all_wanted = asyncio.Event()
        self._read_since: set[str] = set()  # while all are read: those that are known better already
        self._stopping = threading.Event()
        self._addresses: dict[str, str] = {}
        self.masters: dict[str, ObservedMaster] = {}
        self.observed_at: float | None = None

    @property
    def addresses(self) -> dict[str, str]:
        """IP addresses of what tasks tell."""
        return self._addresses

    def hint(self, app_id: str) -> None:
        """Reads it anew soon; ``*``: all. On the loop."""
        if app_id == "*" or app_id.startswith(self._prefix):
            self._hints.add(app_id)
            self._hinted.set()

    async def run(self, changed: Callable[[], None]) -> None:
        """Until it is cancelled."""
        threading.Thread(target=self._listen, args=(asyncio.get_running_loop(),), daemon=True, name="events").start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(changed))
                group.create_task(self._read_all(changed))
        finally:
            self._stopping.set()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: the Marathon edge reconnects by itself."""
        try:
            for app_id in self._marathon.events(self._stopping.is_set):
                if self._stopping.is_set():
                    return
                loop.call_soon_threadsafe(self.hint, app_id)
        except ButleryError as error:
            log.error("Marathon's events are not followed; masters are read every half minute", error=str(error))
        except RuntimeError:  # the loop is closed: we are at the end
            if not self._stopping.is_set():
                raise

    async def _follow(self, changed: Callable[[], None]) -> None:
        attempt = 0
        while True:
            await self._hinted.wait()
            self._hinted.clear()
            hints, self._hints = self._hints, set()
            if "*" in hints or len(hints) > MANY:
                self._all_wanted.set()
                continue
            results = await asyncio.gather(*(self._read(app_id) for app_id in hints))
            failed = [app_id for app_id, done in zip(hints, results, strict=True) if not done]
            changed()
            if failed:
                await self._clock.sleep(jittered(self._chance, attempt, RETRY_BASE_S, RETRY_CAP_S))
                self._hints.update(failed)
                self._hinted.set()
            attempt = attempt + 1 if failed else 0
            await self._clock.sleep(GATHER_S)

    async def _read(self, app_id: str) -> bool:
        tenant = app_id.rpartition("/")[2]
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._pool, self._marathon.master, app_id)
            if found is not None:
                await self._resolve(found)
        except ButleryError as error:
            log.warning("a master cannot be read", tenant=tenant, error=str(error))
            return False
        known = self.masters.get(tenant)
        if found is not None:
            self.masters[found.tenant] = found
        elif known is not None and known.app_id == app_id:
            del self.masters[tenant]
        self._read_since.add(tenant)
        return True

    async def _read_all(self, changed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            self._all_wanted.clear()
            self._read_since.clear()
            try:
                found = await loop.run_in_executor(self._pool, self._marathon.masters)
                for master in found.values():
                    await self._resolve(master)
            except ButleryError as error:
                if attempt == 0:
                    log.warning("masters cannot be read; routes stay as they are", error=str(error))
                await self._clock.sleep(jittered(self._chance, attempt, RETRY_BASE_S, RETRY_CAP_S))
                attempt += 1
                continue
            if attempt:
                log.info("masters can be read again")
            attempt = 0
            newer = {tenant: self.masters.get(tenant) for tenant in self._read_since}
            self.masters = {tenant: master for tenant, master in found.items() if tenant not in newer}
            self.masters |= {tenant: master for tenant, master in newer.items() if master is not None}
            self.observed_at = self._clock.now()
            self._forget_addresses()
            changed()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READ_ALL_EVERY_S):
                    await self._all_wanted.wait()

    async def _resolve(self, master: ObservedMaster) -> None:
        """Marathon may tell a host by name, which HAProxy cannot be given."""
        task = serving_task(master) or starting_task(master)
        if task is None or task.address in self._addresses:
            return
        found = await self._ip_address(task.address)
        if found is not None:
            self._addresses[task.address] = found

    async def _ip_address(self, name: str) -> str | None:
        try:
            return str(ipaddress.ip_address(name))
        except ValueError:
            pass
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError) as error:
            log.warning("a host's name leads nowhere; its masters have no route", host=name, error=str(error))
            return None
        return str(found[0][4][0])

    def _forget_addresses(self) -> None:
        """Those of hosts that no master is on; names are resolved anew after that."""
        used = {task.address for master in self.masters.values() for task in master.tasks}
        self._addresses = {name: address for name, address in self._addresses.items() if name in used}
