"""Builds that have ended, as records, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from framework.telemetry.figures import figures
from framework.telemetry.records import RECORD_VERSION, BuildRecord

DAY_MS = 86_400_000
NOW_MS = 1_760_000_000_000


def past_build(number: int = 0, **given: Any) -> BuildRecord:
    """The build with this number, of which each ended a second before the one before it; ``given`` overrules."""
    ended_ms = given.pop("ended_at_ms", NOW_MS - 1000 * number)
    run_ms = given.pop("run_ms", 60_000)
    told: dict[str, Any] = {
        "id": f"b{number:06}",
        "at_ms": ended_ms,
        "v": RECORD_VERSION,
        "tenant": "payments",
        "job": "payments/nightly",
        "source": "jenkins",
        "result_class": "passed",
        "attempts": 1,
        "asked_cpu_millis": 2000,
        "asked_mem_mib": 4096,
        "asked_disk_mib": 0,
        "queued_at_ms": ended_ms - run_ms - 3000,
        "launched_at_ms": ended_ms - run_ms - 1000,
        "running_at_ms": ended_ms - run_ms,
        "started_at_ms": ended_ms - run_ms,
        "ended_at_ms": ended_ms,
        "run_ms": run_ms,
        "template": "maven",
        "host": "host-1",
    }
    told |= given
    told |= figures(told["asked_cpu_millis"], told["asked_mem_mib"], told.get("peak_mem_mib"), told["run_ms"])
    return BuildRecord(**told)
