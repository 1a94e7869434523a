"""What is not for the consumers of a spool: records that one can never take, and bytes that are no records."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from framework.edges.spool.segments import Loss, path_of
from framework.telemetry.records import Kind
from framework.telemetry_ports import Batch, Rejected

REJECTED = "rejected.ndjson"
REJECTED_BYTES = 16 << 20
TORN = "torn-"
TORN_FILES = 100
TORN_BYTES = 16 << 20
"""Kept of one tear."""


class _Line(msgspec.Struct):
    consumer: str
    kind: Kind
    id: str
    reason: str
    document: str


class _Create(msgspec.Struct):
    create: dict[str, str]


class RejectedFile:
    """``count`` tells how many there are, those included that are not kept. For one thread at once."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / REJECTED
        try:
            with self._path.open("rb") as file:
                self.count = sum(1 for _ in file)
        except OSError:
            self.count = 0

    def add(self, consumer: str, rejected: Sequence[Rejected]) -> None:
        """Raises OSError."""
        self.count += len(rejected)
        lines = b"".join(
            msgspec.json.encode(
                _Line(consumer, each.kind, each.id, each.reason, each.document.decode(errors="replace"))
            )
            + b"\n"
            for each in rejected
        )
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
            if file.tell() + len(lines) <= REJECTED_BYTES:
                file.write(lines)

    def batches(self) -> Iterator[Batch]:
        """One of each; lines that were torn are left out. Raises OSError."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for text in lines:
            try:
                line = msgspec.json.decode(text, type=_Line)
            except msgspec.DecodeError:
                continue
            action = msgspec.json.encode(_Create({"_id": line.id}))
            yield Batch(line.kind, 1, action + b"\n" + line.document.encode() + b"\n", again=True)

    def clear(self) -> None:
        """Raises OSError."""
        self._path.unlink(missing_ok=True)
        self.count = 0


def kept_torn(directory: Path) -> set[str]:
    """Names of losses that were found before. Raises OSError."""
    return {path.name.removeprefix(TORN) for path in directory.glob(f"{TORN}*")}


def keep_torn(directory: Path, losses: Collection[Loss]) -> None:
    """Their bytes, and that they are known, even where there are none. Raises OSError."""
    for loss in losses:
        path = path_of(directory, loss.segment)
        torn = b""
        if loss.end > loss.start and path.exists():
            with path.open("rb") as segment:
                segment.seek(loss.start)
                torn = segment.read(min(loss.end - loss.start, TORN_BYTES))
        with os.fdopen(os.open(directory / f"{TORN}{loss.name}", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as kept:
            kept.write(torn)
        if loss.whole:
            path.unlink(missing_ok=True)
    files = sorted(directory.glob(f"{TORN}*"), key=lambda each: each.stat().st_mtime)
    for each in files[:-TORN_FILES]:
        each.unlink()
