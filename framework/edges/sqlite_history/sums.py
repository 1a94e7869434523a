"""Sums by span and group, kept up as builds come.

Builds are added up a thousand at a time: then many share a group, and each page of the file is written once for all of
them. Those that are not in the sums yet are told apart by their number; who asks adds them himself.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict

from framework.edges.sqlite_history.layout import FIGURES, KEY
from framework.edges.sqlite_history.packing import joined
from framework.edges.sqlite_history.spans import Cube

SUMMED_AT_ONCE = 1000
_COLUMNS = (*FIGURES, "longest_ms", "times")
_PUT = (
    f"INSERT INTO sums ({', '.join((*KEY, *_COLUMNS))}) VALUES ({', '.join('?' * (len(KEY) + len(_COLUMNS)))}) "  # noqa: S608
    f"ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in FIGURES)}, "
    "longest_ms = max(longest_ms, excluded.longest_ms), times = excluded.times"
)
_TIMES = f"SELECT times FROM sums WHERE {' AND '.join(f'{name} = ?' for name in KEY)}"  # noqa: S608
_NEW = (
    "SELECT at_ms, tenant, job, label, template, class, currency, "  # noqa: S608
    f"1, {', '.join((*FIGURES[1:], 'longest_ms', 'times'))} FROM builds WHERE n > ? ORDER BY n"
)
_CUBES = tuple((cube.number, cube.length_ms, cube.tenants, cube.jobs, cube.labels) for cube in Cube)


def summed_up(db: sqlite3.Connection) -> int:
    """The number of the last build that is in the sums."""
    found = db.execute("SELECT value FROM meta WHERE key = 'summed_up'").fetchone()
    return 0 if found is None else int(found[0])


def add_up(db: sqlite3.Connection, least: int = 1) -> None:
    """The builds that are not in the sums, where there are so many."""
    since = summed_up(db)
    (last,) = db.execute("SELECT max(n) FROM builds").fetchone()
    if last is None or last - since < least:
        return
    values: dict[tuple[int, ...], list[int]] = {}
    times: dict[tuple[int, ...], list[bytes]] = defaultdict(list)
    for at_ms, tenant, job, label, template, ended, currency, *of_build, longest_ms, its_times in db.execute(
        _NEW, (since,)
    ):
        for cube, length_ms, tenants, jobs, labels in _CUBES:
            of_label = (label, template) if labels else (0, 0)
            of_tenant = (tenant if tenants else 0, job if jobs else 0)
            key = (cube, at_ms // length_ms, *of_tenant, *of_label, ended, currency)
            times[key].append(its_times)
            found = values.get(key)
            if found is None:
                values[key] = [*of_build, longest_ms]
                continue
            values[key] = [one + other for one, other in zip(found, of_build, strict=False)]
            values[key].append(max(found[-1], longest_ms))
    # In the order in which they stand in the file.
    rows = [(*key, *values[key], _joined(db, key, b"".join(times[key]))) for key in sorted(values)]
    db.executemany(_PUT, rows)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('summed_up', ?)", (str(last),))


def _joined(db: sqlite3.Connection, key: tuple[int, ...], times: bytes) -> bytes:
    """With those that are there."""
    found = db.execute(_TIMES, key).fetchone()
    return joined(b"" if found is None else found[0], times)
