"""Every row of bad input, through the API: refused with all its faults, and nothing done."""

from __future__ import annotations

import difflib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from framework.api import checks
from framework.api.app import create_app
from framework.api.faults import MAX_FAULTS
from framework.errors import StoreError, StoreFullError, UnavailableError
from framework.settings import ApiSettings
from framework.tokens import token_sha256
from tests.fakes.control import FakeControl
from tests.fakes.seats import FakeSeat
from tests.fakes.templates import fixed_templates
from tests.unit.api.conftest import ADMIN_TOKEN, JOB, Client

BAD_NUMBERS: list[Any] = [-101, float("nan"), float("inf"), float("-inf"), 10**30, "1", True, [], {}]
BAD_FIELDS: list[tuple[str, Any, str]] = [
    ("name", "a/b", "name"),
    ("name", "..", "name"),
    ("name", "a..b", "name"),
    ("name", "a\0b", "name"),
    ("name", "🦄", "name"),
    ("name", "", "name"),
    ("name", "a" * 101, "name"),
    ("name", "a\n", "name"),
    ("name", 7, "name"),
    ("tenant", "a/b", "tenant"),
    ("label", "no-such-label", "label"),
    ("label", "../x", "label"),
    *[(field, value, field) for field in ("gpus", "ports") for value in (-1, 101, 0.5, "1", True)],
    ("reserved", "maybe", "reserved"),
    ("reserved", 1, "reserved"),
    ("preemptible", "yes", "preemptible"),
    ("mesos_executor", "both", "mesos_executor"),
    ("constraints", "rack", "constraints"),
    ("constraints", [["rack", "UNIQUE"]] * 33, "constraints"),
    ("constraints", [[]], "constraints[0]"),
    ("constraints", [["rack"]], "constraints[0]"),
    ("constraints", [["rack", "IS", "a", "b"]], "constraints[0]"),
    ("constraints", [["rack", "NEXT_TO", "a"]], "constraints[0]"),
    ("constraints", [["rack", "MAX_PER", 2]], "constraints[0][2]"),
    ("constraints", [["rack", "MAX_PER", "-2"]], "constraints[0]"),
    ("constraints", [["rack", "LIKE", "("]], "constraints[0]"),
    ("constraints", [["rack", "LIKE", "(a{1,1000}){1,1000}"]], "constraints[0]"),
    ("constraints", [["rack", "IS", "a" * 10_000]], "constraints[0]"),
    ("constraints", [["", "UNIQUE"]], "constraints[0]"),
    ("labels", {f"l{number}": "x" for number in range(1000)}, "labels"),
    ("labels", {"a b": "x"}, "labels.a b"),
    ("labels", {"a": "two\nlines"}, "labels.a"),
    ("labels", {"a": 1}, "labels.a"),
    ("near", [{"labels": {}}], "near[0].labels"),
    ("near", [{"labels": {"a": "b"}}] * 9, "near"),
    ("apart", [{"labels": {"a": "b"}, "where": "rack"}], "apart[0].where"),
    ("apart", [{"labels": {"a": "b"}, "field": "\x1b"}], "apart[0].field"),
    ("containers", {"name": "db"}, "containers"),
    ("containers", [{"name": "db"}], "containers[0].command"),
    ("containers", [{"name": "db", "command": "a", "script": "b"}], "containers[0].command"),
    ("containers", [{"name": "../db", "command": "a"}], "containers[0].name"),
    ("containers", [{"name": "db.log", "command": "a"}], "containers[0].name"),
    ("containers", [{"name": "db", "command": "a"}] * 2, "containers[1].name"),
    ("containers", [{"name": "db", "command": "a", "cpus": -1}], "containers[0].cpus"),
    ("containers", [{"name": "db", "command": "a", "memory": 1}], "containers[0].memory"),
    ("containers", [{"name": f"c{number}", "command": "a"} for number in range(9)], "containers"),
    *[
        (field, value, field)
        for field in ("cpus", "mem_mib", "disk_mib", "timeout_s", "grace_s", "priority", "retries")
        for value in BAD_NUMBERS
    ],
    ("cpus", 0, "cpus"),
    ("mem_mib", 0, "mem_mib"),
    ("mem_mib", 512.5, "mem_mib"),
    ("timeout_s", 0, "timeout_s"),
    ("retries", 6, "retries"),
    ("priority", 101, "priority"),
    ("command", "x" * (1 << 20), "command"),
    ("command", "make\nrm", "command"),
    ("command", "a\0b", "command"),
    ("command", " ", "command"),
    ("image", "--privileged", "image"),
    ("image", "a b", "image"),
    ("env", {"A-B": "x"}, "env.A-B"),
    ("env", {"MESOS_SANDBOX": "x"}, "env.MESOS_SANDBOX"),
    ("env", {"BUTLERY_X": "x"}, "env.BUTLERY_X"),
    ("env", {"A": "x\0"}, "env.A"),
    ("env", {"A": 1}, "env.A"),
    ("env", {"A": "x" * (128 << 10)}, "env.A"),
    ("env", {f"A{number}": "" for number in range(1001)}, "env"),
    ("env", [], "env"),
    ("secrets", {"A": ""}, "secrets.A"),
    ("secrets", {"1": "x"}, "secrets.1"),
    ("attributes", {"os": "a\nb"}, "attributes.os"),
    ("attributes", {"o/s": "x"}, "attributes.o/s"),
    ("artifacts", ["/etc/passwd"], "artifacts[0]"),
    ("artifacts", ["ok", "a/../../b"], "artifacts[1]"),
    ("artifacts", ["a\0"], "artifacts[0]"),
    ("artifacts", ["x"] * 101, "artifacts"),
    ("artifacts", "x", "artifacts"),
    ("git", "https://example.com/x.git", "git"),
    ("git", {}, "git.url"),
    ("git", {"url": "https://example.com/x", "branch": "a"}, "git.branch"),
    ("colour", "red", "colour"),
]


@pytest.mark.parametrize(("field", "value", "where"), BAD_FIELDS, ids=lambda value: ascii(value)[:30])
async def test_a_bad_field_is_named(red: Client, control: FakeControl, field: str, value: Any, where: str) -> None:
    faults = await red.faults("POST", "/v1/jobs", {**JOB, field: value})
    assert list(faults) == [where]
    assert faults[where]
    assert not control.submissions


@pytest.mark.parametrize("number", ["1" + "0" * 5000, "-1" + "0" * 5000, "1e400", "-1E+99999"])
async def test_numbers_beyond_any_type(red: Client, number: str) -> None:
    for field in ("cpus", "mem_mib", "priority"):
        body = json.dumps({**JOB, field: "#"}).replace('"#"', number).encode()
        assert list(await red.faults("POST", "/v1/jobs", body)) == [field]


async def test_all_faults_come_at_once(red: Client) -> None:
    faults = await red.faults(
        "POST",
        "/v1/jobs",
        {
            "name": "🦄",
            "comand": "x",
            "cpus": float("nan"),
            "mem_mib": -1,
            "label": "huge",
            "env": {"PATH ": "x", "TOKEN": "x"},
            "secrets": {"TOKEN": "hunter2"},
            "git": {"url": "https://me:hunter2@example.com/x", "ref": "--upload-pack=x"},
            "retries": 99,
        },
    )
    assert set(faults) == {
        "name", "comand", "cpus", "mem_mib", "label", "env.PATH ", "secrets.TOKEN", "git.url", "git.ref", "retries",
        "command",
    }  # fmt: skip
    assert "did you mean `command`" in faults["comand"]
    assert "small" in faults["label"]
    assert "hunter2" not in str(faults)


async def test_what_is_not_told_costs_little(red: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sought: list[str] = []

    def seek(word: str, among: Sequence[str], **_: object) -> list[str]:
        sought.extend([word] if among else [])
        return []

    monkeypatch.setattr(difflib, "get_close_matches", seek)
    response = await red("POST", "/v1/jobs", {**JOB, **{f"priorities{number}": 1 for number in range(5000)}})
    assert response.json()["faults"][-1]["message"] == "and 4900 more faults"
    assert len(sought) == MAX_FAULTS


async def test_many_faults_are_bounded(red: Client) -> None:
    response = await red("POST", "/v1/jobs", {**JOB, "env": {f"{number}": 1 for number in range(900)}})
    faults = response.json()["faults"]
    assert len(faults) == 101
    assert faults[-1]["message"] == "and 1700 more faults"


@pytest.mark.parametrize("given", [{}, {"command": "a", "script": "b"}, {"command": None, "script": None}])
async def test_exactly_one_of_command_and_script(red: Client, given: dict[str, Any]) -> None:
    faults = await red.faults("POST", "/v1/jobs", {"name": "a", **given})
    assert "exactly one" in faults["command"]


async def test_a_large_command_belongs_into_the_repository(red: Client, control: FakeControl) -> None:
    faults = await red.faults("POST", "/v1/jobs", {**JOB, "command": "x" * (1 << 20)})
    assert "put the script into the repository" in faults["command"]
    assert (await red("POST", "/v1/jobs", {**JOB, "command": "x" * checks.COMMAND_MAX_BYTES})).status_code == 201


async def test_an_unknown_tenant(admin: Client) -> None:
    assert "is not known" in (await admin.faults("POST", "/v1/jobs", {**JOB, "tenant": "green"}))["tenant"]
    assert "does not imply one" in (await admin.faults("POST", "/v1/jobs", JOB))["tenant"]


async def test_resources_no_host_could_hold_name_the_largest(red: Client) -> None:
    faults = await red.faults("POST", "/v1/jobs", {**JOB, "cpus": 1000, "mem_mib": 1 << 20})
    assert set(faults) == {"cpus", "mem_mib"}
    assert "host-1" in faults["cpus"]


BAD_BODIES = {
    "truncated": (b'{"name": "a", "comm', 400, "line 1 column 15"),
    "truncated in the third line": (b'{"name":\n"a",\n"command": ', 400, "line 3 column 12"),
    "empty": (b"", 400, "line 1 column 1"),
    "nested": (b"[" * 500_000, 400, "nested too deeply"),
    "not UTF-8": (b'{"name": "\xff"}', 400, "byte 10"),
    "UTF-16": ('{"name": "a"}'.encode("utf-16"), 400, "UTF-8"),
    "half a pair": (b'{"name": "\\ud83e"}', 400, "surrogate"),
    "half a pair as key": (b'{"env": {"\\ud83e": ""}}', 400, "surrogate"),
    "twice": (b'{"name": "a", "name": "b"}', 400, "twice"),
    "a list": (b"[]", 422, "must be a JSON object"),
    "nothing": (b"null", 422, "must be a JSON object"),
    "more than one": (b'{"name": "a"} {}', 400, "line 1 column 15"),
    "too large": (b'{"name": "' + b"a" * 1_200_000 + b'"}', 413, "1114112 bytes"),
}


@pytest.mark.parametrize(("body", "status", "told"), BAD_BODIES.values(), ids=BAD_BODIES)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/jobs"), ("PUT", "/v1/tenants/green")])
async def test_a_bad_body(admin: Client, method: str, path: str, body: bytes, status: int, told: str) -> None:
    response = await admin(method, path, body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert told in response.text


async def test_a_body_without_end_is_not_kept(http: httpx.AsyncClient, control: FakeControl) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 65536

    headers = {"Authorization": f"Bearer {control.token_of('red')}", "Content-Type": "application/json"}
    response = await http.post("/v1/jobs", content=endless(), headers=headers)
    assert response.status_code == 413
    assert sent < 200  # of 64 KiB


async def test_the_body_must_be_called_json(red: Client) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
        assert (await red("POST", "/v1/jobs", JOB, Content_Type=kind)).status_code == 415
    assert (await red("POST", "/v1/jobs", JOB, Content_Type="application/json; charset=utf-8")).status_code == 201


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/v1/jobs?limit=0", "limit"),
        ("/v1/jobs?limit=x", "limit"),
        ("/v1/jobs?state=gone", "state[0]"),
        ("/v1/jobs?job=a/b", "job"),
        ("/v1/jobs?tennant=red", "tennant"),
        ("/v1/jobs/j1/wait?timeout_s=nan", "timeout_s"),
        ("/v1/jobs/j1/wait?timeout_s=1e9", "timeout_s"),
        ("/v1/jobs/j1/log?offset=-1", "offset"),
        ("/v1/jobs/j1/log?follow_s=inf", "follow_s"),
    ],
)
async def test_a_bad_query(red: Client, path: str, where: str) -> None:
    assert list(await red.faults("GET", path, None)) == [where]


@pytest.mark.parametrize("name", ["%F0%9F%A6%84", "..%2Fa", "a%00", "x" * 101, "-a"])
async def test_a_bad_tenant_name(admin: Client, control: FakeControl, name: str) -> None:
    response = await admin("PUT", f"/v1/tenants/{name}", {})
    assert response.status_code in (404, 422)
    assert len(control.known) == 2


async def test_a_bad_tenant(admin: Client) -> None:
    faults = await admin.faults("PUT", "/v1/tenants/red", {"weight": 0, "quota": {"cpus": -1, "builds": 0, "disk": 1}})
    assert set(faults) == {"weight", "quota.cpus", "quota.builds", "quota.disk"}


@pytest.mark.parametrize("job", ["%00", "a%2Fb", "🦄", "..", "x" * 5000, "' OR 1=1"])
async def test_a_bad_job_id_is_no_job(red: Client, job: str) -> None:
    assert (await red("GET", f"/v1/jobs/{job}")).status_code == 404


@pytest.mark.parametrize("key", ["", "a b", "ø", "x" * 256])
async def test_a_bad_idempotency_key(red: Client, key: str) -> None:
    response = await red("POST", "/v1/jobs", JOB, Idempotency_Key=key)
    assert response.status_code == 422
    assert response.json()["faults"][0]["where"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("error", "status"),
    [(StoreFullError("disk full"), 503), (UnavailableError("too many waiting"), 503), (StoreError("broken"), 500)],
)
async def test_the_runtime_s_errors(red: Client, control: FakeControl, error: Exception, status: int) -> None:
    control.failing = error
    response = await red("POST", "/v1/jobs", JOB)
    assert response.status_code == status
    assert ("retry-after" in response.headers) == (status == 503)
    assert (str(error) in response.text) == (status == 503)


async def test_what_nobody_foresaw(red: Client, control: FakeControl, caplog: pytest.LogCaptureFixture) -> None:
    control.failing = ZeroDivisionError("with hunter2 in it")
    response = await red("GET", "/v1/jobs")
    problem = response.json()
    assert response.status_code == 500
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text
    assert problem["instance"].startswith("urn:uuid:")
    assert problem["instance"] in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/x", 404), ("PATCH", "/v1/jobs", 405), ("PUT", "/", 404)]
)
async def test_paths_that_are_not_there(nobody: Client, method: str, path: str, status: int) -> None:
    response = await nobody(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


GOOD_URLS = [
    "https://example.com/team/x.git",
    "http://example.com:8080/x",
    "ssh://git@example.com/x.git",
    "ssh://git@[::1]:2222/x.git",
    "git://example.com/x",
    "git@example.com:team/x.git",
    "example.com:x.git",
    "https://example.com/%7Eme/x.git",
]
BAD_URLS = [
    "",
    "x",
    "/srv/x.git",
    "./x",
    "file:///srv/x.git",
    "FILE:///srv/x.git",
    "ftp://example.com/x",
    "ext::sh -c whoami",
    "ext::sh",
    "--upload-pack=touch /tmp/x",
    "-x@example.com:x",
    "ssh://-oProxyCommand=x/y",
    "ssh://-x@example.com/y",
    "-oProxyCommand=x:y",
    "git@-oProxyCommand:x",
    "git@example.com:-x",
    "https://user:pass@example.com/x",
    "https://token@example.com/x",
    "ssh://git:pass@example.com/x",
    "user:pass@example.com/x",
    "https://example.com/x?token=abc",
    "https://example.com/x#abc",
    "https://example.com",
    "https:///x",
    "https://example.com:99999/x",
    "https://exa mple.com/x",
    "https://example.com/x\n",
    "https://example.com/x\0",
    "https://[::1/x",
    "https://💩.example/x",
    "https://example.com/" + "x" * 2048,
]


@pytest.mark.parametrize("url", GOOD_URLS)
async def test_a_git_url(red: Client, url: str) -> None:
    assert (await red("POST", "/v1/jobs", {**JOB, "git": {"url": url}})).status_code == 201


@pytest.mark.parametrize("url", BAD_URLS, ids=lambda url: ascii(url)[:40])
async def test_a_bad_git_url(red: Client, url: str) -> None:
    faults = await red.faults("POST", "/v1/jobs", {**JOB, "git": {"url": url}})
    assert list(faults) == ["git.url"]
    assert "pass" not in faults["git.url"].replace("password", "")
    assert "abc" not in faults["git.url"]


async def test_file_urls_where_the_operator_allows_them(control: FakeControl) -> None:
    app = create_app(FakeSeat(control), ApiSettings(allow_file_urls=True), fixed_templates(), token_sha256(ADMIN_TOKEN))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://butlery") as http:
        red = Client(http, control.token_of("red"))
        assert (await red("POST", "/v1/jobs", {**JOB, "git": {"url": "file:///srv/x.git"}})).status_code == 201
        for url in ("file://elsewhere/srv/x.git", "file://", "file:///"):
            await red.faults("POST", "/v1/jobs", {**JOB, "git": {"url": url}})


@pytest.mark.parametrize("ref", ["main", "feature/x", "v1.0", "0a1b2c3d", "refs/pull/1/head", "日本"])
def test_a_ref(ref: str) -> None:
    assert checks.git_ref(ref) == ref


BAD_REFS = ["-x", "--upload-pack=x", "", "a..b", "a b", "a~1", "a^", "a:b", "a?", "@{u}", "a.lock", "/a", "a//b", ".a"]


@pytest.mark.parametrize("ref", [*BAD_REFS, "a/", "a.", "a\0", "x" * 256], ids=ascii)
def test_a_bad_ref(ref: str) -> None:
    with pytest.raises(ValueError, match="must"):
        checks.git_ref(ref)
