"""Lists and single records, asked of all indices of a kind at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import msgspec

from framework.edges.elasticsearch import mapping
from framework.edges.elasticsearch.edge import Answer, ElasticsearchEdge, Other, RefusedError
from framework.telemetry.asking import (
    DAY_MS,
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
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, SampleRecord, in_order
from framework.telemetry_ports import BuildPage, BuildQuery, OperatorError, RunsQuery, SampleQuery

Told = TypeVar("Told", BuildRecord, ChangeRecord, SampleRecord)

MOST_CHANGES = 10_000
_LAST_FIRST = [{"at_ms": "desc"}, {"id": "desc"}]


class _Hit(msgspec.Struct, Generic[Told], frozen=True):
    source: Told = msgspec.field(name="_source")


class _Hits(msgspec.Struct, Generic[Told], frozen=True):
    hits: list[_Hit[Told]]


class _Page(msgspec.Struct, Generic[Told], frozen=True):
    hits: _Hits[Told]


class Searching:
    """Searches what is kept of each kind. Safe for several threads."""

    def __init__(
        self, edge: ElasticsearchEdge, prefix: str, keep_d: Mapping[Kind, int], clock: Callable[[], float]
    ) -> None:
        self._edge = edge
        self._prefix = prefix
        self._keep_d = keep_d
        self._clock = clock
        self._checked = False

    def kept_from_ms(self, kind: Kind) -> int:
        """By whole days; indices go later, when all of them is older."""
        return (int(self._clock() * 1000) // DAY_MS - self._keep_d[kind]) * DAY_MS

    def ask(self, wanted: type[Answer], kind: Kind, body: Mapping[str, Any]) -> Answer:
        """What is found in all that is there of a kind, which is nothing before it was first written.

        Raises UnavailableError and OperatorError; UnicodeEncodeError for text that no record can hold.
        """
        whole = "ignore_unavailable=true&allow_partial_search_results=false"
        path = f"/{mapping.alias(self._prefix, kind)}/_search?{whole}"
        with self._asking():
            return self._edge.ask(wanted, "POST", path, body)

    def ask_both(
        self,
        kind: Kind,
        first: tuple[type[Answer], Mapping[str, Any]],
        second: tuple[type[Other], Mapping[str, Any]],
    ) -> tuple[Answer, Other]:
        """As ``ask``, two at once: each is a matter of one processor for a while."""
        index = mapping.alias(self._prefix, kind)
        searched = {"index": index, "ignore_unavailable": True, "allow_partial_search_results": False}
        with self._asking():
            return self._edge.ask_both((first[0], second[0]), searched, (first[1], second[1]))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            if not self._checked:
                self._edge.check()
                self._checked = True
            yield
        except RefusedError as error:
            raise OperatorError(str(error)) from error


class Queries:
    """The lists of ``telemetry_ports.History``."""

    def __init__(self, searching: Searching) -> None:
        self._searching = searching

    def builds(self, query: BuildQuery) -> BuildPage:
        limit = bounded(query.limit, MOST_BUILDS)
        place = None if query.after is None else place_of(query.after)
        if query.after is not None and place is None:
            return BuildPage([], None)
        filters = [equal(name, value) for name in FILTERS if (value := getattr(query, name)) is not None]
        if query.result_classes:
            filters.append({"terms": {"result_class": query.result_classes}})
        span = self._span(Kind.BUILDS, query.since_ms, query.until_ms)
        found = self._found(_Page[BuildRecord], Kind.BUILDS, span, filters, limit + 1 if limit else 0, place)
        return BuildPage(found[:limit], place_behind(found[limit - 1]) if len(found) > limit else None)

    def build(self, build_id: str) -> BuildRecord | None:
        span = self._span(Kind.BUILDS, None, None)
        found = self._found(_Page[BuildRecord], Kind.BUILDS, span, [equal("id", build_id)], 1)
        return found[0] if found else None

    def changes(self, build_id: str) -> list[ChangeRecord]:
        span = self._span(Kind.CHANGES, None, None)
        return in_order(self._found(_Page[ChangeRecord], Kind.CHANGES, span, [equal("build", build_id)], MOST_CHANGES))

    def runs(self, query: RunsQuery) -> list[BuildRecord]:
        since_ms, until_ms = within(query.since_ms), within(query.until_ms)
        if since_ms >= until_ms:
            return []
        filters = [{"range": {"started_at_ms": {"lt": until_ms}}}]
        if query.host is not None:
            filters.append(equal("host", query.host))
        span = self._span(Kind.BUILDS, since_ms + 1, None)
        return self._found(_Page[BuildRecord], Kind.BUILDS, span, filters, bounded(query.limit, MOST_RUNS))

    def samples(self, query: SampleQuery) -> list[SampleRecord]:
        filters = [equal("tenant", query.tenant or "")]
        span = self._span(Kind.SAMPLES, query.since_ms, query.until_ms)
        found = self._found(_Page[SampleRecord], Kind.SAMPLES, span, filters, bounded(query.limit, MOST_SAMPLES))
        return found[::-1]

    def _span(self, kind: Kind, since_ms: int | None, until_ms: int | None) -> tuple[int, int]:
        kept_from_ms = self._searching.kept_from_ms(kind)
        return max(kept_from_ms, within(since_ms)), within(until_ms, END_MS)

    def _found(
        self,
        wanted: type[_Page[Told]],
        kind: Kind,
        span: tuple[int, int],
        filters: list[dict[str, Any]],
        limit: int,
        after: tuple[int, str] | None = None,
    ) -> list[Told]:
        """The last first."""
        found: list[Told] = []
        since_ms, until_ms = span
        if since_ms >= until_ms:
            return found
        query = {"bool": {"filter": [{"range": {"at_ms": {"gte": since_ms, "lt": until_ms}}}, *filters]}}
        body: dict[str, Any] = {"query": query, "sort": _LAST_FIRST, "track_total_hits": False}
        while len(found) < limit:
            body["size"] = min(mapping.MAX_PAGE, limit - len(found))
            if after is not None:
                body["search_after"] = after
            try:
                page = self._searching.ask(wanted, kind, body)
            except UnicodeEncodeError:
                return []
            found += [hit.source for hit in page.hits.hits]
            if len(page.hits.hits) < body["size"]:
                break
            after = found[-1].at_ms, found[-1].id
        return found


def equal(field: str, value: str) -> dict[str, Any]:
    """Empty text is left out of records."""
    return {"term": {field: value}} if value else {"bool": {"must_not": {"exists": {"field": field}}}}
