"""What a master writes: the files ``stdout`` and ``stderr`` of its task's sandbox, read through Mesos."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from framework.core.ids import FrameworkId
from framework.edges.mesos.operator import MesosOperator
from framework.errors import ButleryError, UnavailableError
from framework.ports import jittered
from framework.runtime.chance import SystemChance
from masters.ports import Marathon
from masters.records import ObservedTask

CHUNK_BYTES = 64 << 10
"""As much as Mesos gives in one answer."""
TAIL_BYTES = 1 << 20
"""Most that is read to find the last lines."""
PAUSE_S = 1.0
PAUSE_CAP_S = 10.0
FAILURES = 40
"""In a row, of a host or of Marathon, while a master is followed: some five minutes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Which file, and how much of it."""

    app_id: str
    file: str  # ``stdout`` or ``stderr``
    tail: int | None = None  # lines; None: from its beginning


class Output:
    """Of one master's tasks, newest first."""

    def __init__(self, marathon: Marathon, operator: MesosOperator, reading: Reading) -> None:
        self._marathon = marathon
        self._operator = operator
        self._reading = reading
        self._framework_id: FrameworkId | None = None
        self._host_urls: dict[str, str] = {}

    async def show(self, write: Callable[[bytes], object], *, follow: bool) -> None:
        """Writes what there is, and with ``follow`` what comes, over every restart of the master, until cancelled.

        Raises ButleryError.
        """
        task = await self._newest()
        if task is None and not follow:
            raise ButleryError("no task of it runs, so that there is no output of one")
        offset = 0
        if task is not None:
            offset = await self._copy(task, await self._start(task), write)
        failures = 0
        while follow:
            await asyncio.sleep(jittered(SystemChance(), failures, PAUSE_S, PAUSE_CAP_S))
            try:
                now = await self._newest()
                if task is not None:
                    offset = await self._copy(task, offset, write)
                if now is not None and (task is None or now.id != task.id):
                    task, offset = now, 0
                failures = 0
            except UnavailableError:
                failures += 1
                if failures == FAILURES:
                    raise

    async def _newest(self) -> ObservedTask | None:
        """Raises UnavailableError, and ButleryError where its app is gone."""
        master = await asyncio.to_thread(self._marathon.master, self._reading.app_id)
        if master is None:
            raise ButleryError("its app is not there any more")
        return master.newest_task

    async def _start(self, task: ObservedTask) -> int:
        """Where the last lines begin that are asked for."""
        wanted = self._reading.tail
        if wanted is None:
            return 0
        size, _ = await self._read(task, -1)
        begin = max(0, size - TAIL_BYTES)
        found = bytearray()
        while begin + len(found) < size:
            _, data = await self._read(task, begin + len(found))
            if not data:
                break
            found += data
        at = len(found)
        for _ in range(wanted + found.endswith(b"\n")):
            at = found.rfind(b"\n", 0, at)
            if at < 0:
                return begin
        return begin + at + 1 if wanted else size

    async def _copy(self, task: ObservedTask, offset: int, write: Callable[[bytes], object]) -> int:
        """Up to its present end, which is returned."""
        while True:
            _, data = await self._read(task, offset)
            if not data:
                return offset
            write(data)
            offset += len(data)

    async def _read(self, task: ObservedTask, offset: int) -> tuple[int, bytes]:
        """Nothing where the file is not there yet, or the sandbox not any more."""
        if self._framework_id is None:
            self._framework_id = FrameworkId(await asyncio.to_thread(self._marathon.framework_id))
        if task.host not in self._host_urls:
            self._host_urls = {host.hostname: host.url for host in await self._operator.hosts() if host.active}
        url = self._host_urls.get(task.host)
        if not url:
            raise UnavailableError(f"Mesos knows no host {task.host}")
        try:
            return await self._operator.read_file(
                url, self._framework_id, task.id, self._reading.file, offset, CHUNK_BYTES
            )
        except FileNotFoundError:
            return max(offset, 0), b""
