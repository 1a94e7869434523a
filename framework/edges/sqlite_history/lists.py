"""Builds in the order in which they ended, by any mix of filters; builds that ran at a time; changes; samples.

Within a transaction of the caller's.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from framework.edges.sqlite_history.layout import LONG_MS
from framework.telemetry.asking import (
    END_MS,
    FILTERS,
    MOST_BUILDS,
    MOST_RUNS,
    MOST_SAMPLES,
    bounded,
    place_behind,
    place_of,
    within,
)
from framework.telemetry.records import BuildRecord, ChangeRecord, SampleRecord, in_order
from framework.telemetry_ports import BuildPage, BuildQuery, RunsQuery, SampleQuery

ENOUGH = 50_000
"""Rows of a filter that are counted to find the rarest; all above are as common."""
Row = tuple[int, str, int]
"""Of a build: ``at_ms``, its id, the number of its row."""
_decode_build = msgspec.json.Decoder(BuildRecord).decode
_decode_sample = msgspec.json.Decoder(SampleRecord).decode


def number_of(db: sqlite3.Connection, name: str) -> int | None:
    """None where no record has that name."""
    try:
        found = db.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
    except UnicodeEncodeError:  # a lone surrogate, which no text on disk has
        return None
    return None if found is None else int(found[0])


def build_of(db: sqlite3.Connection, build_id: str, kept_from_ms: int) -> BuildRecord | None:
    try:
        found = db.execute(
            "SELECT record FROM builds JOIN documents USING (n) WHERE id = ? AND at_ms >= ?", (build_id, kept_from_ms)
        ).fetchone()
    except UnicodeEncodeError:
        return None
    return None if found is None else _decode_build(found[0])


def page_of(db: sqlite3.Connection, query: BuildQuery, kept_from_ms: int) -> BuildPage:
    nothing = BuildPage([], None)
    limit = bounded(query.limit, MOST_BUILDS)
    since_ms = max(within(query.since_ms), kept_from_ms)
    until_ms = within(query.until_ms, END_MS)
    after = None if query.after is None else place_of(query.after)
    if query.after is not None:
        if after is None:
            return nothing
        until_ms = min(until_ms, after[0] + 1)
    wanted: dict[str, int] = {}
    for name in FILTERS:
        value = getattr(query, name)
        if value is not None:
            number = number_of(db, value)
            if number is None:
                return nothing
            wanted[name] = number
    classes = {number for name in query.result_classes if (number := number_of(db, name)) is not None}
    if since_ms >= until_ms or not limit or (query.result_classes and not classes):
        return nothing
    found = _Lists(db, since_ms, until_ms, after, limit + 1).rows(wanted, sorted(classes))
    builds = _records(db, [n for _, _, n in found[:limit]])
    return BuildPage(builds, place_behind(builds[-1]) if len(found) > limit else None)


def _records(db: sqlite3.Connection, numbers: list[int]) -> list[BuildRecord]:
    """Of builds by their rows' numbers, in that order."""
    rows = db.execute("SELECT n, record FROM documents WHERE n IN (SELECT value FROM json_each(?))", (str(numbers),))
    found = dict(rows.fetchall())
    return [_decode_build(found[n]) for n in numbers]


class _Lists:
    """Rows that ended in ``[since_ms, until_ms)``, none of them later than ``after``, nor then with an id past it."""

    def __init__(
        self, db: sqlite3.Connection, since_ms: int, until_ms: int, after: tuple[int, str] | None, limit: int
    ) -> None:
        self._db = db
        self._span = (since_ms, until_ms)
        self._after = after
        self._limit = limit

    def rows(self, wanted: dict[str, int], classes: list[int]) -> list[Row]:
        """The last first; ``wanted`` and ``classes`` are numbers of names."""
        single = dict(wanted)
        if len(classes) == 1:
            single["class"] = classes[0]
        if single:
            return list(self._by(self._rarest(single), single, classes))
        if not classes:
            return list(self._by(None, {}, []))
        each = (self._by("class", {"class": one}, [one]) for one in classes)
        merged = heapq.merge(*each, key=lambda row: row[:2], reverse=True)
        return list(islice(merged, self._limit))

    def _rarest(self, single: dict[str, int]) -> str:
        if len(single) == 1:
            return next(iter(single))
        return min(single, key=lambda column: self._count(column, single[column]))

    def _count(self, column: str, number: int) -> int:
        found = self._db.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM builds INDEXED BY builds_of_{column} WHERE {column} = ? "  # noqa: S608
            "AND at_ms >= ? AND at_ms < ? LIMIT ?)",
            (number, *self._span, ENOUGH),
        ).fetchone()
        return int(found[0])

    def _by(self, column: str | None, single: dict[str, int], classes: list[int]) -> Iterator[Row]:
        """By that column's index; read as far as it is asked for."""
        where = ["at_ms >= ?", "at_ms < ?", *(f"{name} = ?" for name in single)]
        values: list[object] = [*self._span, *single.values()]
        if len(classes) > 1:
            where.append("class IN (SELECT value FROM json_each(?))")
            values.append(str(classes))
        if self._after is not None:
            where.append("(at_ms < ? OR id < ?)")
            values += self._after
        index = "builds_at" if column is None else f"builds_of_{column}"
        # Only names of columns and marks are put into the statement; every value is bound.
        statement = (
            f"SELECT at_ms, id, n FROM builds INDEXED BY {index} "  # noqa: S608
            f"WHERE {' AND '.join(where)} ORDER BY at_ms DESC, id DESC LIMIT ?"
        )
        return self._db.execute(statement, (*values, self._limit))


def runs_of(db: sqlite3.Connection, query: RunsQuery, kept_from_ms: int) -> list[BuildRecord]:
    since_ms, until_ms = within(query.since_ms), within(query.until_ms, END_MS)
    host = None if query.host is None else number_of(db, query.host)
    if since_ms >= until_ms or (query.host is not None and host is None):
        return []
    limit = bounded(query.limit, MOST_RUNS)
    # Who ran at a time ended within a day of it, but for the few that ran longer than that: those have an index.
    near_ms = min(until_ms + LONG_MS, END_MS)
    index = "builds_at" if host is None else "builds_of_host"
    of_host, hosts = ("", ()) if host is None else ("AND host = ?", (host,))
    statement = (
        f"SELECT at_ms, id, n FROM builds INDEXED BY {index} "  # noqa: S608
        f"WHERE at_ms > ? AND at_ms >= ? AND at_ms <= ? AND started_ms < ? {of_host} UNION ALL "
        "SELECT at_ms, id, n FROM builds INDEXED BY builds_long "
        f"WHERE at_ms > ? AND at_ms >= ? AND started_ms < ? AND at_ms - started_ms > {LONG_MS} {of_host} "
        "ORDER BY at_ms DESC, id DESC LIMIT ?"
    )
    values = (since_ms, kept_from_ms, near_ms, until_ms, *hosts, max(since_ms, near_ms), kept_from_ms, until_ms, *hosts)
    return _records(db, [n for _, _, n in db.execute(statement, (*values, limit))])


def changes_of(db: sqlite3.Connection, build_id: str, kept_from_ms: int) -> list[ChangeRecord]:
    try:
        rows = db.execute(
            "SELECT c.at_ms, c.v, c.build, t.name, c.state, c.attempt, h.name, r.name, c.message FROM changes c "
            "JOIN names t ON t.id = c.tenant JOIN names h ON h.id = c.host JOIN names r ON r.id = c.class "
            "WHERE c.build = ? AND c.at_ms >= ?",
            (build_id, kept_from_ms),
        ).fetchall()
    except UnicodeEncodeError:
        return []
    return in_order(ChangeRecord(f"{row[2]}.{row[5]}.{row[4]}", *row) for row in rows)


def samples_of(db: sqlite3.Connection, query: SampleQuery, kept_from_ms: int) -> list[SampleRecord]:
    tenant = number_of(db, query.tenant or "")
    if tenant is None:
        return []
    rows: Iterable[tuple[bytes]] = db.execute(
        "SELECT record FROM samples WHERE tenant = ? AND at_ms >= ? AND at_ms < ? ORDER BY at_ms DESC LIMIT ?",
        (
            tenant,
            max(within(query.since_ms), kept_from_ms),
            within(query.until_ms, END_MS),
            bounded(query.limit, MOST_SAMPLES),
        ),
    )
    found = [_decode_sample(record) for (record,) in rows]
    found.reverse()
    return found
