"""The API over a runtime in memory, asked without a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from framework.api.app import create_app
from framework.edges.sqlite_history import SqliteHistory
from framework.settings import ApiSettings
from framework.telemetry.records import Kind, Record
from framework.tokens import token_sha256
from tests.fakes.control import FakeControl
from tests.fakes.records import batch
from tests.fakes.seats import FakeSeat
from tests.fakes.templates import fixed_templates

ADMIN_TOKEN = "the-administrator-s-own-token"
TEMPLATES = fixed_templates(
    small={
        "cpus": 0.5,
        "mem_mib": 256,
        "image": "debian:12",
        "attributes": {"os": "linux"},
        "labels": ["small", "linux"],
    },
    large={"cpus": 8, "labels": ["large", "linux"], "tenants": ["blue"]},
)
JOB = {"name": "unit-tests", "command": "make test"}


@pytest.fixture
def control() -> FakeControl:
    return FakeControl("red", "blue")


@pytest.fixture
def history(tmp_path: Path) -> Iterator[SqliteHistory]:
    found = SqliteHistory(tmp_path / "history.db", dict.fromkeys(Kind, 4000))
    yield found
    found.close()


def take(history: SqliteHistory, *records: Record) -> None:
    assert history.take([batch(records)]) == []


class Client:
    """Asks the API as somebody; ``token`` None sends none."""

    def __init__(self, http: httpx.AsyncClient, token: str | None) -> None:
        self._http = http
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}".encode()}

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """``body`` is sent as it is where it is bytes, else as JSON (with NaN, as Python writes it)."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
        if content is not None:
            given = {"Content-Type": b"application/json", **given}
        sent = [(name.encode(), value) for name, value in {**self._headers, **given}.items()]
        return await self._http.request(method, path, content=content, headers=sent)

    async def faults(self, method: str, path: str, body: Any) -> dict[str, str]:
        """The faults of a request that is refused with 422, by where they are."""
        response = await self(method, path, body)
        assert response.status_code == 422, response.text
        assert response.headers["content-type"] == "application/problem+json"
        return {fault["where"]: fault["message"] for fault in response.json()["faults"]}


@pytest.fixture
async def http(control: FakeControl) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(FakeSeat(control), ApiSettings(), TEMPLATES, token_sha256(ADMIN_TOKEN))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://butlery") as client:
        yield client


@pytest.fixture
def admin(http: httpx.AsyncClient) -> Client:
    return Client(http, ADMIN_TOKEN)


@pytest.fixture
def red(http: httpx.AsyncClient, control: FakeControl) -> Client:
    return Client(http, control.token_of("red"))


@pytest.fixture
def blue(http: httpx.AsyncClient, control: FakeControl) -> Client:
    return Client(http, control.token_of("blue"))


@pytest.fixture
def nobody(http: httpx.AsyncClient) -> Client:
    return Client(http, None)
