"""How records fare, over the API."""

from __future__ import annotations

import httpx
import pytest

from framework.api.app import create_app
from framework.errors import UnavailableError
from framework.settings import ApiSettings
from framework.telemetry_ports import ConsumerHealth, SpoolDepth, TelemetryHealth
from framework.tokens import token_sha256
from tests.fakes.control import FakeControl
from tests.fakes.seats import FakeSeat
from tests.fakes.telemetry import FakeTelemetry
from tests.unit.api.conftest import ADMIN_TOKEN, TEMPLATES, Client

AWAY = "Elasticsearch at http://127.0.0.1:9200 does not answer"


class BusyTelemetry(FakeTelemetry):
    failing = hanging = False

    async def health(self) -> TelemetryHealth:
        if self.hanging:
            raise UnavailableError("the disk does not answer")
        consumer = ConsumerHealth("elasticsearch", SpoolDepth(17, 4000, 1000.5), 3, AWAY, 12.5)
        return TelemetryHealth("elasticsearch", [consumer], 2, 1, ["two were refused"])

    async def resend(self) -> int:
        if self.failing:
            raise UnavailableError("the disk is full")
        return 2


@pytest.fixture
def telemetry() -> BusyTelemetry:
    return BusyTelemetry()


@pytest.fixture
async def http(control: FakeControl, telemetry: BusyTelemetry) -> httpx.AsyncClient:
    app = create_app(FakeSeat(control), ApiSettings(), TEMPLATES, token_sha256(ADMIN_TOKEN), telemetry=telemetry)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://butlery")


async def test_the_administrator_is_told(admin: Client, red: Client) -> None:
    found = await admin("GET", "/v1/telemetry")
    assert found.json() == {
        "sink": "elasticsearch",
        "consumers": [
            {
                "name": "elasticsearch", "records": 17, "bytes": 4000, "oldest_at": 1000.5, "behind_s": 12.5,
                "taken": 3, "trouble": AWAY,
            }
        ],
        "rejected": 2,
        "dropped": 1,
        "notices": ["two were refused"],
    }  # fmt: skip
    assert "two were refused" in (await admin("GET", "/v1/status")).json()["notices"]
    assert (await red("GET", "/v1/telemetry")).status_code == 403


async def test_refused_records_are_sent_again(admin: Client, red: Client, telemetry: BusyTelemetry) -> None:
    assert (await admin("POST", "/v1/telemetry/resend")).json() == {"resent": 2}
    assert (await red("POST", "/v1/telemetry/resend")).status_code == 403
    telemetry.failing = True
    answer = await admin("POST", "/v1/telemetry/resend")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the disk is full")


async def test_a_disk_that_hangs_is_told_and_hides_nothing_else(admin: Client, telemetry: BusyTelemetry) -> None:
    telemetry.hanging = True
    answer = await admin("GET", "/v1/telemetry")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the disk does not answer")
    status = await admin("GET", "/v1/status")
    assert (status.status_code, "the disk does not answer" in status.json()["notices"]) == (200, True)
