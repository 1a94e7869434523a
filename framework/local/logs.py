"""Log files of child processes: appended to by the child, kept small by its supervisor."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

LOG_MIB = 16


def open_log(path: Path) -> BinaryIO:
    """For appending, so that the file may be emptied under the writer's hand."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def rotate(path: Path, limit_bytes: int = LOG_MIB * 1024 * 1024) -> bool:
    """Copies a log over ``limit_bytes`` to PATH.1 and empties it; lines written in that instant may be lost."""
    try:
        if path.stat().st_size <= limit_bytes:
            return False
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)
    except FileNotFoundError:
        return False
    return True


def tail(path: Path, lines: int = 2, max_bytes: int = 4096) -> str:
    """The last non-empty lines, on one line; empty where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - max_bytes))
            words = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join([line.strip() for line in words if line.strip(" *\n")][-lines:])
