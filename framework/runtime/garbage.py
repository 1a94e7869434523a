"""How often Python looks for garbage that refers to itself, in a process that holds a whole cluster's state."""

from __future__ import annotations

import gc

THRESHOLDS = (2_000, 500, 100)
"""Objects made and not freed before the youngest are looked at (Python 3.11's own: 700, 10, 10).

Offers and updates live for seconds and are freed by themselves; looked at every 700 objects they count as old, and with
what is old all of it is looked at: 0.16 s with 40,000 builds, every ten seconds (``butlery bench core``). The youngest
2000 take a millisecond, in which nobody is served; what they leave is looked at when there are a million of it.
"""


def look_seldom() -> None:
    """For the whole process. What it costs in memory is what a million objects take at most, some 100 MiB."""
    gc.set_threshold(*THRESHOLDS)
