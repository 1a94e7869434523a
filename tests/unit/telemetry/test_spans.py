"""Builds' lives as spans: their steps, ids, names; times that are missing or in disorder."""

from __future__ import annotations

import itertools
from typing import Any

import opentelemetry.semconv._incubating.attributes.cicd_attributes as cicd
import opentelemetry.semconv._incubating.attributes.container_attributes as container
import opentelemetry.semconv._incubating.attributes.host_attributes as host
import opentelemetry.semconv.attributes.error_attributes as error
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.telemetry.records import BuildRecord
from framework.telemetry.spans import STEPS, spans
from tests.unit.telemetry.past import NOW_MS, past_build

TIMES = ("queued", "claimed", "launched", "running", "connected", "started", "ended")


def jenkins_build(**given: Any) -> BuildRecord:
    times: dict[str, Any] = {f"{name}_at_ms": NOW_MS + 1000 * number for number, name in enumerate(TIMES)}
    return past_build(**times | given)


def test_each_step_lasts_until_the_next() -> None:
    root, *steps = spans(jenkins_build())
    assert (root.name, root.start_ms, root.end_ms, root.parent_id) == (
        "BUILD payments/nightly", NOW_MS, NOW_MS + 6000, b"",
    )  # fmt: skip
    assert [one.name for one in steps] == list(STEPS)
    assert [(one.start_ms - NOW_MS, one.end_ms - NOW_MS) for one in steps] == [
        (1000 * number, 1000 * number + 1000) for number in range(6)
    ]
    assert {one.parent_id for one in steps} == {root.span_id}
    assert {one.trace_id for one in steps} == {root.trace_id}


def test_steps_that_never_came_are_none() -> None:
    job = jenkins_build(connected_at_ms=None, started_at_ms=NOW_MS + 3000, source="api")
    assert [one.name for one in spans(job)[1:]] == ["queue", "node", "launch", "run"]
    cancelled = past_build(
        queued_at_ms=NOW_MS, ended_at_ms=NOW_MS + 5, launched_at_ms=None, running_at_ms=None, started_at_ms=None,
        result_class="cancelled",
    )  # fmt: skip
    assert [(one.name, one.error) for one in spans(cancelled)[1:]] == [("queue", None)]


def test_the_step_that_a_build_ended_in_has_its_fault() -> None:
    build = jenkins_build(
        connected_at_ms=None, started_at_ms=None, result_class="connect", message="its agent never came"
    )
    root, *steps = spans(build)
    assert root.error == "its agent never came"
    assert root.attributes["error.type"] == "connect"
    assert {one.name: one.error for one in steps} == {
        "queue": None, "node": None, "launch": None, "connect": "its agent never came",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "of_jenkins", "told"),
    [
        ("passed", "", "success"),
        ("passed", "SUCCESS", "success"),
        ("passed", "UNSTABLE", "failure"),
        ("passed", "ABORTED", "cancellation"),
        ("passed", "NOT_BUILT", "skip"),
        ("passed", "SOMETHING", "success"),
        ("failed", "", "failure"),
        ("timeout", "", "timeout"),
        ("cancelled", "", "cancellation"),
        ("oom", "", "error"),
        ("infrastructure", "SUCCESS", "error"),
        ("of_a_later_version", "", "error"),
    ],
)
def test_results_are_those_of_the_conventions(ours: str, of_jenkins: str, told: str) -> None:
    root = spans(jenkins_build(result_class=ours, result=of_jenkins))[0]
    assert root.attributes["cicd.pipeline.result"] == told
    assert told in {one.value for one in cicd.CicdPipelineResultValues}
    assert (root.error is not None) == (told in ("failure", "error", "timeout"))


def test_attributes_are_those_of_the_conventions_or_our_own() -> None:
    full = jenkins_build(
        image="registry.example:5000/tools/maven:3.9", result_class="oom", label="maven", used_cpu_ms=5,
        peak_mem_mib=10.5, cost_micros=7, currency="EUR", waited_for="quota",
    )  # fmt: skip
    root, *steps = spans(full)
    known = {
        str(value)
        for module in (cicd, container, host, error)
        for name, value in vars(module).items()
        if name.isupper()
    }
    told = {name for one in (root, *steps) for name in one.attributes}
    assert {name for name in told if not name.startswith("butlery.")} <= known
    assert root.attributes["container.image.name"] == "registry.example:5000/tools/maven"
    assert root.attributes["container.image.tags"] == ("3.9",)


@pytest.mark.parametrize(
    ("image", "name", "tags"),
    [
        ("maven", "maven", None),
        ("localhost:5000/maven", "localhost:5000/maven", None),
        ("maven:3@sha256:00ff", "maven", ("3",)),
        ("maven@sha256:00ff", "maven", None),
    ],
)
def test_images_have_a_name_and_perhaps_a_tag(image: str, name: str, tags: tuple[str] | None) -> None:
    attributes = spans(jenkins_build(image=image))[0].attributes
    assert (attributes["container.image.name"], attributes.get("container.image.tags")) == (name, tags)


def test_a_build_told_twice_is_one_trace_and_two_builds_are_two() -> None:
    assert spans(jenkins_build()) == spans(jenkins_build())
    ids = [one.span_id for number in range(50) for one in spans(past_build(number))]
    assert len(set(ids)) == len(ids)


@given(st.lists(st.none() | st.integers(0, 20), min_size=7, max_size=7))
def test_no_span_is_negative_or_beyond_its_build_whatever_clocks_said(given_s: list[int | None]) -> None:
    times: dict[str, Any] = {
        f"{name}_at_ms": None if at is None else at for name, at in zip(TIMES, given_s, strict=True)
    }
    times["queued_at_ms"] = times["queued_at_ms"] or 0
    times["ended_at_ms"] = times["ended_at_ms"] or 0
    root, *steps = spans(past_build(**times))
    assert steps
    assert (steps[0].start_ms, steps[-1].end_ms) == (root.start_ms, root.end_ms)
    for one, after in itertools.pairwise(steps):
        assert one.end_ms == after.start_ms
    for one in steps:
        assert root.start_ms <= one.start_ms <= one.end_ms <= root.end_ms
    names = [one.name for one in steps]
    assert names == sorted(set(names), key=STEPS.index)
