"""What one build adds to statistics, in whole numbers, so that every history sums up the same.

A build ran from when it was started until it ended (``run_ms``); one that never was ran no time.
"""

from __future__ import annotations

from typing import NamedTuple

from framework.telemetry.records import BuildRecord


class Figures(NamedTuple):
    """As the fields of ``framework.telemetry_ports.Stats``."""

    asked_cpu_ms: int
    used_cpu_ms: int  # 0 where nobody measured it
    measured_cpu_ms: int  # as ``asked_cpu_ms``, and 0 where nobody measured what was used
    asked_mem_mib_s: int
    peak_mem_mib_s: int  # 0 where nobody measured it
    measured_mem_mib_s: int


def figures(build: BuildRecord) -> Figures:
    run_ms = build.run_ms or 0
    asked_cpu_ms = build.asked_cpu_millis * run_ms // 1000
    asked_mem_mib_s = build.asked_mem_mib * run_ms // 1000
    measured_cpu, peak_mem_mib = build.used_cpu_ms is not None, build.peak_mem_mib
    return Figures(
        asked_cpu_ms,
        build.used_cpu_ms or 0,
        asked_cpu_ms if measured_cpu else 0,
        asked_mem_mib_s,
        0 if peak_mem_mib is None else int(peak_mem_mib * run_ms) // 1000,
        0 if peak_mem_mib is None else asked_mem_mib_s,
    )
