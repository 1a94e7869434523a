"""Histograms of waits and runs in a few bytes, which may be put one behind the other: that adds them up.

An entry is 32 bits, little end first: a slot (11 bits: waits or runs, and the bucket), then how many (21 bits). A slot
may come several times.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Mapping

from framework.telemetry.histogram import BUCKETS, bucket_of

_RUNS = BUCKETS
_COUNT_BITS = 21
_MOST = (1 << _COUNT_BITS) - 1
LONG_BYTES = 1024
_AT_ONCE = 4 * 20_000
"""Bytes counted in one call, about a millisecond: other threads wait for it."""
_FEW = 1000
"""Entries of which hardly two are alike."""


def pack_one(wait_ms: int | None, run_ms: int | None) -> bytes:
    """Of one build."""
    slots = [] if wait_ms is None else [bucket_of(wait_ms)]
    if run_ms is not None:
        slots.append(_RUNS + bucket_of(run_ms))
    return pack(dict.fromkeys(slots, 1))


def pack(counts: Mapping[int, int]) -> bytes:
    """Of counts by slot."""
    entries: list[int] = []
    for slot, count in counts.items():
        left = count
        while left > _MOST:
            entries.append(slot << _COUNT_BITS | _MOST)
            left -= _MOST
        entries.append(slot << _COUNT_BITS | left)
    return struct.pack(f"<{len(entries)}I", *entries)


def joined(packed: bytes, more: bytes) -> bytes:
    """Both, and brought together where that has become long."""
    both = packed + more
    return both if len(both) <= LONG_BYTES else pack(unpacked(both))


def unpacked(packed: bytes) -> dict[int, int]:
    """By slot. Entries that are alike, as most of many small histograms are, cost next to nothing."""
    counts: defaultdict[int, int] = defaultdict(int)
    for first in range(0, len(packed), _AT_ONCE):
        part = packed[first : first + _AT_ONCE]
        entries = struct.unpack(f"<{len(part) // 4}I", part)
        if len(entries) < _FEW:
            for entry in entries:
                counts[entry >> _COUNT_BITS] += entry & _MOST
            continue
        for entry, times in Counter(entries).items():
            counts[entry >> _COUNT_BITS] += (entry & _MOST) * times
    return counts


def waits_and_runs(counts: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """By bucket."""
    waits = {slot: count for slot, count in counts.items() if slot < _RUNS}
    runs = {slot - _RUNS: count for slot, count in counts.items() if slot >= _RUNS}
    return waits, runs
