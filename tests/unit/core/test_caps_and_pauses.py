"""Limits of live agents by template, and templates that are paused because their agents fail."""

from __future__ import annotations

import itertools
from typing import Any

from framework.core import events as ev
from framework.core.effects import LookAt
from framework.core.explain import health, why_not
from framework.core.ids import RequestId, TenantName
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.resources import Resources
from framework.core.tasks import SPARES, FailureClass, Request, RequestState
from framework.core.templates import Template
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


_numbers = itertools.count(1)


def item(rig: Rig, tenant: TenantName = TEAM, version: str = "v1") -> Request:
    """A request of a queue item, whose agent is launched where it may be."""
    number = next(_numbers)
    side = JenkinsSide(QueueItem(number, 1), "build", "job/build/", "maven", "maven", rig.now)
    template = Template(TINY, connect_timeout_s=60.0, name="maven", version=version)
    request = Request(
        RequestId(f"q{number:015}"), tenant, "build", template, rig.now + number / 1e6, retries=0, jenkins=side
    )
    rig.send(ev.Submitted(request))
    rig.offer()
    claim = rig.state.claims.of(request.id)
    if claim is not None:
        rig.send(ev.NodeReady(claim.task_id))
    return request


def fails(rig: Rig, tenant: TenantName = TEAM, version: str = "v1", what: FailureClass = FailureClass.CONNECT) -> None:
    request = item(rig, tenant, version)
    rig.update(rig.task(request), "TASK_RUNNING")
    rig.update(rig.task(request), "TASK_FAILED", what)
    assert request.state is RequestState.ENDED


def test_a_template_whose_agents_fail_is_paused_for_its_tenant_alone() -> None:
    rig = Rig()
    rig.tenant(OTHER)
    for _ in range(3):
        fails(rig)
    held = item(rig)
    assert held.state is RequestState.WAITING
    why = why_not(rig.state, held.id, rig.now)
    assert why is not None
    assert why.blockers == [
        "paused: template maven@v1 of team, whose agents fail (said the Mesos executor); tried again in 60 s"
    ]
    assert item(rig, OTHER).state is RequestState.LAUNCHING
    assert any("maven@v1 of team" in notice for notice in health(rig.state, [], rig.now).notices)


def test_once_agents_of_several_tenants_fail_in_a_row_all_are_spared() -> None:
    rig = Rig()
    names = [TenantName(f"t{i}") for i in range(4)]
    for name in names:
        rig.tenant(name)
    for name in names[:3]:
        fails(rig, name, what=FailureClass.FAILED if name == "t0" else FailureClass.CONNECT)
    assert item(rig, names[3]).state is RequestState.WAITING


def test_a_new_version_is_tried_at_once() -> None:
    rig = Rig()
    for _ in range(3):
        fails(rig)
    assert item(rig).state is RequestState.WAITING
    assert item(rig, version="v2").state is RequestState.LAUNCHING


def test_what_waits_for_a_paused_version_is_asked_for_anew_once_that_is_mended() -> None:
    rig = Rig()
    limited(rig)
    for _ in range(3):
        fails(rig)
    held = item(rig)
    rig.send(ev.CatalogSet({}, {"maven": "v1", "gradle": "v1"}))
    assert held.id in rig.state.requests
    rig.send(ev.CatalogSet({}, {"maven": "v2", "gradle": "v1"}))
    assert held.outcome is not None and held.outcome.result_class is FailureClass.CANCELLED
    assert rig.effects(LookAt) == [LookAt(TEAM)]


def test_after_the_pause_one_agent_tries_it_and_one_that_comes_online_ends_it() -> None:
    rig = Rig()
    for _ in range(3):
        fails(rig)
    first, second = item(rig), item(rig)
    rig.after(61)
    rig.offer()
    probing = next(each for each in (first, second) if each.state is RequestState.PREPARING)
    claim = rig.state.claims.of(probing.id)
    assert claim is not None
    other = second if probing is first else first
    assert rig.state.claims.of(other.id) is None
    rig.send(ev.NodeReady(claim.task_id))
    rig.update(rig.task(probing), "TASK_RUNNING")
    rig.send(ev.AgentOnline(claim.task_id))
    rig.offer()
    assert rig.state.claims.of(other.id) is not None


def test_losses_that_are_none_of_its_doing_pause_nothing() -> None:
    rig = Rig()
    for what in (FailureClass.INFRASTRUCTURE, FailureClass.CANCELLED, FailureClass.PASSED) * 2:
        fails(rig, what=what)
    assert item(rig).state is RequestState.LAUNCHING


def test_jobs_of_the_api_pause_no_template() -> None:
    rig = Rig()
    for _ in range(4):
        request = submit(rig)
        rig.offer()
        rig.update(rig.task(request), "TASK_RUNNING")
        rig.update(rig.task(request), "TASK_FAILED", FailureClass.FAILED)
    assert item(rig).state is RequestState.LAUNCHING


def test_a_spare_that_stands_ready_is_not_the_one_that_tries_a_paused_template() -> None:
    rig = Rig()
    names = [TenantName(f"t{i}") for i in range(3)]
    for name in names:
        rig.tenant(name)
        fails(rig, name)
    rig.after(61)
    spare = submit(rig, SPARES, timeout_s=1e9)
    rig.offer()
    rig.update(rig.task(spare), "TASK_RUNNING")
    request = item(rig)
    assert rig.state.spares.promised_to == {request.id: rig.task(spare).id}
