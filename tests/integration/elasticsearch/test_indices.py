"""Over new indices, lost ones, two schedulers and wrong clocks every record is there once, and goes when it is old."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from framework.edges.elasticsearch import mapping
from framework.edges.elasticsearch import sink as sinks
from framework.errors import ButleryError, UnavailableError
from framework.local.elasticsearch import ElasticsearchServer
from framework.telemetry.records import Kind
from framework.telemetry_ports import BuildQuery, StatsQuery
from tests.fakes.records import DAY_MS, batch, build, change, sample
from tests.integration.elasticsearch.conftest import SinkFactory
from tests.integration.elasticsearch.histories import Moment, call, take
from tests.integration.elasticsearch.odd_proxy import Answer, Asked, OddProxy


@pytest.fixture
def indices(elasticsearch_server: ElasticsearchServer, elasticsearch_prefix: str) -> Callable[[], list[str]]:
    """The names of all that there are of builds, without what they begin with."""
    alias = f"{elasticsearch_prefix}-builds"

    def found() -> list[str]:
        return sorted(name.removeprefix(alias) for name in call(elasticsearch_server, "GET", f"/{alias}-*"))

    return found


def now_ms() -> int:
    return int(time.time() * 1000)


def roll_over(server: ElasticsearchServer, prefix: str) -> None:
    call(server, "POST", f"/{prefix}-builds/_rollover")


def ids(sink: sinks.ElasticsearchSink, server: ElasticsearchServer, prefix: str) -> list[str]:
    call(server, "POST", f"/{prefix}-*/_refresh")
    return sorted(one.id for one in sink.builds(BuildQuery(limit=10_000)).builds)


def test_two_that_set_it_up_at_once_are_of_one_mind(
    new_sink: SinkFactory, elasticsearch_server: ElasticsearchServer, elasticsearch_prefix: str, indices: Any
) -> None:
    several = [new_sink() for _ in range(4)]
    told = [build(f"r{n}") for n in range(4)]
    faults: list[ButleryError] = []

    def begin(number: int) -> None:
        try:
            take(several[number], [told[number], told[0]], again=True)
            several[number].tend(time.time())
        except ButleryError as error:
            faults.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert indices() == ["-v1-000001"]
    assert ids(several[0], elasticsearch_server, elasticsearch_prefix) == ["r0", "r1", "r2", "r3"]


def test_a_record_is_there_once_however_many_indices_came_since_it_was_sent(
    new_sink: SinkFactory,
    elasticsearch_server: ElasticsearchServer,
    elasticsearch_prefix: str,
    indices: Callable[[], list[str]],
) -> None:
    server, prefix = elasticsearch_server, elasticsearch_prefix
    sink, other = new_sink(clock=Moment(time.time())), new_sink(clock=Moment(time.time()))
    told = [build(f"r{n:02}", now_ms() - n) for n in range(30)]
    take(sink, told[:10])
    take(other, told[:1], again=True)
    roll_over(server, prefix)
    take(other, told[10:11])  # it does not know better, and nobody else does yet
    sink.tend(time.time())
    take(sink, told[:20])  # not told that it was sent before; the newest index is new
    take(other, told[15:25])  # now it cannot write to the older one any more
    roll_over(server, prefix)
    sink.tend(time.time())
    take(sink, told, again=True)
    assert ids(sink, server, prefix) == [one.id for one in told]
    assert sink.stats(StatsQuery(0, now_ms() + 1)).total.builds == 30
    assert indices() == ["-v1-000001", "-v1-000002", "-v1-000003"]


def test_an_old_or_large_index_is_followed_by_a_new_one(
    new_sink: SinkFactory,
    elasticsearch_server: ElasticsearchServer,
    elasticsearch_prefix: str,
    indices: Callable[[], list[str]],
) -> None:
    sink, other = new_sink(rollover_docs=1000), new_sink(rollover_docs=1000)
    take(sink, [build(f"r{n}") for n in range(999)])
    for one in (sink, other):
        one.tend(time.time())
    assert indices() == ["-v1-000001"]
    take(sink, [build("r999")])
    call(elasticsearch_server, "POST", f"/{elasticsearch_prefix}-*/_refresh")
    for one in (sink, other, sink):
        one.tend(time.time())
    assert indices() == ["-v1-000001", "-v1-000002"]
    take(other, [build("r1000")])
    assert len(ids(sink, elasticsearch_server, elasticsearch_prefix)) == 1001


def test_an_index_goes_when_all_in_it_is_old(
    proxy: OddProxy,
    new_sink: SinkFactory,
    elasticsearch_server: ElasticsearchServer,
    elasticsearch_prefix: str,
    indices: Callable[[], list[str]],
) -> None:
    """In thirty days, by the clocks of both."""
    server, alias = elasticsearch_server, f"{elasticsearch_prefix}-builds"
    later_s = 30 * DAY_MS / 1000

    def script(asked: Asked, ask: Callable[[], Answer]) -> Answer:
        if "/_nodes/" in asked.path:
            nodes = {"a": {"timestamp": int((time.time() + later_s) * 1000)}}
            return Answer(200, json.dumps({"nodes": nodes}).encode(), {"X-elastic-product": "Elasticsearch"})
        return ask()

    sink = new_sink(clock=Moment(time.time()), keep_builds_d=10)
    sink.tend(time.time())
    # In each, records that will be so many days old then.
    for number, days in enumerate([[20, 11], [20, 9], [20, -9000], [], [20]], start=1):
        for age in days:
            document = {"id": f"{number} {age}", "at_ms": now_ms() + (30 - age) * DAY_MS}
            call(server, "PUT", f"/{alias}-v1-{number:06}/_create/{number}{age}", document)
        if number < 5:
            call(server, "POST", f"/{alias}/_rollover")
    call(server, "PUT", f"/{alias}-v1-mine", {})  # of a name that we never give
    call(server, "POST", f"/{alias}-*/_refresh")
    sink.tend(time.time() + later_s)  # by a wrong clock nothing goes
    assert len(indices()) == 6
    assert [one for one in sink.notices if "s apart" in one]
    proxy.script = script
    sink.tend(time.time() + later_s)
    assert indices() == ["-v1-000002", "-v1-000005", "-v1-mine"]
    assert sink.notices == []


def test_an_index_that_somebody_deleted_is_made_anew_as_ours(
    new_sink: SinkFactory,
    elasticsearch_server: ElasticsearchServer,
    elasticsearch_prefix: str,
    indices: Callable[[], list[str]],
) -> None:
    sink = new_sink()
    take(sink, [build("r1")])
    call(elasticsearch_server, "DELETE", f"/{elasticsearch_prefix}-builds-v1-000001")
    with pytest.raises(UnavailableError, match="was deleted"):
        sink.take([batch([build("r2")])])
    take(sink, [build("r2")], again=True)
    assert ids(sink, elasticsearch_server, elasticsearch_prefix) == ["r2"]
    found = call(elasticsearch_server, "GET", f"/{elasticsearch_prefix}-builds-v1-000001")
    assert found[f"{elasticsearch_prefix}-builds-v1-000001"]["mappings"]["dynamic"] == "false"


def test_an_alias_that_somebody_took_away_is_given_again(
    new_sink: SinkFactory,
    elasticsearch_server: ElasticsearchServer,
    elasticsearch_prefix: str,
    indices: Callable[[], list[str]],
) -> None:
    sink = new_sink()
    take(sink, [build("r1")])
    name = f"{elasticsearch_prefix}-builds"
    call(elasticsearch_server, "DELETE", f"/{name}-v1-000001/_alias/{name}")
    sink.tend(time.time())
    take(sink, [build("r2"), build("r1")], again=True)
    assert indices() == ["-v1-000001", "-v1-000002"]
    assert ids(sink, elasticsearch_server, elasticsearch_prefix) == ["r1", "r2"]


def test_an_index_of_an_earlier_mapping_is_read_beside_the_new_one(
    new_sink: SinkFactory,
    elasticsearch_server: ElasticsearchServer,
    elasticsearch_prefix: str,
    indices: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take(new_sink(), [build("r1")])
    with monkeypatch.context() as later:
        for module in ("mapping", "indices"):
            later.setattr(f"framework.edges.elasticsearch.{module}.MAPPING_VERSION", 2)
        later.setattr(mapping.pattern, "__defaults__", (2,))
        newer = new_sink()
        take(newer, [build("r2"), build("r1")], again=True)
        newer.tend(time.time())
        assert indices() == ["-v1-000001", "-v2-000001"]
        assert ids(newer, elasticsearch_server, elasticsearch_prefix) == ["r1", "r2"]
    older = new_sink()  # one that was not upgraded yet writes where the others do
    take(older, [build("r3"), build("r1")], again=True)
    assert indices() == ["-v1-000001", "-v2-000001"]
    assert ids(older, elasticsearch_server, elasticsearch_prefix) == ["r1", "r2", "r3"]


def test_every_field_of_a_record_is_kept_to_be_searched_or_shown(
    new_sink: SinkFactory, elasticsearch_server: ElasticsearchServer, elasticsearch_prefix: str
) -> None:
    sink = new_sink()
    assert sink.take([batch([build("r1")]), batch([change("r1", "ended")]), batch([sample(reasons={"cpu": 3})])]) == []
    call(elasticsearch_server, "POST", f"/{elasticsearch_prefix}-*/_refresh")
    for kind in Kind:
        name = mapping.index_name(elasticsearch_prefix, kind, 1)
        properties = call(elasticsearch_server, "GET", f"/{name}")[name]["mappings"]["properties"]
        assert set(properties) == set(mapping.STRUCTS[kind].__struct_fields__)
    assert properties["reasons"]["properties"] == {"cpu": {"type": "long"}}
