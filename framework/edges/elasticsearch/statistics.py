"""Statistics of builds, by aggregations.

Groups are those of a ``composite`` aggregation, which tells all there are, page by page and exactly, however many
indices there are. Where there are more than are asked for, one pass finds out which, by what they are ordered by alone;
another tells the rest of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from framework.edges.elasticsearch.edge import Answer
from framework.edges.elasticsearch.queries import Searching, equal
from framework.telemetry.asking import DAY_MS, MOST_GROUPS, bounded, within
from framework.telemetry.records import Kind
from framework.telemetry_ports import Dimension, Order, Percentiles, Stats, StatsAnswer, StatsQuery

PAGE = 10_000
PAGE_WITH_PERCENTILES = 1000
"""Groups of which Elasticsearch has percentiles in memory at once: of each some 20 kB."""
_INTERVALS = {Dimension.DAY: "1d", Dimension.HOUR: "1h"}
_FILTERS = ("tenant", "job", "label", "template")

Key = tuple[str | int | None, ...]


def _percentiles(field: str) -> dict[str, Any]:
    """Within 1 %."""
    how = {"percents": [50, 90, 99], "keyed": False, "hdr": {"number_of_significant_value_digits": 2}}
    return {"percentiles": {"field": field, **how}}


def _mean(field: str) -> dict[str, Any]:
    """Weighted by how long each build ran: times the sum of that, it is what was asked for or used over that time."""
    return {"weighted_avg": {"value": {"field": field}, "weight": {"field": "run_ms"}}}


def _sum(field: str) -> dict[str, Any]:
    return {"sum": {"field": field}}


_WAITS = {"waits": _percentiles("wait_ms")}
_PERCENTILES = {**_WAITS, "runs": _percentiles("run_ms")}
_COST = {"cost": _sum("cost_micros")}
_SUMS: dict[str, Any] = {
    "classes": {"terms": {"field": "result_class", "size": 100}},
    "attempts": _sum("attempts"),
    "currencies": {"terms": {"field": "currency", "size": 1000}, "aggs": _COST},
    "priced": {"value_count": {"field": "cost_micros"}},
    "ran_ms": _sum("run_ms"),
    "asked_cpu": _mean("asked_cpu_millis"),
    "asked_mem": _mean("asked_mem_mib"),
    "measured_cpu": {
        "filter": {"exists": {"field": "used_cpu_ms"}},
        "aggs": {"ran_ms": _sum("run_ms"), "asked": _mean("asked_cpu_millis"), "used": _sum("used_cpu_ms")},
    },
    "measured_mem": {
        "filter": {"exists": {"field": "peak_mem_mib"}},
        "aggs": {"ran_ms": _sum("run_ms"), "asked": _mean("asked_mem_mib"), "used": _mean("peak_mem_mib")},
    },
}
_ORDERED_BY: dict[Order, dict[str, Any]] = {Order.BUILDS: {}, Order.KEY: {}, Order.COST: _COST, Order.WAIT: _WAITS}


class _Number(msgspec.Struct, frozen=True, gc=False):
    value: float | None


class _Part(msgspec.Struct, frozen=True, gc=False):
    key: float
    value: float | None


class _Parts(msgspec.Struct, frozen=True):
    values: list[_Part]


class _Currency(msgspec.Struct, frozen=True):
    key: str
    cost: _Number


class _Currencies(msgspec.Struct, frozen=True):
    buckets: list[_Currency]


class _Class(msgspec.Struct, frozen=True, gc=False):
    key: str
    doc_count: int


class _Classes(msgspec.Struct, frozen=True):
    buckets: list[_Class]


class _Measured(msgspec.Struct, frozen=True):
    ran_ms: _Number
    asked: _Number
    used: _Number


class _Figures(msgspec.Struct, frozen=True):
    """What ``_SUMS`` and ``_PERCENTILES`` tell of one group."""

    classes: _Classes
    attempts: _Number
    currencies: _Currencies
    priced: _Number
    ran_ms: _Number
    asked_cpu: _Number
    asked_mem: _Number
    measured_cpu: _Measured
    measured_mem: _Measured
    waits: _Parts
    runs: _Parts


class _Bucket(_Figures, frozen=True):
    key: dict[str, str | int | None]
    doc_count: int


class _Rank(msgspec.Struct, frozen=True):
    """A group, and what it is ordered by."""

    key: dict[str, str | int | None]
    doc_count: int
    cost: _Number | None = None
    waits: _Parts | None = None


class _Groups(msgspec.Struct, frozen=True):
    buckets: list[_Bucket]
    after_key: dict[str, str | int | None] | None = None


class _Ranks(msgspec.Struct, frozen=True):
    buckets: list[_Rank]
    after_key: dict[str, str | int | None] | None = None


class _Count(msgspec.Struct, frozen=True):
    value: int


class _Hits(msgspec.Struct, frozen=True):
    total: _Count


class _TotalAnswer(msgspec.Struct, frozen=True):
    hits: _Hits
    aggregations: _Figures | None = None


class _First(msgspec.Struct, frozen=True):
    groups: _Groups
    waits: _Parts
    runs: _Parts


class _FirstAnswer(msgspec.Struct, frozen=True):
    aggregations: _First | None = None


class _GroupsOf(msgspec.Struct, frozen=True):
    groups: _Groups


class _GroupsAnswer(msgspec.Struct, frozen=True):
    aggregations: _GroupsOf


class _RanksOf(msgspec.Struct, frozen=True):
    groups: _Ranks


class _RanksAnswer(msgspec.Struct, frozen=True):
    aggregations: _RanksOf


NOTHING = Stats({}, 0, {}, 0, None, None, {}, 0, 0, 0, 0, 0, 0, 0)


def stats(searching: Searching, query: StatsQuery) -> StatsAnswer:
    """Raises as ``Searching.ask``."""
    since_ms = max(within(query.since_ms), searching.kept_from_ms(Kind.BUILDS))
    until_ms = within(query.until_ms)
    filters = [equal(name, value) for name in _FILTERS if (value := getattr(query, name)) is not None]
    filters.append({"range": {"at_ms": {"gte": since_ms, "lt": until_ms}}})
    if since_ms >= until_ms:
        return StatsAnswer([], NOTHING, more=False)
    limit = bounded(query.limit, MOST_GROUPS)
    try:
        one = _Asking(searching, filters, tuple(dict.fromkeys(query.by)), query.order, limit)
        if one.by and limit:
            return one.answer()
        total = one.total()
        return StatsAnswer([total] if limit and total.builds else [], total, more=False)
    except UnicodeEncodeError:
        return StatsAnswer([], NOTHING, more=False)


class _Asking:
    def __init__(
        self,
        searching: Searching,
        filters: list[dict[str, Any]],
        by: tuple[Dimension, ...],
        order: Order,
        limit: int,
    ) -> None:
        self._searching = searching
        self._filters = filters
        self.by = by
        self._order = order
        self._limit = limit

    def answer(self) -> StatsAnswer:
        """Where all groups are among the first that are told, they sum up to the total but for its percentiles."""
        groups = self._composite(self._limit + 1, {**_SUMS, **_PERCENTILES})
        first = self._ask(_FirstAnswer, {"groups": groups, **_PERCENTILES}).aggregations
        if first is None:
            return StatsAnswer([], NOTHING, more=False)
        found = [self._group(bucket) for bucket in first.groups.buckets]
        more = len(found) > self._limit
        if more and self._order is not Order.KEY:
            found = self._told_of(self._ranked())
        total = self.total() if more else _added(found, _read(first.waits), _read(first.runs))
        ordered = sorted(found, key=lambda group: _place(self._order, group))
        return StatsAnswer(ordered[: self._limit], total, more)

    def total(self) -> Stats:
        answer = self._ask(_TotalAnswer, {**_SUMS, **_PERCENTILES}, counted=True)
        return NOTHING if answer.aggregations is None else _stats({}, answer.hits.total.value, answer.aggregations)

    def _ranked(self) -> list[Key]:
        """The keys of the groups to tell."""
        size = PAGE_WITH_PERCENTILES if self._order is Order.WAIT else PAGE
        found: list[tuple[float, Key]] = []
        after = None
        while True:
            groups = self._composite(size, _ORDERED_BY[self._order], after)
            told = self._ask(_RanksAnswer, {"groups": groups}).aggregations.groups
            found += [(-self._rank(bucket), self._key(bucket.key)) for bucket in told.buckets]
            if len(told.buckets) < size:
                break
            after = told.after_key
        found.sort(key=lambda one: (one[0], _texts(one[1])))
        return [key for _, key in found[: self._limit]]

    def _rank(self, bucket: _Rank) -> float:
        if bucket.cost is not None:
            return bucket.cost.value or 0.0
        if bucket.waits is not None:
            waits = _read(bucket.waits)
            return -1.0 if waits is None else waits.p99_ms
        return bucket.doc_count

    def _told_of(self, keys: Sequence[Key]) -> list[Stats]:
        wanted = set(keys)
        filters = [self._among(dimension, {key[place] for key in keys}) for place, dimension in enumerate(self.by)]
        found: list[Stats] = []
        after = None
        while len(found) < len(wanted):
            groups = self._composite(PAGE_WITH_PERCENTILES, {**_SUMS, **_PERCENTILES}, after)
            told = self._ask(_GroupsAnswer, {"groups": groups}, filters).aggregations.groups
            found += [self._group(bucket) for bucket in told.buckets if self._key(bucket.key) in wanted]
            after = told.after_key
            if after is None:
                break
        return found

    def _among(self, dimension: Dimension, values: set[str | int | None]) -> dict[str, Any]:
        if dimension in _INTERVALS:
            times = [value for value in values if isinstance(value, int)]
            length_ms = DAY_MS if dimension is Dimension.DAY else 3_600_000
            return {"range": {"at_ms": {"gte": min(times), "lt": max(times) + length_ms}}}
        texts = [value for value in values if value is not None]
        some: list[dict[str, Any]] = [{"terms": {dimension.value: texts}}]
        if None in values:
            some.append(equal(dimension.value, ""))
        return {"bool": {"should": some}}

    def _ask(
        self,
        wanted: type[Answer],
        aggs: dict[str, Any],
        filters: Iterable[dict[str, Any]] = (),
        *,
        counted: bool = False,
    ) -> Answer:
        query = {"bool": {"filter": [*self._filters, *filters]}}
        body = {"size": 0, "query": query, "track_total_hits": counted, "aggs": aggs}
        return self._searching.ask(wanted, Kind.BUILDS, body)

    def _composite(
        self, size: int, aggs: dict[str, Any], after: dict[str, str | int | None] | None = None
    ) -> dict[str, Any]:
        sources: list[dict[str, Any]] = []
        for dimension in self.by:
            how: dict[str, Any]
            if dimension in _INTERVALS:
                how = {"date_histogram": {"field": "at_ms", "fixed_interval": _INTERVALS[dimension]}}
            else:
                how = {"terms": {"field": dimension.value, "missing_bucket": True}}
            sources.append({dimension.value: how})
        composite: dict[str, Any] = {"size": size, "sources": sources}
        if after is not None:
            composite["after"] = after
        return {"composite": composite, "aggs": aggs} if aggs else {"composite": composite}

    def _key(self, key: dict[str, str | int | None]) -> Key:
        return tuple(key[dimension.value] for dimension in self.by)

    def _group(self, bucket: _Bucket) -> Stats:
        key = dict(zip((dimension.value for dimension in self.by), _texts(self._key(bucket.key)), strict=True))
        return _stats(key, bucket.doc_count, bucket)


def _texts(key: Key) -> tuple[str, ...]:
    return tuple(_begin(value) if isinstance(value, int) else value or "" for value in key)


def _begin(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _stats(key: dict[str, str], builds: int, told: _Figures) -> Stats:
    cpu, mem = told.measured_cpu, told.measured_mem
    return Stats(
        key=key,
        builds=builds,
        by_class={one.key: one.doc_count for one in told.classes.buckets},
        attempts=_whole(told.attempts),
        waits=_read(told.waits),
        runs=_read(told.runs),
        cost_micros={one.key: _whole(one.cost) for one in told.currencies.buckets if one.cost.value is not None},
        unpriced=builds - _whole(told.priced),
        asked_cpu_ms=_over_time(told.asked_cpu, told.ran_ms),
        used_cpu_ms=_whole(cpu.used),
        measured_cpu_ms=_over_time(cpu.asked, cpu.ran_ms),
        asked_mem_mib_s=_over_time(told.asked_mem, told.ran_ms),
        peak_mem_mib_s=_over_time(mem.used, mem.ran_ms),
        measured_mem_mib_s=_over_time(mem.asked, mem.ran_ms),
    )


def _whole(number: _Number) -> int:
    return round(number.value or 0)


def _over_time(mean: _Number, ran_ms: _Number) -> int:
    return round((mean.value or 0) * (ran_ms.value or 0) / 1000)


def _read(parts: _Parts) -> Percentiles | None:
    values = [part.value for part in parts.values]
    if len(values) != 3 or None in values:
        return None
    p50_ms, p90_ms, p99_ms = (value or 0.0 for value in values)
    return Percentiles(p50_ms, p90_ms, p99_ms)


def _place(order: Order, group: Stats) -> tuple[float, tuple[str, ...]]:
    rank: float = 0
    if order is Order.BUILDS:
        rank = group.builds
    elif order is Order.COST:
        rank = sum(group.cost_micros.values())
    elif order is Order.WAIT:
        rank = -1 if group.waits is None else group.waits.p99_ms
    return -rank, tuple(group.key.values())


def _added(groups: Sequence[Stats], waits: Percentiles | None, runs: Percentiles | None) -> Stats:
    sums: dict[str, Any] = {}
    for name in Stats.__struct_fields__:
        values = [getattr(group, name) for group in groups]
        if name in ("by_class", "cost_micros"):
            sums[name] = {key: sum(one.get(key, 0) for one in values) for key in {key for one in values for key in one}}
        elif name not in ("key", "waits", "runs"):
            sums[name] = sum(values)
    return Stats(key={}, waits=waits, runs=runs, **sums)
