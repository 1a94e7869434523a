"""Statistics of builds, by aggregations.

Groups are those of a ``composite`` aggregation, which tells all there are, page by page and exactly, however many
indices there are. Where there are more than are asked for, one pass finds out which, by what they are ordered by alone;
another tells the rest of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from heapq import nlargest
from typing import Any

import msgspec

from framework.edges.elasticsearch.edge import Answer
from framework.edges.elasticsearch.queries import Searching, equal
from framework.telemetry.asking import DAY_MS, MOST_GROUPS, bounded, within
from framework.telemetry.records import Kind
from framework.telemetry_ports import Dimension, Order, Percentiles, Stats, StatsAnswer, StatsQuery

PAGE = 50_000
"""Groups of one answer; Elasticsearch's own bound is 65,536, and each answer is a look at every build."""
PAGE_WITH_PERCENTILES = 2500
"""Those of which Elasticsearch has percentiles in memory at once: of each some 20 kB."""
_INTERVALS = {Dimension.DAY: "1d", Dimension.HOUR: "1h"}
_FILTERS = ("tenant", "job", "label", "template")

Key = tuple[str | int | None, ...]


def _percentiles(field: str) -> dict[str, Any]:
    """Within 1 %."""
    how = {"percents": [50, 90, 99], "keyed": False, "hdr": {"number_of_significant_value_digits": 2}}
    return {"percentiles": {"field": field, **how}}


def _sum(field: str) -> dict[str, Any]:
    return {"sum": {"field": field}}


def _where_known(known: str, field: str) -> dict[str, Any]:
    return {"filter": {"exists": {"field": known}}, "aggs": {"asked": _sum(field)}}


_WAITS = {"waits": _percentiles("wait_ms")}
_PERCENTILES = {**_WAITS, "runs": _percentiles("run_ms")}
_COST = {"cost": _sum("cost_micros")}
_SUMS: dict[str, Any] = {
    "classes": {"terms": {"field": "result_class", "size": 100}},
    "attempts": _sum("attempts"),
    "currencies": {"terms": {"field": "currency", "size": 1000}, "aggs": _COST},
    "priced": {"value_count": {"field": "cost_micros"}},
    "asked_cpu": _sum("asked_cpu_ms"),
    "used_cpu": _sum("used_cpu_ms"),
    "measured_cpu": _where_known("used_cpu_ms", "asked_cpu_ms"),
    "asked_mem": _sum("asked_mem_mib_s"),
    "peak_mem": _sum("peak_mem_mib_s"),
    "measured_mem": _where_known("peak_mem_mib", "asked_mem_mib_s"),
}
_ALL = {**_SUMS, **_PERCENTILES}
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
    asked: _Number


class _Figures(msgspec.Struct, frozen=True):
    """What ``_SUMS`` and ``_PERCENTILES`` tell of one group."""

    classes: _Classes
    attempts: _Number
    currencies: _Currencies
    priced: _Number
    asked_cpu: _Number
    used_cpu: _Number
    measured_cpu: _Measured
    asked_mem: _Number
    peak_mem: _Number
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


class _GroupsOf(msgspec.Struct, frozen=True):
    groups: _Groups


class _GroupsAnswer(msgspec.Struct, frozen=True):
    aggregations: _GroupsOf | None = None


class _RanksOf(msgspec.Struct, frozen=True):
    groups: _Ranks


class _RanksAnswer(msgspec.Struct, frozen=True):
    aggregations: _RanksOf | None = None


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
        one = _Asking(searching, filters, query, limit)
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
        query: StatsQuery,
        limit: int,
    ) -> None:
        self._searching = searching
        self._filters = filters
        self.by = tuple(dict.fromkeys(query.by))
        self._of_one_tenant = query.tenant is not None
        self._order = query.order
        self._limit = limit
        self._page = PAGE_WITH_PERCENTILES if query.order is Order.WAIT else PAGE

    def answer(self) -> StatsAnswer:
        """Where there may be many groups it is found out first which are told; the total meanwhile."""
        if self._order is Order.KEY or self._may_be_few():
            page, total = self._beside_total(_GroupsAnswer, self._composite(self._limit + 1, _ALL))
            found = [] if page.aggregations is None else [self._group(one) for one in page.aggregations.groups.buckets]
            more = len(found) > self._limit
            if more and self._order is not Order.KEY:
                found = self._told_of(self._first(self._ranked(self._ranks())))
        else:
            ranks, total = self._beside_total(_RanksAnswer, self._by_rank())
            ranked = self._ranked(ranks)
            more = len(ranked) > self._limit
            found = self._told_of(self._first(ranked))
        ordered = sorted(found, key=lambda group: _place(self._order, group))
        return StatsAnswer(ordered[: self._limit], total, more)

    def _may_be_few(self) -> bool:
        """Of one tenant, and by anything but tenant and job, there seldom are more groups than are told."""
        return self._of_one_tenant or not {Dimension.TENANT, Dimension.JOB} & set(self.by)

    def _beside_total(self, wanted: type[Answer], groups: dict[str, Any]) -> tuple[Answer, Stats]:
        asked = wanted, self._body({"groups": groups})
        answer, total = self._searching.ask_both(Kind.BUILDS, asked, (_TotalAnswer, self._body(_ALL, counted=True)))
        return answer, _total(total)

    def total(self) -> Stats:
        return _total(self._ask(_TotalAnswer, self._body(_ALL, counted=True)))

    def _by_rank(self, after: dict[str, str | int | None] | None = None) -> dict[str, Any]:
        return self._composite(self._page, _ORDERED_BY[self._order], after)

    def _ranks(self, after: dict[str, str | int | None] | None = None) -> _RanksAnswer:
        return self._ask(_RanksAnswer, self._body({"groups": self._by_rank(after)}))

    def _ranked(self, answer: _RanksAnswer) -> list[_Rank]:
        """All groups, from the first page of them on, each with what it is ordered by."""
        found: list[_Rank] = []
        while answer.aggregations is not None:
            told = answer.aggregations.groups
            found += told.buckets
            if len(told.buckets) < self._page:  # Elasticsearch tells where to go on behind the last page too
                break
            answer = self._ranks(told.after_key)
        return found

    def _first(self, ranked: list[_Rank]) -> list[Key]:
        """The keys of the groups to tell; of equals any."""
        return [self._key(one.key) for one in nlargest(self._limit, ranked, key=self._rank)]

    def _rank(self, bucket: _Rank) -> float:
        if bucket.cost is not None:
            return bucket.cost.value or 0.0
        if bucket.waits is not None:
            waits = _read(bucket.waits)
            return -1.0 if waits is None else waits.p99_ms
        return bucket.doc_count

    def _told_of(self, keys: Sequence[Key]) -> list[Stats]:
        if not keys:
            return []
        wanted = set(keys)
        filters = [self._among(dimension, {key[place] for key in keys}) for place, dimension in enumerate(self.by)]
        found: list[Stats] = []
        after = None
        while len(found) < len(wanted):
            groups = self._composite(PAGE_WITH_PERCENTILES, _ALL, after)
            answer = self._ask(_GroupsAnswer, self._body({"groups": groups}, filters)).aggregations
            if answer is None:
                break
            told = answer.groups
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

    def _ask(self, wanted: type[Answer], body: dict[str, Any]) -> Answer:
        return self._searching.ask(wanted, Kind.BUILDS, body)

    def _body(
        self, aggs: dict[str, Any], filters: Iterable[dict[str, Any]] = (), *, counted: bool = False
    ) -> dict[str, Any]:
        query = {"bool": {"filter": [*self._filters, *filters]}}
        return {"size": 0, "query": query, "track_total_hits": counted, "aggs": aggs}

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
    return Stats(
        key=key,
        builds=builds,
        by_class={one.key: one.doc_count for one in told.classes.buckets},
        attempts=_whole(told.attempts),
        waits=_read(told.waits),
        runs=_read(told.runs),
        cost_micros={one.key: _whole(one.cost) for one in told.currencies.buckets if one.cost.value is not None},
        unpriced=builds - _whole(told.priced),
        asked_cpu_ms=_whole(told.asked_cpu),
        used_cpu_ms=_whole(told.used_cpu),
        measured_cpu_ms=_whole(told.measured_cpu.asked),
        asked_mem_mib_s=_whole(told.asked_mem),
        peak_mem_mib_s=_whole(told.peak_mem),
        measured_mem_mib_s=_whole(told.measured_mem.asked),
    )


def _total(told: _TotalAnswer) -> Stats:
    return NOTHING if told.aggregations is None else _stats({}, told.hits.total.value, told.aggregations)


def _whole(number: _Number) -> int:
    return round(number.value or 0)


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
