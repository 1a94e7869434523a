from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging

import httpx
import pytest

from agents.shared import RUNNER_MEM_MIB
from framework.api import context
from framework.core.ids import RequestId
from framework.core.tasks import FailureClass
from framework.errors import UnavailableError
from tests.fakes.control import FakeControl
from tests.unit.api.conftest import JOB, Client

FULL = {
    "name": "unit-tests",
    "script": "#!/bin/bash\nmake\nmake test\n",
    "image": "debian:12",
    "git": {"url": "https://example.com/x.git", "ref": "main"},
    "cpus": 1.5,
    "mem_mib": 512,
    "disk_mib": 1024,
    "env": {"A": "1"},
    "secrets": {"TOKEN": "hunter2"},
    "priority": 5,
    "timeout_s": 60,
    "grace_s": 3,
    "artifacts": ["out/*.xml"],
    "retries": 1,
    "attributes": {"os": "linux"},
}


async def test_a_whole_job_reaches_the_runtime(red: Client, control: FakeControl) -> None:
    response = await red("POST", "/v1/jobs", FULL, Idempotency_Key="k1")
    assert response.status_code == 201
    [sent] = control.submissions
    spec = sent.spec
    assert (sent.tenant, sent.job, sent.priority, sent.retries, sent.idempotency_key) == (
        "red",
        "unit-tests",
        5,
        1,
        "k1",
    )
    assert (spec.cpu_millis, spec.mem_mib, spec.disk_mib, spec.timeout_s, spec.grace_s) == (1500, 512, 1024, 60, 3)
    assert (spec.command, spec.image, spec.artifacts) == (FULL["script"], "debian:12", ["out/*.xml"])
    assert spec.git is not None
    assert (spec.git.url, spec.git.ref) == ("https://example.com/x.git", "main")
    assert (spec.env, spec.secrets, spec.task_id) == ({"A": "1"}, {"TOKEN": "hunter2"}, "")
    template = sent.template
    assert (template.image, template.attributes, template.timeout_s, template.grace_s) == (
        "debian:12",
        {"os": "linux"},
        60,
        3,
    )
    assert template.resources.cpu_millis == 1500


async def test_a_template_gives_what_the_job_does_not(red: Client, control: FakeControl) -> None:
    job = {**JOB, "label": "small", "mem_mib": 300, "attributes": {"rack": "r1"}}
    assert (await red("POST", "/v1/jobs", job)).status_code == 201
    [sent] = control.submissions
    assert (sent.spec.cpu_millis, sent.spec.mem_mib, sent.spec.image) == (500, 300, "debian:12")
    assert sent.template.attributes == {"os": "linux", "rack": "r1"}


async def test_where_a_build_may_go_reaches_the_runtime(red: Client, control: FakeControl) -> None:
    job = {
        **JOB,
        "gpus": 2,
        "ports": 3,
        "constraints": [["rack", "GROUP_BY", "3"], ["hostname", "UNIQUE"]],
        "labels": {"app": "db"},
        "near": [{"labels": {"app": "cache"}}],
        "apart": [{"labels": {"app": "db"}, "field": "rack"}],
        "reserved": "only",
        "preemptible": True,
        "mesos_executor": "shared",
    }
    answer = (await red("POST", "/v1/jobs", job)).json()
    told = {name: answer[name] for name in job.keys() - {"gpus", "ports", "near", *JOB}}
    assert told == {name: job[name] for name in told}
    assert answer["near"] == [{"labels": {"app": "cache"}, "field": "hostname"}]
    assert (answer["resources"]["gpus"], answer["resources"]["ports"]) == (2, 3)
    template = control.submissions[0].template
    assert (template.resources.gpus, template.resources.ports, template.shared) == (2, 3, True)
    assert [(each.field, each.operator, each.value) for each in template.constraints] == [
        ("rack", "GROUP_BY", "3"),
        ("hostname", "UNIQUE", ""),
    ]
    assert [(each.labels, each.near, each.field) for each in template.neighbours] == [
        ({"app": "cache"}, True, "hostname"),
        ({"app": "db"}, False, "rack"),
    ]
    assert (template.reserved, template.preemptible) == ("only", True)


async def test_an_agent_asks_for_all_its_containers_together(red: Client, control: FakeControl) -> None:
    containers = [
        {"name": "db", "image": "postgres:16", "command": "postgres", "cpus": 0.5, "mem_mib": 256, "env": {"A": "b"}},
        {"name": "cache", "script": "#!/bin/sh\nredis\n"},
    ]
    job = {**JOB, "cpus": 1, "mem_mib": 512, "containers": containers}
    answer = (await red("POST", "/v1/jobs", job)).json()
    assert (answer["resources"]["cpus"], answer["resources"]["mem_mib"]) == (1.6, 896 + 2 * RUNNER_MEM_MIB)
    assert [(one["name"], one["image"]) for one in answer["containers"]] == [("db", "postgres:16"), ("cache", None)]
    [sent] = control.submissions
    assert (sent.spec.cpu_millis, sent.spec.mem_mib) == (1000, 512), "the container that builds has its own"
    assert [(one.name, one.command, one.cpu_millis, one.env) for one in sent.spec.containers] == [
        ("db", "postgres", 500, {"A": "b"}),
        ("cache", "#!/bin/sh\nredis\n", 100, {}),
    ]


async def test_every_fault_of_where_a_build_may_go_is_told(red: Client, control: FakeControl) -> None:
    job = {
        **JOB,
        "constraints": [["rack"], ["rack", "NEARBY", "1"], ["rack", "LIKE", "("], ["rack", "MAX_PER", "x"]],
        "near": [{"labels": {}}],
        "reserved": "sometimes",
        "mesos_executor": "none",
        "gpus": -1,
        "containers": [{"name": "db"}, {"name": "db", "command": "x", "script": "y"}],
    }
    answer = await red("POST", "/v1/jobs", job)
    assert answer.status_code == 422
    assert {fault["where"] for fault in answer.json()["faults"]} == {
        *(f"constraints[{index}]" for index in range(4)),
        "near[0].labels",
        "reserved",
        "mesos_executor",
        "gpus",
        "containers[0].command",
        "containers[1].command",
        "containers[1].name",
    }
    assert not control.submissions


async def test_secrets_are_told_by_name_alone(
    red: Client, control: FakeControl, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    submitted = await red("POST", "/v1/jobs", FULL)
    job = submitted.json()["id"]
    answers = [submitted] + [await red("GET", f"/v1/jobs{path}") for path in ("", f"/{job}", f"/{job}/why")]
    assert answers[2].json()["spec"]["secrets"] == ["TOKEN"]
    assert all("hunter2" not in answer.text for answer in answers)
    assert "hunter2" not in caplog.text
    control.end(job)
    assert (await red("GET", f"/v1/jobs/{job}")).json()["spec"]["secrets"] == []


async def test_an_idempotency_key(red: Client, blue: Client, control: FakeControl) -> None:
    first = await red("POST", "/v1/jobs", FULL, Idempotency_Key="k1")
    again = await red("POST", "/v1/jobs", dict(reversed(FULL.items())), Idempotency_Key="k1")
    assert again.json() == first.json()
    for change in ({"command": "x", "script": None}, {"secrets": {"TOKEN": "hunter3"}}, {"priority": 6}):
        other = await red("POST", "/v1/jobs", {**FULL, **change}, Idempotency_Key="k1")
        assert other.status_code == 409
        assert other.json()["faults"][0]["where"] == "Idempotency-Key"
    theirs = await blue("POST", "/v1/jobs", FULL, Idempotency_Key="k1")
    assert theirs.json()["id"] != first.json()["id"]
    assert len(control.jobs) == 2


async def test_listing_pages_back(red: Client, blue: Client, admin: Client, control: FakeControl) -> None:
    for number in range(5):
        await red("POST", "/v1/jobs", {**JOB, "name": f"n{number}"})
    await blue("POST", "/v1/jobs", JOB)
    seen = []
    before = ""
    while True:
        page = (await red("GET", f"/v1/jobs?limit=2{before}")).json()
        seen += [job["name"] for job in page["jobs"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert seen == ["n4", "n3", "n2", "n1", "n0"]
    assert len((await admin("GET", "/v1/jobs")).json()["jobs"]) == 6
    assert len((await admin("GET", "/v1/jobs?tenant=blue")).json()["jobs"]) == 1
    assert len((await red("GET", "/v1/jobs?job=n1&state=waiting&state=running")).json()["jobs"]) == 1
    assert (await red("GET", "/v1/jobs?state=ended")).json() == {"jobs": [], "next": None}


async def test_a_job_s_life(red: Client, control: FakeControl) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    why = (await red("GET", f"/v1/jobs/{job}/why")).json()
    assert why["waiting"]
    assert why["turned_away"] == {"mem_mib": 2, "attribute:os": 1}
    control.run(job)
    why = (await red("GET", f"/v1/jobs/{job}/why")).json()
    assert not why["waiting"]
    assert "running" in why["summary"]
    assert (await red("GET", f"/v1/jobs/{job}/wait?timeout_s=0")).json()["state"] == "running"
    waiting = asyncio.create_task(red("GET", f"/v1/jobs/{job}/wait"))
    await asyncio.sleep(0)
    control.end(job, FailureClass.OOM, 137)
    ended = (await waiting).json()
    assert ended["state"] == "ended"
    assert (ended["result"]["result_class"], ended["result"]["exit_code"]) == ("oom", 137)
    shown = (await red("GET", f"/v1/jobs/{job}")).json()
    assert [(one["attempt"], one["host"], one["result"]["peak_mem_mib"]) for one in shown["attempts"]] == [
        (1, "host-1", 12.0)
    ]
    assert "ended as oom" in (await red("GET", f"/v1/jobs/{job}/why")).json()["summary"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/cancel"), ("DELETE", "")])
async def test_cancel(admin: Client, red: Client, control: FakeControl, method: str, path: str) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    response = await admin(method, f"/v1/jobs/{job}{path}")
    assert response.status_code == 202
    assert response.json()["result"]["result_class"] == "cancelled"
    assert response.json()["cancel_reason"] == "cancelled by the administrator"
    assert (await red(method, f"/v1/jobs/{job}{path}")).json()["cancel_reason"] == "cancelled by the administrator"


async def test_calls_that_wait_are_bounded(
    red: Client, blue: Client, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "MAX_WAITERS_OF_ONE", 1)
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    theirs = (await blue("POST", "/v1/jobs", JOB)).json()["id"]
    first = asyncio.create_task(red("GET", f"/v1/jobs/{job}/wait"))
    await control.waited_for.wait()
    assert (await red("GET", f"/v1/jobs/{job}/wait")).status_code == 503
    assert (await blue("GET", f"/v1/jobs/{theirs}/wait?timeout_s=0")).status_code == 200
    control.end(job)
    assert (await first).status_code == 200
    assert (await red("GET", f"/v1/jobs/{job}/wait")).status_code == 200


async def log(client: Client, job: str, query: str = "") -> tuple[bytes, dict[str, object]]:
    response = await client("GET", f"/v1/jobs/{job}/log{query}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    told = {
        name.removeprefix("butlery-"): json.loads(value)
        for name, value in response.headers.items()
        if name.startswith("butlery-")
    }
    return response.content, told


async def test_the_log_while_it_grows(red: Client, control: FakeControl) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    nothing = {"attempt": 0, "next-offset": 0, "attempt-ended": False, "job-ended": False}
    assert await log(red, job) == (b"", nothing)
    control.run(job, b"one\n")
    assert await log(red, job) == (b"one\n", nothing | {"attempt": 1, "next-offset": 4})
    assert await log(red, job, "?offset=1&length=2") == (b"ne", nothing | {"attempt": 1, "next-offset": 3})
    following = asyncio.create_task(log(red, job, "?offset=4&follow_s=30"))
    await asyncio.sleep(0)
    control.write(job, b"two\n")
    assert await following == (b"two\n", nothing | {"attempt": 1, "next-offset": 8})
    control.end(job)
    assert await log(red, job, "?offset=8&follow_s=30") == (
        b"",
        {"attempt": 1, "next-offset": 8, "attempt-ended": True, "job-ended": True},
    )


async def test_following_gives_up_in_time(red: Client, control: FakeControl) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    assert (await log(red, job, "?follow_s=0.2"))[1]["attempt"] == 0
    control.run(job)
    assert (await log(red, job, "?follow_s=0.2"))[0] == b""


async def test_the_log_of_each_attempt(red: Client, control: FakeControl) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    control.run(job, b"first")
    control.lose(job)
    assert (await log(red, job, "?follow_s=30&offset=5"))[1] == {
        "attempt": 1,
        "next-offset": 5,
        "attempt-ended": True,
        "job-ended": False,
    }
    control.run(job, b"second")
    assert (await log(red, job))[0] == b"second"
    assert (await log(red, job, "?attempt=1"))[0] == b"first"
    assert (await red("GET", f"/v1/jobs/{job}/log?attempt=3")).status_code == 404
    control.end(job)
    assert [(await log(red, job, f"?attempt={number}"))[1]["job-ended"] for number in (1, 2)] == [False, True]


async def test_the_log_of_another_container(red: Client, control: FakeControl) -> None:
    body = {**JOB, "containers": [{"name": "db", "command": "exec postgres"}]}
    job = (await red("POST", "/v1/jobs", body)).json()["id"]
    control.run(job, b"the build's\n")
    assert (await log(red, job, "?container=db"))[0] == b"", "it is about to start"
    control.files[RequestId(job), 1, "containers/db.log"] = b"the database's\n"
    assert (await log(red, job, "?container=db"))[0] == b"the database's\n"
    assert (await log(red, job))[0] == b"the build's\n"
    assert "container" in (await red("GET", f"/v1/jobs/{job}/log?container=cache")).json()["detail"]
    assert (await red("GET", f"/v1/jobs/{job}/log?container=../build")).status_code == 422


async def test_a_log_that_is_not_there(red: Client, control: FakeControl) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    control.run(job)
    control.files.clear()
    assert (await log(red, job))[0] == b""
    control.end(job)
    assert "keeps it no longer" in (await red("GET", f"/v1/jobs/{job}/log")).text


async def test_a_host_that_does_not_answer(red: Client, control: FakeControl) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    control.failing = UnavailableError("host-1 does not answer")
    response = await red("GET", f"/v1/jobs/{job}/log")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"


async def test_artifacts(red: Client, control: FakeControl) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    assert (await red("GET", f"/v1/jobs/{job}/artifacts")).json() == {"artifacts": []}
    control.run(job)
    large = bytes(range(256)) * 10_000
    for path, data in (("out/r ä.xml", b"<x/>"), ("a.bin", large), ("empty", b"")):
        control.files[(job, 1, f"artifacts/{path}")] = data
    control.end(job)
    assert (await red("GET", f"/v1/jobs/{job}/artifacts")).json()["artifacts"] == [
        {"path": "a.bin", "size_bytes": len(large)},
        {"path": "empty", "size_bytes": 0},
        {"path": "out/r ä.xml", "size_bytes": 4},
    ]
    for path, data in (("a.bin", large), ("empty", b""), ("out/r%20%C3%A4.xml", b"<x/>")):
        response = await red("GET", f"/v1/jobs/{job}/artifacts/{path}")
        assert response.content == data
        assert response.headers["content-disposition"].startswith("attachment")
        assert response.headers["x-content-type-options"] == "nosniff"
    for path in ("b", "../build.log", "%2E%2E/build.log", "/etc/passwd", "out"):
        assert (await red("GET", f"/v1/jobs/{job}/artifacts/{path}")).status_code == 404


async def test_an_artifact_that_shrank_is_not_taken_for_whole(
    red: Client, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    control.run(job)
    control.files[(job, 1, "artifacts/a")] = b"x"

    async def larger(_: object) -> list[tuple[str, int]]:
        return [("a", 2)]

    monkeypatch.setattr(control, "list_artifacts", larger)
    with pytest.raises(FileNotFoundError):
        await red("GET", f"/v1/jobs/{job}/artifacts/a")


async def test_operations(admin: Client, red: Client, nobody: Client, control: FakeControl) -> None:
    made = (await admin("PUT", "/v1/tenants/green", {"weight": 3, "quota": {"cpus": 2.5, "builds": 4}})).json()
    assert made == {
        "name": "green",
        "weight": 3,
        "quota": {"cpus": 2.5, "mem_mib": None, "builds": 4},
        "role": None,
        "token": control.token_of("green"),
    }
    again = (await admin("PUT", "/v1/tenants/green", {})).json()
    assert (again["token"], again["weight"], again["quota"]["cpus"]) == (None, 100, None)
    names = [tenant["name"] for tenant in (await admin("GET", "/v1/tenants")).json()["tenants"]]
    assert names == ["blue", "green", "red"]
    [host] = (await admin("GET", "/v1/hosts")).json()["hosts"]
    assert (host["hostname"], host["total"]["cpus"], host["used"]["mem_mib"]) == ("host-1", 16.0, 4096)
    status = (await admin("GET", "/v1/status")).json()
    assert (status["framework_id"], status["breakers"]) == ("fw-1", {"bad:1": 30.0})
    assert (await red("GET", "/v1/version")).json() == {"version": status["version"]}
    assert (await nobody("GET", "/v1/health")).json() == {"ok": True, "role": "leader"}
    control.connected = False
    unwell = await nobody("GET", "/v1/health")
    assert (unwell.status_code, unwell.json()) == (503, {"ok": False, "role": "leader"})


async def test_the_page_needs_nothing_from_elsewhere(nobody: Client, http: httpx.AsyncClient) -> None:
    response = await nobody("GET", "/docs")
    assert response.status_code == 200
    assert "http://" not in response.text
    assert "https://" not in response.text
    assert "<script" not in response.text
    document = (await nobody("GET", "/openapi.json")).json()
    for path in document["paths"]:
        assert path in response.text
    style = response.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in response.headers["content-security-policy"]
