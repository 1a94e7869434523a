"""Files that may change while the scheduler runs: what they say is taken up, or told where it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from framework.errors import Fault, InputError
from framework.log import get_logger
from framework.ports import Clock
from framework.runtime.waiting import until_done, until_set

log = get_logger(__name__)

LOOK_EVERY_S = 2.0
"""One ``stat`` a file: a thousand files take some 5 ms of another thread."""
READ_TIMEOUT_S = 30.0
"""Of one look: a file on a network's disk may hang."""
MAX_NOTICES = 20

T = TypeVar("T")
Stamp = tuple[tuple[str, int, int, int], ...]


class _Read(NamedTuple, Generic[T]):
    """What a look found: nothing and no faults where the files are as they were."""

    stamp: Stamp
    found: list[T] = []  # noqa: RUF012 one at most; nobody changes it
    faults: list[Fault] = []  # noqa: RUF012


class FileWatch(Generic[T]):
    """What files say, as of when they last were good. Used on the event loop's thread."""

    def __init__(
        self,
        what: str,
        read: Callable[[], T],
        files: Callable[[], Iterable[Path]],
        clock: Clock,
        changed: Callable[[T], None] | None = None,
    ) -> None:
        """Reads them. ``what``: their name in messages. ``read`` raises InputError, with every fault, as this does.

        ``changed`` is called with all that is read later.
        """
        self._what, self._read_files, self._files, self._clock, self._changed = what, read, files, clock, changed
        self._stamp = _stamp(files())
        self.value = read()
        self._faults: list[Fault] = []
        self._looking = asyncio.Lock()
        self._thread: asyncio.Future[_Read[T]] | None = None  # one alone, should it hang
        self._stopped = asyncio.Event()

    @property
    def notices(self) -> list[str]:
        shown = [f"{self._what}: {fault.where}: {fault.message}" for fault in self._faults[:MAX_NOTICES]]
        more = len(self._faults) - len(shown)
        return shown + ([f"{self._what}: {more} faults more"] if more else [])

    async def run(self) -> None:
        """Looks at the files until ``stop``."""
        while not await until_set(self._stopped, self._clock, LOOK_EVERY_S):
            await self.look(always=False)

    def stop(self) -> None:
        self._stopped.set()

    async def look(self, *, always: bool) -> None:
        """Looks at the files now, ``always`` even where they are as they were. Bounded."""
        async with self._looking:
            if self._thread is None:
                known = None if always else self._stamp
                self._thread = asyncio.ensure_future(asyncio.to_thread(self._read, known))
            if not await until_done(self._thread, self._clock, READ_TIMEOUT_S):
                where = next(iter(self._stamp), ("",))[0]
                self._refuse([Fault(where, f"not read within {READ_TIMEOUT_S:g} s")])
                return
            found, self._thread = self._thread.result(), None
            self._stamp = found.stamp
            if found.found:
                self._faults = []
                [self.value] = found.found
                if self._changed is not None:
                    self._changed(self.value)
            elif found.faults:
                self._refuse(found.faults)

    def _refuse(self, faults: list[Fault]) -> None:
        if faults != self._faults:
            self._faults = faults
            log.error("faulty files change nothing", files=self._what, faults=self.notices)

    def _read(self, known: Stamp | None) -> _Read[T]:
        stamp = _stamp(self._files())
        if stamp == known:
            return _Read(stamp)
        try:
            return _Read(stamp, [self._read_files()])
        except InputError as error:
            return _Read(stamp, faults=error.faults)


def _stamp(files: Iterable[Path]) -> Stamp:
    """What of the files would change with them: name, inode, size and time of the last change."""
    found = []
    for file in files:
        try:
            told = file.stat()
        except OSError:
            found.append((str(file), 0, 0, 0))
        else:
            found.append((str(file), told.st_ino, told.st_size, told.st_mtime_ns))
    return tuple(found)
