"""A standby answers what its copy holds and passes the rest on to the leader, here a server of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from framework.api import forwarding
from framework.api.app import create_app
from framework.edges.sqlite_history import SqliteHistory
from framework.ports import Leader
from framework.settings import ApiSettings
from framework.telemetry.records import Kind
from framework.tokens import token_sha256
from tests.fakes import forge_messages
from tests.fakes.control import FakeControl
from tests.fakes.seats import FakeSeat
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.templates import fixed_templates
from tests.unit.api.conftest import ADMIN_TOKEN, JOB, Client


class FakeLeader:
    """Notes what comes and answers in a way that tells it was this one."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self.gone = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.method, request.path_qs, request.headers.get("Authorization", ""), body))
        self.headers.append({name.lower(): text for name, text in request.headers.items()})
        await self.goes_on.wait()
        if "elsewhere" in request.path:
            raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/thief")
        response = web.StreamResponse(status=418, headers={"Butlery-Attempt": "3", "Content-Type": "text/plain"})
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"part" * 1000)
        if self.gone:
            assert request.transport is not None
            request.transport.abort()
        return response


@pytest.fixture
async def leader() -> AsyncIterator[FakeLeader]:
    made = FakeLeader()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
def seat(control: FakeControl, leader: FakeLeader) -> FakeSeat:
    made = FakeSeat(control)
    made.leads = False
    made.leader = Leader(leader.url, "there", "1.1", 4, 1000.0)
    return made


@pytest.fixture
async def http(seat: FakeSeat) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(seat, ApiSettings(), fixed_templates(), token_sha256(ADMIN_TOKEN))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://standby") as client:
        yield client
    await app.state.forwarder.close()


async def test_what_its_copy_holds_it_answers_itself(admin: Client, red: Client, leader: FakeLeader) -> None:
    for path in ("jobs", "tenants", "version", "health", "templates", "templates:match?label=a"):
        assert (await red("GET", f"/v1/{path}")).status_code == 200, path
    told = (await admin("GET", "/v1/leader")).json()
    assert (told["role"], told["leader"]["url"], told["url"]) == ("standby", leader.url, "http://here:8080")
    status = (await admin("GET", "/v1/status")).json()
    assert (status["role"], status["leader"]) == ("standby", leader.url)
    assert (await admin("GET", "/openapi.json")).status_code == 200
    assert leader.requests == []


async def test_the_rest_goes_to_the_leader_as_it_is(red: Client, control: FakeControl, leader: FakeLeader) -> None:
    answer = await red("POST", "/v1/jobs", JOB, Idempotency_Key="k1")
    assert (answer.status_code, answer.text, answer.headers["butlery-attempt"]) == (418, "part" * 3000, "3")
    ((method, path, authorization, body),) = leader.requests
    assert (method, path, authorization) == ("POST", "/v1/jobs", f"Bearer {control.token_of('red')}")
    assert b"unit-tests" in body
    sent = leader.headers[0]
    assert (sent["idempotency-key"], sent["content-type"], sent["butlery-hops"]) == ("k1", "application/json", "1")
    await red("GET", "/v1/jobs/j1/log?offset=5&length=7")
    await red("GET", "/v1/jobs/j1/artifacts/a%2Fb%20c.txt")
    await red("DELETE", "/v1/jobs/j1")
    assert [request[:2] for request in leader.requests[1:]] == [
        ("GET", "/v1/jobs/j1/log?offset=5&length=7"),
        ("GET", "/v1/jobs/j1/artifacts/a%2Fb%20c.txt"),
        ("DELETE", "/v1/jobs/j1"),
    ]


async def test_a_forges_message_goes_to_the_leader_with_its_signature(
    http: httpx.AsyncClient, leader: FakeLeader
) -> None:
    message = forge_messages.push("github")
    await http.post("/v1/webhooks/shop", content=message.body, headers=message.headers)
    assert leader.requests == [("POST", "/v1/webhooks/shop", "", message.body)]
    assert leader.headers[0].items() >= message.headers.items()


async def test_whom_and_what_it_does_not_know_yet_the_leader_may(http: httpx.AsyncClient, leader: FakeLeader) -> None:
    await Client(http, "bt~new~token")("GET", "/v1/tenants")
    await Client(http, ADMIN_TOKEN)("GET", "/v1/jobs/just-submitted")
    assert [request[1] for request in leader.requests] == ["/v1/tenants", "/v1/jobs/just-submitted"]
    assert (await Client(http, None)("GET", "/v1/tenants")).status_code == 401
    assert len(leader.requests) == 2


async def test_without_a_leader_reads_are_answered_and_the_rest_is_to_be_tried_again(
    admin: Client, nobody: Client, seat: FakeSeat
) -> None:
    for leads in (None, Leader(seat.url, "here", "1.0", 3, 1000.0)):  # the latter as last heard, of ourselves
        seat.leader = leads
        assert (await admin("GET", "/v1/jobs")).status_code == 200
        refused = await admin("POST", "/v1/jobs", JOB)
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert int(refused.headers["retry-after"]) > 0
        unwell = await nobody("GET", "/v1/health")
        assert (unwell.status_code, unwell.json()) == (503, {"ok": False, "role": "standby"})


async def test_what_was_passed_on_once_goes_no_further(admin: Client, leader: FakeLeader) -> None:
    assert (await admin("POST", "/v1/jobs", JOB, Butlery_Hops="1")).status_code == 503
    assert leader.requests == []


async def test_a_redirect_is_not_followed_with_the_token(admin: Client, leader: FakeLeader) -> None:
    answer = await admin("GET", "/v1/jobs/elsewhere/log")
    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.1:1/thief")
    assert len(leader.requests) == 1


async def test_a_leader_that_does_not_answer_is_told_as_unavailable(admin: Client, seat: FakeSeat) -> None:
    seat.leader = Leader("http://127.0.0.1:1", "there", "1.1", 4, 1000.0)
    refused = await admin("GET", "/v1/hosts")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:butlery:problem:unavailable")


async def test_one_that_hangs_is_waited_for_until_another_leads(
    admin: Client, seat: FakeSeat, leader: FakeLeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "LOOK_S", 0.01)
    monkeypatch.setattr(forwarding, "HANDOVER_S", 0.01)
    for successor in ("http://127.0.0.1:1", seat.url):
        leader.goes_on.clear()
        seat.leader = Leader(leader.url, "there", "1.1", 4, 1000.0)
        asking = asyncio.create_task(admin("POST", "/v1/jobs", JOB))
        for now in (seat.leader, None, seat.leader):  # None: as while ZooKeeper is away
            seat.leader = now
            assert not (await asyncio.wait({asking}, timeout=0.1))[0]
        seat.leader = Leader(successor, "another", "1.1", 5, 1001.0)
        refused = await asyncio.wait_for(asking, 10)
        assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (503, True)
        leader.goes_on.set()


async def test_one_that_hands_over_may_answer_still(
    admin: Client, seat: FakeSeat, leader: FakeLeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "LOOK_S", 0.01)
    leader.goes_on.clear()
    asking = asyncio.create_task(admin("POST", "/v1/jobs", JOB))
    await asyncio.sleep(0.05)
    seat.leader = Leader(seat.url, "here", "1.1", 5, 1001.0)
    await asyncio.sleep(0.05)
    leader.goes_on.set()
    assert (await asking).status_code == 418


async def test_an_answer_that_breaks_off_is_not_taken_for_whole(admin: Client, leader: FakeLeader) -> None:
    leader.gone = True
    with pytest.raises(Exception, match=r"(?i)payload|disconnected|closed"):
        await admin("GET", "/v1/hosts")


async def test_a_body_that_is_too_large_is_not_passed_on(admin: Client, leader: FakeLeader) -> None:
    assert (await admin("POST", "/v1/jobs", b"x" * 2_000_000)).status_code == 413
    assert leader.requests == []


async def test_the_leader_hands_over_on_demand(admin: Client, red: Client, seat: FakeSeat) -> None:
    seat.leads = True
    assert (await red("POST", "/v1/leader/step-down")).status_code == 403
    refused = await admin("POST", "/v1/leader/step-down")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:butlery:problem:no-standby")
    seat.standbys = 1
    assert (await admin("POST", "/v1/leader/step-down")).json()["standbys"] == 1
    seat.standbys = 0
    assert (await admin("POST", "/v1/leader/step-down?force=true")).status_code == 200
    assert seat.stepped_down == [False, True]


async def test_draining_is_the_administrators(admin: Client, red: Client, seat: FakeSeat, control: FakeControl) -> None:
    seat.leads = True
    assert (await red("PUT", "/v1/drain")).status_code == 403
    assert (await admin("PUT", "/v1/drain")).json()["draining"] is True
    assert control.draining is True
    assert (await admin("DELETE", "/v1/drain")).json()["draining"] is False
    assert control.draining is False


async def test_past_builds_are_the_leaders_but_where_all_have_the_same_history(
    seat: FakeSeat, leader: FakeLeader, tmp_path: Path
) -> None:
    with closing(SqliteHistory(tmp_path / "history.db", dict.fromkeys(Kind, 4000))) as history:
        telemetry = FakeTelemetry(history)
        for shared, passed_on in ((False, 3), (True, 1)):
            telemetry.shared = shared
            leader.requests.clear()
            app = create_app(seat, ApiSettings(), fixed_templates(), token_sha256(ADMIN_TOKEN), telemetry=telemetry)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://standby") as http:
                admin = Client(http, ADMIN_TOKEN)
                statuses = [
                    (await admin("GET", f"/v1/builds/{each}")).status_code for each in ("past", "stats", "waiting")
                ]
                assert (await admin("GET", "/v1/telemetry")).status_code == 200
                assert (await admin("POST", "/v1/telemetry/resend")).json() == {"resent": 0}
            await app.state.forwarder.close()
            assert len(leader.requests) == passed_on
            assert statuses.count(200) == 3 - passed_on
