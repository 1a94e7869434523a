"""Records into one real Elasticsearch: ours, by way of the spool, beside the ``streaming_bulk`` of its own client.

Both get the same documents into indices of the same mapping and settings, in turns, each time into new ones. Ours are
records at first, which are encoded, written to the spool and synced, read from it, and sent; the client's are ready as
the dicts that it takes. CPU time is that of the process, all of its threads, once both are open, with their indices.
"""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from elasticsearch import Elasticsearch
from elasticsearch.helpers import streaming_bulk

from benchmarks.cluster import Say
from benchmarks.figures import as_in_the_scheduler, rounded
from benchmarks.telemetry import past
from framework.edges.elasticsearch.sink import ElasticsearchSink
from framework.edges.spool import FileSpool
from framework.errors import ButleryError
from framework.runtime.chance import SystemChance, SystemClock
from framework.runtime.telemetry.shipping import Shipper
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind
from framework.telemetry_ports import Batch
from framework.telemetry_settings import TelemetrySettings

AT_ONCE = 700
"""Builds of one append, some 5000 records."""
SPOOL_BYTES = 4 << 30


def settings_for(url: str, prefix: str, **more: Any) -> TelemetrySettings:
    elasticsearch = {"urls": [url], "prefix": prefix, "replicas": 0, **more}
    return TelemetrySettings.model_validate({"sink": "elasticsearch", "elasticsearch": elasticsearch})


def measure(url: str, directory: Path, documents: int, rounds: int, say: Say) -> dict[str, Any]:
    """The figures; a round has some ``documents``. Raises ButleryError where they are not all there, or as the sink."""
    builds = -(-documents // (1 + past.CHANGES))
    now_ms = int(time.time() * 1000)
    records = [past.drawn(number, now_ms - number) for number in range(builds)]
    changes = [[*past.changes_of(record)] for record in records]
    documents = builds * (1 + past.CHANGES)
    dicts = [
        (kind, msgspec.to_builtins(record))
        for build, steps in zip(records, changes, strict=True)
        for kind, record in [(Kind.BUILDS, build), *((Kind.CHANGES, step) for step in steps)]
    ]
    took: dict[str, list[tuple[float, float]]] = {"ours": [], "streaming_bulk": []}
    with as_in_the_scheduler():
        for number in range(rounds + 1):  # the first one warms Elasticsearch up
            for name in ("ours", "streaming_bulk") if number % 2 else ("streaming_bulk", "ours"):
                prefix = f"{name.replace('_', '-')}-{number}"
                way = _Ours(url, prefix, directory / prefix) if name == "ours" else _Theirs(url, prefix)
                wall_s, cpu_s = time.perf_counter(), time.process_time()
                way.send(records, changes) if isinstance(way, _Ours) else way.send(dicts)
                figures = time.perf_counter() - wall_s, time.process_time() - cpu_s
                way.close()
                _check(url, prefix, documents)
                if number:
                    took[name].append(figures)
                    per_s, each_us = documents / figures[0], figures[1] / documents * 1e6
                    say(f"{name}: {per_s:.0f} documents a second, {each_us:.1f} us of CPU each")
    wall = {name: statistics.median(each[0] for each in some) for name, some in took.items()}
    cpu = {name: statistics.median(each[1] for each in some) for name, some in took.items()}
    return {
        "documents": documents,
        "rounds": rounds,
        "docs_per_s": {name: rounded(documents / each, 1) for name, each in wall.items()},
        "client_cpu_us_per_doc": {name: rounded(each / documents * 1e6, 2) for name, each in cpu.items()},
        "docs_per_s_ratio": rounded(wall["streaming_bulk"] / wall["ours"]),
        "client_cpu_ratio": rounded(cpu["streaming_bulk"] / cpu["ours"], 2),
    }


class _Ours:
    """All that stands between a record and Elasticsearch; open."""

    def __init__(self, url: str, prefix: str, directory: Path) -> None:
        clock = SystemClock()
        self._sink = ElasticsearchSink(settings_for(url, prefix))
        self._spool = FileSpool(directory, {self._sink.name: self._sink.kinds}, SPOOL_BYTES, clock)
        self._shipper = Shipper(self._spool, self._sink, clock, SystemChance())
        self._shipper.turn()
        self._sink.take([])  # makes the indices

    def send(self, records: list[BuildRecord], changes: list[list[ChangeRecord]]) -> None:
        """Raises ButleryError where they are not all taken."""
        for begin in range(0, len(records), AT_ONCE):
            some = [step for steps in changes[begin : begin + AT_ONCE] for step in steps]
            batches = [Batch.of(Kind.BUILDS, records[begin : begin + AT_ONCE]), Batch.of(Kind.CHANGES, some)]
            if not self._spool.append(batches, 0.0):
                raise ButleryError("the spool is full")
            self._shipper.turn()
            if trouble := self._shipper.health().trouble:
                raise ButleryError(f"Elasticsearch does not take the documents: {trouble}")

    def close(self) -> None:
        self._spool.close()
        self._sink.close()


class _Theirs:
    """The client's own, as its documentation tells to use it; open."""

    def __init__(self, url: str, prefix: str) -> None:
        with closing(ElasticsearchSink(settings_for(url, prefix))) as sink:
            sink.take([])  # makes the indices
        self._prefix = prefix
        self._client = Elasticsearch(url)
        self._client.info()

    def send(self, dicts: list[tuple[Kind, dict[str, Any]]]) -> None:
        """Raises BulkIndexError where a document is not taken."""
        names = {kind: f"{self._prefix}-{kind.value}" for kind in Kind}
        actions = ({"_op_type": "create", "_index": names[kind], "_id": each["id"], **each} for kind, each in dicts)
        for _ in streaming_bulk(self._client, actions):
            pass

    def close(self) -> None:
        self._client.close()


def _check(url: str, prefix: str, documents: int) -> None:
    with Elasticsearch(url) as client:
        client.indices.refresh(index=f"{prefix}-*")
        found = client.count(index=f"{prefix}-*")["count"]
        client.indices.delete(index=",".join(client.indices.get(index=f"{prefix}-*")))
    if found != documents:
        raise ButleryError(f"of {documents} documents Elasticsearch has {found}")
