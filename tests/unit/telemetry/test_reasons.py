"""What waiting builds wait for, in one word each."""

from __future__ import annotations

from typing import Any

import pytest

from framework.core import events as ev
from framework.core.answers import WhyNot
from framework.core.ids import TenantName
from framework.core.resources import Resources
from framework.core.tasks import SPARES, Quota
from framework.telemetry import reasons
from framework.telemetry.reasons import OF_BLOCKERS, OF_HOSTS, REASONS, Waits, look
from tests.unit.core.agents_rig import AgentsRig
from tests.unit.core.rig import HOST, SMALL, TEAM, Rig

OTHER = TenantName("other")
HUGE = Resources(50_000, 1024)


def looked(rig: Rig) -> Waits:
    waits = Waits()
    for _ in look(rig.state, rig.now, waits):
        pass
    return waits


def reason(rig: Rig) -> str:
    """Of all that wait."""
    (found,) = set(looked(rig).of.values())
    return found


def test_each_build_that_waits_has_one_and_they_are_counted_by_tenant() -> None:
    rig = Rig()
    rig.tenant(OTHER)
    mine = [rig.submit() for _ in range(3)]
    other = rig.submit(tenant=OTHER)
    waits = looked(rig)
    assert waits.of == dict.fromkeys([each.id for each in (*mine, other)], "no_offer")
    assert waits.reasons == {TEAM: {"no_offer": 3}, OTHER: {"no_offer": 1}}


@pytest.mark.parametrize(
    ("need", "template", "found"),
    [
        (Resources(3000, 100), {}, "cpu_millis"),
        (Resources(100, 7000), {}, "mem_mib"),
        (HUGE, {}, "too_small"),
        (SMALL, {"attributes": {"rack": "r9"}}, "attribute"),
        (Resources(100, 100, gpus=1), {}, "too_small"),
    ],
)
def test_what_hosts_turn_away(need: Resources, template: dict[str, Any], found: str) -> None:
    rig = Rig()
    rig.offer(resources=Resources(2000, 4096, 1000))
    rig.submit(need, **template)
    assert reason(rig) == found


def test_without_hosts_and_without_mesos() -> None:
    rig = Rig()
    rig.send(ev.HostsObserved(()))
    rig.submit()
    assert reason(rig) == "no_host"
    rig.send(ev.Disconnected("gone"))
    assert reason(rig) == "disconnected"


def test_a_quota_and_draining() -> None:
    rig = Rig()
    rig.tenant(TEAM, quota=Quota(builds=0))
    rig.submit()
    assert reason(rig) == "quota"
    rig.send(ev.DrainSet(True))
    assert reason(rig) == "draining"


def test_a_back_off() -> None:
    rig = Rig()
    _, task = rig.running()
    rig.update(task, "TASK_LOST")
    assert reason(rig) == "back_off"


def test_a_node_and_its_cover() -> None:
    rig = AgentsRig()
    request = rig.item()
    (offer,) = rig.offer("h0")
    assert looked(rig).of == {request.id: "node"}
    rig.send(ev.OfferRescinded(offer))
    assert reason(rig) == "cover"


def test_a_master_that_cannot_make_nodes() -> None:
    rig = AgentsRig()
    request = rig.claimed()
    rig.send(ev.NodeFailed(rig.claim(request).task_id, "down", 30.0))
    assert reason(rig) == "master"


def test_spares_wait_for_nobody() -> None:
    rig = Rig()
    rig.submit(tenant=SPARES)
    assert looked(rig).of == {}


def test_so_many_shapes_are_looked_at_and_the_rest_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "MAX_LOOKS", 3)
    rig = Rig()
    rig.tenant(OTHER)
    for number in range(10):
        rig.submit(Resources(100 + number, 100), TEAM if number % 2 else OTHER)
    of = looked(rig).of
    assert sorted(of.values()) == ["no_offer"] * 3 + ["other"] * 7
    steps = sum(1 for _ in look(rig.state, rig.now, Waits()))
    assert steps == 3 + 1


def test_the_state_may_change_between_two_steps() -> None:
    rig = Rig()
    requests = [rig.submit(Resources(100 + number, 100)) for number in range(4)]
    waits = Waits()
    steps = look(rig.state, rig.now, waits)
    next(steps)
    rig.send(*(ev.CancelAsked(each.id, "no") for each in requests[1:]))
    late = rig.submit(HOST)
    for _ in steps:
        pass
    assert set(waits.of) == {requests[0].id, late.id}


def test_every_word_of_the_core_has_one() -> None:
    documented = WhyNot.__doc__ or ""
    for word in OF_HOSTS:
        assert word in documented, word
    assert set(REASONS) >= {*OF_BLOCKERS, *OF_HOSTS.values()}
    assert len(set(REASONS)) == len(REASONS)
