"""A spool that is read as its consumers do."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from framework.edges.spool import FileSpool
from framework.telemetry.records import Kind
from framework.telemetry_ports import Batch
from tests.fakes.clockwork import ManualClock
from tests.fakes.records import raw_batch

ALL = frozenset(Kind)
MIB = 1 << 20
_IDS = re.compile(rb'"_id":"([^"]*)"')


def opened(
    directory: Path,
    consumers: Mapping[str, Collection[Kind]] | None = None,
    max_bytes: int = 64 * MIB,
    clock: ManualClock | None = None,
    segment_bytes: int = MIB,
) -> FileSpool:
    return FileSpool(directory, consumers or {"sink": ALL}, max_bytes, clock or ManualClock(), segment_bytes)


def made(kind: Kind, *ids: str, size: int = 20, again: bool = False) -> Batch:
    return raw_batch(kind, [(each, b'{"x":"%s"}' % (b"y" * size)) for each in ids], again=again)


def builds(*ids: str, size: int = 20) -> Batch:
    return made(Kind.BUILDS, *ids, size=size)


def changes(*ids: str, size: int = 20) -> Batch:
    return made(Kind.CHANGES, *ids, size=size)


def ids_in(payload: bytes) -> list[str]:
    return [each.decode() for each in _IDS.findall(payload)]


def ids_of(batch: Batch) -> list[str]:
    return ids_in(batch.payload)


def taken(spool: FileSpool, consumer: str = "sink", max_bytes: int = MIB) -> list[Batch]:
    """All that there is for it."""
    batches: list[Batch] = []
    while found := spool.read(consumer, max_bytes):
        if not found[0]:
            return batches
        batches += found[0]
        spool.done(consumer, found[1])
    raise AssertionError("it always returns a pair")


def taken_ids(spool: FileSpool, consumer: str = "sink") -> list[str]:
    return [each for batch in taken(spool, consumer) for each in ids_of(batch)]


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.spool"))
