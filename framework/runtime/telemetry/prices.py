"""The price sheet while the scheduler runs: a change of the file is taken up, or told where it is faulty."""

from __future__ import annotations

from pathlib import Path

from framework.documents import read_document
from framework.log import get_logger
from framework.ports import Clock
from framework.runtime.watching import MAX_NOTICES, FileWatch
from framework.telemetry.prices import PriceSheet, price_sheet

log = get_logger(__name__)


class PriceWatch:
    """The price sheet of a file that may change. Used on the event loop's thread."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        """Reads it, where there is one; raises InputError with every fault."""
        self._file = None if path is None else _watch(path, clock)

    @property
    def sheet(self) -> PriceSheet | None:
        """As it last was good; None where nothing has a price."""
        return None if self._file is None else self._file.value

    @property
    def notices(self) -> list[str]:
        """Why a change was not taken up, and what of the sheet has no price."""
        if self._file is None:
            return []
        return self._file.notices + [f"prices: {one}" for one in self._file.value.notices[:MAX_NOTICES]]

    async def run(self) -> None:
        """Looks at the file until ``stop``; returns at once where there is none."""
        if self._file is not None:
            await self._file.run()

    def stop(self) -> None:
        if self._file is not None:
            self._file.stop()


def _watch(path: Path, clock: Clock) -> FileWatch[PriceSheet]:
    def changed(sheet: PriceSheet) -> None:
        log.info("the prices changed", currency=sheet.currency, notices=sheet.notices[:MAX_NOTICES])

    return FileWatch("prices", lambda: price_sheet(read_document(path)), lambda: [path], clock, changed)
