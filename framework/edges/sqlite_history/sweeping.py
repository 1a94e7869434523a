"""What is older than it is kept goes, a piece a transaction; it is not told any more from the first on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from framework.edges.sqlite_history.spans import Cube
from framework.edges.sqlite_history.taking import Names
from framework.telemetry.asking import DAY_MS
from framework.telemetry.records import Kind

PIECE = 1000
"""Builds that are removed at once, some 50 ms."""
ROUND = 20_000
"""Changes or samples that are looked at at once."""
Write = Callable[[], AbstractContextManager[sqlite3.Connection]]


class Sweep:
    """Changes and samples are looked through from one end to the other, going on where the last time ended: without an

    index by time, which would cost at each of millions of changes.
    """

    def __init__(self, write: Write, names: Names) -> None:
        self._write = write
        self._names = names
        self._change = ("", -1, "")
        self._sample = (-1, -1)

    def pieces(self, kept_from_ms: dict[Kind, int]) -> Iterator[None]:
        """Each step is a piece of the work."""
        builds_from_ms = kept_from_ms[Kind.BUILDS]
        while self._builds(builds_from_ms):
            yield
        for cube in Cube:
            while self._sums(cube, builds_from_ms // cube.length_ms):
                yield
        while self._changes(kept_from_ms[Kind.CHANGES]):
            yield
        while self._samples(kept_from_ms[Kind.SAMPLES]):
            yield
        self._forget_names(min(kept_from_ms.values()) // DAY_MS)
        yield

    def _builds(self, from_ms: int) -> bool:
        """Whether there may be more."""
        with self._write() as db:
            rows = db.execute(
                "SELECT n FROM builds WHERE at_ms < ? ORDER BY at_ms LIMIT ?", (from_ms, PIECE)
            ).fetchall()
            db.executemany("DELETE FROM documents WHERE n = ?", rows)
            db.executemany("DELETE FROM builds WHERE n = ?", rows)
        return len(rows) == PIECE

    def _sums(self, cube: Cube, end: int) -> bool:
        with self._write() as db:
            (first,) = db.execute("SELECT min(span) FROM sums WHERE cube = ?", (cube.number,)).fetchone()
            if first is None or first >= end:
                return False
            db.execute("DELETE FROM sums WHERE cube = ? AND span = ?", (cube.number, first))
        return True

    def _changes(self, from_ms: int) -> bool:
        with self._write() as db:
            rows = db.execute(
                "SELECT build, attempt, state FROM changes WHERE (build, attempt, state) > (?, ?, ?) "
                "ORDER BY build, attempt, state LIMIT 1 OFFSET ?",
                (*self._change, ROUND - 1),
            ).fetchall()
            last = rows[0] if rows else None
            until, values = ("", ()) if last is None else ("AND (build, attempt, state) <= (?, ?, ?)", last)
            db.execute(
                f"DELETE FROM changes WHERE (build, attempt, state) > (?, ?, ?) {until} AND at_ms < ?",  # noqa: S608
                (*self._change, *values, from_ms),
            )
        self._change = ("", -1, "") if last is None else last
        return last is not None

    def _samples(self, from_ms: int) -> bool:
        with self._write() as db:
            row = db.execute(
                "SELECT tenant, at_ms FROM samples WHERE (tenant, at_ms) > (?, ?) "
                "ORDER BY tenant, at_ms LIMIT 1 OFFSET ?",
                (*self._sample, ROUND - 1),
            ).fetchone()
            until, values = ("", ()) if row is None else ("AND (tenant, at_ms) <= (?, ?)", row)
            db.execute(
                f"DELETE FROM samples WHERE (tenant, at_ms) > (?, ?) {until} AND at_ms < ?",  # noqa: S608
                (*self._sample, *values, from_ms),
            )
        self._sample = (-1, -1) if row is None else row
        return row is not None

    def _forget_names(self, from_day: int) -> None:
        """That no record has which is kept."""
        with self._write() as db:
            gone = db.execute("DELETE FROM names WHERE last_day < ?", (from_day,)).rowcount
        if gone:
            self._names.forget()
