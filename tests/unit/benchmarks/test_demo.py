"""The demo's plan and its report."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any, cast

import pytest
from rich.console import Console

from agents.spec import RESULT_CLASSES
from benchmarks.api import Api
from benchmarks.demo import BUILDS, MAX_BUILDS, MIN_BUILDS
from benchmarks.demo.builds import CLASSES, MEM_MIB, TENANTS, PlannedBuild, plan
from benchmarks.demo.report import Finished, deviations, figures_of, show
from framework.cli.client import RefusedError

HOST = {"hostname": "host-1", "attributes": {"rack": "r1"}, "total": {"cpus": 2.0, "mem_mib": 1024}}


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("count", [MIN_BUILDS, 10, BUILDS, MAX_BUILDS])
def test_one_build_outgrows_its_memory_one_its_time_and_every_tenant_has_some_that_pass(
    count: int, queued: bool
) -> None:
    planned = plan(count, queued)
    classes = Counter(build.expected for build in planned)
    assert len(planned) == count
    assert (classes["oom"], classes["timeout"]) == (1, 1)
    assert all(build.queued == (queued and build.expected in ("passed", "failed")) for build in planned)
    assert classes["failed"] >= 1
    assert {build.tenant for build in planned if build.expected == "passed"} == set(TENANTS)
    assert set(CLASSES) <= set(RESULT_CLASSES)


def test_sixty_builds_are_shared_equally() -> None:
    assert set(Counter(build.tenant for build in plan(60, queued=True)).values()) == {20}


class StubApi:
    """Answers for builds that did not end as they should."""

    def why(self, job_id: str) -> str:
        return f"{job_id} waits for memory."

    def log_tail(self, job_id: str, lines: int) -> list[str]:
        if job_id == "waits":
            raise RefusedError(404, "no log", [])
        return ["the [last] line"]


def finished(
    job_id: str, found: str | None, *, expected: str = "passed", start: float = 0.0, end: float | None = 10.0
) -> Finished:
    result: dict[str, Any] | None = None
    if found is not None:
        result = {"result_class": found, "message": f"it is {found}", "cpu_s": 1.5}
    attempt = {"host": "host-1", "launched_at": start, "ended_at": end, "result": result}
    job = {
        "id": job_id,
        "tenant": "web",
        "name": "suite",
        "state": "waiting" if found is None else "ended",
        "submitted_at": 0.0,
        "running_at": None if found is None else start + 1.0,
        "resources": {"cpus": 0.5, "mem_mib": MEM_MIB},
        "result": result,
        "attempts": [] if found is None else [attempt],
    }
    return Finished(PlannedBuild("web", "suite", "main", expected), job)


def test_figures_count_classes_waits_and_what_was_used_at_once() -> None:
    builds = [
        finished("one", "passed", start=0.0, end=10.0),
        finished("two", "failed", expected="failed", start=5.0, end=15.0),
        finished("three", "passed", start=10.0, end=20.0),  # begins as the first ends
        finished("four", "infrastructure", start=30.0, end=40.0),
    ]
    figures = figures_of(builds, [HOST])
    web = figures["tenants"]["web"]
    assert (figures["builds"], figures["as_expected"]) == (4, 3)
    assert (web["passed"], web["failed"], web["oom"], web["timeout"], web["other"]) == (2, 1, 0, 0, 1)
    assert (web["queue_to_online_p50_s"], web["queue_to_online_p99_s"]) == (6.0, 31.0)
    assert figures["hosts"] == [
        {
            "host": "host-1",
            "rack": "r1",
            "builds": 4,
            "peak_builds": 2,
            "peak_cpus": 1.0,
            "cpus": 2.0,
            "peak_mem_mib": 2 * MEM_MIB,
            "mem_mib": 1024,
            "cpu_s": 6.0,
        }
    ]


def test_every_deviation_is_named_with_its_id_and_the_end_of_its_log() -> None:
    builds = [finished("right", "oom", expected="oom"), finished("wrong", "timeout"), finished("waits", None)]
    found = deviations(cast(Api, StubApi()), builds)
    assert [(each["id"], each["expected"], each["found"]) for each in found] == [
        ("wrong", "passed", "timeout"),
        ("waits", "passed", "still waiting"),
    ]
    assert found[0]["log"] == ["the [last] line"]
    assert found[1]["message"] == "waits waits for memory."
    text = io.StringIO()
    show({**figures_of(builds, [HOST]), "deviations": found}, Console(file=text, width=200))
    assert "wrong of web (suite at main) should have ended as passed, but: timeout. it is timeout" in text.getvalue()
    assert "    the [last] line" in text.getvalue()
