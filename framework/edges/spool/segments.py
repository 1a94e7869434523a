"""The files of a spool: each holds what was appended for a while, and the newest alone is appended to.

A file is never appended to by another process than the one that made it, so what is torn at its end stays at its end.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from framework.edges.spool.frames import (
    BEGIN,
    CODES,
    END,
    HEADER_BYTES,
    Frame,
    Read,
    Torn,
    frame_at,
    header,
    of_another_version,
    walk,
)
from framework.telemetry_ports import Batch

SUFFIX = ".spool"
_TOTALS = struct.Struct(f"<{2 * len(CODES)}Q")
"""Of an END frame: records of each code, then bytes of each."""
_END_BYTES = HEADER_BYTES + _TOTALS.size
_WINDOW_BYTES = 1 << 20


@dataclass
class Sums:
    """Records, and bytes of their payloads, by code."""

    records: dict[int, int] = field(default_factory=lambda: dict.fromkeys(CODES.values(), 0))
    bytes: dict[int, int] = field(default_factory=lambda: dict.fromkeys(CODES.values(), 0))

    def add(self, code: int, records: int, bytes_: int) -> None:
        if code in self.records:
            self.records[code] += records
            self.bytes[code] += bytes_

    def of(self, codes: Iterable[int]) -> tuple[int, int]:
        """Records and bytes."""
        codes = tuple(codes)
        return sum(self.records[code] for code in codes), sum(self.bytes[code] for code in codes)


@dataclass
class Segment:
    number: int
    size: int
    before: int  # records that were ever appended before it, and until its end
    before_end: int
    sums: Sums


@dataclass
class Loss:
    """Part of a file that holds no sound records; ``records`` is None where nobody can say how many there were."""

    segment: int
    start: int
    end: int
    records: int | None
    before: int | None  # records that were ever appended before it
    told_until: float  # before it
    reason: str
    whole: bool = False  # nothing in the file can be read

    @property
    def name(self) -> str:
        """The same whoever finds it."""
        return f"{self.before or 0}-{self.start}"


@dataclass
class Track:
    """How far one has come in the spool, and what was found missing on the way."""

    before: int | None  # records that were ever appended before; None: anything will do
    told_until: float
    losses: list[Loss] = field(default_factory=list)
    _torn: Loss | None = None

    def sound(self, segment: int, found: Iterable[Frame | Torn], *, begins: bool) -> Iterator[Frame]:
        """The frames that follow on, but for the first one of a file, where it ``begins``, and its last."""
        for each in found:
            if isinstance(each, Torn):
                self.tear(segment, each.start, each.end, "is torn")
                continue
            if not (begins and each.code == BEGIN) and self.before is not None and each.before < self.before:
                continue  # a piece of the file that stands in it twice
            begins = False
            self.come_to(segment, each.before)
            self.before = each.before + each.records
            self.told_until = each.told_until
            if each.code not in (BEGIN, END):
                yield each

    def tear(self, segment: int, start: int, end: int, reason: str, *, whole: bool = False) -> None:
        if self._torn is not None and self._torn.start != self._torn.end:
            self.close()
        self._torn = Loss(segment, start, end, None, self.before, self.told_until, reason, whole)

    def come_to(self, segment: int, before: int) -> None:
        """There, so many records were appended before: some are missing where it is not as many as came."""
        missing = 0 if self.before is None else max(0, before - self.before)
        if self._torn is None and missing:
            self._torn = Loss(segment, 0, 0, None, self.before, self.told_until, "lacks a piece")
        if self._torn is not None and self.before is not None:
            self._torn.records = missing
        self.close()
        self.before = before

    def close(self) -> None:
        """Nothing that could tell how much is missing is to come."""
        lost = self._torn
        if lost is not None and lost.records != 0:  # what is torn may have been nobody's, or another consumer's to tell
            self.losses.append(lost)
        self._torn = None


def path_of(directory: Path, number: int) -> Path:
    return directory / f"{number:012d}{SUFFIX}"


def numbers_in(directory: Path) -> list[int]:
    """Raises OSError."""
    names = (path.stem for path in directory.iterdir() if path.suffix == SUFFIX)
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) == 12)


def reader(descriptor: int) -> Read:
    """Reads ahead; for one walk."""
    window, at = b"", 0

    def read(start: int, count: int) -> bytes:
        nonlocal window, at
        if not at <= start <= start + count <= at + len(window):
            window, at = os.pread(descriptor, max(count, _WINDOW_BYTES), start), start
        return window[start - at : start - at + count]

    return read


def look(directory: Path, number: int, track: Track) -> Segment | None:
    """What an older file holds: its word for it where it was ended in order, else all of it is read.

    None where another version has written it. Raises OSError.
    """
    with path_of(directory, number).open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        read = reader(file.fileno())
        if of_another_version(read, size):
            track.tear(number, 0, size, "was written by another version of butlery", whole=True)
            return None
        begin = frame_at(read, 0, size)
        last = frame_at(reader(file.fileno()), size - _END_BYTES, size) if size >= _END_BYTES else None
        sums = Sums()
        if begin is not None and begin.code == BEGIN and last is not None and last.code == END:
            track.come_to(number, begin.before)
            track.before, track.told_until = last.before, last.told_until
            totals = _TOTALS.unpack(last.payload)
            for code, records, bytes_ in zip(CODES.values(), totals, totals[len(CODES) :], strict=False):
                sums.add(code, records, bytes_)
            return Segment(number, size, begin.before, last.before, sums)
        before = track.before or 0
        if begin is None or begin.code != BEGIN:
            track.tear(number, 0, 0, "lacks its begin")
        for frame in track.sound(number, walk(read, 0, size), begins=True):
            sums.add(frame.code, frame.records, len(frame.payload))
        return Segment(number, size, before if begin is None else begin.before, track.before or 0, sums)


class Writer:
    """The newest file, of which ``segment`` tells what is on disk, and ``lock`` guards that.

    For one thread. Raises OSError in everything.
    """

    def __init__(
        self, directory: Path, descriptor: int, number: int, before: int, told_until: float, now: float,
        lock: threading.Lock,
    ) -> None:  # fmt: skip
        """``descriptor`` is of the open directory."""
        self.segment = Segment(number, 0, before, before, Sums())
        self._lock = lock
        path = path_of(directory, number)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self.segment.size = self._write(header(BEGIN, b"", 0, before, now, told_until, again=False))
            os.fsync(descriptor)
        except BaseException:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    @property
    def removed(self) -> bool:
        """Whether somebody has removed it, so that what is written is lost."""
        return os.fstat(self._descriptor).st_nlink == 0

    def append(self, batches: Sequence[Batch], told_until: float, now: float) -> None:
        """All of them, or none of them counts."""
        segment = self.segment
        before, parts = segment.before_end, []
        for batch in batches:
            code = CODES[batch.kind]
            parts += [
                header(code, batch.payload, batch.count, before, now, told_until, again=batch.again),
                batch.payload,
            ]
            before += batch.count
        size = self._write(b"".join(parts))
        with self._lock:
            for batch in batches:
                segment.sums.add(CODES[batch.kind], batch.count, len(batch.payload))
            segment.before_end, segment.size = before, size

    def end(self, told_until: float, now: float) -> None:
        """In order, and closed whatever becomes of it."""
        segment = self.segment
        payload = _TOTALS.pack(*segment.sums.records.values(), *segment.sums.bytes.values())
        try:
            size = self._write(header(END, payload, 0, segment.before_end, now, told_until, again=False) + payload)
            with self._lock:
                segment.size = size
        finally:
            os.close(self._descriptor)

    def _write(self, data: bytes) -> int:
        """How long the file is now. Where it fails it is as long as before."""
        view, at = memoryview(data), self.segment.size
        try:
            while view:
                written = os.pwrite(self._descriptor, view, at)
                view, at = view[written:], at + written
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self.segment.size)
            raise
        return at
