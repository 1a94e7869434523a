"""The garbage collector, set for a process whose records are many and live long."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 50_000
"""A turn that places 8000 builds makes some 50,000 records, all of which stay; with Python's 700 the collector looks

through them dozens of times in that turn and finds nothing (a third of the turn's time, by ``bench placement``).
"""


def tune() -> None:
    """To be called once, when the state is loaded: what is there then is left out of every later collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
