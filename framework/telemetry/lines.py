"""Records as lines of JSON, the form in which they are spooled, sent to Elasticsearch and read back."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from framework.telemetry.records import Record


class _Id(msgspec.Struct, frozen=True, gc=False):
    _id: str


class _Action(msgspec.Struct, frozen=True, gc=False):
    create: _Id


_encode_lines = msgspec.json.Encoder().encode_lines


def lines_of(records: Iterable[Record]) -> bytes:
    """For each a line ``{"create":{"_id":ID}}`` and a line with the record, as Elasticsearch takes them in bulk."""
    lines: list[Record | _Action] = []
    for record in records:
        lines += (_Action(_Id(record.id)), record)
    return _encode_lines(lines)
