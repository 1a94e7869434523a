"""What is sent in bulk, and what comes back of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from framework.edges.elasticsearch.edge import Cause, blocked, reason_of
from framework.errors import UnavailableError
from framework.telemetry.records import Kind
from framework.telemetry_ports import Batch, BusyError, OperatorError, Rejected

FILTER = "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"
"""Of an answer all that is read; where nothing went wrong that is 30 bytes a record."""
_GONE = "index_not_found_exception"


class Piece(msgspec.Struct, frozen=True):
    """A part of a bulk body: each record with its line before it."""

    ids: list[str]
    payload: bytes

    def halves(self) -> tuple[Piece, Piece]:
        """Of one with two records or more."""
        lines = self.payload.split(b"\n")
        middle = len(self.ids) // 2
        return (
            Piece(self.ids[:middle], b"\n".join(lines[: 2 * middle]) + b"\n"),
            Piece(self.ids[middle:], b"\n".join(lines[2 * middle :])),
        )

    def document(self, number: int) -> bytes:
        return self.payload.split(b"\n")[2 * number + 1]

    def without(self, there: set[str]) -> Piece | None:
        """What is left without those of these ids."""
        kept = [number for number, record_id in enumerate(self.ids) if record_id not in there]
        lines = self.payload.split(b"\n")
        payload = b"".join(lines[2 * number] + b"\n" + lines[2 * number + 1] + b"\n" for number in kept)
        return Piece([self.ids[number] for number in kept], payload) if kept else None


class _Id(msgspec.Struct, gc=False):
    _id: str


class _Line(msgspec.Struct, gc=False):
    """Either of the two lines of a record: what Elasticsearch itself would not look at."""

    create: _Id | None = None
    at_ms: int | None = None
    wait_ms: int | None = None
    run_ms: int | None = None


_line = msgspec.json.Decoder(_Line)


def read(batch: Batch) -> tuple[Piece | None, list[Rejected]]:
    """A batch as it can be sent, and what of it can never be."""
    try:
        lines = _line.decode_lines(batch.payload)
    except (msgspec.MsgspecError, UnicodeError):
        return _read_singly(batch)
    ids = [line.create._id for line in lines[::2] if line.create is not None]
    if len(ids) * 2 == len(lines) and not any(map(_fault, lines[1::2])):
        return (Piece(ids, batch.payload) if ids else None), []
    return _read_singly(batch)


def _read_singly(batch: Batch) -> tuple[Piece | None, list[Rejected]]:
    ids: list[str] = []
    kept: list[bytes] = []
    rejected: list[Rejected] = []
    lines = batch.payload.split(b"\n")
    for action, document in zip(lines[::2], lines[1::2], strict=False):
        record_id = ""
        try:
            found = _line.decode(action).create
            record_id = found._id if found is not None else ""
            fault = _fault(_line.decode(document)) if record_id else "it has no id"
        except (msgspec.MsgspecError, UnicodeError) as error:
            fault = str(error)
        if fault:
            rejected.append(Rejected(batch.kind, record_id, fault, document))
        else:
            ids.append(record_id)
            kept += (action, b"\n", document, b"\n")
    return (Piece(ids, b"".join(kept)) if ids else None), rejected


def _fault(line: _Line) -> str:
    if line.at_ms is None:
        return "it has no at_ms"
    if (line.wait_ms or 0) < 0 or (line.run_ms or 0) < 0:
        return "a length of time is negative"
    return ""


def joined(pieces: Iterable[Piece], max_bytes: int) -> Iterator[Piece]:
    """The same records in as few pieces as may be, each within ``max_bytes`` but for one with a single record."""
    waiting: list[Piece] = []
    size = 0
    for piece in _split(pieces, max_bytes):
        if waiting and size + len(piece.payload) > max_bytes:
            yield _one(waiting)
            waiting, size = [], 0
        waiting.append(piece)
        size += len(piece.payload)
    if waiting:
        yield _one(waiting)


def _split(pieces: Iterable[Piece], max_bytes: int) -> Iterator[Piece]:
    for piece in pieces:
        if len(piece.payload) <= max_bytes or len(piece.ids) == 1:
            yield piece
        else:
            yield from _split(piece.halves(), max_bytes)


def _one(pieces: Sequence[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    return Piece([one for piece in pieces for one in piece.ids], b"".join(piece.payload for piece in pieces))


class _Result(msgspec.Struct, frozen=True, gc=False):
    status: int
    error: Cause | None = None


class _Item(msgspec.Struct, frozen=True, gc=False):
    create: _Result


class _Answer(msgspec.Struct, frozen=True):
    errors: bool
    items: list[_Item]


class IndexGoneError(UnavailableError):
    """The index that was written to is not there any more."""


def settled(kind: Kind, piece: Piece, answer: bytes) -> list[Rejected]:
    """Those that can never be taken; all others are in the index now.

    Raises UnavailableError (BusyError, IndexGoneError) and OperatorError where some are not, nor told why for good.
    """
    try:
        told = msgspec.json.decode(answer, type=_Answer)
    except msgspec.MsgspecError as error:
        raise UnavailableError(f"Elasticsearch answers a bulk request with something else: {error}") from error
    if len(told.items) != len(piece.ids):
        raise UnavailableError(f"Elasticsearch tells of {len(told.items)} records, but was sent {len(piece.ids)}")
    if not told.errors:
        return []
    rejected: list[Rejected] = []
    later: dict[int, Cause] = {}
    for number, item in enumerate(told.items):
        status, cause = item.create.status, item.create.error or Cause()
        if status < 300 or status == 409:  # 409: it is there already, and the first counts
            continue
        if status in (400, 413) and cause.type != "cluster_block_exception":
            rejected.append(Rejected(kind, piece.ids[number], reason_of(cause), piece.document(number)))
        else:
            later.setdefault(status, cause)
    if later:
        raise _trouble(later)
    return rejected


def _trouble(later: dict[int, Cause]) -> UnavailableError | OperatorError:
    for status, cause in later.items():
        if cause.type == "cluster_block_exception":
            return OperatorError(blocked(reason_of(cause)))
        if status in (401, 403):
            return OperatorError(f"Elasticsearch forbids writing: {reason_of(cause)} ({status})")
    for status, cause in later.items():
        if cause.type == _GONE:
            return IndexGoneError(f"an index of Elasticsearch was deleted: {reason_of(cause)}")
        if status == 429:
            return BusyError(f"Elasticsearch is busy: {reason_of(cause)} (429)")
    status, cause = next(iter(later.items()))
    return UnavailableError(f"Elasticsearch cannot write now: {reason_of(cause)} ({status})")
