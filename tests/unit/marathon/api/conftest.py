from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from framework.local.marathon.api import ApiSettings, make_app
from framework.local.marathon.definition.read import Defaults
from tests.fakes.marathon_control import FakeMarathon
from tests.unit.marathon.api.asking import Asking
from tests.unit.marathon.api.serving import Server


@pytest.fixture
def marathon() -> FakeMarathon:
    return FakeMarathon()


@pytest.fixture
async def api(marathon: FakeMarathon) -> AsyncIterator[Asking]:
    settings = ApiSettings(host="127.0.0.1", port=8081, defaults=Defaults(), launch_timeout_s=300.0)
    transport = httpx.ASGITransport(app=make_app(marathon, settings), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as client:
        yield Asking(client)


@pytest.fixture
async def server(marathon: FakeMarathon) -> AsyncIterator[Server]:
    async with Server(marathon) as running:
        yield running
