"""Traces, sent to a real HTTP server that reads them with OpenTelemetry's own definition."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from pydantic import SecretStr

import framework
from framework.edges.otlp import BUILDS_EACH, TracesConsumer
from framework.errors import UnavailableError
from framework.telemetry.records import BuildRecord, Kind
from framework.telemetry.spans import spans
from framework.telemetry_ports import BusyError, OperatorError
from framework.telemetry_settings import TracesSettings
from tests.fakes.clockwork import ManualClock
from tests.fakes.post_receiver import PostReceiver, Reply, post_receiver
from tests.unit.edges_telling.batches import batch_of
from tests.unit.telemetry.past import NOW_MS, past_build

TOKEN = "traces-token-0123456789"


@pytest.fixture
def receiver() -> Iterator[PostReceiver]:
    with post_receiver() as started:
        yield started


@pytest.fixture
def consumer(receiver: PostReceiver) -> Iterator[TracesConsumer]:
    settings = TracesSettings(url=f"{receiver.url}/v1/traces")
    settings._headers["X-Scope"] = SecretStr(TOKEN)
    made = TracesConsumer(settings, ManualClock(NOW_MS / 1000), timeout_s=0.5)
    yield made
    made.close()


def as_the_sdk_says_it(builds: Sequence[BuildRecord]) -> ExportTraceServiceRequest:
    """The same spans, made and encoded by OpenTelemetry's own SDK."""
    resource = Resource({"service.name": "butlery", "service.version": framework.__version__})
    scope = InstrumentationScope("butlery", framework.__version__)
    said = []
    for build in builds:
        for one in spans(build):
            trace_id = int.from_bytes(one.trace_id)
            parent = SpanContext(trace_id, int.from_bytes(one.parent_id), is_remote=False) if one.parent_id else None
            said.append(
                ReadableSpan(
                    one.name,
                    SpanContext(trace_id, int.from_bytes(one.span_id), False, TraceFlags(1)),
                    parent,
                    resource,
                    one.attributes,
                    kind=SpanKind.INTERNAL if one.parent_id else SpanKind.SERVER,
                    status=Status(StatusCode.ERROR, one.error) if one.error else Status(),
                    start_time=one.start_ms * 1_000_000,
                    end_time=one.end_ms * 1_000_000,
                    instrumentation_scope=scope,
                )
            )
    return encode_spans(said)


def traces(receiver: PostReceiver) -> set[bytes]:
    return {
        one.trace_id
        for posted in receiver.posted
        for resource in ExportTraceServiceRequest.FromString(posted.body).resource_spans
        for scope in resource.scope_spans
        for one in scope.spans
    }


def test_what_is_sent_is_what_the_sdk_would_send(receiver: PostReceiver, consumer: TracesConsumer) -> None:
    builds = [
        past_build(0, claimed_at_ms=NOW_MS - 61_500, image="maven:3.9", used_cpu_ms=7),
        past_build(1, result_class="oom", message="Speicher ä", job="j" * 256),
    ]
    assert consumer.take([batch_of(*builds[:1]), batch_of(*builds[1:])]) == []
    [posted] = receiver.posted
    assert posted.path == "/v1/traces"
    assert posted.headers["content-type"] == "application/x-protobuf"
    assert posted.headers["x-scope"] == TOKEN
    sent, sdks = ExportTraceServiceRequest.FromString(posted.body), as_the_sdk_says_it(builds)
    for resource in sdks.resource_spans:  # our spans are all local ones, of which only the SDK says so
        for scope in resource.scope_spans:
            for one in scope.spans:
                one.ClearField("flags")
                if one.status.code == 0:
                    one.ClearField("status")
    assert sent == sdks


def test_many_builds_go_out_in_bounded_requests(receiver: PostReceiver, consumer: TracesConsumer) -> None:
    builds = [past_build(number) for number in range(2 * BUILDS_EACH + 3)]
    assert consumer.take([batch_of(*builds)]) == []
    assert len(receiver.posted) == 3
    assert max(len(one.body) for one in receiver.posted) < 1 << 20
    assert len(traces(receiver)) == len(builds)


@pytest.mark.parametrize(
    ("status", "after", "retry_after_s"), [(429, "7", 7.0), (503, "soon", None), (502, "", None), (504, "3", 3.0)]
)
def test_who_has_too_much_is_asked_again_later(
    receiver: PostReceiver, consumer: TracesConsumer, status: int, after: str, retry_after_s: float | None
) -> None:
    receiver.replies = [Reply(status, headers=(("Retry-After", after),))]
    with pytest.raises(BusyError) as caught:
        consumer.take([batch_of(past_build())])
    assert caught.value.retry_after_s == retry_after_s
    assert len(receiver.posted) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 405, 415, 301])
def test_what_somebody_must_mend_is_said(receiver: PostReceiver, consumer: TracesConsumer, status: int) -> None:
    receiver.replies = [Reply(status, b"no such token", (("Location", receiver.url),))]
    with pytest.raises(OperatorError, match=rf"receiver of traces at .* answers {status} \(no such token\)"):
        consumer.take([batch_of(past_build())])
    assert len(receiver.posted) == 1


def test_an_address_without_its_path_is_said(receiver: PostReceiver) -> None:
    receiver.replies = [Reply(404, b"404 page not found")]
    consumer = TracesConsumer(TracesSettings(url=receiver.url), ManualClock(NOW_MS / 1000))
    with closing(consumer), pytest.raises(OperatorError, match=r"url usually ends with /v1/traces"):
        consumer.take([batch_of(past_build())])


def test_builds_that_are_called_wrong_are_put_aside(receiver: PostReceiver, consumer: TracesConsumer) -> None:
    receiver.replies = [Reply(400)]
    [rejected] = consumer.take([batch_of(past_build(4))])
    assert (rejected.kind, rejected.id) == (Kind.BUILDS, "b000004")
    assert "400" in rejected.reason
    assert rejected.document in batch_of(past_build(4)).payload


def test_too_large_a_request_goes_out_in_smaller_ones(receiver: PostReceiver, consumer: TracesConsumer) -> None:
    receiver.replies = [Reply(413), Reply(413), Reply()]
    assert consumer.take([batch_of(*(past_build(number) for number in range(8)))]) == []
    receiver.replies = [Reply(413)]
    assert [one.id for one in consumer.take([batch_of(past_build(9))])] == ["b000009"]


@pytest.mark.parametrize("reply", [Reply(cut=True), Reply(slow=True)])
def test_no_answer_is_tried_again(receiver: PostReceiver, consumer: TracesConsumer, reply: Reply) -> None:
    receiver.replies = [reply, Reply()]
    with pytest.raises(UnavailableError, match="receiver of traces"):
        consumer.take([batch_of(past_build())])
    assert consumer.take([batch_of(past_build())]) == []


def test_nobody_there_is_tried_again() -> None:
    consumer = TracesConsumer(TracesSettings(url="http://127.0.0.1:9/v1/traces"), ManualClock(NOW_MS / 1000))
    with closing(consumer), pytest.raises(UnavailableError, match="cannot be reached: Connection refused"):
        consumer.take([batch_of(past_build())])


def test_builds_of_long_ago_are_left_out_where_nobody_takes_them(
    receiver: PostReceiver, consumer: TracesConsumer
) -> None:
    receiver.replies = [Reply(503)]
    assert consumer.take([batch_of(past_build(0, ended_at_ms=NOW_MS - 3_600_001))]) == []
    receiver.replies = [Reply()]
    assert consumer.take([batch_of(past_build(1, ended_at_ms=NOW_MS - 3_600_001))]) == []
    assert len(receiver.posted) == 2
    assert len(traces(receiver)) == 2


def test_a_part_that_was_not_taken_is_said_once_and_not_sent_again(
    receiver: PostReceiver, consumer: TracesConsumer, caplog: pytest.LogCaptureFixture
) -> None:
    partly = ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
    )
    receiver.replies = [Reply(200, partly.SerializeToString())]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert consumer.take([batch_of(past_build())]) == []
        receiver.replies = [Reply(200, b"<html>thanks</html>")]
        assert consumer.take([batch_of(past_build())]) == []
    assert [record.message for record in caplog.records] == ["spans were not taken"]
    assert len(receiver.posted) == 4


def test_what_cannot_be_read_is_put_aside_and_the_rest_sent(receiver: PostReceiver, consumer: TracesConsumer) -> None:
    strange = b'{"create":{"_id":"x"}}\n{"id":"x"}\n' + batch_of(past_build()).payload
    [rejected] = consumer.take([batch_of(past_build()).__class__(Kind.BUILDS, 2, strange)])
    assert rejected.document == b'{"id":"x"}'
    assert len(traces(receiver)) == 1
