"""How far each consumer has come in a spool, in a file of its own."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from zlib import crc32

import msgspec

_PREFIX = "cursor-"


class Cursor(msgspec.Struct, frozen=True):
    """All before ``offset`` in ``segment`` is taken, of which ``records`` and ``bytes`` in that segment.

    ``before`` and ``told_until`` are as they were there, so that what is missing behind it can be told.
    """

    segment: int
    offset: int
    before: int
    told_until: float
    records: int = 0
    bytes: int = 0

    @property
    def position(self) -> int:
        return position_of(self.segment, self.offset)


def position_of(segment: int, offset: int) -> int:
    """One number that grows through all files."""
    return segment << 40 | offset


def load(directory: Path, consumer: str) -> Cursor | None:
    """None where there is no sound one."""
    try:
        check, _, text = (directory / f"{_PREFIX}{consumer}").read_bytes().partition(b" ")
        return msgspec.json.decode(text, type=Cursor) if int(check, 16) == crc32(text) else None
    except (OSError, ValueError, msgspec.DecodeError):
        return None


def save(directory: Path, consumer: str, cursor: Cursor) -> None:
    """Not synced: one that is older than the truth has records come again. Raises OSError."""
    text = msgspec.json.encode(cursor)
    fresh = directory / f"{_PREFIX}{consumer}.new"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(b"%08x %s" % (crc32(text), text))
    fresh.replace(directory / f"{_PREFIX}{consumer}")


def forget_others(directory: Path, consumers: Collection[str]) -> None:
    """Whoever takes nothing any more keeps no file. Raises OSError."""
    for path in directory.glob(f"{_PREFIX}*"):
        if path.name.removeprefix(_PREFIX) not in consumers:
            path.unlink(missing_ok=True)
