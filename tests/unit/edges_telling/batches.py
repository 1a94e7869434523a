"""Builds as they come out of the spool."""

from __future__ import annotations

import msgspec

from framework.telemetry.records import BuildRecord, Kind
from framework.telemetry_ports import Batch


def batch_of(*builds: BuildRecord) -> Batch:
    lines = [line for one in builds for line in ({"create": {"_id": one.id}}, one)]
    return Batch(Kind.BUILDS, len(builds), b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
