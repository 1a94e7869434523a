"""Numbers as the benchmarks take and tell them."""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
from collections.abc import Iterator, Sequence

from framework.runtime.garbage import look_seldom


@contextlib.contextmanager
def as_in_the_scheduler() -> Iterator[None]:
    """Looks for garbage as seldom as the scheduler's process does, for what of it is measured in this one."""
    gc.collect()
    usual = gc.get_threshold()
    look_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` (0 to 1) of the values do not exceed (nearest rank); None of no values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """Count, percentiles and extremes in seconds, to the millisecond."""
    return {
        "count": len(values),
        "min_s": rounded(min(values, default=None)),
        "p50_s": rounded(percentile(values, 0.5)),
        "p90_s": rounded(percentile(values, 0.9)),
        "p99_s": rounded(percentile(values, 0.99)),
        "max_s": rounded(max(values, default=None)),
        "stdev_s": rounded(statistics.stdev(values)) if len(values) > 1 else None,
    }


def rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
