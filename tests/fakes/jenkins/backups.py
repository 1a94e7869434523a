"""Backups of the home, made and told of by the image's own scripts."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from typing import Any, NamedTuple

from masters.names import Variable
from tests.fakes.jenkins.options import Options

LOG = logging.getLogger("jenkins")

_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LIST_S = 30.0
RESTORE_S = 3600.0


class Fault(NamedTuple):
    status: int
    message: str


class Backups:
    """Of one master; one is made at a time."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._running: asyncio.Task[None] | None = None

    def start(self, name: str) -> Fault | None:
        """Why it cannot be started; None where it was."""
        if self._options.backup_to is None:
            return Fault(409, "This master has no place for backups")
        if not _NAME.fullmatch(name):
            return Fault(400, "A backup has a name of letters, digits, and . _ - within")
        if self._running is not None and not self._running.done():
            return Fault(409, "Another backup runs")
        self._running = asyncio.create_task(self._back_up(name))
        return None

    async def _back_up(self, name: str) -> None:
        process = await self._script("backup", name)
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.terminate()
        LOG.info("backup %s ended with %d: %s", name, process.returncode, said.decode("utf-8", "replace").strip())

    async def listed(self) -> list[dict[str, Any]]:
        """The newest first."""
        if self._options.backup_to is None:
            return []
        process = await self._script("backup", "--list")
        async with asyncio.timeout(_LIST_S):
            told, _ = await process.communicate()
        found: list[dict[str, Any]] = json.loads(told)
        return found

    async def restore(self) -> None:
        """What ``BUTLERY_RESTORE`` names, once. Raises OSError where it cannot be."""
        begun = (self._options.home / ".butlery" / "restore-stage").exists()
        if self._options.restore is None and not begun:
            return
        process = await self._script("restore")
        async with asyncio.timeout(RESTORE_S):
            _, said = await process.communicate()
        if process.returncode != 0:
            raise OSError(said.decode("utf-8", "replace").strip())

    async def stop(self) -> None:
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _script(self, name: str, *arguments: str) -> asyncio.subprocess.Process:
        options = self._options
        variables = {
            Variable.HOME: str(options.home),
            Variable.TENANT: options.tenant,
            Variable.BACKUP_KEEP: str(options.backup_keep),
        }
        if options.backup_to is not None:
            variables[Variable.BACKUP_TO] = str(options.backup_to)
        if options.restore is not None:
            variables[Variable.RESTORE] = options.restore
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BUTLERY_")}
        return await asyncio.create_subprocess_exec(
            "/bin/sh", str(options.kit / name), *arguments, env=kept | variables,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
