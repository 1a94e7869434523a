from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from framework.core.resources import Resources
from framework.local.marathon.api import ApiSettings, make_app
from framework.local.marathon.control import QueueEntry, UnusedOffer
from framework.local.marathon.definition.read import Defaults
from framework.local.marathon.records import ReadinessResult
from tests.fakes.marathon_control import NOW, FakeMarathon
from tests.unit.marathon.api.asking import Asking


@asynccontextmanager
async def asking(marathon: FakeMarathon, **settings: Any) -> AsyncIterator[Asking]:
    """The API with other settings."""
    app = make_app(
        marathon, ApiSettings(host="127.0.0.1", port=8081, defaults=Defaults(), launch_timeout_s=300.0, **settings)
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8081") as client:
        yield Asking(client)


async def test_deployments(api: Asking, marathon: FakeMarathon) -> None:
    marathon.holding = True
    deployment_id = (await api.made("/web"))["deployments"][0]["id"]
    one = marathon.launch("/web")
    marathon.ready["/web"] = [ReadinessResult(one.id, "ready", True)]
    (deployment,) = (await api("GET", "/v2/deployments")).json()
    assert (deployment["id"], deployment["affectedApps"], deployment["affectedPods"]) == (deployment_id, ["/web"], [])
    assert (deployment["currentStep"], deployment["totalSteps"]) == (1, 2)
    assert deployment["currentActions"][0]["readinessCheckResults"] == [
        {"name": "ready", "taskId": one.id, "ready": True}
    ]
    assert (await api("GET", "/v2/apps/web")).json()["app"]["deployments"] == [{"id": deployment_id}]
    assert (await api("DELETE", "/v2/deployments/none")).json() == {"message": "DeploymentPlan none does not exist"}
    reverting = await api("DELETE", f"/v2/deployments/{deployment_id}")
    assert reverting.status_code == 200
    assert marathon.app("/web") is None
    forced = await api("DELETE", f"/v2/deployments/{reverting.json()['deploymentId']}?force=true")
    assert (forced.status_code, forced.content) == (202, b"")


async def test_the_queue(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/web")
    app = marathon.app("/web")
    assert app is not None
    amounts = (Resources(2000, 512, 10, 0, 2), Resources(500), ((31000, 31001),), ())
    unused = UnusedOffer("o1", "S1", "host-1", amounts, {"os": "linux", "@zone": "a"}, ("InsufficientMemory",), 1.0)
    marathon.queued = [
        QueueEntry(
            app=app,
            count=2,
            role="*",
            delay_s=4.7,
            since=NOW.timestamp(),
            processed=3,
            unused=2,
            last_used_at=None,
            last_unused_at=NOW.timestamp(),
            last_offers=(("InsufficientMemory", 1, 1),),
            unused_offers=(unused,),
        )
    ]
    (entry,) = (await api("GET", "/v2/queue")).json()["queue"]
    assert (entry["count"], entry["delay"]) == (2, {"timeLeftSeconds": 4, "overdue": False})
    assert entry["processedOffersSummary"]["rejectSummaryLaunchAttempt"] == [
        {"reason": "InsufficientMemory", "declined": 1, "processed": 1}
    ]
    assert "lastUnusedOffers" not in entry
    (entry,) = (await api("GET", "/v2/queue?embed=lastUnusedOffers")).json()["queue"]
    offer = entry["lastUnusedOffers"][0]["offer"]
    assert offer["attributes"] == [{"name": "os", "text": "linux"}]
    assert {"name": "cpus", "role": "*", "scalar": 1.5} in offer["resources"]
    assert {"name": "ports", "role": "*", "ranges": [{"begin": 31000, "end": 31001}]} in offer["resources"]
    assert (await api("DELETE", "/v2/queue//web/delay")).status_code == 204
    missing = await api("DELETE", "/v2/queue/none/delay")
    assert missing.json() == {"message": "Application /none not found in tasks queue."}


async def test_the_leader_abdicates_once_it_has_answered(api: Asking, marathon: FakeMarathon) -> None:
    assert (await api("GET", "/v2/leader")).json() == {"leader": "127.0.0.1:8081"}
    assert (await api("DELETE", "/v2/leader?backup=file:///x")).status_code == 400
    assert not marathon.abdicated
    assert (await api("DELETE", "/v2/leader")).json() == {"message": "Leadership abdicated"}
    assert marathon.abdicated


async def test_info_plugins_and_schemas(api: Asking) -> None:
    info = (await api("GET", "/v2/info")).json()
    assert (info["frameworkId"], info["elected"], info["http_config"]["http_port"]) == ("framework-1", True, 8081)
    assert (await api("GET", "/v2/plugins")).json() == {"plugins": []}
    assert (await api("GET", "/v2/schemas/app")).json()["type"] == "object"
    assert (await api("GET", "/v2/schemas/none")).status_code == 404


async def test_there_are_no_pods(api: Asking) -> None:
    assert (await api.client.get("/v2/pods")).json() == []
    assert (await api.client.get("/v2/pods::status")).json() == []
    assert (await api.client.head("/v2/pods")).status_code == 200
    refused = await api.client.post("/v2/pods", json={"id": "/pod"})
    assert (refused.status_code, refused.json()) == (403, {"message": "This server has no pods; use apps."})
    assert (await api.client.get("/v2/pods/a/b::status")).json() == {"message": "Pod '/a/b' does not exist"}


async def test_ping(api: Asking) -> None:
    assert (await api("GET", "/ping")).text == "pong"
    assert (await api.client.get("/ping", headers={"Accept": "application/json"})).json() == "pong"
    head = await api("HEAD", "/ping")
    assert (head.content, head.headers["content-length"]) == (b"", "4")


async def test_metrics(api: Asking) -> None:
    await api.made("/web")
    await api("GET", "/v2/apps/none")
    shown = (await api("GET", "/metrics")).json()
    assert shown["gauges"]["marathon.apps.active.gauge"] == {"value": 1}
    assert shown["gauges"]["marathon.process.memory.resident.gauge.bytes"]["value"] > 1 << 20
    assert shown["meters"]["marathon.http.responses.4xx.rate"]["count"] == 1
    assert shown["timers"]["marathon.http.requests.duration.timer.seconds"]["count"] == 2
    assert shown["counters"]["marathon.http.requests.size.counter.bytes"]["count"] > 0
    for answer in (await api.client.get("/metrics/prometheus"), await api("GET", "/metrics", accept="text/plain")):
        assert answer.headers["content-type"] == "text/plain;charset=utf-8;version=0.0.4"
        assert "\nmarathon_apps_active_gauge 1\n" in answer.text


async def test_log_levels(api: Asking) -> None:
    logger = logging.getLogger("framework.local.marathon.api.door")
    try:
        assert "ROOT" in (await api.client.get("/logging")).json()
        change = {"level": "debug", "logger": logger.name}
        assert (await api.client.post("/logging", json=change)).json() == change
        assert logger.level == logging.DEBUG
        assert (await api.client.get("/logging")).json()[logger.name] == "DEBUG"
    finally:
        logger.setLevel(logging.NOTSET)
    for wrong, status in (
        ({"level": "loud", "logger": ""}, 422),
        ({"level": "info", "logger": "no.such.logger"}, 422),
        ({"level": 3}, 400),
        ([], 400),
    ):
        assert (await api.client.post("/logging", json=wrong)).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2", 404),
        ("GET", "/v2/appsx", 404),
        ("GET", "/v2/apps/../../etc", 404),
        ("POST", "/v2/deployments", 405),
        ("BREW", "/v2/apps", 405),
        ("OPTIONS", "/nowhere", 404),
    ],
)
async def test_paths_and_methods_that_are_not(api: Asking, method: str, path: str, status: int) -> None:
    answer = await api.client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["message"]


async def test_who_has_no_credentials_is_told_so(marathon: FakeMarathon) -> None:
    async with asking(marathon, credentials=("operator", "pass:word"), allow_origin=("*",)) as api:
        assert (await api("GET", "/ping")).status_code == 200
        assert (await api.client.options("/v2/apps")).status_code == 200
        for value in (
            None,
            "Bearer x",
            "Basic",
            "Basic !!",
            "Basic " + base64.b64encode(b"operator:wrong").decode(),
            "Digest " + base64.b64encode(b"operator:pass:word").decode(),
        ):
            answer = await api("GET", "/v2/apps", **({"authorization": value} if value is not None else {}))
            assert (answer.status_code, answer.json()) == (401, {"message": "Invalid username or password."})
            assert answer.headers["www-authenticate"] == 'Basic realm="Mesosphere"'
        stream = await api.client.get("/v2/events", headers={"Accept": "text/event-stream"})
        assert stream.status_code == 401
        right = "Basic " + base64.b64encode(b"operator:pass:word").decode()
        assert (await api("GET", "/v2/apps", authorization=right)).status_code == 200


async def test_pages_of_other_origins_may_ask_where_that_is_set(marathon: FakeMarathon) -> None:
    async with asking(marathon) as api:
        assert "access-control-allow-origin" not in (await api("GET", "/v2/apps", origin="http://a")).headers
    async with asking(marathon, allow_origin=("http://a", "http://b")) as api:
        answer = await api.client.options(
            "/v2/apps/x", headers={"Origin": "http://b", "Access-Control-Request-Headers": "X-One, X-Two"}
        )
        assert answer.headers["access-control-allow-origin"] == "http://b"
        assert answer.headers["access-control-allow-headers"] == "X-One, X-Two"
        assert answer.headers["allow"] == "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"
        assert (await api("GET", "/v2/apps", origin="http://c")).headers["access-control-allow-origin"] == "http://a"


async def test_long_answers_are_packed_for_who_takes_that(api: Asking) -> None:
    for number in range(8):
        await api.made(f"/app-{number}")
    plain = await api("GET", "/v2/apps", accept_encoding="identity;q=1, gzip;q=0")
    assert "content-encoding" not in plain.headers
    packed = await api("GET", "/v2/apps", accept_encoding="deflate, GZIP;q=0.5")
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 4
    short = await api("GET", "/v2/leader", accept_encoding="gzip")
    assert "content-encoding" not in short.headers


async def test_every_answer_says_who_leads_and_is_not_to_be_cached(api: Asking) -> None:
    for path in ("/v2/apps", "/nowhere"):
        headers = (await api.client.get(path)).headers
        assert headers["x-marathon-leader"] == "http://127.0.0.1:8081"
        assert "no-store" in headers["cache-control"]


async def test_bodies(api: Asking, marathon: FakeMarathon) -> None:
    million = {"id": "/big", "cmd": "sleep 1", "labels": {"x": "y" * 1_000_000}}
    assert (await api("POST", "/v2/apps", million)).status_code == 201
    assert (await api("POST", "/v2/apps", b"x=y", content_type="application/x-www-form-urlencoded")).status_code == 415
    async with asking(marathon, max_body_bytes=1000) as small:
        answer = await small("POST", "/v2/apps", million)
        assert (answer.status_code, answer.json()) == (413, {"message": "The body has more than 1000 bytes"})
        assert answer.headers["connection"] == "close"
        assert (await small("POST", "/v2/apps", b"", content_length=str(1 << 40))).status_code == 413


async def test_an_internal_error_is_told_without_its_traceback(
    api: Asking, marathon: FakeMarathon, caplog: pytest.LogCaptureFixture
) -> None:
    marathon.failing = RuntimeError("secret detail")
    answer = await api.client.post("/v2/apps", json={"id": "/x", "cmd": "sleep 1"})
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert answer.json()["message"].rpartition(" ")[2] in caplog.text
