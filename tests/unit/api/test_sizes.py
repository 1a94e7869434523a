"""Sizes and neighbours over the API: what is told to whom."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator

import httpx
import pytest

from framework.api import questions
from framework.api.app import create_app
from framework.edges.sqlite_history import SqliteHistory
from framework.settings import ApiSettings
from framework.telemetry.records import BuildRecord
from framework.telemetry_settings import SizingSettings
from framework.tokens import token_sha256
from tests.fakes.control import FakeControl
from tests.fakes.seats import FakeSeat
from tests.fakes.telemetry import FakeTelemetry
from tests.unit.api.conftest import ADMIN_TOKEN, TEMPLATES, Client, take
from tests.unit.telemetry.past import NOW_MS, past_build

MINUTE_MS = 60_000


@pytest.fixture
async def http(
    control: FakeControl, history: SqliteHistory, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setattr(questions, "now_ms", lambda: NOW_MS + 1000)
    seat, told = FakeSeat(control), FakeTelemetry(history)
    app = create_app(
        seat,
        ApiSettings(),
        TEMPLATES,
        token_sha256(ADMIN_TOKEN),
        telemetry=told,
        sizing=SizingSettings(apply=True, confidence=0.9),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://butlery") as client:
        yield client


def measured(count: int, begin: int = 0, **given: object) -> list[BuildRecord]:
    told = {"tenant": "red", "job": "shop", "peak_mem_mib": 1000.0, "used_cpu_ms": 30_000} | given
    return [past_build(begin + number, **told) for number in range(count)]


async def test_tells_what_size_jobs_need(red: Client, blue: Client, admin: Client, history: SqliteHistory) -> None:
    take(history, *measured(60), *measured(20, 100, job="rare"), *measured(60, 200, tenant="blue", template=""))
    found = (await red("GET", "/v1/builds/sizes")).json()
    assert (found["applied"], found["more"]) == (True, False)
    shop, rare = found["jobs"]
    assert (shop["tenant"], shop["job"], shop["template"], shop["builds"]) == ("red", "shop", "maven", 60)
    assert (shop["asked_mem_mib"], shop["mem_mib"], shop["asked_cpu_millis"], shop["cpu_millis"]) == (
        4096,
        1216,
        2000,
        500,
    )
    assert shop["confidence"] == pytest.approx(1 - 0.95**60)
    assert shop["saves_mem_gib_h"] == pytest.approx(4 * (1 - 1216 / 4096), rel=0.01)  # 60 builds of a minute
    assert shop["saves_cpu_h"] == pytest.approx(1.5, rel=0.01)
    assert (rare["job"], rare["mem_mib"], rare["missing"], rare["saves_mem_gib_h"]) == ("rare", None, 25, None)
    assert [one["job"] for one in (await blue("GET", "/v1/builds/sizes")).json()["jobs"]] == ["shop"]
    assert len((await admin("GET", "/v1/builds/sizes")).json()["jobs"]) == 3
    assert len((await admin("GET", "/v1/builds/sizes?tenant=red&job=rare")).json()["jobs"]) == 1
    limited = (await admin("GET", "/v1/builds/sizes?limit=1")).json()
    assert (len(limited["jobs"]), limited["more"]) == (1, True)
    assert (await blue("GET", "/v1/builds/sizes?tenant=red")).status_code == 403
    assert (await admin("GET", "/v1/builds/sizes?since=30s")).json()["jobs"][0]["builds"] == 30


async def test_sizes_are_csv_too(red: Client, history: SqliteHistory) -> None:
    take(history, *measured(60, job="=cmd"))
    answer = await red("GET", "/v1/builds/sizes", Accept="text/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert (row["job"], row["mem_mib"]) == ("'=cmd", "1216")


async def test_others_are_neighbours_without_a_name(red: Client, admin: Client, history: SqliteHistory) -> None:
    own = past_build(1, tenant="red", job="shop", run_ms=2 * MINUTE_MS)
    beside = past_build(2, tenant="blue", job="hog", asked_cpu_millis=100, used_cpu_ms=4 * MINUTE_MS)
    take(history, own, beside, *(past_build(500 + n, tenant="red", job="shop") for n in range(6)))
    [one] = (found := (await admin("GET", "/v1/builds/b000001/neighbours")).json())["neighbours"]
    assert (one["tenant"], one["job"], one["build"]) == ("blue", "hog", "b000002")
    assert (one["used_cpu_millis"], one["above_cpu_millis"], one["together_ms"]) == (4000, 3900, 60_000)
    assert (found["slower"], found["usual_builds"], found["host"]) == (2.0, 6, "host-1")
    [one] = (await red("GET", "/v1/builds/b000001/neighbours")).json()["neighbours"]
    assert (one["tenant"], one["job"], one["build"], one["above_cpu_millis"]) == ("", "", "", 3900)
    for build in ("b000002", "none", "x" * 3000):
        assert (await red("GET", f"/v1/builds/{build}/neighbours")).status_code == 404


async def test_tells_beside_whom_builds_take_longer(red: Client, admin: Client, history: SqliteHistory) -> None:
    records = []
    for slot in range(60):
        ended_ms, hogged = NOW_MS - 10 * slot * MINUTE_MS, slot % 2 == 0
        run_ms = (6 if hogged else 4) * MINUTE_MS + slot
        records.append(past_build(2 * slot, tenant="red", job="shop", ended_at_ms=ended_ms, run_ms=run_ms))
        if hogged:
            hog = {"tenant": "blue", "job": "hog", "result": "FAILURE"}
            records.append(past_build(2 * slot + 1, ended_at_ms=ended_ms, run_ms=7 * MINUTE_MS, **hog))
    take(history, *records)
    found = (await admin("GET", "/v1/builds/noisy")).json()
    [hog] = found["jobs"]
    assert (hog["tenant"], hog["job"], hog["beside"], hog["without"]) == ("blue", "hog", 30, 30)
    assert 1.4 < hog["least"] <= hog["slower"] <= hog["most"] < 1.6
    assert (found["builds"], found["cut_short"]) == (60, False)
    answer = await admin("GET", "/v1/builds/noisy", Accept="text/csv")
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert (row["tenant"], row["job"], row["beside"]) == ("blue", "hog", "30")
    [hog] = (await red("GET", "/v1/builds/noisy?since=1d")).json()["jobs"]
    assert (hog["tenant"], hog["job"]) == ("", "")
    assert (await admin("GET", "/v1/builds/noisy?since=5m")).json()["jobs"] == []


async def test_says_what_is_wrong_with_a_question(admin: Client) -> None:
    for path in ("sizes", "noisy"):
        faults = await admin.faults("GET", f"/v1/builds/{path}?since=soon&until=2099-01-01", None)
        assert list(faults) == ["since"]
        assert "limit" in str(await admin.faults("GET", f"/v1/builds/{path}?limit=100000", None))


async def test_without_any_history_that_is_said(control: FakeControl) -> None:
    app = create_app(FakeSeat(control), ApiSettings(), TEMPLATES, token_sha256(ADMIN_TOKEN))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://butlery") as client:
        for path in ("sizes", "noisy", "b1/neighbours"):
            answer = await Client(client, ADMIN_TOKEN)("GET", f"/v1/builds/{path}")
            assert answer.status_code == 503, answer.text
