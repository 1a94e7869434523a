"""The catalogue while the scheduler runs: its files are looked at, and what changed is taken up or told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from framework.catalog.files import read_catalog, template_files
from framework.catalog.matching import Catalog
from framework.core.events import CatalogSet
from framework.errors import Fault, InputError
from framework.log import get_logger
from framework.ports import Clock, Emit
from framework.runtime.waiting import until_done, until_set

log = get_logger(__name__)

LOOK_EVERY_S = 2.0
"""One ``stat`` a file: a thousand files take some 5 ms of another thread."""
READ_TIMEOUT_S = 30.0
"""Of one look: a file on a network's disk may hang."""
MAX_NOTICES = 20

Stamp = tuple[tuple[str, int, int, int], ...]


class _Read(NamedTuple):
    """What a look found: neither catalogue nor faults where the files are as they were."""

    stamp: Stamp
    catalog: Catalog | None = None
    faults: list[Fault] | None = None


class TemplateWatch:
    """``framework.catalog.matching.Templates`` of files that may change. Used on the event loop's thread."""

    def __init__(self, config: Path | None, path: Path | None, clock: Clock) -> None:
        """Reads them; raises InputError with every fault."""
        self._config, self._path, self._clock = config, path, clock
        self._stamp = _stamp(config, path)
        self._catalog = read_catalog(config, path)
        self._faults: list[Fault] = []
        self._followers: list[Emit] = []
        self._looking = asyncio.Lock()
        self._thread: asyncio.Future[_Read] | None = None  # one alone, should it hang
        self._stopped = asyncio.Event()

    @property
    def catalog(self) -> Catalog:
        return self._catalog

    @property
    def notices(self) -> list[str]:
        shown = [f"templates: {fault.where}: {fault.message}" for fault in self._faults[:MAX_NOTICES]]
        more = len(self._faults) - len(shown)
        return shown + ([f"templates: {more} faults more"] if more else [])

    def follow(self, emit: Emit) -> Callable[[], None]:
        """``emit`` gets a CatalogSet now and after each change; until what is returned is called."""
        self._followers.append(emit)
        emit(self._event())
        return lambda: self._followers.remove(emit)

    async def run(self) -> None:
        """Looks at the files until ``stop``."""
        while not await until_set(self._stopped, self._clock, LOOK_EVERY_S):
            await self._look(always=False)

    def stop(self) -> None:
        self._stopped.set()

    async def reload(self) -> list[str]:
        """Looks at the files now; the notices. Bounded."""
        await self._look(always=True)
        return self.notices

    async def _look(self, *, always: bool) -> None:
        async with self._looking:
            if self._thread is None:
                known = () if always else self._stamp
                self._thread = asyncio.ensure_future(asyncio.to_thread(_read, self._config, self._path, known))
            if not await until_done(self._thread, self._clock, READ_TIMEOUT_S):
                self._refuse([Fault(str(self._path or self._config), f"not read within {READ_TIMEOUT_S:g} s")])
                return
            found, self._thread = self._thread.result(), None
            self._stamp = found.stamp
            if found.catalog is not None:
                self._take(found.catalog)
            elif found.faults:
                self._refuse(found.faults)

    def _refuse(self, faults: list[Fault]) -> None:
        if faults != self._faults:
            self._faults = faults
            log.error("the templates stay as they were", faults=self.notices)

    def _take(self, found: Catalog) -> None:
        self._faults = []
        if found.templates == self._catalog.templates:
            return
        self._catalog = found
        log.info("the templates changed", templates=len(found.templates))
        for emit in self._followers:
            emit(self._event())

    def _event(self) -> CatalogSet:
        return CatalogSet(self._catalog.limits, self._catalog.versions)


def _read(config: Path | None, path: Path | None, known: Stamp) -> _Read:
    stamp = _stamp(config, path)
    if stamp == known:
        return _Read(stamp)
    try:
        return _Read(stamp, catalog=read_catalog(config, path))
    except InputError as error:
        return _Read(stamp, faults=error.faults)


def _stamp(config: Path | None, path: Path | None) -> Stamp:
    """What of the files would change with them: name, inode, size and time of the last change."""
    found = []
    for file in ([] if config is None else [config]) + template_files(path, []):
        try:
            told = file.stat()
        except OSError:
            found.append((str(file), 0, 0, 0))
        else:
            found.append((str(file), told.st_ino, told.st_size, told.st_mtime_ns))
    return tuple(found)
