"""Past builds over the API: what is told to whom, as JSON and CSV, and what is refused."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from framework.api import history as routes
from framework.api import questions
from framework.api.app import create_app
from framework.api.past import BUILD_COLUMNS
from framework.core.answers import TenantUse
from framework.core.ids import RequestId, TenantName
from framework.core.resources import ZERO
from framework.core.tasks import FailureClass, Tenant
from framework.edges.sqlite_history import SqliteHistory
from framework.errors import UnavailableError
from framework.settings import ApiSettings
from framework.telemetry.records import BuildRecord
from framework.telemetry_ports import BuildPage, BuildQuery, Use
from framework.tokens import token_sha256
from tests.fakes.control import FakeControl
from tests.fakes.records import DAY_MS, FIRST_DAY_MS, HOUR_MS, MINUTE_MS, build, change
from tests.fakes.seats import FakeSeat
from tests.fakes.telemetry import FakeTelemetry
from tests.unit.api.conftest import ADMIN_TOKEN, JOB, TEMPLATES, Client, take

WAIT_S = 20


@pytest.fixture
def telemetry(history: SqliteHistory) -> FakeTelemetry:
    return FakeTelemetry(history)


@pytest.fixture
async def http(control: FakeControl, telemetry: FakeTelemetry) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(FakeSeat(control), ApiSettings(), TEMPLATES, token_sha256(ADMIN_TOKEN), telemetry=telemetry)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://butlery") as client:
        yield client


def some(count: int) -> list[BuildRecord]:
    return [build(f"r{number:04d}", FIRST_DAY_MS + number * MINUTE_MS, tenant="red") for number in range(count)]


async def ids(client: Client, path: str) -> list[str]:
    response = await client("GET", path)
    assert response.status_code == 200, response.text
    return [one["id"] for one in response.json()["builds"]]


async def test_past_builds_are_listed_page_by_page(red: Client, history: SqliteHistory) -> None:
    take(history, *some(5))
    first = (await red("GET", "/v1/builds/past?limit=3")).json()
    assert [one["id"] for one in first["builds"]] == ["r0004", "r0003", "r0002"]
    assert first["builds"][0].keys() == set(BUILD_COLUMNS)
    second = (await red("GET", f"/v1/builds/past?limit=3&after={first['next']}")).json()
    assert ([one["id"] for one in second["builds"]], second["next"]) == (["r0001", "r0000"], None)


async def test_they_are_chosen_by_what_they_were(red: Client, history: SqliteHistory) -> None:
    own: dict[str, Any] = {"tenant": "red", "host": "h1", "label": "big", "template": "java"}
    take(history, build("r1", **own), build("r2", FIRST_DAY_MS + HOUR_MS, tenant="red", job="b", result_class="oom"))
    for chosen in (
        "host=h1",
        "label=big",
        "template=java",
        "job=acme/shop",
        "result_class=passed",
        "until=2026-03-01T00:30",
    ):
        assert await ids(red, f"/v1/builds/past?{chosen}") == ["r1"], chosen
    for chosen in (
        "result_class=oom&result_class=disk",
        "since=2026-03-01T00:30Z",
        f"since={FIRST_DAY_MS // 1000 + 1}",
        "job=b",
    ):
        assert await ids(red, f"/v1/builds/past?{chosen}") == ["r2"], chosen
    assert await ids(red, "/v1/builds/past?since=1h") == []


async def test_a_tenant_sees_its_own_alone(red: Client, blue: Client, admin: Client, history: SqliteHistory) -> None:
    take(history, build("r1", tenant="red"), build("r2", tenant="blue"))
    assert await ids(blue, "/v1/builds/past") == ["r2"]
    assert sorted(await ids(admin, "/v1/builds/past")) == ["r1", "r2"]
    assert await ids(admin, "/v1/builds/past?tenant=red") == ["r1"]
    for path in ("past", "stats", "waiting"):
        assert (await blue("GET", f"/v1/builds/{path}?tenant=red")).status_code == 403
    for path in ("r1", "r1/why"):
        assert (await blue("GET", f"/v1/builds/{path}")).status_code == 404
        assert (await red("GET", f"/v1/builds/{path}")).status_code == 200
    total = (await blue("GET", "/v1/builds/stats?since=2026-01-01&by=tenant")).json()
    assert [one["key"] for one in total["groups"]] == [{"tenant": "blue"}]


async def test_csv_is_whole_and_holds_no_formula(
    red: Client, history: SqliteHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "CSV_PAGE", 2)
    take(history, *some(5), build("r9", FIRST_DAY_MS + DAY_MS, tenant="red", job="=1+1", title='=a,\n"b"'))
    response = await red("GET", "/v1/builds/past?format=csv")
    assert response.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["id"] for row in rows] == ["r9", *(f"r000{number}" for number in (4, 3, 2, 1, 0))]
    assert (rows[0]["job"], rows[0]["title"], rows[0]["cost_micros"]) == ("'=1+1", '\'=a,\n"b"', "")
    assert tuple(rows[0]) == BUILD_COLUMNS
    limited = await red("GET", "/v1/builds/past?limit=3", accept="text/csv")
    assert len(limited.text.splitlines()) == 1 + 4  # of which one title has two lines


async def test_csv_waits_for_a_page_that_cannot_be_had_now(
    red: Client, history: SqliteHistory, telemetry: FakeTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "CSV_PAGE", 2)
    monkeypatch.setattr(routes, "PAGE_BACK_OFF_S", 0.001)
    take(history, *some(5))
    telemetry.history = Unsteady(history)  # type: ignore[assignment]
    response = await red("GET", "/v1/builds/past?format=csv")
    assert len(response.text.splitlines()) == 1 + 5


async def test_csv_that_breaks_off_is_not_taken_for_whole(
    red: Client, history: SqliteHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "CSV_PAGE", 2)
    monkeypatch.setattr(routes, "CSV_MOST", 4)
    take(history, *some(5))
    with pytest.raises(RuntimeError):  # the server cuts the connection
        await red("GET", "/v1/builds/past?format=csv")


async def test_statistics(admin: Client, history: SqliteHistory) -> None:
    priced: dict[str, Any] = {"tenant": "red", "wait_ms": 5000, "cost_micros": 1_500_000, "currency": "EUR"}
    measured: dict[str, Any] = {"used_cpu_ms": 30_000, "peak_mem_mib": 512.0}
    take(
        history,
        build("r1", label="big", **priced, **measured),
        build("r2", FIRST_DAY_MS + DAY_MS, label="big", result_class="oom", **priced),
        build("r3", tenant="blue"),
    )
    found = (await admin("GET", "/v1/builds/stats?by=tenant,label&since=2026-01-01&until=2027-01-01&order=cost")).json()
    red, blue = found["groups"]
    assert (red["key"], blue["key"]) == ({"tenant": "red", "label": "big"}, {"tenant": "blue", "label": ""})
    assert (red["builds"], red["by_class"], red["cost_micros"]) == (2, {"passed": 1, "oom": 1}, {"EUR": 3_000_000})
    assert red["waits"]["p50_ms"] == pytest.approx(5000, rel=0.03)
    assert (red["cpu_efficiency"], red["mem_efficiency"]) == (0.5, 0.25)
    assert (blue["unpriced"], blue["waits"], blue["cpu_efficiency"]) == (1, None, None)
    assert (found["total"]["builds"], found["more"]) == (3, False)

    daily = await admin("GET", "/v1/builds/stats?by=day&by=result_class&since=2026-01-01&order=key", accept="text/csv")
    rows = list(csv.DictReader(io.StringIO(daily.text)))
    assert [(row["day"], row["result_class"], row["builds"], row["oom"]) for row in rows] == [
        ("2026-03-01T00:00Z", "passed", "2", "0"),
        ("2026-03-02T00:00Z", "oom", "1", "1"),
    ]
    assert (rows[1]["cost_micros"], rows[1]["currency"], rows[1]["wait_p50_ms"] != "") == ("1500000", "EUR", True)
    week = (await admin("GET", "/v1/builds/stats")).json()
    assert week["until_ms"] - week["since_ms"] == 7 * DAY_MS


async def test_every_fault_of_a_question_is_told(red: Client) -> None:
    assert (await red.faults("GET", "/v1/builds/past?since=never&until=2026-13-01&limit=1001", None)).keys() == {
        "since", "until", "limit",
    }  # fmt: skip
    assert "must be after since" in (await red.faults("GET", "/v1/builds/past?since=1d&until=2d", None))["until"]
    for by in ("cost", "day,hour,job,label", ""):
        assert "by" in await red.faults("GET", f"/v1/builds/stats?by={by}", None)
    assert "31 days" in (await red.faults("GET", "/v1/builds/stats?by=hour&since=40d", None))["by"]
    assert "since" in await red.faults("GET", "/v1/builds/stats?since=99999999999", None)
    assert "result_class[0]" in await red.faults("GET", "/v1/builds/past?result_class=good", None)


async def test_a_build_that_the_state_forgot_is_told_from_history(red: Client, history: SqliteHistory) -> None:
    at: dict[str, Any] = {"claimed_at_ms": FIRST_DAY_MS - 90_000, "running_at_ms": FIRST_DAY_MS - 70_000}
    take(
        history, build("r1", tenant="red", result_class="oom", message="too little memory", waited_for="mem_mib", **at)
    )
    take(history, change("r1", "ended", result_class="oom", message="too little memory", host="h1", tenant="red"))
    found = (await red("GET", "/v1/builds/r1")).json()
    assert (found["build"], found["job"], found["past"]["waited_for"]) == (None, None, "mem_mib")
    assert [one["state"] for one in found["changes"]] == ["ended"]
    assert [(one["step"], one["took_ms"]) for one in found["steps"]] == [
        ("queued", 0), ("claimed", 30_000), ("running", 20_000), ("started", 10_000), ("ended", 60_000),
    ]  # fmt: skip
    why = (await red("GET", "/v1/builds/r1/why")).json()
    assert (why["stage"], why["summary"]) == ("ended", "oom: too little memory")
    assert why["attempts"] == ["attempt 1 on host h1: oom: too little memory"]
    assert (await red("GET", "/v1/builds/r2")).status_code == 404
    assert (await red("GET", "/v1/builds/r1%2B")).status_code == 404


async def test_a_build_of_an_agent_that_served_several_has_a_name_of_its_own(
    red: Client, history: SqliteHistory
) -> None:
    take(history, build("r1+2", tenant="red"))
    assert (await red("GET", "/v1/builds/r1+2")).json()["past"]["id"] == "r1+2"
    assert (await red("GET", "/v1/builds/r1")).status_code == 404


async def test_one_that_the_state_has_is_told_with_both(
    red: Client, control: FakeControl, history: SqliteHistory, telemetry: FakeTelemetry
) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    assert (await red("GET", f"/v1/builds/{job}")).json()["past"] is None
    control.run(RequestId(job))
    control.end(RequestId(job), FailureClass.PASSED)
    take(history, build(job, tenant="red", cost_micros=7, currency="EUR"))
    found = (await red("GET", f"/v1/builds/{job}")).json()
    assert (found["build"]["id"], found["past"]["cost_micros"], found["trouble"]) == (job, 7, "")
    assert [one["step"] for one in found["steps"]] == ["queued", "launched", "running", "ended"]
    assert (await red("GET", f"/v1/builds/{job}/why")).json()["past"]["cost_micros"] == 7

    telemetry.history = Failing()  # type: ignore[assignment]
    found = (await red("GET", f"/v1/builds/{job}")).json()
    assert (found["build"]["id"], found["past"], found["trouble"]) == (job, None, "Elasticsearch is red")
    assert (await red("GET", f"/v1/builds/{job}/why")).json()["summary"].startswith("passed")
    for path in ("past", "stats", "r1", "past?format=csv"):
        response = await red("GET", f"/v1/builds/{path}")
        assert (response.status_code, response.json()["detail"]) == (503, "Elasticsearch is red")


class Failing:
    def builds(self, query: BuildQuery) -> BuildPage:
        raise UnavailableError("Elasticsearch is red")

    stats = build = builds


class Unsteady:
    """Answers, but not the second question."""

    def __init__(self, history: SqliteHistory) -> None:
        self._history, self._asked = history, 0

    def builds(self, query: BuildQuery) -> BuildPage:
        self._asked += 1
        if self._asked == 2:
            raise UnavailableError("Elasticsearch is red")
        return self._history.builds(query)


class Hanging:
    """Answers once it may."""

    def __init__(self) -> None:
        self.may = threading.Event()

    def builds(self, query: BuildQuery) -> BuildPage:
        assert self.may.wait(WAIT_S)
        return BuildPage([], None)


async def test_questions_are_bounded_in_number_and_time(
    red: Client, blue: Client, telemetry: FakeTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(questions, "MAX_OF_ONE", 1)
    hanging = telemetry.history = Hanging()  # type: ignore[assignment]
    try:
        slow = await red("GET", "/v1/builds/past")
        assert (slow.status_code, "longer than 0.05 s" in slow.text) == (503, True)
        assert "Too many questions" in (await red("GET", "/v1/builds/past")).text
        assert "longer than" in (await blue("GET", "/v1/builds/past")).text
    finally:
        hanging.may.set()
    monkeypatch.setattr(questions, "TIMEOUT_S", WAIT_S)
    monkeypatch.setattr(questions, "MAX_OF_ONE", 8)
    assert (await red("GET", "/v1/builds/past")).status_code == 200


async def test_what_builds_wait_for_is_counted(red: Client, admin: Client, telemetry: FakeTelemetry) -> None:
    assert (await admin("GET", "/v1/builds/waiting")).status_code == 503
    uses = [
        TenantUse(Tenant(TenantName(name)), count, 0, 0, ZERO, 0.0, 0.0)
        for name, count in (("blue", 1), ("red", 3), ("idle", 0))
    ]
    telemetry.use = Use(12.5, uses, {"red": {"mem_mib": 2, "quota": 1}, "blue": {"quota": 1}})
    found = (await admin("GET", "/v1/builds/waiting")).json()
    assert (found["at"], found["waiting"], found["reasons"]) == (12.5, 4, {"mem_mib": 2, "quota": 2})
    assert [one["tenant"] for one in found["tenants"]] == ["red", "blue"]
    assert (await red("GET", "/v1/builds/waiting")).json()["waiting"] == 3
    answer = await red("GET", "/v1/builds/waiting?format=csv")
    assert answer.text == "tenant,reason,builds\r\nred,mem_mib,2\r\nred,quota,1\r\n"


def test_the_models_are_the_records() -> None:
    assert tuple(field.name for field in msgspec.structs.fields(BuildRecord)) == BUILD_COLUMNS
