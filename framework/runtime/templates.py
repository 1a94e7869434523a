"""The catalogue while the scheduler runs: its files are looked at, and what changed is taken up or told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from framework.catalog.files import read_catalog, template_files
from framework.catalog.matching import Catalog
from framework.core.events import CatalogSet
from framework.log import get_logger
from framework.mesos_ports import Emit
from framework.ports import Clock
from framework.runtime.watching import FileWatch

log = get_logger(__name__)


class TemplateWatch:
    """``framework.catalog.matching.Templates`` of files that may change. Used on the event loop's thread."""

    def __init__(self, config: Path | None, path: Path | None, clock: Clock) -> None:
        """Reads them; raises InputError with every fault."""
        self._followers: list[Emit] = []
        self._files = FileWatch(
            "templates",
            lambda: read_catalog(config, path),
            lambda: ([] if config is None else [config]) + template_files(path, []),
            clock,
            self._take,
        )
        self._catalog = self._files.value

    @property
    def catalog(self) -> Catalog:
        return self._catalog

    @property
    def notices(self) -> list[str]:
        return self._files.notices

    def follow(self, emit: Emit) -> Callable[[], None]:
        """``emit`` gets a CatalogSet now and after each change; until what is returned is called."""
        self._followers.append(emit)
        emit(self._event())
        return lambda: self._followers.remove(emit)

    async def run(self) -> None:
        """Looks at the files until ``stop``."""
        await self._files.run()

    def stop(self) -> None:
        self._files.stop()

    async def reload(self) -> list[str]:
        """Looks at the files now; the notices. Bounded."""
        await self._files.look(always=True)
        return self.notices

    def _take(self, found: Catalog) -> None:
        if found.templates == self._catalog.templates:
            return
        self._catalog = found
        log.info("the templates changed", templates=len(found.templates))
        for emit in self._followers:
            emit(self._event())

    def _event(self) -> CatalogSet:
        return CatalogSet(self._catalog.limits, self._catalog.versions)
