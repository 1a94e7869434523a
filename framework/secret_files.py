"""Secrets that settings name files for: read with care for who else could read them, and never quoted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from framework.documents import Document
from framework.errors import Fault, InputError

MAX_CHARS = 4096


def resolved(value: str, base: Path) -> Path:
    """A path of the settings; ``~`` is the user's home, and a relative one starts at ``base``. Raises ValueError."""
    if not value or "\0" in value:
        raise ValueError("must be a path")
    try:
        return base / Path(value).expanduser()
    except RuntimeError:
        raise ValueError("names the home of a user that is not known here") from None


def secret_at(document: Document, keys: tuple[str, str], base: Path, what: str) -> str | None:
    """What the file holds that ``keys`` (section, key) of the document name; None where they name none.

    ``what`` it is, for the one whose file it is. Raises InputError.
    """
    section = document.data.get(keys[0]) if isinstance(document.data, dict) else None
    name = section.get(keys[1]) if isinstance(section, dict) else None
    if not isinstance(name, str) or not name:
        return None
    try:
        return _read(resolved(name, base))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError([Fault(document.where(keys), f"{what} cannot be read: {reason}")]) from error


def _read(path: Path) -> str:
    """Raises OSError, and ValueError for what is no file of its owner's alone."""
    with open(path, encoding="ascii", errors="replace", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a file")
        if status.st_mode & stat.S_IRWXO:
            raise ValueError("everyone on this machine may read or change it; `chmod 600` it")
        return file.read(MAX_CHARS).strip()


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO without a writer would wait for ever
