"""How questions to a history are bounded, and where a page of it goes on: the same in every sink."""

from __future__ import annotations

from framework.setting_types import DAY_S
from framework.telemetry.records import BuildRecord

DAY_MS = 1000 * DAY_S
MOST_BUILDS = 10_000
MOST_RUNS = 100_000
MOST_SAMPLES = 1_000_000
MOST_GROUPS = 1000
END_MS = 1 << 52
"""Later than any record is, and a time that every sink takes."""
FILTERS = ("tenant", "job", "label", "template", "host")
"""Of a ``BuildQuery``; each holds a field of that name to one value."""


def within(ms: int | None, otherwise: int = 0) -> int:
    """A time that every sink takes; ``otherwise`` where none is asked for."""
    return otherwise if ms is None else max(-1, min(ms, END_MS))


def bounded(limit: int, most: int) -> int:
    return max(0, min(limit, most))


def place_behind(record: BuildRecord) -> str:
    """Where a page goes on that follows one which ends with this build: ``BuildPage.next``."""
    return f"{record.at_ms}~{record.id}"


def place_of(after: str) -> tuple[int, str] | None:
    """The end and the id of the build before a page; None where there can be none such."""
    at_ms, _, build_id = after.partition("~")
    if not (at_ms.isascii() and at_ms.isdigit() and len(at_ms) < 16):
        return None
    try:
        build_id.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no record has
        return None
    return int(at_ms), build_id
