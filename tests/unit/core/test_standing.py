"""How builds stand, one by one and a whole queue of them."""

from __future__ import annotations

import pytest

from framework.core import explain
from framework.core.offers import Host
from framework.core.resources import Resources
from framework.core.standing import queue, standing
from framework.core.state import State
from framework.core.tasks import Request
from tests.unit.core.agents_rig import AgentsRig
from tests.unit.core.rig import TEAM

HUGE = Resources(50_000, 100_000)


def test_a_queue_is_told_of_as_each_of_it_and_its_hosts_looked_at_once_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = AgentsRig(hosts=3)
    rig.offer()
    for number in range(20):
        rig.item(need=HUGE, label="node" if number % 2 else "maven")
    rig.claimed()
    singly = [standing(rig.state, each, rig.now, explain.Looked()) for each in rig.state.requests]
    looked = 0
    turned_away = explain._turned_away

    def counted(state: State, request: Request, host: Host, now: float) -> list[str]:
        nonlocal looked
        looked += 1
        return turned_away(state, request, host, now)

    waiting = {each.template.kind for each in rig.state.requests.values() if each.id in rig.state.tenants[TEAM].queue}
    assert len(waiting) == 2
    monkeypatch.setattr(explain, "_turned_away", counted)
    together = [one for _, one in queue(rig.state, TEAM, 500, rig.now)]
    assert together == singly
    assert looked == 2 * 3
    assert len(list(queue(rig.state, TEAM, 5, rig.now))) == 5
