"""Records of telemetry, and batches of them as the spool hands them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from framework.telemetry.figures import figures
from framework.telemetry.records import RECORD_VERSION, BuildRecord, ChangeRecord, Kind, Record, SampleRecord
from framework.telemetry_ports import Batch

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
FIRST_DAY_MS = 1_772_323_200_000
"""2026-03-01T00:00Z."""
_KINDS = {BuildRecord: Kind.BUILDS, ChangeRecord: Kind.CHANGES, SampleRecord: Kind.SAMPLES}


def build(build_id: str, at_ms: int = FIRST_DAY_MS, run_ms: int | None = MINUTE_MS, **changes: Any) -> BuildRecord:
    """One that passed; with ``run_ms`` None it never began."""
    started_ms = None if run_ms is None else at_ms - run_ms
    plain: dict[str, Any] = {
        "id": build_id,
        "at_ms": at_ms,
        "v": RECORD_VERSION,
        "tenant": "shop",
        "job": "acme/shop",
        "source": "jenkins",
        "result_class": "passed",
        "attempts": 1,
        "asked_cpu_millis": 1000,
        "asked_mem_mib": 2048,
        "asked_disk_mib": 4096,
        "queued_at_ms": at_ms - 2 * MINUTE_MS,
        "ended_at_ms": at_ms,
        "started_at_ms": started_ms,
        "run_ms": run_ms,
    }
    told = plain | changes
    told |= figures(told["asked_cpu_millis"], told["asked_mem_mib"], told.get("peak_mem_mib"), told["run_ms"])
    return BuildRecord(**told)


def change(build_id: str, state: str, at_ms: int = FIRST_DAY_MS, attempt: int = 1, **changes: Any) -> ChangeRecord:
    plain: dict[str, Any] = {"tenant": "shop"}
    return ChangeRecord(
        id=f"{build_id}.{attempt}.{state}",
        at_ms=at_ms,
        v=RECORD_VERSION,
        build=build_id,
        state=state,
        attempt=attempt,
        **(plain | changes),
    )


def sample(at_ms: int = FIRST_DAY_MS, tenant: str = "", **changes: Any) -> SampleRecord:
    plain: dict[str, Any] = {"waiting": 1, "launching": 2, "running": 3, "used_cpu_millis": 500, "used_mem_mib": 600}
    return SampleRecord(
        id=f"{at_ms}~{tenant}",
        at_ms=at_ms,
        v=RECORD_VERSION,
        scope="tenant" if tenant else "cluster",
        tenant=tenant,
        **(plain | changes),
    )


def batch(records: Sequence[Record], *, again: bool = False) -> Batch:
    """Of records of one kind, of which there is one at least."""
    return Batch.of(_KINDS[type(records[0])], records, again=again)


def raw_batch(kind: Kind, lines: Sequence[tuple[str, bytes]], *, again: bool = False) -> Batch:
    """Of ids, each with its line of JSON."""
    payload = b"".join(
        msgspec.json.encode({"create": {"_id": record_id}}) + b"\n" + document + b"\n" for record_id, document in lines
    )
    return Batch(kind, len(lines), payload, again)
