"""Whatever path, method, header and body is sent: an answer that the schemas know, and no internal error."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.local.marathon.api import ApiSettings, make_app
from framework.local.marathon.definition.read import Defaults
from tests.fakes.marathon_control import FakeMarathon
from tests.unit.marathon.api.asking import Asking

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
WORDS = st.sampled_from([
    "v2", "apps", "groups", "tasks", "delete", "versions", "restart", "queue", "delay", "deployments", "info", "leader",
    "pods", "schemas", "app", "web", "team", "*", "..", ".", "", "metrics", "prometheus", "logging", "ping", "plugins",
])  # fmt: skip
PARTS = st.one_of(WORDS, st.text(max_size=8))
STARTS = st.sampled_from(["/v2/apps/", "/v2/groups/", "/v2/tasks/", "/v2/queue/", "/v2/deployments/", "/v2/", "/"])
NAMES = [
    "force",
    "scale",
    "wipe",
    "embed",
    "label",
    "id",
    "cmd",
    "dryRun",
    "partialUpdate",
    "status",
    "host",
    "status[]",
]
VALUES = st.one_of(st.sampled_from(["true", "false", "apps.tasks", "group.apps", "a in (b", "*"]), st.text(max_size=12))
QUERIES = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=3)
FIELDS = [
    "id", "cmd", "args", "instances", "cpus", "container", "docker", "image", "portDefinitions", "port", "networks",
    "mode", "healthChecks", "protocol", "apps", "groups", "version", "scaleBy", "dependencies", "ids", "labels", "env",
    "upgradeStrategy", "enforceRole", "constraints", "volumes", "fetch", "uris", "level", "logger", "durationSeconds",
]  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["/web", "web", "/team/x", "host", "HTTP", "sleep 1", "2026-11-21T12:00:00.001Z"]),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)),
    max_leaves=12,
)
BODIES = st.one_of(st.none(), st.binary(max_size=40), DOCUMENTS.map(lambda document: _json(document)))
ACCEPTED = st.sampled_from(["*/*", "text/plain", "application/json", "text/plain;q=0.1,*/*", "nonsense", ""])


def _json(document: Any) -> bytes:
    """NaN and the infinities too, which are no JSON."""
    return json.dumps(document).encode("utf-8", "surrogatepass")


@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(
        st.tuples(METHODS, STARTS, st.lists(PARTS, max_size=4), QUERIES, BODIES, ACCEPTED), min_size=1, max_size=6
    )
)
def test_no_request_brings_about_an_internal_error(requests: list[tuple[Any, ...]]) -> None:
    async def ask_all() -> None:
        marathon = FakeMarathon()
        marathon.holding = True
        app = make_app(marathon, ApiSettings(host="127.0.0.1", port=8081, defaults=Defaults(), launch_timeout_s=300.0))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8081"
        ) as client:
            api = Asking(client)
            await api.made("/team/web", portDefinitions=[{"port": 0}])
            marathon.launch("/team/web")
            for method, start, parts, query, body, accept in requests:
                path = start + "/".join(quote(part, safe="*") for part in parts)
                asked = "&".join(f"{name}={quote(value)}" for name, value in query)
                answer = await client.request(method, f"{path}?{asked}", content=body, headers={"Accept": accept})
                assert answer.status_code < 500, (answer.status_code, answer.text)
                assert "Traceback" not in answer.text
                if answer.status_code >= 400 and method != "HEAD" and not path.startswith("/v2/events"):
                    assert answer.json()["message"]

    asyncio.run(ask_all())
