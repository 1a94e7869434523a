"""RecordIO, the framing of Mesos' event streams: the record's length in decimal, a newline, the record."""

from __future__ import annotations

from framework.errors import ButleryError

MAX_RECORD_BYTES = 64 * 1024 * 1024
"""An OFFERS event takes about 1.2 kB an offer (measured), so this holds the offers of some 50,000 hosts."""

_LENGTH_DIGITS = len(str(MAX_RECORD_BYTES))


class RecordIOError(ButleryError):
    """The stream is not RecordIO, or a record is larger than taken; what follows cannot be read."""

    retryable = True


class RecordReader:
    """Cuts a stream that comes in pieces of any size into records; holds at most one unfinished record."""

    __slots__ = ("_buffer", "_end", "_max_bytes", "_start")

    def __init__(self, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._max_bytes = max_record_bytes
        self._buffer = bytearray()
        self._start = 0  # of the unfinished record in the buffer; 0 while its length is not known
        self._end = 0  # of that record; 0 while its length is not known

    def feed(self, data: bytes) -> list[bytes]:
        """The records that ``data`` completes. Raises RecordIOError, after which the reader is of no more use."""
        records: list[bytes] = []
        if self._buffer:
            data = self._resume(data, records)
        position, size = 0, len(data)
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
            records.append(data[newline + 1 : end])
            position = end
        else:
            return records
        self._buffer += data[position:]
        return records

    def _resume(self, data: bytes, records: list[bytes]) -> bytes:
        """Completes the unfinished record as far as ``data`` goes; returns what is left to read."""
        buffer = self._buffer
        if self._end:
            missing = self._end - len(buffer)
            buffer += data[:missing]
            if len(buffer) < self._end:
                return b""
            records.append(bytes(memoryview(buffer)[self._start :]))
            rest = data[missing:]
        else:
            rest = bytes(buffer) + data
        self._buffer = bytearray()
        self._start = self._end = 0
        return rest

    def _check_prefix(self, text: bytes) -> None:
        digits = text[: _LENGTH_DIGITS + 1]
        if not digits.isdigit():
            raise _not_recordio(text)
        if len(digits) > _LENGTH_DIGITS:
            raise RecordIOError(f"a record of {digits.decode()}... bytes; at most {self._max_bytes} are taken")


def _not_recordio(text: bytes) -> RecordIOError:
    return RecordIOError(f"not RecordIO: {text[:20]!r} stands where a record's length should")
