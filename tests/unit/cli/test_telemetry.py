"""How records fare, on the command line."""

from __future__ import annotations

from unittest.mock import AsyncMock

import pytest

from framework.telemetry_ports import ConsumerHealth, SpoolDepth, TelemetryHealth
from tests.unit.cli.conftest import Butlery, Serving

BUSY = TelemetryHealth(
    "elasticsearch",
    [
        ConsumerHealth("elasticsearch", SpoolDepth(1700, 3 << 20, 1000.0), 3, "it does not answer", 12.4),
        ConsumerHealth("traces", SpoolDepth(0, 0, None), 5, "", 0.0),
    ],
    2,
    7,
    ["telemetry: two \x1b[31mrecords"],
)


@pytest.fixture(autouse=True)
def busy(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.telemetry, "health", AsyncMock(return_value=BUSY))
    monkeypatch.setattr(serving.telemetry, "resend", AsyncMock(return_value=2))


def test_who_takes_records_and_what_is_wrong(as_admin: Butlery) -> None:
    ended = as_admin("telemetry", "status")
    assert ended.code == 0
    _, first, second, *notices = ended.out.splitlines()
    assert first.split() == ["elasticsearch", "3", "1700", "3.0", "12.4s"]
    assert second.split() == ["traces", "5", "0", "0.0", "-"]
    assert notices[0] == "7 state changes and samples were not kept, for want of room"
    assert notices[1].startswith("! telemetry: two")
    assert "\x1b" not in ended.out


def test_as_json(as_admin: Butlery) -> None:
    found = as_admin("telemetry", "status", "--json").json
    assert (found["rejected"], found["dropped"], found["consumers"][0]["behind_s"]) == (2, 7, 12.4)


def test_refused_records_are_sent_again(as_admin: Butlery) -> None:
    assert as_admin("telemetry", "resend").out == "2 records are sent again\n"
    assert as_admin("telemetry", "resend", "--json").json == {"resent": 2}


def test_a_tenant_is_told_that_this_is_not_its_business(as_red: Butlery) -> None:
    for command in ("status", "resend"):
        ended = as_red("telemetry", command)
        assert ended.code != 0
        assert "administrator" in ended.err
