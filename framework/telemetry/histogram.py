"""Lengths of time counted in buckets that each grow by the same part: percentiles within ``ACCURACY`` of exact ones.

The buckets are those of DDSketch (Masson, Rim, Lee: DDSketch, VLDB 2019): bucket 0 is no time at all, bucket ``k`` the
times in ``(GROWTH**(k-2), GROWTH**(k-1)]`` ms. Counts of one bucket add up, so histograms of days make one of a month.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

ACCURACY = 0.02
GROWTH = (1 + ACCURACY) / (1 - ACCURACY)
BUCKETS = 1024
"""As many as ten bits tell apart; the last is past what any time in milliseconds comes to."""
_PER_LOG = 1 / math.log(GROWTH)


def bucket_of(ms: int) -> int:
    """Of a time, 0 where it is negative: a clock was set back."""
    return 0 if ms <= 0 else min(BUCKETS - 1, 1 + math.ceil(math.log(ms) * _PER_LOG))


def middle_ms(bucket: int) -> float:
    """Within ``ACCURACY`` of every time in the bucket."""
    return 0.0 if bucket == 0 else 2 * GROWTH ** (bucket - 1) / (GROWTH + 1)


def percentiles_ms(counts: Mapping[int, int], parts: Sequence[float]) -> list[float]:
    """For each part (0 to 1, ascending) the least time that so much of all are not above; none where there are none.

    ``counts``: by bucket.
    """
    buckets = sorted(counts)
    total = sum(counts.values())
    if not total:
        return []
    found: list[float] = []
    place, reached = 0, counts[buckets[0]]
    for part in parts:
        # A hair less, so that what is whole but for the last digit of a float, such as 0.07 * 100, is not one more.
        while reached < part * total - 1e-9:
            place += 1
            reached += counts[buckets[place]]
        found.append(middle_ms(buckets[place]))
    return found
