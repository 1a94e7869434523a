"""HAProxy's maps, as files for when it starts and in the process that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from framework.local.files import PRIVATE, write_whole
from masters.ingress.places import Places
from masters.ingress.routes import AGENTS_MAP, ROUTES_MAP, map_text
from masters.ingress.runtime import Runtime

NAMES = (ROUTES_MAP, AGENTS_MAP)


class Maps:
    """What each map is to hold, and what the running HAProxy is known to hold."""

    def __init__(self, places: Places, runtime: Runtime, agents: bool) -> None:
        """``agents``: whether HAProxy was given the second one."""
        self._places = places
        self._runtime = runtime
        self._names = NAMES if agents else (ROUTES_MAP,)
        self._wanted: Mapping[str, Mapping[str, str]] = {}
        self._known: dict[str, Mapping[str, str]] = {}
        self._written: dict[str, Mapping[str, str]] = {}
        self._lock = asyncio.Lock()

    def prepare(self) -> None:
        """Makes those files that are missing: with them HAProxy does not start. Raises OSError."""
        for name in NAMES:
            path = self._places.directory / name
            if not path.exists():
                write_whole(path, "", PRIVATE)

    async def apply(self, routes: Mapping[str, str], agents: Mapping[str, str]) -> int:
        """The files first, so that HAProxy starts right whenever it does. How many entries changed.

        Raises UnavailableError where HAProxy does not take it; OSError where a file cannot be written, as on a full
        disk, but only once HAProxy that runs has its routes: an old one may by now lead to another's master.
        """
        async with self._lock:
            return await self._apply({ROUTES_MAP: routes, AGENTS_MAP: agents})

    async def _apply(self, maps: Mapping[str, Mapping[str, str]]) -> int:
        self._wanted = maps
        changed = 0
        unwritten: OSError | None = None
        for name in self._names:
            wanted = self._wanted[name]
            if self._written.get(name) != wanted:
                try:
                    write_whole(self._places.directory / name, map_text(wanted), PRIVATE)
                    self._written[name] = dict(wanted)
                except OSError as error:
                    unwritten = error
            known = self._known.get(name)
            if known == wanted:
                continue
            before = list(known.items()) if known is not None else await self._runtime.entries(name)
            self._known.pop(name, None)  # until it is done nobody knows
            changed += await self._runtime.change(name, before, wanted)
            self._known[name] = dict(wanted)
        if unwritten is not None:
            raise unwritten
        return changed

    def forget(self) -> None:
        """What HAProxy holds is to be asked anew, as it is another."""
        self._known.clear()

    async def repair(self) -> int:
        """Asks HAProxy what it holds, and mends what differs; how many entries did. Raises UnavailableError."""
        mended = 0
        async with self._lock:
            for name in self._names:
                wanted = self._wanted.get(name)
                if wanted is not None:
                    mended += await self._runtime.change(name, await self._runtime.entries(name), wanted)
                    self._known[name] = dict(wanted)
        return mended
