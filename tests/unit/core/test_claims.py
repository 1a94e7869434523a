"""Claims: places that are held while nodes are made."""

from __future__ import annotations

import pytest

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.claiming import CLOSED_S, COVER_S, NODE_S, TOGETHER_S
from framework.core.claims import MAKING_AT_MOST
from framework.core.explain import health, tenant_uses, why_not
from framework.core.ids import HostId, TenantName, node_of, task_id
from framework.core.offers import Window
from framework.core.resources import Resources
from framework.core.state import restore
from framework.core.tasks import FailureClass, Quota, Request, RequestState, Tenant
from tests.unit.core.agents_rig import AgentsRig
from tests.unit.core.rig import HOST, SMALL, TEAM

TINY = Resources(10, 10)
OTHER = TenantName("other")


def why(rig: AgentsRig, request: Request) -> str:
    answer = why_not(rig.state, request.id, rig.now)
    assert answer is not None
    return answer.summary


def test_a_node_is_asked_for_only_once_its_request_holds_a_place() -> None:
    rig = AgentsRig()
    request = rig.item()
    assert not rig.effects(ef.PrepareNode)
    rig.offer("h0")
    (prepare,) = rig.effects(ef.PrepareNode)
    assert (prepare.task_id, prepare.node) == (f"{request.id}.1", node_of(prepare.task_id))
    assert (request.state, request.attempt) == (RequestState.PREPARING, 0)
    assert not rig.effects(ef.Launch)
    assert rig.state.tenants[TEAM].builds == 1, "it counts as its task will"
    assert tenant_uses(rig.state)[0].launching == health(rig.state, [], rig.now).launching == 1
    assert "kept while its node is made in the Jenkins of team" in why(rig, request)


def test_once_its_node_stands_it_is_launched_on_its_offer() -> None:
    rig = AgentsRig()
    request = rig.claimed()
    rig.now += 0.3
    rig.ready(request)
    (launch,) = rig.effects(ef.Launch)
    kinds = [type(each) for each in rig.last]
    assert max(kinds.index(ef.SaveTask), kinds.index(ef.SaveRequest)) < kinds.index(ef.Launch), "saved, then called"
    assert [task.id for task in launch.tasks] == [f"{request.id}.1"]
    assert rig.side(request).node == node_of(launch.tasks[0].id)
    assert rig.side(request).node_at == rig.now
    assert not rig.state.claims
    assert rig.state.tenants[TEAM].builds == 1
    rig.send(ev.NodeReady(launch.tasks[0].id))
    assert not rig.effects(ef.Launch), "told again"


def test_claims_of_a_host_that_are_ready_together_go_together() -> None:
    rig = AgentsRig(hosts=1)
    one, other, late = rig.item(), rig.item(), rig.item()
    rig.offer()
    rig.ready(one)
    assert not rig.effects(ef.Launch)
    rig.now += TOGETHER_S / 2
    rig.ready(other)
    assert not rig.effects(ef.Launch)
    rig.after(TOGETHER_S / 2)
    assert [len(each.tasks) for each in rig.effects(ef.Launch)] == [2], "a slow master delays nobody for longer"
    assert rig.claim(late).uncovered_at == rig.now
    assert rig.state.live_task(one) and rig.state.live_task(other)


def test_the_last_that_was_waited_for_has_all_go_at_once() -> None:
    rig = AgentsRig(hosts=1)
    one, other = rig.item(), rig.item()
    rig.offer()
    rig.ready(one)
    rig.ready(other)
    assert [len(each.tasks) for each in rig.effects(ef.Launch)] == [2]


def test_what_a_claim_holds_nobody_else_is_given() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed(need=Resources(3000, 1024))
    plain = rig.submit(Resources(500, 512))
    assert rig.state.live_task(plain) is not None, "what is left serves others at once"
    too_big = rig.submit(Resources(2000, 512))
    rig.offer()
    assert rig.state.live_task(too_big) is None
    assert "too little CPU" in why(rig, too_big)
    rig.ready(claimed)
    assert rig.state.live_task(claimed) is not None


def test_a_claim_whose_offer_is_gone_waits_for_the_next_and_asks_for_it() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    rig.submit()
    assert rig.effects(ef.Launch), "another build used the host's offer"
    assert rig.effects(ef.Revive)
    assert rig.claim(claimed).uncovered_at == rig.now
    rig.now += 1.0
    rig.ready(claimed)
    assert not rig.effects(ef.Launch)
    assert "has not been offered again" in why(rig, claimed)
    rig.offer()
    assert rig.state.live_task(claimed) is not None


def test_a_claim_that_waits_too_long_for_an_offer_is_given_up() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    (offer_id,) = [each for held in rig.state.offers for each in held.offers]
    rig.send(ev.OfferRescinded(offer_id))
    rig.after(COVER_S)
    assert [each.node for each in rig.effects(ef.RemoveNode)] == [node_of(task_id(claimed.id, 1))]
    assert (claimed.state, claimed.attempt) == (RequestState.WAITING, 1)
    assert rig.state.tenants[TEAM].builds == 0
    rig.offer()
    assert [each.node for each in rig.effects(ef.PrepareNode)] == [node_of(task_id(claimed.id, 2))], "a name of its own"


def test_offers_are_held_for_as_long_as_claims_need_them() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    for _ in range(5):
        rig.after(rig.config.hold_idle_s)
        assert not rig.effects(ef.Decline) and not rig.effects(ef.Suppress)
    rig.ready(claimed)
    assert rig.state.live_task(claimed) is not None
    rig.after(rig.config.hold_idle_s)
    assert rig.effects(ef.Suppress)


def test_a_node_that_nobody_ever_tells_of_is_given_up() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    rig.after(NODE_S)
    assert claimed.attempt == 1
    assert rig.removed()


def test_a_master_that_fails_puts_aside_its_own_tenants_requests_alone() -> None:
    rig = AgentsRig(hosts=1)
    rig.tenant(OTHER)
    claimed = rig.claimed()
    rig.send(ev.NodeFailed(rig.claim(claimed).task_id, "the Jenkins of team: does not answer", 12.0))
    assert (claimed.state, claimed.attempt) == (RequestState.WAITING, 0), "its name may be had the next time"
    assert why(rig, claimed) == "master: the Jenkins of team: does not answer; tried again in 12 s"
    theirs, job = rig.item(OTHER), rig.submit()
    rig.offer()
    assert rig.state.live_task(job) is not None, "what needs no master goes on"
    assert rig.state.claims.of(theirs.id) is not None
    assert rig.state.claims.of(claimed.id) is None
    rig.after(12.0)
    rig.offer()
    assert rig.claim(claimed)


def test_a_failure_without_a_time_is_no_busy_loop() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    rig.send(ev.NodeFailed(rig.claim(claimed).task_id, "odd"))
    assert rig.state.claims.of(claimed.id) is None
    rig.after(CLOSED_S)
    assert rig.claim(claimed)


def test_a_name_that_somebody_took_by_hand_is_left_to_them() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    rig.send(ev.NodeFailed(rig.claim(claimed).task_id, "taken", name_taken=True))
    assert not rig.removed()
    assert not rig.effects(ef.PrepareNode), "a master that says so of every name is not asked again and again"
    rig.after(CLOSED_S)
    assert [each.task_id for each in rig.effects(ef.PrepareNode)] == [f"{claimed.id}.2"]


def test_so_many_nodes_and_no_more_are_made_at_once_in_one_master() -> None:
    rig = AgentsRig(hosts=1, total=Resources(100_000, 100_000, 1000))
    rig.tenant(OTHER)
    rig.offer()
    requests = [rig.item(need=TINY) for _ in range(MAKING_AT_MOST + 9)]
    theirs = rig.item(OTHER, need=TINY)
    assert len([each for each in requests if rig.state.claims.of(each.id)]) == MAKING_AT_MOST
    assert rig.claim(theirs)
    assert f"{MAKING_AT_MOST} nodes are made in it" in why(rig, requests[-1])
    rig.ready(*requests[:5])
    assert len(rig.effects(ef.PrepareNode)) == 5


def test_all_at_once_are_held_to_that_too() -> None:
    rig = AgentsRig(hosts=1, total=Resources(100_000, 100_000, 1000))
    for _ in range(MAKING_AT_MOST + 9):
        rig.item(need=TINY)
    rig.offer()
    assert len(rig.effects(ef.PrepareNode)) == MAKING_AT_MOST


@pytest.mark.parametrize("event", [ev.HostLost(HostId("h0")), ev.DrainSet(True)])
def test_what_ends_a_place_ends_its_claim(event: ev.Event) -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    rig.send(event)
    assert len(rig.removed()) == 1
    assert claimed.state is RequestState.WAITING
    assert not rig.state.claims
    assert rig.state.tenants[TEAM].builds == 0


def test_a_cancelled_request_gives_its_place_and_its_node_back() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    rig.send(ev.CancelAsked(claimed.id, "no longer wanted"))
    assert claimed.outcome is not None and claimed.outcome.result_class is FailureClass.CANCELLED
    assert len(rig.removed()) == 1
    assert rig.state.tenants[TEAM].builds == 0
    waiting = rig.submit(HOST - Resources(50, 32))
    assert rig.state.live_task(waiting) is not None


def test_a_quota_that_is_lowered_meanwhile_holds() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    rig.tenant(TEAM, quota=Quota(builds=0))
    rig.ready(claimed)
    assert not rig.effects(ef.Launch)
    assert claimed.state is RequestState.WAITING


def test_a_claim_whose_tenant_is_given_another_role_meanwhile_is_given_up_in_the_end() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    rig.send(ev.TenantSet(Tenant(TEAM, role="another")))
    rig.ready(claimed)
    assert not rig.effects(ef.Launch)
    rig.after(COVER_S)
    assert claimed.state is RequestState.WAITING
    assert rig.removed()


def test_a_maintenance_that_is_planned_meanwhile_holds() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    host = rig.hosts[HostId("h0")]
    planned = type(host)(host.id, host.hostname, host.total, host.attributes, window=Window(rig.now + 60.0))
    rig.send(ev.HostsObserved((planned,)))
    rig.ready(claimed)
    assert not rig.effects(ef.Launch)
    assert claimed.state is RequestState.WAITING


def test_a_restart_forgets_claims_and_their_requests_wait() -> None:
    rig = AgentsRig(hosts=1)
    claimed = rig.claimed()
    tenants: list[Tenant] = [rig.state.tenants[TEAM].tenant]
    state = restore(rig.config, rig.state.framework_id, tenants, [claimed], [], rig.now)
    assert claimed.state is RequestState.WAITING
    assert claimed.id in state.tenants[TEAM].queue
    assert state.tenants[TEAM].builds == 0
    assert not state.claims


def test_a_shared_mesos_executor_is_paid_for_once() -> None:
    rig = AgentsRig(hosts=1)
    overhead = rig.config.overhead
    half = Resources((HOST.cpu_millis - overhead.cpu_millis) // 2, SMALL.mem_mib)
    one, other = rig.item(need=half, shared=True), rig.item(need=half, shared=True)
    rig.offer()
    assert rig.claim(one) and rig.claim(other)
    rig.ready(one, other)
    assert rig.state.live_task(one) and rig.state.live_task(other)


def test_when_a_request_had_its_place_is_known_until_it_waits_again() -> None:
    rig = AgentsRig()
    request = rig.claimed()
    begun_at = rig.now
    assert (request.claimed_at, request.launched_at) == (begun_at, None)
    rig.now += 0.3
    rig.send(ev.NodeFailed(rig.claim(request).task_id, "down", 1.0))
    assert (request.claimed_at, request.launched_at) == (None, None)
    rig.now += CLOSED_S + 1
    rig.offer("h1")
    rig.ready(request)
    rig.now += 0.2
    launched_at = request.launched_at
    assert launched_at is not None and launched_at > begun_at
    assert (request.claimed_at,) == (launched_at,)  # its node was made at once
    rig.update(rig.task(request), "TASK_LOST")
    assert (request.claimed_at, request.launched_at) == (None, None)


def test_a_claim_that_a_restart_forgets_was_never_placed() -> None:
    rig = AgentsRig()
    request = rig.claimed()
    state = restore(rig.state.config, rig.state.framework_id, [Tenant(TEAM)], [request], [], rig.now)
    assert state.requests[request.id].claimed_at is None
