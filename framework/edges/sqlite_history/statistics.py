"""Statistics of builds. Within a transaction of the caller's.

First the groups are put into their order, by as few columns as tell it; then the figures of those that are asked for
are added up. Nothing is told apart in Python but what is in the answer: SQLite does the rest, and other threads run.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

import msgspec

from framework.edges.sqlite_history.layout import FIGURES
from framework.edges.sqlite_history.lists import number_of
from framework.edges.sqlite_history.packing import unpacked, waits_and_runs
from framework.edges.sqlite_history.spans import HOUR_MS, Cube, Piece, pieces
from framework.edges.sqlite_history.sums import summed_up
from framework.telemetry.asking import DAY_MS, END_MS, MOST_GROUPS, bounded, within
from framework.telemetry.histogram import bucket_of, middle_ms, percentiles_ms
from framework.telemetry_ports import Dimension, Order, Percentiles, Stats, StatsAnswer, StatsQuery

_WHOLE_MS = 5 * DAY_MS
_FILTERS = {
    Dimension.TENANT: "tenant",
    Dimension.JOB: "job",
    Dimension.LABEL: "label",
    Dimension.TEMPLATE: "template",
}
_COLUMNS = {**_FILTERS, Dimension.RESULT_CLASS: "class"}
_LENGTHS_MS = {Dimension.DAY: DAY_MS, Dimension.HOUR: HOUR_MS}
_RANKS = {Order.BUILDS: "sum(builds)", Order.COST: "sum(cost_micros)", Order.WAIT: "max(longest_ms)"}
_NEEDED = {Order.BUILDS: ["builds"], Order.COST: ["cost_micros"], Order.WAIT: ["longest_ms"], Order.KEY: []}
_LISTED = "SELECT {} FROM json_each(?)"
Key = tuple[int, ...]
"""A group's value of each dimension: the number of a name, or of a day or an hour since the epoch."""


class _Group:
    """What the builds of one group come to."""

    def __init__(self) -> None:
        self.by_class: Counter[int] = Counter()
        self.figures = dict.fromkeys(FIGURES, 0)
        self.costs: Counter[int] = Counter()
        self.priced: set[int] = set()  # currencies, also those of which the builds cost nothing
        self._times: list[str] = []

    def add(self, ended: int, currency: int, values: Sequence[int], times: str | None) -> None:
        for name, value in zip(FIGURES, values, strict=True):
            self.figures[name] += value
        builds, _, cost_micros, unpriced, *_ = values
        self.by_class[ended] += builds
        if unpriced < builds:
            self.priced.add(currency)
            self.costs[currency] += cost_micros
        if times:
            self._times.append(times)

    def counts(self) -> tuple[dict[int, int], dict[int, int]]:
        """Of waits and runs, by bucket."""
        return waits_and_runs(unpacked(bytes.fromhex("".join(self._times))))

    def stats(self, key: dict[str, str], names: dict[int, str]) -> Stats:
        waits, runs = self.counts()
        figures = self.figures
        return Stats(
            key=key,
            builds=figures["builds"],
            by_class={names[number]: builds for number, builds in self.by_class.items()},
            attempts=figures["attempts"],
            waits=_percentiles(waits),
            runs=_percentiles(runs),
            cost_micros={names[number]: self.costs[number] for number in self.priced},
            unpriced=figures["unpriced"],
            asked_cpu_ms=figures["asked_cpu_ms"],
            used_cpu_ms=figures["used_cpu_ms"],
            measured_cpu_ms=figures["measured_cpu_ms"],
            asked_mem_mib_s=figures["asked_mem_mib_s"],
            peak_mem_mib_s=figures["peak_mem_mib_s"],
            measured_mem_mib_s=figures["measured_mem_mib_s"],
        )


def _percentiles(counts: dict[int, int]) -> Percentiles | None:
    found = percentiles_ms(counts, (0.5, 0.9, 0.99))
    return Percentiles(*found) if found else None


def statistics_of(db: sqlite3.Connection, query: StatsQuery, kept_from_ms: int) -> StatsAnswer:
    since_ms = max(within(query.since_ms), kept_from_ms, 0)
    until_ms = within(query.until_ms, END_MS)
    (newest_ms,) = db.execute("SELECT max(at_ms) FROM builds").fetchone()
    if newest_ms is not None and until_ms > newest_ms:
        until_ms = (newest_ms // _WHOLE_MS + 1) * _WHOLE_MS  # so that sums serve up to the end
    wanted: dict[Dimension, int] = {}
    nowhere = newest_ms is None or since_ms >= until_ms
    for dimension in _FILTERS:
        value = getattr(query, dimension.value)
        if value is not None:
            number = number_of(db, value)
            if number is None:
                nowhere = True
            else:
                wanted[dimension] = number
    if nowhere:
        return StatsAnswer([], _Group().stats({}, {}), False)
    total = _Reckoning(db, since_ms, until_ms, (), wanted).groups(None).get((), _Group())
    limit = bounded(query.limit, MOST_GROUPS)
    if query.by:
        reckoning = _Reckoning(db, since_ms, until_ms, tuple(query.by), wanted)
        found, more = reckoning.first(query.order, limit)
    else:
        whole: list[tuple[Key, _Group]] = [((), total)] if total.figures["builds"] else []
        found, more = whole[:limit], len(whole) > limit
    names = _names(db, query.by, [*found, ((), total)])
    groups = [group.stats(_told(query.by, key, names), names) for key, group in found]
    return StatsAnswer(groups, total.stats({}, names), more)


class _Reckoning:
    """Of the builds that ended in ``[since_ms, until_ms)``, told apart by ``by``."""

    def __init__(
        self,
        db: sqlite3.Connection,
        since_ms: int,
        until_ms: int,
        by: tuple[Dimension, ...],
        wanted: dict[Dimension, int],
    ) -> None:
        self._db = db
        self._by = by
        self._wanted = wanted
        self._summed_up = summed_up(db)
        self._pieces = pieces(since_ms, until_ms, {*by, *wanted})
        self._keys = [f"k{place}" for place in range(len(by))]
        # An hour is of one day; the index has the day first, and what comes in its order need not be sorted.
        self._hidden = ["day"] if Dimension.HOUR in by and all(piece.cube is None for piece in self._pieces) else []
        self._apart = ", ".join((*self._keys, *self._hidden))

    def first(self, order: Order, limit: int) -> tuple[list[tuple[Key, _Group]], bool]:
        """The first groups of an order, and whether there are more."""
        if order is Order.WAIT:
            return self._longest_waits(limit)
        keys = self._first_by_key(limit + 1) if order is Order.KEY else self._first_by_rank(order, limit + 1)
        groups = self.groups(keys[:limit])
        return [(key, groups[key]) for key in keys[:limit]], len(keys) > limit

    def _first_by_rank(self, order: Order, limit: int) -> list[Key]:
        source, values = self._source(_NEEDED[order])
        keys = ", ".join(self._keys)
        statement = f"SELECT {keys} FROM ({source}) GROUP BY {self._apart} ORDER BY {_RANKS[order]} DESC LIMIT ?"  # noqa: S608
        return self._db.execute(statement, (*values, limit)).fetchall()

    def _first_by_key(self, limit: int) -> list[Key]:
        """The first groups have the first values of the first dimension, so that most need not be looked at."""
        first = self._first_values(1, limit, None)
        return first if len(self._by) == 1 or not first else self._first_values(len(self._by), limit, first)

    def _first_values(self, width: int, limit: int, keys: Sequence[Key] | None) -> list[Key]:
        """Of the first so many dimensions."""
        source, values = self._source([], keys)
        joins, order = "", []
        for name, dimension in zip(self._keys[:width], self._by, strict=False):
            if dimension in _LENGTHS_MS:
                order.append(name)
            else:
                joins += f" JOIN names n{name} ON n{name}.id = {name}"
                order.append(f"n{name}.name")
        told = ", ".join(self._keys[:width])
        statement = (
            f"SELECT {told} FROM (SELECT DISTINCT {told} FROM ({source})){joins} "  # noqa: S608
            f"ORDER BY {', '.join(order)} LIMIT ?"
        )
        return self._db.execute(statement, (*values, limit)).fetchall()

    def _longest_waits(self, limit: int) -> tuple[list[tuple[Key, _Group]], bool]:
        """By the 99th percentile of the waits. No group's is past its longest wait, so those are looked at in that

        order until no other can come before the last that was found.
        """
        found: list[tuple[float, Key, _Group]] = []
        left: list[tuple[Key, int]] = []
        ranked = self._by_longest_wait()
        while True:
            # More at a time the longer it takes: each time all sums are read.
            left = list(islice(ranked, max(10 * limit, 1000, 3 * len(found)) if limit else 1))
            if not left or not limit:
                break
            groups = self.groups([key for key, _ in left])
            for key, _ in left:
                worst = percentiles_ms(groups[key].counts()[0], (0.99,))
                found.append((worst[0] if worst else -1.0, key, groups[key]))
            found.sort(key=lambda one: -one[0])
            if len(found) > limit and found[limit - 1][0] >= middle_ms(bucket_of(left[-1][1])):
                break
        return [(key, group) for _, key, group in found[:limit]], len(found) > limit or bool(left and not limit)

    def _by_longest_wait(self) -> Iterator[tuple[Key, int]]:
        source, values = self._source(_NEEDED[Order.WAIT])
        keys = ", ".join(self._keys)
        statement = (
            f"SELECT {keys}, max(longest_ms) FROM ({source}) GROUP BY {self._apart} ORDER BY max(longest_ms) DESC"  # noqa: S608
        )
        for *key, longest_ms in self._db.execute(statement, values):
            yield tuple(key), longest_ms

    def groups(self, keys: Sequence[Key] | None) -> dict[Key, _Group]:
        """All that there are, or these."""
        if keys is not None and not keys:
            return {}
        source, values = self._source(["class", "currency", *FIGURES, "times"], keys)
        told = ", ".join((*self._keys, "class", "currency"))
        sums = ", ".join(f"sum({name})" for name in FIGURES)
        statement = f"SELECT {told}, {sums}, group_concat(hex(times), '') FROM ({source}) GROUP BY {told}"  # noqa: S608
        groups: dict[Key, _Group] = {}
        width = len(self._keys)
        for row in self._db.execute(statement, values):
            group = groups.setdefault(row[:width], _Group())
            group.add(row[width], row[width + 1], row[width + 2 : -1], row[-1])
        return groups

    def _source(self, columns: Sequence[str], keys: Sequence[Key] | None = None) -> tuple[str, list[object]]:
        """A statement that has the dimensions as ``k0`` and so on, these columns, and rows of these groups alone.

        ``keys``: the groups, or of them the first dimensions.
        """
        statements: list[str] = []
        values: list[object] = []
        rows = [(piece.cube, *self._rows(piece, keys)) for piece in self._pieces]
        # What the sums do not have yet.
        rows += [(None, *self._late(piece, keys)) for piece in self._pieces if piece.cube is not None]
        for cube, table, where, its_values in rows:
            told = [f"{_column(dimension, cube)} AS k{place}" for place, dimension in enumerate(self._by)]
            told += ["1 AS builds" if name == "builds" and cube is None else name for name in columns]
            told += self._hidden
            where += [f"{_FILTERS[dimension]} = ?" for dimension in self._wanted]
            # Only names of columns and marks are put into the statement; every value is bound.
            statements.append(f"SELECT {', '.join(told or ['1'])} FROM {table} WHERE {' AND '.join(where)}")  # noqa: S608
            values += [*its_values, *self._wanted.values()]
        return " UNION ALL ".join(statements), values

    def _rows(self, piece: Piece, keys: Sequence[Key] | None) -> tuple[str, list[str], list[object]]:
        """The table, conditions, and the values in both."""
        if piece.cube is None:
            return self._builds(piece, keys)
        where = ["cube = ?", "span >= ?", "span < ?"]
        values: list[object] = [piece.cube.number, piece.first, piece.end]
        if keys is not None:
            self._hold(keys, piece.cube, where, values)
        return "sums", where, values

    def _late(self, piece: Piece, keys: Sequence[Key] | None) -> tuple[str, list[str], list[object]]:
        length_ms = 1 if piece.cube is None else piece.cube.length_ms
        where = ["n > ?", "at_ms >= ?", "at_ms < ?"]
        values: list[object] = [self._summed_up, piece.first * length_ms, piece.end * length_ms]
        if keys is not None:
            self._hold(keys, None, where, values)
        return "builds NOT INDEXED", where, values

    def _hold(self, keys: Sequence[Key], cube: Cube | None, where: list[str], values: list[object]) -> None:
        """To these groups."""
        columns = [_column(dimension, cube) for dimension in self._by[: len(keys[0])]]
        where.append(f"({', '.join(columns)}) IN ({_LISTED.format(_extracted(len(columns)))})")
        values.append(_json(keys))

    def _builds(self, piece: Piece, keys: Sequence[Key] | None) -> tuple[str, list[str], list[object]]:
        where = ["at_ms >= ?", "at_ms < ?"]
        values: list[object] = [piece.first, piece.end]
        narrow = next((name for name in (Dimension.JOB, Dimension.TENANT) if name in self._wanted), None)
        broad = next((name for name in (Dimension.JOB, Dimension.TENANT) if name in self._by), None)
        if keys is None or broad not in self._by[: len(keys[0])]:
            if narrow is not None:
                index = f"builds_of_{narrow}"
            elif broad is not None:
                index = f"builds_by_{broad}"
                where += ["day >= ?", "day <= ?"]
                values += [piece.first // DAY_MS, (piece.end - 1) // DAY_MS]
            else:
                index = "builds_at"
            if keys is not None:
                self._hold(keys, None, where, values)
            return f"builds INDEXED BY {index}", where, values
        # The groups first, and the builds of each by an index.
        given = self._by[: len(keys[0])]
        where += [f"{_column(dimension, None)} = w{place}" for place, dimension in enumerate(given)]
        index = f"builds_of_{broad}"
        if Dimension.DAY in given or Dimension.HOUR in given:
            index = f"builds_by_{broad}"
            if Dimension.DAY not in given:
                where.append(f"day = w{given.index(Dimension.HOUR)} / 24")
        listed = _LISTED.format(_extracted(len(given), " AS w"))
        return f"({listed}) CROSS JOIN builds INDEXED BY {index}", where, [_json(keys), *values]


def _extracted(width: int, named: str = "") -> str:
    """The parts of a key."""
    return ", ".join(f"json_extract(value, '$[{place}]'){named and f'{named}{place}'}" for place in range(width))


def _json(keys: Sequence[Key]) -> str:
    return msgspec.json.encode(keys).decode()


def _column(dimension: Dimension, cube: Cube | None) -> str:
    length_ms = _LENGTHS_MS.get(dimension)
    if length_ms is None:
        return _COLUMNS[dimension]
    return dimension.value if cube is None else f"span / {length_ms // cube.length_ms}"


def _names(db: sqlite3.Connection, by: Sequence[Dimension], found: Iterable[tuple[Key, _Group]]) -> dict[int, str]:
    numbers: set[int] = set()
    for key, group in found:  # the key of the total is empty
        numbers.update(number for number, dimension in zip(key, by, strict=False) if dimension not in _LENGTHS_MS)
        numbers.update(group.by_class, group.priced)
    rows = db.execute(
        "SELECT id, name FROM names WHERE id IN (SELECT value FROM json_each(?))", (str(sorted(numbers)),)
    )
    return dict(rows.fetchall())


def _told(by: Sequence[Dimension], key: Key, names: dict[int, str]) -> dict[str, str]:
    return {
        dimension.value: _begin(value * _LENGTHS_MS[dimension]) if dimension in _LENGTHS_MS else names[value]
        for dimension, value in zip(by, key, strict=True)
    }


def _begin(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
