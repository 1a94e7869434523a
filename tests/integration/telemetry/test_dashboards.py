"""What Kibana's visualisations and Grafana's panels come to is asked of a real Elasticsearch, with our mapping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from framework.edges.elasticsearch.sink import ElasticsearchSink
from framework.local.elasticsearch import ElasticsearchServer
from framework.telemetry.records import Kind
from framework.telemetry_settings import ElasticsearchSettings, TelemetrySettings
from tests.fakes.dashboard_files import Search, fields, searches
from tests.fakes.records import FIRST_DAY_MS, HOUR_MS, batch, build, change, sample

PREFIX = "dashboards"
COSTLY: dict[str, Any] = {"cost_micros": 2_500_000, "currency": "EUR", "price": "spot"}
SERVED: dict[str, Any] = {
    "label": "linux",
    "host": "h1",
    "wait_ms": 900,
    "waited_for": "cpu",
    "peak_mem_mib": 700.5,
    "peak_disk_mib": 9.0,
}


class Asking:
    """An Elasticsearch with some records of each kind."""

    def __init__(self, url: str) -> None:
        self._client = Elasticsearch(url)

    def search(self, one: Search) -> Any:
        query = {"query_string": {"query": one.query}} if one.query else {"match_all": {}}
        return self._client.search(index=f"{PREFIX}-{one.kind.value}", query=query, aggs=one.aggregations or None).body

    def mapped(self, kind: Kind) -> set[str]:
        """Fields that can be searched and grouped by."""
        (index,) = self._client.indices.get_mapping(index=f"{PREFIX}-{kind.value}").values()
        return set(index["mappings"]["properties"])

    def refresh(self) -> None:
        self._client.indices.refresh(index=f"{PREFIX}-*")

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def asking(elasticsearch_server: ElasticsearchServer) -> Iterator[Asking]:
    search = ElasticsearchSettings(urls=[elasticsearch_server.url], prefix=PREFIX, replicas=0)
    sink = ElasticsearchSink(TelemetrySettings(sink="elasticsearch", elasticsearch=search))
    failed = build("b2", FIRST_DAY_MS + 30 * HOUR_MS, result_class="oom", losses=1, **SERVED)
    changes = [change("b1", "ended", result_class="passed")]
    samples = [sample(hosts=3), sample(tenant="shop", reasons={"cpu": 1})]
    assert sink.take([batch([build("b1", **SERVED, **COSTLY), failed]), batch(changes), batch(samples)]) == []
    made = Asking(elasticsearch_server.url)
    made.refresh()
    yield made
    made.close()
    sink.close()


@pytest.mark.parametrize("search", list(searches()), ids=lambda search: search.where)
def test_each_finds_something(search: Search, asking: Asking) -> None:
    found = asking.search(search)
    assert found["_shards"]["failed"] == 0
    assert found["hits"]["total"]["value"] > 0, search.query
    for name, of_it in found.get("aggregations", {}).items():
        assert _says_something(of_it), f"{name} of {search.aggregations}"


def _says_something(aggregation: dict[str, Any]) -> bool:
    """Down to the last: buckets with documents, and values in them."""
    if "buckets" in aggregation:
        buckets = [bucket for bucket in aggregation["buckets"] if bucket["doc_count"]]
        inner = [value for bucket in buckets for value in bucket.values() if isinstance(value, dict)]
        return bool(buckets) and (not inner or any(map(_says_something, inner)))
    values = aggregation["values"].values() if "values" in aggregation else [aggregation["value"]]
    return any(value is not None for value in values)


def test_each_field_is_in_the_mapping(asking: Asking) -> None:
    for kind in Kind:
        named = set().union(*(fields(one) for one in searches() if one.kind is kind))
        assert named <= asking.mapped(kind)
