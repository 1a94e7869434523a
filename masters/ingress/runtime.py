"""HAProxy's runtime API: commands over the UNIX socket of a process that runs."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from framework.errors import UnavailableError
from masters.ingress import routes
from masters.ingress.config import ADMIN_SOCKET, USE_TABLE
from masters.ingress.places import Places

TIMEOUT_S = 5.0
BATCH_BYTES = 12_000
"""Of commands sent at once: HAProxy takes as much as fits into one of its buffers (32 kB)."""
MAX_ANSWER_BYTES = 64 << 20
TABLE_EXPIRES_S = 86_400.0

_ENTRY = re.compile(r"0x[0-9a-f]+ (\S+) (.*)")
_NOT_AFTER = re.compile(r"^notAfter: (.+)$", re.MULTILINE | re.IGNORECASE)
_USE = re.compile(r"key=(\S+) use=\d+ exp=(\d+).* conn_cur=(\d+)")


class Use(NamedTuple):
    """Of one tenant's address since HAProxy was started."""

    now: int  # requests that are under way
    age_s: float  # since the last


class Runtime:
    """Each call is one connection. Raises UnavailableError where HAProxy does not answer or refuses."""

    def __init__(self, places: Places) -> None:
        self._places = places

    async def pid(self) -> int:
        """Of the process that serves now."""
        for line in (await self._ask("show info")).splitlines():
            name, _, value = line.partition(": ")
            if name == "Pid":
                return int(value)
        raise UnavailableError("HAProxy does not tell its pid")

    async def entries(self, name: str) -> list[tuple[str, str]]:
        """What a map holds."""
        found = (_ENTRY.match(line) for line in (await self._ask(f"show map {name}")).splitlines())
        return [(match[1], match[2]) for match in found if match]

    async def change(self, name: str, before: Sequence[tuple[str, str]], after: Mapping[str, str]) -> int:
        """Makes a map that holds ``before`` hold ``after``; how many commands that took."""
        waiting = routes.commands(name, before, after)
        count = len(waiting)
        while waiting:
            batch: list[str] = []
            size = 0
            while waiting and size + len(waiting[0]) + 2 <= BATCH_BYTES:
                batch.append(waiting.pop(0))
                size += len(batch[-1]) + 2
            said = (await self._ask("; ".join(batch))).strip()
            if said:
                raise UnavailableError(f"HAProxy does not take a change of its {name}: {said[:200]}")
        return count

    async def uses(self) -> dict[str, Use]:
        """Of each tenant whose address was used within the last day, by this HAProxy."""
        found = (_USE.search(line) for line in (await self._ask(f"show table {USE_TABLE}")).splitlines())
        return {match[1]: Use(int(match[3]), TABLE_EXPIRES_S - int(match[2]) / 1000) for match in found if match}

    async def certificates(self) -> dict[str, float]:
        """When each of those that are served ends, unix s, by its file."""
        ends: dict[str, float] = {}
        for name in (await self._ask("show ssl cert")).splitlines():
            if not name or name.startswith(("#", "*")):  # a heading, or a change that nobody has taken up
                continue
            escaped = name.replace("\\", "\\\\").replace(" ", "\\ ")
            told = _NOT_AFTER.search(await self._ask(f"show ssl cert {escaped}"))
            if told is not None:
                ends[name] = float(ssl.cert_time_to_seconds(told[1]))
        return ends

    async def _ask(self, command: str) -> str:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                with self._places.short(ADMIN_SOCKET) as path:
                    reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(command.encode() + b"\n")
                    return (await _all(reader)).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise UnavailableError(f"HAProxy does not answer at its socket: {error}") from error


async def _all(reader: asyncio.StreamReader) -> bytes:
    pieces = bytearray()
    while piece := await reader.read(1 << 16):
        pieces += piece
        if len(pieces) > MAX_ANSWER_BYTES:
            raise UnavailableError("HAProxy's answer has no end")
    return bytes(pieces)
