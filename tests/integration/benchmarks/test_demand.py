"""``butlery bench demand``, small: all that a few masters tell is taken, and each item requested once."""

from __future__ import annotations

from rich.console import Console

from benchmarks.demand import run as demand


def test_all_that_is_told_is_taken() -> None:
    figures = demand.run(masters=4, seconds=2, rate=80, console=Console(quiet=True))
    assert figures["events"] == 4 + 8 * 20
    assert figures["posts"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert figures["events_per_s"] > 0
    assert figures["events_per_cpu_s"] > 0
