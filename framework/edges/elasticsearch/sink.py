"""The history of builds in Elasticsearch: records go into it in bulk, each once, and questions are asked of it.

Each record is created by its id, so that the one that is there stays. Elasticsearch keeps ids apart within one index
only. A batch that was not sent before goes straight into the newest index, where the same call comes to nothing the
second time; of one that may have been sent to an index before that (``Batch.again``), or while the newest is so new
that another scheduler may have sent it to the one before, the ids are looked up in the older ones first. Those are shut
before anything goes into a newer one, so that a scheduler which does not know of it cannot write past it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

import msgspec

from framework.edges.elasticsearch import bulk
from framework.edges.elasticsearch.bulk import IndexGoneError, Piece
from framework.edges.elasticsearch.edge import NDJSON, ElasticsearchEdge, RefusedError
from framework.edges.elasticsearch.indices import Indices
from framework.edges.elasticsearch.queries import Queries, Searching
from framework.edges.elasticsearch.statistics import stats
from framework.errors import ButleryError
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, SampleRecord
from framework.telemetry_ports import (
    Batch,
    BuildPage,
    BuildQuery,
    OperatorError,
    Rejected,
    RunsQuery,
    SampleQuery,
    StatsAnswer,
    StatsQuery,
)
from framework.telemetry_settings import TelemetrySettings

MAX_BODY_BYTES = 8 << 20
"""Of one bulk request at first. Elasticsearch takes 100 MB; what stands before it may take less, and is found out."""
NEW_INDEX_S = 600.0
LOOKED_UP_AT_ONCE = 5000
WRITE_TIMEOUT_S = 2
"""How long Elasticsearch itself waits for a part of an index that is not there, as after its start."""
FAR_CLOCKS_S = 60.0
TOO_FAR_CLOCKS_S = 3600.0


class _Hit(msgspec.Struct, frozen=True, gc=False):
    _id: str


class _Hits(msgspec.Struct, frozen=True):
    hits: list[_Hit] = []


class _Found(msgspec.Struct, frozen=True):
    hits: _Hits = _Hits()


class _NodeTime(msgspec.Struct, frozen=True):
    timestamp: int


class _Times(msgspec.Struct, frozen=True):
    nodes: dict[str, _NodeTime] = {}


class _Health(msgspec.Struct, frozen=True):
    status: str
    indices: dict[str, _Health] = {}


class ElasticsearchSink:
    """``telemetry_ports.Sink`` on an Elasticsearch 7.17, 8 or 9."""

    name = "elasticsearch"
    kinds = frozenset(Kind)
    shared = True

    def __init__(self, settings: TelemetrySettings, clock: Callable[[], float] = time.time) -> None:
        """Calls nobody yet. ``clock`` gives seconds since the epoch. Raises InputError for a bad ``ca_file``."""
        search = settings.elasticsearch
        self._edge = ElasticsearchEdge(search)
        self._clock = clock
        keep_d = {
            Kind.BUILDS: settings.keep_builds_d,
            Kind.CHANGES: settings.keep_changes_d,
            Kind.SAMPLES: settings.keep_samples_d,
        }
        self._indices = {kind: Indices(self._edge, search, kind, keep_d[kind]) for kind in Kind}
        self._searching = Searching(self._edge, search.prefix, keep_d, clock)
        self._queries = Queries(self._searching)
        self._ready = False
        self._max_body_bytes = MAX_BODY_BYTES
        self._notices: list[str] = []

    @property
    def notices(self) -> list[str]:
        return list(self._notices)

    def take(self, batches: Sequence[Batch]) -> list[Rejected]:
        rejected: list[Rejected] = []
        with self._told_as_consumer():
            self._get_ready()
            for kind in Kind:
                for again in (True, False):
                    some = [one for one in batches if one.kind is kind and one.again is again]
                    rejected += self._take(kind, some, again=again)
        return rejected

    @contextmanager
    def _told_as_consumer(self) -> Iterator[None]:
        try:
            yield
        except ButleryError as error:
            self._ready = False  # who knows what it is when it answers again
            if isinstance(error, RefusedError):
                raise OperatorError(str(error)) from error
            raise

    def _get_ready(self) -> None:
        if self._ready:
            return
        self._edge.check()
        for indices in self._indices.values():
            indices.install()
        self._ready = True

    def _take(self, kind: Kind, batches: Sequence[Batch], *, again: bool) -> list[Rejected]:
        indices = self._indices[kind]
        target = indices.target.name
        try:
            return self._put(indices, batches, again=again)
        except OperatorError:  # another scheduler may have gone on to a newer index, and shut this one
            indices.install()
            if indices.target.name == target:
                raise
        return self._put(indices, batches, again=True)

    def _put(self, indices: Indices, batches: Sequence[Batch], *, again: bool) -> list[Rejected]:
        rejected: list[Rejected] = []
        pieces: list[Piece] = []
        for batch in batches:
            piece, wrong = bulk.read(batch)
            rejected += wrong
            if piece is not None:
                pieces.append(piece)
        target, others = indices.target, indices.others
        looked_up = bool(others) and (again or self._clock() - target.made_at < NEW_INDEX_S)
        for whole in bulk.joined(pieces, self._max_body_bytes):
            left = self._new(whole, others) if looked_up else whole
            if left is not None:
                rejected += self._send(indices.kind, target.name.name, left)
        return rejected

    def _new(self, piece: Piece, others: Sequence[str]) -> Piece | None:
        """What of it is in none of the other indices."""
        where = ",".join(map(quote, others))
        there: set[str] = set()
        self._edge.call("POST", f"/{where}/_refresh?ignore_unavailable=true")
        wanted = "filter_path=hits.hits._id&ignore_unavailable=true&allow_partial_search_results=false"
        for first in range(0, len(piece.ids), LOOKED_UP_AT_ONCE):
            some = piece.ids[first : first + LOOKED_UP_AT_ONCE]
            # An id may be in several of them, by a fault of long ago.
            body = {"query": {"ids": {"values": some}}, "_source": False, "size": 2 * len(some), "sort": ["_doc"]}
            found = self._edge.ask(_Found, "POST", f"/{where}/_search?{wanted}", body)
            there |= {hit._id for hit in found.hits.hits}
        return piece.without(there) if there else piece

    def _send(self, kind: Kind, index: str, piece: Piece) -> list[Rejected]:
        path = f"/{quote(index)}/_bulk?timeout={WRITE_TIMEOUT_S}s&filter_path={bulk.FILTER}"
        try:
            answer = self._edge.call("POST", path, piece.payload, content_type=NDJSON)
        except RefusedError as error:
            if error.status == 404:
                raise IndexGoneError(f"index {index} of Elasticsearch was deleted: {error.reason}") from error
            if len(piece.ids) == 1:
                return [Rejected(kind, piece.ids[0], error.reason, piece.document(0))]
            if error.status == 413:
                self._max_body_bytes = min(self._max_body_bytes, len(piece.payload) // 2)
            elif error.status != 400:
                raise OperatorError(str(error)) from error
            return [one for half in piece.halves() for one in self._send(kind, index, half)]
        return bulk.settled(kind, piece, answer)

    def tend(self, now: float) -> None:
        with self._told_as_consumer():
            self._ready = False
            self._get_ready()
            notices = self._health()
            apart_s = self._clocks_apart_s(now)
            if abs(apart_s) > FAR_CLOCKS_S:
                notices.append(f"the clocks of Elasticsearch and of this scheduler are {abs(apart_s):.0f} s apart")
            for indices in self._indices.values():
                indices.roll_over()
                if abs(apart_s) <= TOO_FAR_CLOCKS_S:  # else all there is may seem to be old
                    indices.delete_old(now)
            self._max_body_bytes = min(MAX_BODY_BYTES, 2 * self._max_body_bytes)
        self._notices = notices

    def _clocks_apart_s(self, now: float) -> float:
        told = self._edge.ask(_Times, "GET", "/_nodes/_local/stats/os?filter_path=nodes.*.timestamp")
        return max((now - one.timestamp / 1000 for one in told.nodes.values()), key=abs, default=0.0)

    def _health(self) -> list[str]:
        names = ",".join(quote(indices.alias) for indices in self._indices.values())
        path = f"/_cluster/health/{names}?level=indices&timeout=1s&filter_path=status,indices.*.status"
        health = self._edge.ask(_Health, "GET", path)
        red = sorted(name for name, index in health.indices.items() if index.status == "red")
        if not red:
            return []
        return [f"Elasticsearch is red: {', '.join(red)[:300]} cannot be read, so that lists and statistics fail"]

    def close(self) -> None:
        self._edge.close()

    def builds(self, query: BuildQuery) -> BuildPage:
        return self._queries.builds(query)

    def build(self, build_id: str) -> BuildRecord | None:
        return self._queries.build(build_id)

    def changes(self, build_id: str) -> list[ChangeRecord]:
        return self._queries.changes(build_id)

    def stats(self, query: StatsQuery) -> StatsAnswer:
        return stats(self._searching, query)

    def runs(self, query: RunsQuery) -> list[BuildRecord]:
        return self._queries.runs(query)

    def samples(self, query: SampleQuery) -> list[SampleRecord]:
        return self._queries.samples(query)
