"""Traces of builds, sent by OTLP over HTTP in protobuf, with the classes that OpenTelemetry makes of its definition.

Not with its SDK: that one keeps to itself what was answered, tries again by itself, is led by environment variables,
and takes six times the CPU time a span.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

import framework
from framework.edges.posting import Built, Poster, late, read_builds, refusal
from framework.errors import UnavailableError
from framework.log import get_logger, protect
from framework.ports import Clock
from framework.telemetry import spans
from framework.telemetry.records import Kind
from framework.telemetry_ports import Batch, OperatorError, Rejected
from framework.telemetry_settings import TracesSettings

BUILDS_EACH = 256
"""Of one request: some 1800 spans in 400 kB, a tenth of what collectors take by default (4 MiB)."""
TIMEOUT_S = 4.0
"""Of one call; a scheduler that stops waits for it."""

log = get_logger(__name__)


class TracesConsumer:
    """``framework.telemetry_ports.Consumer`` of finished builds."""

    name = "traces"
    kinds = frozenset((Kind.BUILDS,))

    def __init__(self, settings: TracesSettings, clock: Clock, timeout_s: float = TIMEOUT_S) -> None:
        """``settings.url`` is set."""
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        for value in headers.values():
            protect(value)
        headers["Content-Type"] = "application/x-protobuf"
        self._url = str(settings.url)
        self._who = f"the receiver of traces at {self._url}"
        self._poster = Poster(self._who, self._url, headers, timeout_s)
        self._clock = clock
        self._partly = False  # the last answer said that it took a part alone

    def take(self, batches: Sequence[Batch]) -> list[Rejected]:
        """Builds of more than an hour ago are left out where nobody takes them."""
        builds, rejected = read_builds(batches)
        try:
            for begin in range(0, len(builds), BUILDS_EACH):
                rejected += self._send(builds[begin : begin + BUILDS_EACH])
        except (UnavailableError, OperatorError):
            if not late(builds, self._clock.now()):
                raise
        return rejected

    def tend(self, now: float) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        self._poster.close()

    def _send(self, builds: Sequence[Built]) -> list[Rejected]:
        """Halves what is too much for the one who takes it; what it calls wrong is rejected. Raises as ``take``."""
        answer = self._poster.post(_request(builds))
        if answer.status // 100 == 2:
            self._look_at(answer.body)
            return []
        if answer.status == 413 and len(builds) > 1:
            half = len(builds) // 2
            return self._send(builds[:half]) + self._send(builds[half:])
        if answer.status in (400, 413):
            reason = f"{self._who} answers {answer.status}"
            return [Rejected(Kind.BUILDS, one.record.id, reason, one.document) for one in builds]
        if answer.status == 404 and not self._url.endswith("/v1/traces"):
            raise OperatorError(f"{self._who} answers 404: telemetry.traces.url usually ends with /v1/traces")
        raise refusal(self._who, answer)

    def _look_at(self, body: bytes) -> None:
        """A receiver says so where it took a part alone; by OTLP that part is not to be sent again."""
        try:
            told = ExportTraceServiceResponse.FromString(body).partial_success
        except DecodeError:  # some answer with words
            return
        partly = told.rejected_spans > 0
        if partly and not self._partly:
            log.warning("spans were not taken", spans=told.rejected_spans, reason=told.error_message[:200])
        self._partly = partly


_RESOURCE = Resource(
    attributes=[
        KeyValue(key=key, value=AnyValue(string_value=value))
        for key, value in (("service.name", "butlery"), ("service.version", framework.__version__))
    ]
)
_SCOPE = InstrumentationScope(name="butlery", version=framework.__version__)


def _request(builds: Sequence[Built]) -> bytes:
    scope = ScopeSpans(scope=_SCOPE, spans=_spans(builds))
    resource = ResourceSpans(resource=_RESOURCE, scope_spans=[scope])
    request: bytes = ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()
    return request


def _spans(builds: Sequence[Built]) -> Iterator[Span]:
    for build in builds:
        for one in spans.spans(build.record):
            yield Span(
                trace_id=one.trace_id,
                span_id=one.span_id,
                parent_span_id=one.parent_id,
                name=one.name,
                kind=Span.SPAN_KIND_INTERNAL if one.parent_id else Span.SPAN_KIND_SERVER,
                start_time_unix_nano=one.start_ms * 1_000_000,
                end_time_unix_nano=one.end_ms * 1_000_000,
                attributes=[KeyValue(key=key, value=_value(value)) for key, value in one.attributes.items()],
                status=None if one.error is None else Status(code=Status.STATUS_CODE_ERROR, message=one.error),
            )


def _value(value: spans.Value) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=one) for one in value]))
