"""RecordIO, the framing of Mesos' event streams: the record's length in decimal, a newline, the record."""

from __future__ import annotations

from collections.abc import Iterator

from framework.errors import ButleryError

MAX_RECORD_BYTES = 64 * 1024 * 1024
"""An OFFERS event takes about 1.2 kB an offer (measured), so this holds the offers of some 50,000 hosts."""

MAX_KEPT_BYTES = 4 * 1024 * 1024
"""Of memory, for the records to come: the offers of some 3000 hosts."""

_LENGTH_DIGITS = len(str(MAX_RECORD_BYTES))


class RecordIOError(ButleryError):
    """The stream is not RecordIO, or a record is larger than taken; what follows cannot be read."""

    retryable = True


class RecordReader:
    """Cuts a stream that comes in pieces of any size into records; holds at most one unfinished record.

    A large record's memory is kept for the next one: to get and give back a third of a megabyte for each OFFERS event
    of 317 hosts took a quarter of all its CPU time.
    """

    __slots__ = ("_buffer", "_end", "_filled", "_max_bytes", "_start")

    def __init__(self, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._max_bytes = max_record_bytes
        self._buffer = bytearray()
        self._filled = 0  # of the buffer: the unfinished record, with its length before it
        self._start = 0  # of the unfinished record in the buffer; 0 while its length is not known
        self._end = 0  # of that record; 0 while its length is not known

    def feed(self, data: bytes) -> Iterator[bytes | memoryview]:
        """The records that ``data`` completes, each good until the next is asked for.

        Raises RecordIOError, after which the reader is of no more use.
        """
        if self._filled and not self._end:  # in the middle of a length, which is short
            data = bytes(self._buffer[: self._filled]) + data
            self._filled = 0
        position, size = 0, len(data)
        if self._end:
            position = min(self._end - self._filled, size)
            self._keep(data[:position])
            if self._filled < self._end:
                return
            yield memoryview(self._buffer)[self._start : self._end]
            self._filled = self._start = self._end = 0
            if len(self._buffer) > MAX_KEPT_BYTES:
                self._buffer = bytearray()
        while position < size:
            newline = data.find(b"\n", position, position + _LENGTH_DIGITS + 1)
            if newline < 0:
                self._check_prefix(data[position:])
                break
            digits = data[position:newline]
            if not digits.isdigit():
                raise _not_recordio(digits)
            end = newline + 1 + int(digits)
            if end - newline - 1 > self._max_bytes:
                raise RecordIOError(f"a record of {int(digits)} bytes; at most {self._max_bytes} are taken")
            if end > size:
                self._start, self._end = newline + 1 - position, end - position
                break
            yield data[newline + 1 : end]
            position = end
        if position < size:
            self._keep(data[position:])

    def _keep(self, data: bytes) -> None:
        filled = self._filled + len(data)
        if filled > len(self._buffer):
            larger = bytearray(max(filled, min(self._end, 2 * filled)))
            larger[: self._filled] = memoryview(self._buffer)[: self._filled]
            self._buffer = larger
        self._buffer[self._filled : filled] = data
        self._filled = filled

    def _check_prefix(self, text: bytes) -> None:
        digits = text[: _LENGTH_DIGITS + 1]
        if not digits.isdigit():
            raise _not_recordio(text)
        if len(digits) > _LENGTH_DIGITS:
            raise RecordIOError(f"a record of {digits.decode()}... bytes; at most {self._max_bytes} are taken")


def _not_recordio(text: bytes) -> RecordIOError:
    return RecordIOError(f"not RecordIO: {text[:20]!r} stands where a record's length should")
