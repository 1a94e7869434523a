from __future__ import annotations

import pytest
from msgspec import structs

from framework.core.ids import RequestId, TenantName
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.resources import Resources
from framework.core.tasks import FailureClass
from framework.core.templates import Sized
from framework.jenkins_ports import Unserved
from tests.unit.cli.conftest import Butlery, Serving

RED = TenantName("red")


@pytest.fixture
def build(as_red: Butlery, serving: Serving) -> str:
    """A request of a queue item, as a job that the test gives its Jenkins side."""
    ended = as_red("jobs", "submit", "--name", "payments", "--command", "true")
    found = ended.out.strip()
    job = serving.control.jobs[RequestId(found)]
    job.jenkins = JenkinsSide(QueueItem(7, 1), "payments #3", "job/payments/3/", "maven", "maven", 999.0)
    return found


def test_builds_are_listed_with_how_they_stand(as_red: Butlery, serving: Serving, build: str) -> None:
    serving.do(serving.control.run, RequestId(build))
    ended = as_red("builds", "list")
    assert ended.code == 0
    heading, line = ended.out.splitlines()
    assert heading.split()[:4] == ["BUILD", "TENANT", "NAME", "LABEL"]
    assert build in line and "connecting" in line and "payments #3" in line
    assert as_red("builds", "list", "--json").json["builds"][0]["jenkins"]["item"] == 7


def test_one_is_shown_and_its_log_read(as_red: Butlery, serving: Serving, build: str) -> None:
    serving.do(serving.control.run, RequestId(build), b"hello\n")
    shown = as_red("builds", "show", build)
    assert shown.code == 0
    assert "queue item  7" in shown.out and "ATTEMPT" in shown.out
    assert as_red("builds", "logs", build).out == "hello\n"
    assert as_red("builds", "show", build, "--json").json["build"]["id"] == build


def test_why_one_waits_or_ended(as_red: Butlery, serving: Serving, build: str) -> None:
    waiting = as_red("builds", "why", "--tenant", "red", "--item", "7")
    assert waiting.out.startswith("waiting: ")
    assert "held by: quota of 4 builds" in waiting.out
    serving.do(serving.control.run, RequestId(build), b"out of\nmemory\n")
    serving.do(serving.control.end, RequestId(build), FailureClass.OOM)
    ended = as_red("builds", "why", build)
    assert ended.code == 0
    assert ended.out.startswith("ended: oom: it needed more memory")
    assert ended.out.endswith("its log ends with:\n  out of\n  memory\n")


def test_items_without_an_agent(as_red: Butlery, serving: Serving, build: str) -> None:
    serving.control.hopeless[RED] = [Unserved(QueueItem(9, 1), "docs", "windows", "no template has windows")]
    ended = as_red("builds", "queue", "red")
    assert [line.split()[0] for line in ended.out.splitlines()] == ["ITEM", "9", "7"]
    assert "no template has windows" in ended.out
    assert as_red("builds", "why", "--tenant", "red", "--item", "9").out == "no template has windows\n"
    assert build in ended.out


def test_what_is_meant_must_be_clear(as_red: Butlery) -> None:
    for given in ((), ("x", "--tenant", "red"), ("--item", "7")):
        ended = as_red("builds", "why", *given)
        assert ended.code == 2
        assert "give the id of a build, or --tenant and --item together" in ended.err
    assert as_red("builds", "why", "no-such-build").code == 2


def test_an_agent_of_its_jobs_size_is_told_with_what_its_template_gives(
    as_red: Butlery, serving: Serving, build: str
) -> None:
    job = serving.control.jobs[RequestId(build)]
    job.template = structs.replace(
        job.template, resources=Resources(cpu_millis=450, mem_mib=1216), sized=Sized("payments", 2000, 4096)
    )
    told = "0.45 CPUs and 1216 MiB, as its job's history says; its template gives 2 and 4096 MiB"
    assert f"sized       {told}" in as_red("builds", "show", build).out
    assert f"its agent has {told}" in as_red("builds", "why", build).out
