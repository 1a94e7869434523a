"""Who may read /metrics, and in which form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr

from framework.api.app import create_app
from framework.api.context import Scraped
from framework.settings import ApiSettings
from framework.telemetry_settings import MetricsSettings
from framework.tokens import token_sha256
from tests.fakes.control import FakeControl
from tests.fakes.seats import FakeSeat
from tests.fakes.templates import fixed_templates
from tests.unit.api.conftest import ADMIN_TOKEN, Client

TOKEN = "only-for-prometheus"
Serve = Callable[[MetricsSettings], AbstractAsyncContextManager[httpx.AsyncClient]]


class FakePage:
    """Implements ``framework.telemetry_ports.MetricsPage``."""

    async def page(self, accept: str) -> tuple[bytes, str]:
        return f"asked for {accept}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"


@pytest.fixture
def seat(control: FakeControl) -> FakeSeat:
    return FakeSeat(control)


@pytest.fixture
def serve(seat: FakeSeat) -> Serve:
    @asynccontextmanager
    async def serving(settings: MetricsSettings) -> AsyncIterator[httpx.AsyncClient]:
        scraped = Scraped(FakePage(), settings)
        app = create_app(seat, ApiSettings(), fixed_templates(), token_sha256(ADMIN_TOKEN), scraped=scraped)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://butlery") as client:
            yield client

    return serving


def with_token() -> MetricsSettings:
    settings = MetricsSettings()
    settings._token = SecretStr(TOKEN)
    return settings


async def test_the_token_of_metrics_and_the_administrators_open_it(serve: Serve, control: FakeControl) -> None:
    async with serve(with_token()) as http:
        for token in (TOKEN, ADMIN_TOKEN):
            answer = await Client(http, token)("GET", "/metrics", Accept="application/openmetrics-text")
            assert (answer.status_code, answer.text) == (200, "asked for application/openmetrics-text\n")
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert answer.headers["cache-control"] == "no-store"
        refused_with: dict[str | None, int] = {None: 401, "wrong": 401, "": 401, control.token_of("red"): 403}
        for given, status in refused_with.items():
            refused = await Client(http, given)("GET", "/metrics")
            assert (refused.status_code, refused.headers["content-type"]) == (status, "application/problem+json")
        assert (await Client(http, TOKEN)("GET", "/v1/tenants")).status_code == 401  # it opens nothing else


async def test_without_a_token_of_its_own_the_administrators_alone_opens_it(serve: Serve) -> None:
    async with serve(MetricsSettings()) as http:
        assert (await Client(http, ADMIN_TOKEN)("GET", "/metrics")).status_code == 200
        assert (await Client(http, None)("GET", "/metrics")).status_code == 401


async def test_where_it_is_open_nobody_is_asked(serve: Serve) -> None:
    async with serve(MetricsSettings(open=True)) as http:
        assert (await Client(http, None)("GET", "/metrics")).status_code == 200
        assert (await Client(http, None)("POST", "/metrics")).status_code == 405


async def test_a_standby_tells_its_own(serve: Serve, seat: FakeSeat) -> None:
    seat.leads = False
    async with serve(with_token()) as http:
        assert (await Client(http, TOKEN)("GET", "/metrics")).text == "asked for */*\n"


async def test_without_metrics_there_is_no_such_page(admin: Client) -> None:
    assert (await admin("GET", "/metrics")).status_code == 404
