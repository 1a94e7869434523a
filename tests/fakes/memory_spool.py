"""A spool in memory, which is full or fails when a test wants it to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from framework.errors import UnavailableError
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, SampleRecord
from framework.telemetry_ports import Batch, Rejected, SpoolDepth

R = TypeVar("R", BuildRecord, ChangeRecord, SampleRecord)


class MemorySpool:
    """Implements ``framework.telemetry_ports.Spool`` for whoever appends."""

    dropped = 0
    rejected = 0

    def __init__(self, told_until: float = 0.0) -> None:
        self.told_until = told_until
        self.full = False
        self.failing: UnavailableError | None = None
        self.batches: list[Batch] = []
        self.notices: list[str] = []

    def append(self, batches: Sequence[Batch], told_until: float) -> bool:
        if self.failing is not None:
            raise self.failing
        if self.full:
            return False
        self.batches += batches
        self.told_until = told_until
        return True

    def of(self, kind: Kind, record: type[R], *, again: bool | None = None) -> list[R]:
        """What was appended of a kind."""
        batches = [each for each in self.batches if each.kind is kind and again in (None, each.again)]
        return [msgspec.json.decode(line, type=record) for batch in batches for line in batch.documents()]

    def builds(self, *, again: bool | None = None) -> list[BuildRecord]:
        return self.of(Kind.BUILDS, BuildRecord, again=again)

    def changes(self, *, again: bool | None = None) -> list[ChangeRecord]:
        return self.of(Kind.CHANGES, ChangeRecord, again=again)

    def samples(self) -> list[SampleRecord]:
        return self.of(Kind.SAMPLES, SampleRecord)

    def read(self, consumer: str, max_bytes: int) -> tuple[Sequence[Batch], int]:
        return [], 0

    def done(self, consumer: str, position: int) -> None: ...

    def depth(self, consumer: str) -> SpoolDepth:
        return SpoolDepth(0, 0, None)

    def reject(self, consumer: str, rejected: Sequence[Rejected]) -> None: ...

    def resend(self) -> int:
        return 0

    def close(self) -> None: ...
