"""The ``butlery`` program as an operator runs it: a process of its own, timed, with the most memory that it had."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.errors import ButleryError, UnavailableError

MIB_PER_KIB = 1 / 1024
ERROR_CHARACTERS = 1500
POLL_S = 0.02


@dataclass(frozen=True)
class Ran:
    """One command that ended. ``document`` is the JSON that it printed, None where it printed none."""

    code: int
    took_s: float
    rss_mib: float
    document: Any
    said: str


class Butlery:
    """Commands for the cluster in ``directory``; None: those that are of no cluster."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def run(self, *words: str, timeout_s: float = 120.0, codes: tuple[int, ...] = (0,)) -> Ran:
        """``butlery WORDS``, with ``--dir DIRECTORY``. Interrupted, it is ended too.

        Raises ButleryError where it ends otherwise than with one of ``codes``, UnavailableError where not in time.
        """
        # It must outlive neither one that was killed nor one that was interrupted as it began it.
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "framework.cli", *words]
        if self._directory is not None:
            command += ["--dir", str(self._directory)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            started = time.monotonic()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors)
            try:
                status, rss_kib = _ended(process.pid, started + timeout_s)
                process.returncode = os.waitstatus_to_exitcode(status)
            except BaseException:
                process.kill()
                process.wait()
                raise
            took_s = time.monotonic() - started
            out.seek(0)
            errors.seek(0)
            text, said = out.read().decode(errors="replace"), errors.read().decode(errors="replace")
        code = process.returncode
        if code not in codes:
            raise ButleryError(f"butlery {' '.join(words[:2])} ended with {code}: {(said or text)[-ERROR_CHARACTERS:]}")
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        return Ran(code, took_s, rss_kib * MIB_PER_KIB, document, said)


def _ended(pid: int, deadline: float) -> tuple[int, int]:
    """Its status, and its resident set at most, in KiB. Raises UnavailableError."""
    while time.monotonic() < deadline:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found == pid:
            return status, usage.ru_maxrss
        time.sleep(POLL_S)
    os.kill(pid, signal.SIGKILL)
    raise UnavailableError(f"the command (pid {pid}) takes too long")
