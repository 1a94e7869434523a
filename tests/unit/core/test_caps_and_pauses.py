"""Limits of live agents by template, and templates that are paused because their agents fail."""

from __future__ import annotations

from typing import Any

from framework.core import events as ev
from framework.core.explain import why_not
from framework.core.ids import TenantName
from framework.core.resources import Resources
from framework.core.tasks import FailureClass, Request, RequestState
from tests.unit.core.rig import TEAM, Rig

OTHER = TenantName("other")
TINY = Resources(100, 100)


def limited(rig: Rig, agents: int | None = None, each: int | None = None) -> None:
    rig.send(ev.CatalogSet({"maven": ev.TemplateLimits(agents, each)}, {"maven": "v1"}))


def submit(rig: Rig, tenant: TenantName = TEAM, **template: Any) -> Request:
    return rig.submit(TINY, tenant, **{"name": "maven", "version": "v1", **template})


def launched(*requests: Request) -> int:
    return sum(request.state is RequestState.LAUNCHING for request in requests)


def test_no_more_agents_than_the_template_may_have_in_all() -> None:
    rig = Rig()
    rig.tenant(OTHER)
    limited(rig, agents=3)
    requests = [submit(rig, tenant) for tenant in (TEAM, OTHER) * 3]
    plain = rig.submit(TINY)
    rig.offer()
    assert launched(*requests) == 3
    assert plain.state is RequestState.LAUNCHING
    held = [request for request in requests if request.state is RequestState.WAITING]
    why = why_not(rig.state, held[0].id, rig.now)
    assert why is not None and why.blockers == ["cap: template maven 3 of 3 agents"]


def test_one_that_ends_lets_another_tenants_request_go() -> None:
    rig = Rig()
    rig.tenant(OTHER)
    limited(rig, agents=1)
    first = submit(rig)
    rig.offer()
    second = submit(rig, OTHER)
    rig.offer()
    assert (first.state, second.state) == (RequestState.LAUNCHING, RequestState.WAITING)
    rig.update(rig.task(first), "TASK_FINISHED", FailureClass.PASSED)
    if second.state is RequestState.WAITING:
        rig.offer()
    assert second.state is RequestState.LAUNCHING


def test_no_more_agents_of_one_tenant_than_the_template_says() -> None:
    rig = Rig()
    rig.tenant(OTHER)
    limited(rig, each=2)
    mine = [submit(rig) for _ in range(4)]
    theirs = [submit(rig, OTHER) for _ in range(2)]
    rig.offer()
    assert (launched(*mine), launched(*theirs)) == (2, 2)
    why = why_not(rig.state, mine[3].id, rig.now)
    assert why is not None and why.blockers == ["cap: template maven 2 of 2 agents of tenant team"]


def test_a_limit_that_is_lifted_holds_nobody_any_more() -> None:
    rig = Rig()
    limited(rig, agents=1)
    requests = [submit(rig) for _ in range(3)]
    rig.offer()
    assert launched(*requests) == 1
    rig.send(ev.CatalogSet({}, {"maven": "v2"}))
    rig.offer()
    assert launched(*requests) == 3


def test_what_waits_behind_a_limit_keeps_no_others_of_its_size() -> None:
    rig = Rig()
    limited(rig, agents=1)
    held = [submit(rig) for _ in range(2)]
    other = submit(rig, name="gradle")
    rig.offer()
    assert launched(*held) == 1
    assert other.state is RequestState.LAUNCHING
