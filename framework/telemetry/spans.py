"""A build's life as OpenTelemetry's spans: one trace a build, below its root a span for each step of its way.

Names of attributes are those of OpenTelemetry's semantic conventions (``cicd``, ``container``, ``host``, ``error``);
where those have none they begin with ``butlery``. The ids are made of the build's, so that a build which is told twice
is one trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from framework.core.tasks import FailureClass
from framework.telemetry.records import BuildRecord

Value = str | int | tuple[str, ...]

STEPS = ("queue", "node", "launch", "connect", "assign", "run")
"""It waits; its node in Jenkins is made; its task starts; its agent connects, and has no build yet; the build runs.

Each lasts from the time of its place in ``_times`` until the next that is known.
"""
_RESULTS: dict[str, str] = {  # of all other classes `error`
    FailureClass.PASSED: "success",
    FailureClass.FAILED: "failure",
    FailureClass.TIMEOUT: "timeout",
    FailureClass.CANCELLED: "cancellation",
}
_RESULTS_OF_JENKINS = {
    "SUCCESS": "success",
    "UNSTABLE": "failure",
    "FAILURE": "failure",
    "ABORTED": "cancellation",
    "NOT_BUILT": "skip",
}
_FAULTS = frozenset(("failure", "error", "timeout"))


class Span(msgspec.Struct, frozen=True, gc=False):
    """Times are milliseconds since the epoch; the end is never before the start."""

    trace_id: bytes  # 16
    span_id: bytes  # 8
    parent_id: bytes  # 8, or none of the root
    name: str
    start_ms: int
    end_ms: int
    error: str | None = None  # what failed; None: nothing did
    attributes: dict[str, Value] = {}


def spans(build: BuildRecord) -> list[Span]:
    """The root first, then the steps in their order. Times that clocks put in disorder are moved into it."""
    digest = hashlib.sha256(build.id.encode()).digest()
    trace_id, root_id = digest[:16], digest[16:24]
    result = _result(build)
    error = (build.message or build.result or build.result_class) if result in _FAULTS else None
    steps = list(_steps(build))
    root = Span(
        trace_id,
        root_id,
        b"",
        f"BUILD {build.job}",
        build.queued_at_ms,
        steps[-1][2],
        error,
        _attributes(build, result),
    )
    return [
        root,
        *(
            Span(
                trace_id,
                hashlib.sha256(f"{build.id}/{name}".encode()).digest()[:8],
                root_id,
                name,
                start_ms,
                end_ms,
                error if number == len(steps) else None,
                {"cicd.pipeline.task.name": name},
            )
            for number, (name, start_ms, end_ms) in enumerate(steps, 1)
        ),
    ]


def _times(build: BuildRecord) -> tuple[int | None, ...]:
    return (
        build.queued_at_ms,
        build.claimed_at_ms,
        build.launched_at_ms,
        build.running_at_ms,
        build.connected_at_ms,
        build.started_at_ms,
    )


def _steps(build: BuildRecord) -> Iterator[tuple[str, int, int]]:
    """Name, start and end of each; the last has the build's end, and one before it that took no time is none."""
    end_ms = max(build.queued_at_ms, build.ended_at_ms)
    current, since_ms = STEPS[0], build.queued_at_ms
    for name, at_ms in zip(STEPS, _times(build), strict=True):
        if at_ms is None:
            continue
        at_ms = min(max(at_ms, since_ms), end_ms)
        if at_ms > since_ms:
            yield current, since_ms, at_ms
        current, since_ms = name, at_ms
    yield current, since_ms, end_ms


def _result(build: BuildRecord) -> str:
    """Of ``cicd.pipeline.result``. An agent that served its build passed, whatever became of the build."""
    ours = _RESULTS.get(build.result_class, "error")
    return _RESULTS_OF_JENKINS.get(build.result, ours) if ours == "success" else ours


def _attributes(build: BuildRecord, result: str) -> dict[str, Value]:
    image, tag = _image(build.image)
    found: dict[str, Value | None] = {
        "cicd.pipeline.action.name": "BUILD",
        "cicd.pipeline.name": build.job,
        "cicd.pipeline.run.id": build.id,
        "cicd.pipeline.result": result,
        "error.type": build.result_class if result in _FAULTS else None,
        "host.name": build.host,
        "container.image.name": image,
        "container.image.tags": (tag,) if tag else None,
        "butlery.tenant": build.tenant,
        "butlery.source": build.source,
        "butlery.label": build.label,
        "butlery.template": build.template,
        "butlery.result_class": build.result_class,
        "butlery.waited_for": build.waited_for,
        "butlery.attempts": build.attempts,
        "butlery.asked_cpu_millis": build.asked_cpu_millis,
        "butlery.asked_mem_mib": build.asked_mem_mib,
        "butlery.used_cpu_ms": build.used_cpu_ms,
        "butlery.peak_mem_mib": None if build.peak_mem_mib is None else round(build.peak_mem_mib),
        "butlery.cost_micros": build.cost_micros,
        "butlery.currency": build.currency,
    }
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _image(image: str) -> tuple[str, str]:
    """Its name and its tag; empty, where it has none, or a digest in its place."""
    name = image.partition("@")[0]
    before, colon, tag = name.rpartition(":")
    return (before, tag) if colon and "/" not in tag else (name, "")
