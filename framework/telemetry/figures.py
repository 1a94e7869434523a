"""What one build adds to sums over builds, in whole numbers, so that every history sums up the same."""

from __future__ import annotations

from typing import TypedDict


class Figures(TypedDict):
    """Fields of ``framework.telemetry.records.BuildRecord``."""

    run_ms: int | None
    asked_cpu_ms: int
    asked_mem_mib_s: int
    peak_mem_mib_s: int


def figures(asked_cpu_millis: int, asked_mem_mib: int, peak_mem_mib: float | None, run_ms: int | None) -> Figures:
    """Of a build that ran for ``run_ms``, from when it was started until it ended; None: it never was started."""
    ran_ms = run_ms or 0
    return Figures(
        run_ms=run_ms,
        asked_cpu_ms=asked_cpu_millis * ran_ms // 1000,
        asked_mem_mib_s=asked_mem_mib * ran_ms // 1000,
        peak_mem_mib_s=int((peak_mem_mib or 0.0) * ran_ms) // 1000,
    )
