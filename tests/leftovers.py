"""Whether a program that ended left processes behind."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

TIMEOUT_S = 10.0


def wait_for_none(directory: str) -> None:
    """Waits until no process names ``directory`` in its arguments or environment, or works in it.

    Raises AssertionError with the command lines of those that are left after TIMEOUT_S.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while left := _naming(directory):
        assert time.monotonic() < deadline, f"left running: {left}"
        time.sleep(0.1)


def _naming(directory: str) -> list[str]:
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            arguments = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (entry / "environ").read_bytes().decode(errors="replace")
            cwd = str((entry / "cwd").readlink())
            if directory in arguments or directory in environment or cwd.startswith(directory):
                found.append(f"{entry.name} {arguments}")
    return found
