"""An Elasticsearch that is of another kind, ill, closed, or spoken to through something that spoils it: a notice says

what to mend, and once that is done every record is there once.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from framework.errors import InputError, UnavailableError
from framework.local.cluster import free_port
from framework.local.elasticsearch import ElasticsearchServer
from framework.telemetry.records import Kind
from framework.telemetry_ports import BuildQuery, BusyError, Dimension, OperatorError, StatsQuery
from tests.fakes.elasticsearch_server import ElasticsearchFactory
from tests.fakes.records import FIRST_DAY_MS, batch, build, raw_batch
from tests.integration.elasticsearch.conftest import SinkFactory
from tests.integration.elasticsearch.histories import call, sink_of, take
from tests.integration.elasticsearch.odd_proxy import Answer, Asked, OddProxy, passing

DEADLINE_S = 60.0
PAGE = b"<html><head><title>Sign in</title></head><body><p>Please sign in</p></body></html>"
HTML = {"Content-Type": "text/html"}
Ask = Callable[[], Answer]


def refusal(status: int, kind: str, reason: str, **headers: str) -> Answer:
    body = {"error": {"type": kind, "reason": reason, "root_cause": []}, "status": status}
    return Answer(status, json.dumps(body).encode(), {"X-elastic-product": "Elasticsearch", **headers})


def told(server: ElasticsearchServer, prefix: str) -> list[str]:
    """The ids of all builds, by a sink that nothing stands before."""
    call(server, "POST", f"/{prefix}-*/_refresh")
    sink = sink_of(server.url, prefix)
    try:
        return [one.id for one in sink.builds(BuildQuery(limit=10_000)).builds]
    finally:
        sink.close()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def kept(elasticsearch_server: ElasticsearchServer, elasticsearch_prefix: str) -> Callable[[], list[str]]:
    return lambda: told(elasticsearch_server, elasticsearch_prefix)


@pytest.mark.parametrize(
    ("version", "product", "message"),
    [
        ({"number": "6.8.23"}, {}, "Elasticsearch 6.8.23 is not supported: 7.17 to 9"),
        ({"number": "7.10.2"}, {}, "Elasticsearch 7.10.2 is not supported"),
        ({"number": "10.0.0"}, {"X-elastic-product": "Elasticsearch"}, "Elasticsearch 10.0.0 is not supported"),
        ({"number": "2.11.0", "distribution": "opensearch"}, {}, "opensearch 2.11.0 answers, which is not Elastic"),
    ],
)
def test_another_product_or_version_is_named(
    version: dict[str, str],
    product: dict[str, str],
    message: str,
    proxy: OddProxy,
    new_sink: SinkFactory,
    kept: Callable[[], list[str]],
) -> None:
    def script(asked: Asked, ask: Ask) -> Answer:
        assert asked.path == "/", "nothing is done to what is not ours to work with"
        return Answer(200, json.dumps({"name": "a", "version": version, "tagline": "You Know"}).encode(), product)

    proxy.script = script
    sink = new_sink()
    for _ in range(2):
        with pytest.raises(OperatorError, match=message):
            sink.take([batch([build("r1")])])
        with pytest.raises(OperatorError, match=message):
            sink.builds(BuildQuery())
    proxy.script = passing  # another one is there now
    take(sink, [build("r1")], again=True)
    assert kept() == ["r1"]


def test_later_versions_are_taken_as_they_are(
    proxy: OddProxy, new_sink: SinkFactory, kept: Callable[[], list[str]]
) -> None:
    def script(_: Asked, ask: Ask) -> Answer:
        answer = ask()
        return answer._replace(body=answer.body.replace(b'"number" : "7.17.28"', b'"number" : "9.2.1"'))

    proxy.script = script
    take(new_sink(), [build("r1")])
    assert kept() == ["r1"]


def test_a_step_that_is_refused_is_told_until_it_is_taken(
    proxy: OddProxy, new_sink: SinkFactory, kept: Callable[[], list[str]]
) -> None:
    proxy.script = lambda asked, ask: (
        refusal(400, "illegal_argument_exception", "not like this") if "/_cluster/health" in asked.path else ask()
    )
    sink = new_sink()
    take(sink, [build("r1")])
    with pytest.raises(OperatorError, match="not like this"):
        sink.tend(time.time())
    proxy.script = passing
    sink.tend(time.time())
    assert kept() == ["r1"]


def test_an_alias_that_goes_while_it_is_rolled_over_is_given_again(
    proxy: OddProxy, new_sink: SinkFactory, kept: Callable[[], list[str]]
) -> None:
    rolled_over: list[str] = []

    def script(asked: Asked, ask: Ask) -> Answer:
        if asked.path.endswith("-builds/_rollover"):
            rolled_over.append(asked.path)
        if rolled_over and asked.path.startswith("/_alias/"):
            rolled_over.clear()
            return refusal(404, "aliases_not_found_exception", "missing")
        return ask()

    sink = new_sink()
    take(sink, [build("r1")])
    proxy.script = script
    sink.tend(time.time())
    with pytest.raises(UnavailableError, match="has no index to write to"):
        sink.take([batch([build("r2")])])
    take(sink, [build("r2")], again=True)
    assert sorted(kept()) == ["r1", "r2"]


@pytest.mark.parametrize(
    ("wrong", "right", "header", "who"),
    [
        ({}, {"user": "me", "password": "the right one"}, "Basic bWU6dGhlIHJpZ2h0IG9uZQ==", "names no user and no API"),
        (
            {"user": "me", "password": "the wrong one"},
            {"user": "me", "password": "the right one"},
            "Basic bWU6dGhlIHJpZ2h0IG9uZQ==",
            "user me and the password",
        ),
        (
            {"api_key_file": "/k", "api_key": "the-wrong-key"},
            {"api_key_file": "/k", "api_key": "the-right-key"},
            "ApiKey the-right-key",
            "the API key of /k",
        ),
    ],
)
def test_who_is_not_let_in_is_told_who_it_was_without_the_secret(
    wrong: dict[str, Any],
    right: dict[str, Any],
    header: str,
    who: str,
    proxy: OddProxy,
    new_sink: SinkFactory,
    kept: Callable[[], list[str]],
) -> None:
    def script(asked: Asked, ask: Ask) -> Answer:
        if asked.headers.get("authorization") == header:
            return ask()
        return refusal(401, "security_exception", "unable to authenticate")

    proxy.script = script
    with pytest.raises(OperatorError, match=rf"does not let us in: .*{who}.*\(401\)") as error:
        new_sink(**wrong).take([batch([build("r1")])])
    assert "the wrong one" not in str(error.value) and "the-wrong-key" not in str(error.value)
    take(new_sink(**right), [build("r1")])
    assert kept() == ["r1"]


def test_what_is_forbidden_is_told(proxy: OddProxy, new_sink: SinkFactory, kept: Callable[[], list[str]]) -> None:
    reason = "action [indices:admin/create] is unauthorized for user [me]"
    for path in ("/_index_template/", "/_bulk"):

        def script(asked: Asked, ask: Ask, path: str = path) -> Answer:
            return refusal(403, "security_exception", reason) if path in asked.path else ask()

        proxy.script = script
        with pytest.raises(OperatorError, match=r"forbids what is needed: user me.*indices:admin/create"):
            new_sink(user="me", password="secret").take([batch([build("r1")])])
    proxy.script = passing
    take(new_sink(), [build("r1")], again=True)
    assert kept() == ["r1"]


def test_a_certificate_of_an_unknown_ca_is_told_and_a_known_one_is_taken(
    elasticsearch_server: ElasticsearchServer, new_sink: SinkFactory, tmp_path: Path, kept: Callable[[], list[str]]
) -> None:
    ca = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with OddProxy(elasticsearch_server.port).running(context) as secured:
        with pytest.raises(OperatorError, match="signed by none of the CAs that are trusted; name its CA in ca_file"):
            new_sink(url=secured.url).take([batch([build("r1")])])
        sink = new_sink(url=secured.url, ca_file=ca_file)
        take(sink, [build("r1")])
        sink.close()
    assert kept() == ["r1"]
    (tmp_path / "no.pem").write_text("nothing\n")
    with pytest.raises(InputError, match=r"telemetry\.elasticsearch\.ca_file: .*no\.pem holds no certificates"):
        new_sink(url="https://127.0.0.1:1", ca_file=tmp_path / "no.pem")


def test_indices_that_are_in_the_way_are_named(
    elasticsearch_server: ElasticsearchServer,
    elasticsearch_prefix: str,
    new_sink: SinkFactory,
    kept: Callable[[], list[str]],
) -> None:
    server, alias = elasticsearch_server, f"{elasticsearch_prefix}-builds"
    sink = new_sink()

    def refused(message: str) -> None:
        for _ in range(2):
            with pytest.raises(OperatorError, match=message):
                sink.take([batch([build("r1")])])

    call(server, "PUT", f"/{alias}", {})
    refused(rf"{alias} of Elasticsearch cannot be set up: .*same name")
    call(server, "DELETE", f"/{alias}")

    call(server, "PUT", f"/{elasticsearch_prefix}-else", {"aliases": {alias: {}}})
    refused(rf"the alias {alias} of Elasticsearch names {elasticsearch_prefix}-else, which is not ours")
    call(server, "DELETE", f"/{elasticsearch_prefix}-else")

    own = f"{alias}-v1-000001"
    call(server, "DELETE", f"/{own}?ignore_unavailable=true")
    call(server, "DELETE", f"/_index_template/{alias}-v1")
    properties = {"mappings": {"properties": {"at_ms": {"type": "text"}}}}
    call(server, "PUT", f"/{own}", properties | {"aliases": {alias: {"is_write_index": True}}})
    refused(rf"index {own} of Elasticsearch is of somebody else's making: .*at_ms.*text.*date")
    call(server, "DELETE", f"/{own}")

    take(sink, [build("r1")])
    assert kept() == ["r1"]


def test_a_red_index_keeps_nothing_until_it_is_whole(
    elasticsearch_server: ElasticsearchServer,
    elasticsearch_prefix: str,
    new_sink: SinkFactory,
    kept: Callable[[], list[str]],
) -> None:
    server, alias = elasticsearch_server, f"{elasticsearch_prefix}-builds"
    nowhere = {"index.routing.allocation.require._name": "gone"}
    body = {"settings": nowhere, "aliases": {alias: {"is_write_index": True}}}
    index = f"/{alias}-v1-000001"
    sink = new_sink()
    sink.tend(time.time())  # its template is there now, and so is an index, in whose place another is put
    call(server, "DELETE", index)
    call(server, "PUT", f"{index}?wait_for_active_shards=0", body)
    with pytest.raises(UnavailableError, match="primary shard is not active") as error:
        sink.take([batch([build("r1")])])
    assert not isinstance(error.value, BusyError)
    with pytest.raises(UnavailableError, match="shards"):
        sink.builds(BuildQuery())
    sink.tend(time.time())
    assert [one for one in sink.notices if one.startswith(f"Elasticsearch is red: {alias}-v1-000001")]
    call(server, "PUT", f"{index}/_settings", dict.fromkeys(nowhere))
    call(server, "GET", f"/_cluster/health/{alias}?wait_for_status=yellow&timeout=20s")
    take(sink, [build("r1")], again=True)
    assert kept() == ["r1"]
    sink.tend(time.time())
    assert sink.notices == []


@pytest.mark.parametrize("block", ["read_only_allow_delete", "write", "read_only"])
def test_a_read_only_index_is_told_with_what_lifts_it(
    block: str,
    elasticsearch_server: ElasticsearchServer,
    elasticsearch_prefix: str,
    new_sink: SinkFactory,
    kept: Callable[[], list[str]],
) -> None:
    sink = new_sink()
    take(sink, [build("r1")])
    settings = f"/{elasticsearch_prefix}-builds/_settings"
    call(elasticsearch_server, "PUT", settings, {f"index.blocks.{block}": True})
    for _ in range(2):
        with pytest.raises(OperatorError, match=r"takes no writes: .*blocked.*; (free its disks|somebody set it)"):
            sink.take([batch([build("r2", FIRST_DAY_MS - 1)])])
        eventually(lambda: [one.id for one in sink.builds(BuildQuery()).builds] == ["r1"])
    call(elasticsearch_server, "PUT", settings, {f"index.blocks.{block}": None})
    take(sink, [build("r2", FIRST_DAY_MS - 1)], again=True)
    assert kept() == ["r1", "r2"]


def test_disks_that_are_full_stop_it_and_free_ones_let_it_go_on(own_elasticsearch: ElasticsearchFactory) -> None:
    server = own_elasticsearch(**{"cluster.info.update.interval": "10s"})
    sink = sink_of(server.url, "full")
    try:
        take(sink, [build("r1")])
        marks = ("low", "high", "flood_stage")
        absurd = {f"cluster.routing.allocation.disk.watermark.{mark}": "1000000gb" for mark in marks}
        call(server, "PUT", "/_cluster/settings", {"transient": absurd})
        sent = 0
        deadline = time.monotonic() + DEADLINE_S
        with pytest.raises(OperatorError, match=r"takes no writes: .*flood.stage.*; free its disks"):
            while time.monotonic() < deadline:
                take(sink, [build(f"r{sent}", FIRST_DAY_MS + sent)], again=True)
                sent += 1
                time.sleep(0.2)
        call(server, "PUT", "/_cluster/settings", {"transient": dict.fromkeys(absurd)})
        call(server, "PUT", "/_all/_settings", {"index.blocks.read_only_allow_delete": None})
        take(sink, [build(f"r{sent}", FIRST_DAY_MS + sent)], again=True)
        assert sorted(told(server, "full")) == sorted({"r1", *(f"r{n}" for n in range(sent + 1))})
    finally:
        sink.close()


def test_what_is_too_large_for_what_stands_before_it_is_sent_in_parts(
    proxy: OddProxy, new_sink: SinkFactory, kept: Callable[[], list[str]]
) -> None:
    def script(asked: Asked, ask: Ask) -> Answer:
        return ask() if len(asked.body) <= 8000 else Answer(413, PAGE, HTML)

    proxy.script = script
    sink = new_sink()
    told = [build(f"r{n}", FIRST_DAY_MS - n) for n in range(100)]
    vast = build("vast", title="n" * 20_000)
    rejected = sink.take([batch([*told[:50], vast]), batch(told[50:])])
    assert [one.id for one in rejected] == ["vast"]
    assert kept() == [one.id for one in told]
    calls = len(proxy.asked)
    take(sink, [build(f"s{n}", FIRST_DAY_MS - 200 - n) for n in range(100)])
    assert all(len(asked.body) <= 8000 for asked in proxy.asked[calls:]), "the size was found out"


@pytest.mark.parametrize(
    ("headers", "after_s"), [({}, None), ({"Retry-After": "7"}, 7.0), ({"Retry-After": "x"}, None)]
)
def test_a_busy_one_is_told_with_when_to_come_again(
    headers: dict[str, str],
    after_s: float | None,
    proxy: OddProxy,
    new_sink: SinkFactory,
    kept: Callable[[], list[str]],
) -> None:
    sink = new_sink()
    take(sink, [build("r1")])

    def script(asked: Asked, ask: Ask) -> Answer:
        busy = refusal(429, "es_rejected_execution_exception", "rejected execution of an operation", **headers)
        return busy if "/_bulk" in asked.path else ask()

    proxy.script = script
    with pytest.raises(BusyError, match="rejected execution") as error:
        sink.take([batch([build("r2", FIRST_DAY_MS - 1)])])
    assert error.value.retry_after_s == after_s
    proxy.script = passing
    take(sink, [build("r2", FIRST_DAY_MS - 1)], again=True)
    assert kept() == ["r1", "r2"]


def test_of_records_some_of_which_were_too_many_all_are_there_once_in_the_end(
    proxy: OddProxy, new_sink: SinkFactory, kept: Callable[[], list[str]]
) -> None:
    def script(asked: Asked, ask: Ask) -> Answer:
        if "/_bulk" not in asked.path:
            return ask()
        lines = asked.body.split(b"\n")
        half = b"\n".join(lines[: len(lines) // 4 * 2]) + b"\n"
        taken = json.loads(proxy.ask(asked._replace(body=half)).body)["items"]
        busy = {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "too many"}}}
        items = taken + [busy] * (len(lines) // 2 - len(taken))
        return Answer(200, json.dumps({"errors": True, "items": items}).encode())

    proxy.script = script
    sink = new_sink()
    told = [build(f"r{n}", FIRST_DAY_MS - n) for n in range(40)]
    with pytest.raises(BusyError, match="too many"):
        sink.take([batch(told)])
    assert kept() == [one.id for one in told[:20]]
    proxy.script = passing
    take(sink, told, again=True)
    assert kept() == [one.id for one in told]


@pytest.mark.parametrize("fault", ["cut", "late", "page", "gateway", "truncated", "other json", "fewer items"])
def test_an_answer_that_does_not_come_whole_is_asked_for_again(
    fault: str, proxy: OddProxy, new_sink: SinkFactory, kept: Callable[[], list[str]]
) -> None:
    """The records may be there by then."""
    over = threading.Event()

    def script(asked: Asked, ask: Ask) -> Answer:
        answer = ask()
        if "/_bulk" not in asked.path:
            return answer
        if fault == "late":
            over.wait(DEADLINE_S)
        faulty = {
            "cut": answer._replace(cut=True),
            "page": Answer(200, PAGE, HTML),
            "gateway": Answer(502, PAGE, HTML),
            "truncated": answer._replace(body=answer.body[:-9]),
            "other json": answer._replace(body=b'{"errors": false}'),
            "fewer items": answer._replace(body=b'{"errors": false, "items": []}'),
        }
        return faulty.get(fault, answer)

    sink = new_sink(timeout_s=2)
    take(sink, [build("r1")])
    proxy.script = script
    try:
        for _ in range(2):
            with pytest.raises(UnavailableError) as error:
                sink.take([batch([build("r2", FIRST_DAY_MS - 1)])])
            assert "<" not in str(error.value)
    finally:
        over.set()
    proxy.script = passing
    take(sink, [build("r2", FIRST_DAY_MS - 1), build("r3", FIRST_DAY_MS - 2)], again=True)
    assert kept() == ["r1", "r2", "r3"]


def test_a_page_in_place_of_elasticsearch_is_told(proxy: OddProxy, new_sink: SinkFactory) -> None:
    proxy.script = lambda _, ask: Answer(200, PAGE, HTML)
    sink = new_sink()
    with pytest.raises(OperatorError, match=r"does not say that it is Elasticsearch \(it sends text/html\)"):
        sink.take([batch([build("r1")])])
    with pytest.raises(OperatorError, match=r"check telemetry\.elasticsearch\.urls"):
        sink.builds(BuildQuery())


def test_nobody_there_is_told_and_another_node_is_asked(
    elasticsearch_server: ElasticsearchServer, new_sink: SinkFactory, kept: Callable[[], list[str]]
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"cannot be reached: Connection refused\Z"):
            new_sink(url=nobody).take([batch([build("r1")])])
    take(new_sink(urls=[nobody, elasticsearch_server.url]), [build("r1")])
    assert kept() == ["r1"]


def test_names_and_texts_of_any_length_are_taken(new_sink: SinkFactory, kept: Callable[[], list[str]]) -> None:
    sink = new_sink()
    long = "j" * 32_000
    lines = [
        (f"r{n}", msgspec.json.encode(build(f"r{n}", FIRST_DAY_MS - n, job=name, title=name, message=name, label=name)))
        for n, name in enumerate([long, "\U0001f4a5" * 8000, "x" * 40_000])
    ]
    assert sink.take([raw_batch(Kind.BUILDS, lines)]) == []
    assert kept() == ["r0", "r1", "r2"]
    assert sink.builds(BuildQuery()).builds[0].job == long
    assert sink.stats(StatsQuery(0, FIRST_DAY_MS + 1, (Dimension.JOB,))).total.builds == 3


def test_ids_that_elasticsearch_cannot_take_are_named_alone(
    new_sink: SinkFactory, kept: Callable[[], list[str]]
) -> None:
    records = [build("r1"), build("x" * 600), build("r2", FIRST_DAY_MS - 1)]
    rejected = new_sink().take([batch(records)])
    assert [one.id for one in rejected] == ["x" * 600]
    assert "id [x" in rejected[0].reason
    assert kept() == ["r1", "r2"]
