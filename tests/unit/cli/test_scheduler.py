"""``butlery scheduler``: who leads, draining, stepping down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from framework.core.answers import Health
from tests.unit.cli.conftest import Butlery, Serving


@pytest.fixture(autouse=True)
def _as_it_was(serving: Serving) -> Iterator[None]:
    """The server is one for all tests."""
    leader = serving.seat.leader
    yield
    serving.seat.leader, serving.seat.standbys = leader, 0
    serving.seat.stepped_down.clear()


def test_who_leads(as_admin: Butlery, serving: Serving) -> None:
    told = as_admin("scheduler", "leader")
    assert told.code == 0
    for words in ("http://here:8080 (here), version 1.0", "epoch     3", "leader, version", "standbys  0"):
        assert words in told.out
    serving.seat.leader = None
    assert "no scheduler leads" in as_admin("scheduler", "leader").out
    assert as_admin("scheduler", "leader", "--json").json["leader"] is None


def test_stepping_down(as_admin: Butlery, serving: Serving) -> None:
    refused = as_admin("scheduler", "step-down")
    assert refused.code == 2
    assert "no other scheduler is connected" in refused.err
    assert as_admin("scheduler", "step-down", "--force", "--json").json["role"] == "leader"
    serving.seat.standbys = 1
    assert as_admin("scheduler", "step-down").code == 0
    assert serving.seat.stepped_down == [True, False]


def test_draining(as_admin: Butlery, serving: Serving) -> None:
    told = as_admin("scheduler", "drain")
    assert (told.code, serving.control.draining) == (0, True)
    assert "nothing new is launched; 0 run, 0 wait" in told.out
    found = as_admin("scheduler", "drain", "--off", "--json").json
    assert (found["draining"], found["jobs"], serving.control.draining) == (False, [], False)
    assert as_admin("scheduler", "drain", "--wait", "--json").json["running"] == 0
    wrong = as_admin("scheduler", "drain", "--off", "--wait")
    assert wrong.code == 2
    assert "--wait" in wrong.err


def test_a_wait_for_what_runs_ends_with_its_time(
    as_admin: Butlery, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Health(True, "fw-1", 1, 0, 1, 2, 1, 0, False, {}, [], draining=True)
    monkeypatch.setattr(serving.control, "health", lambda: busy)
    told = as_admin("scheduler", "drain", "--wait", "--timeout", "0")
    assert told.code == 124
    assert "3 run" in told.out


def test_they_are_the_administrators(as_red: Butlery, serving: Serving) -> None:
    for command in (("leader",), ("drain",), ("step-down", "--force")):
        assert as_red("scheduler", *command).code == 2, command
    assert serving.seat.stepped_down == []
    assert not serving.control.draining
