"""How records stand in a file of the spool: frame behind frame, each sound or not by its own checksums.

A frame is a header of 52 bytes, little-endian, and a payload: that of a ``Batch``, verbatim. The header's magic begins
with a byte that no JSON has, so that behind a tear the next frame is found again and never taken for one within a
payload. Each file begins with a frame BEGIN, and one that was ended in order has a frame END with its totals.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple
from zlib import crc32

from framework.telemetry.records import Kind

VERSION = b"1"
_FORMAT = b"\xffBS"
MAGIC = _FORMAT + VERSION
_HEAD = struct.Struct("<4sBBxxIIIQdd")
"""Magic, code, whether again, payload's bytes, records, payload's CRC-32, records before, time, told until."""
_CHECK = struct.Struct("<I")
HEADER_BYTES = _HEAD.size + _CHECK.size
_WINDOW_BYTES = 1 << 20

BEGIN, END = 0, 255
CODES = {Kind.BUILDS: 1, Kind.CHANGES: 2, Kind.SAMPLES: 3}
KINDS = {code: kind for kind, code in CODES.items()}

Read = Callable[[int, int], bytes]
"""Of a file: so many bytes from there on; fewer at its end."""


class Frame(NamedTuple):
    """A sound one, from ``start`` to ``end`` in its file. ``payload`` is empty where it was not asked for."""

    start: int
    end: int
    code: int
    again: bool
    records: int
    before: int  # records that were ever appended before it
    at: float
    told_until: float
    payload: bytes


class Torn(NamedTuple):
    """Bytes that are no sound frame."""

    start: int
    end: int


def header(code: int, payload: bytes, count: int, before: int, at: float, told_until: float, *, again: bool) -> bytes:
    head = _HEAD.pack(MAGIC, code, again, len(payload), count, crc32(payload), before, at, told_until)
    return head + _CHECK.pack(crc32(head))


def of_another_version(read: Read, end: int) -> bool:
    """Whether a file begins as another version's, and has no sound frame of this one."""
    begin = read(0, len(MAGIC))
    return begin.startswith(_FORMAT) and begin != MAGIC and _next(read, 0, end) == end


def frame_at(read: Read, start: int, end: int, codes: Collection[int] | None = None) -> Frame | None:
    """The frame there; None where none is sound. The payloads of ``codes`` alone are read and checked; None: all."""
    found = read(start, HEADER_BYTES)
    if len(found) < HEADER_BYTES or not found.startswith(MAGIC):
        return None
    if crc32(found[: _HEAD.size]) != _CHECK.unpack_from(found, _HEAD.size)[0]:
        return None
    _, code, again, length, count, check, before, at, told_until = _HEAD.unpack_from(found)
    payload_at = start + HEADER_BYTES
    if payload_at + length > end:
        return None
    payload = b""
    if codes is None or code in codes:
        payload = read(payload_at, length)
        if crc32(payload) != check:
            return None
    return Frame(start, payload_at + length, code, bool(again), count, before, at, told_until, payload)


def walk(read: Read, start: int, end: int, codes: Collection[int] | None = None) -> Iterator[Frame | Torn]:
    """What is in ``[start, end)`` of a file, all of it. Payloads as ``frame_at``."""
    unchecked = start  # what a tear in a payload that was not read may have moved begins here
    while start < end:
        frame = frame_at(read, start, end, codes)
        if frame is None:
            found = _next(read, unchecked, end)
            yield Torn(unchecked, found)
            start = unchecked = found
            continue
        yield frame
        start = frame.end
        unchecked = start if codes is None or frame.code in codes else frame.start + HEADER_BYTES


def _next(read: Read, start: int, end: int) -> int:
    """Where the next sound frame begins, ``end`` where none does."""
    while start < end:
        chunk = read(start, min(_WINDOW_BYTES, end - start))
        at = chunk.find(MAGIC)
        while at >= 0:
            if frame_at(read, start + at, end) is not None:
                return start + at
            at = chunk.find(MAGIC, at + 1)
        if start + len(chunk) >= end or not chunk:
            return end
        start += max(1, len(chunk) - len(MAGIC) + 1)  # it may stand across the window's edge
    return end
