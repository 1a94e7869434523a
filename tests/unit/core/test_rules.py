"""What limits a request's choice of hosts, in the core as a whole: one rule a test."""

from __future__ import annotations

from typing import Any

import pytest

from agents.shared import SHARED_EXECUTOR_ID
from framework.core import events as ev
from framework.core.effects import Launch
from framework.core.explain import why_not
from framework.core.ids import FrameworkId, HostId, OfferId, TenantName
from framework.core.offers import Host, Offer, OfferBook, Window
from framework.core.pieces import ReservedUse
from framework.core.resources import Resources
from framework.core.state import Config, restore
from framework.core.step import turn
from framework.core.tasks import Request, Tenant
from framework.core.templates import Constraint, Neighbour, Operator
from tests.unit.core.rig import HOST, SMALL, T0, TEAM, Rig

UNIQUE_RACK = (Constraint("rack", Operator.UNIQUE),)
OVERHEAD = Config().overhead


def told(rig: Rig, request: Request) -> dict[str, int]:
    answer = why_not(rig.state, request.id, rig.now)
    assert answer is not None
    assert answer.summary.startswith("of ")
    return answer.turned_away


def offer(rig: Rig, host: str, role: str, total: Resources, **fields: Any) -> None:
    name = OfferId(f"{host}-{role}-{len(rig.state.offers)}-{rig.now}")
    hostname, attributes = rig.hosts[HostId(host)].hostname, rig.hosts[HostId(host)].attributes
    rig.send(ev.OffersReceived((Offer(name, HostId(host), hostname, total, attributes, role=role, **fields),)))


def test_constraints_are_judged_among_live_builds_of_the_same_tenant_and_job() -> None:
    rig = Rig(hosts=2)
    first, second, third = (rig.submit(constraints=UNIQUE_RACK) for _ in range(3))
    other = rig.request(constraints=UNIQUE_RACK)
    other.job = "another"
    rig.send(ev.Submitted(other))
    rig.offer()
    assert {rig.task(first).host_id, rig.task(second).host_id} == {"h0", "h1"}
    assert rig.task(other)
    rig.offer()
    assert told(rig, third) == {"constraint:rack UNIQUE": 2}
    rig.update(rig.task(first), "TASK_FINISHED")
    assert rig.task(third).host_id == "h0"


def test_after_a_restart_nothing_that_counts_is_placed_before_hosts_are_known() -> None:
    rig = Rig(hosts=2)
    _, task = rig.running(constraints=UNIQUE_RACK)
    second, plain = rig.request(constraints=(Constraint("rack", Operator.MAX_PER, "2"),)), rig.request()
    requests = [*rig.state.requests.values(), second]
    state = restore(rig.config, FrameworkId("f1"), [Tenant(TEAM)], requests, [task], rig.now)
    offers = (Offer(OfferId("o"), HostId("h1"), "host-1", HOST, {"rack": "r1"}),)
    effects = turn(state, [ev.Subscribed(FrameworkId("f1")), ev.OffersReceived(offers), ev.Submitted(plain)], rig.now)
    (launch,) = [effect for effect in effects if isinstance(effect, Launch)]
    assert [each.request_id for each in launch.tasks] == [plain.id]
    offers = (Offer(OfferId("p"), HostId("h1"), "host-1", HOST, {"rack": "r1"}),)
    effects = turn(state, [ev.HostsObserved(tuple(rig.hosts.values())), ev.OffersReceived(offers)], rig.now)
    (launch,) = [effect for effect in effects if isinstance(effect, Launch)]
    assert [each.request_id for each in launch.tasks] == [second.id]


def test_near_and_apart_go_by_labels_of_live_builds() -> None:
    rig = Rig(hosts=2)
    beside = (Neighbour({"app": "db"}, near=True),)
    waits = rig.submit(neighbours=beside)
    rig.offer()
    assert told(rig, waits) == {"near:app=db": 2}
    db = rig.submit(labels={"app": "db", "tier": "back"}, attributes={"rack": "r1"})
    assert rig.task(db).host_id == "h1"
    rig.offer("h1")
    assert rig.task(waits).host_id == "h1"
    away = rig.submit(neighbours=(Neighbour({"app": "db"}, near=False, field="rack"),))
    assert rig.task(away).host_id == "h0"
    rig.offer("h1")
    stuck = rig.submit(neighbours=(Neighbour({"app": "db"}, near=False), Neighbour({"app": "web"}, near=True)))
    assert told(rig, stuck) == {"apart:app=db": 1, "near:app=web": 2, "no_offer": 1}


def test_the_first_of_its_kind_may_go_anywhere_and_the_rest_follow() -> None:
    rig = Rig(hosts=3)
    requests = [rig.request(labels={"app": "x"}, neighbours=(Neighbour({"app": "x"}, near=True),)) for _ in range(3)]
    rig.send(*(ev.Submitted(each) for each in requests))
    rig.offer()
    assert len({rig.task(each).host_id for each in requests}) == 1


def test_offers_of_two_roles_are_not_used_together_and_a_tenant_keeps_to_its_own() -> None:
    rig = Rig(hosts=1)
    offer(rig, "h0", "ants", Resources(1000, 2000))
    offer(rig, "h0", "bees", Resources(1000, 2000))
    big = rig.submit(Resources(1500, 1000))
    assert told(rig, big) == {"cpu_millis": 1}
    rig.send(ev.TenantSet(Tenant(TEAM, role="bees")))
    small = rig.submit(Resources(800, 1000))
    (launch,) = rig.effects(Launch)
    assert (rig.task(small).role, len(launch.offer_ids)) == ("bees", 1)
    assert told(rig, big) == {"role:bees": 1}
    assert rig.state.deadlines.has("host", "h0")
    rig.send(ev.TenantSet(Tenant(TEAM, role="ants")))
    smaller = rig.submit(Resources(700, 700))
    assert rig.task(smaller).role == "ants"
    assert not rig.state.deadlines.has("host", "h0")


def test_the_book_keeps_roles_apart() -> None:
    book = OfferBook()
    for name, role in (("a", "ants"), ("b", "bees"), ("c", "bees")):
        book.add(Offer(OfferId(name), HostId("h"), "h", SMALL, role=role), 10.0)
    book.hold(HostId("h"), 20.0)
    assert [(held.role, len(held.offers), held.held_until) for held in book] == [("ants", 1, 20.0), ("bees", 2, 20.0)]
    assert book.rescind(OfferId("a")) is None
    assert book.take(HostId("h"), "bees") == ("b", "c")
    assert book.of(HostId("h")) == []


@pytest.mark.parametrize(
    ("use", "goes"),
    [(ReservedUse.LAST, True), (ReservedUse.FIRST, True), (ReservedUse.ONLY, False), (ReservedUse.NEVER, False)],
)
def test_what_is_reserved_is_used_as_the_template_says(use: ReservedUse, goes: bool) -> None:
    rig = Rig(hosts=1)
    offer(rig, "h0", "ants", Resources(1000, 2000), reserved=Resources(500, 1000))
    request = rig.submit(Resources(700, 1500), reserved=use)
    assert (rig.state.live_task(request) is not None) is goes
    if not goes:
        assert told(rig, request) == {f"reserved:{use}": 1}


def test_what_was_drawn_before_is_gone() -> None:
    rig = Rig(hosts=1)
    half = Resources(500, 1000) - OVERHEAD
    first = rig.request(half)
    only, never = rig.request(half, reserved=ReservedUse.ONLY), rig.request(half, reserved=ReservedUse.NEVER)
    rig.send(*map(ev.Submitted, (first, only, never)))
    offer(rig, "h0", "ants", Resources(1500, 3000), reserved=Resources(500, 1000))
    (launch,) = rig.effects(Launch)
    assert [task.request_id for task in launch.tasks] == [first.id, only.id, never.id]
    again = Rig(hosts=1)
    last = again.request(half), again.request(half, reserved=ReservedUse.NEVER)
    again.send(*map(ev.Submitted, last))
    offer(again, "h0", "ants", Resources(1000, 2000), reserved=Resources(500, 1000))
    assert told(again, last[1]) == {"no_offer": 1}


def test_each_build_gets_ports_of_its_own() -> None:
    rig = Rig(hosts=1, total=Resources(4000, 8192, ports=5))
    requests = [rig.request(Resources(100, 100, ports=2)) for _ in range(3)]
    rig.send(*map(ev.Submitted, requests))
    offer(rig, "h0", "*", Resources(4000, 8192, ports=5), port_ranges=((31007, 31007), (31000, 31003)))
    assert [rig.task(each).ports for each in requests[:2]] == [[31000, 31001], [31002, 31003]]
    offer(rig, "h0", "*", Resources(4000, 8192, ports=1), port_ranges=((31007, 31007),))
    assert told(rig, requests[2])["ports"] == 1


def test_hosts_with_gpus_are_kept_for_those_who_want_some() -> None:
    rig = Rig(hosts=1)
    gpu = Host(HostId("g"), "gpu", Resources(8000, 16384, 0, 2))
    rig.hosts[gpu.id] = gpu
    rig.send(ev.HostsObserved(tuple(rig.hosts.values())))
    plain = [rig.request(Resources(1900, 100)) for _ in range(3)]
    wants = rig.request(Resources(100, 100, gpus=2))
    rig.send(*map(ev.Submitted, (*plain, wants)))
    rig.offer()
    assert sorted(rig.task(each).host_id for each in plain) == ["g", "h0", "h0"]
    assert rig.task(wants).host_id == "g"
    more = rig.submit(Resources(100, 100, gpus=1))
    rig.offer()
    assert told(rig, more) == {"too_small:gpus": 1, "cpu_millis": 1, "gpus": 1}


def test_a_build_that_would_reach_into_a_hosts_maintenance_goes_elsewhere() -> None:
    rig = Rig(hosts=2)
    window = Window(T0 + 1000.0, 600.0)
    closing = Host(HostId("h0"), "host-0", Resources(8000, 16384), {}, window=window)
    rig.hosts[closing.id] = closing
    rig.send(ev.HostsObserved(tuple(rig.hosts.values())))
    long, short = rig.request(timeout_s=995.0, grace_s=10.0), rig.request(timeout_s=985.0, grace_s=10.0)
    rig.send(*map(ev.Submitted, (long, short)))
    rig.offer("h0")
    assert rig.task(short).host_id == "h0"
    rig.offer("h0")
    assert told(rig, long) == {"maintenance": 1, "no_offer": 1}
    rig.now = T0 + 1601.0
    rig.offer("h0")
    assert rig.task(long).host_id == "h0"


def test_builds_that_share_a_mesos_executor_are_charged_for_it_once_a_host() -> None:
    rig = Rig(hosts=1, total=Resources(1000, 1000) + OVERHEAD)
    requests = [rig.request(Resources(500, 500), shared=True) for _ in range(2)]
    rig.send(*map(ev.Submitted, requests))
    rig.offer()
    assert {rig.task(each).mesos_executor_id for each in requests} == {f"{SHARED_EXECUTOR_ID}~h0"}
    assert rig.state.used_on(HostId("h0")) == rig.hosts[HostId("h0")].total
    rig.update(rig.task(requests[0]), "TASK_FINISHED")
    own = rig.submit(Resources(500, 500))
    rig.offer()
    assert told(rig, own) == {"cpu_millis": 1, "mem_mib": 1}
    third = rig.submit(Resources(500, 500), shared=True)
    assert rig.task(third)
    for each in (requests[1], third):
        rig.update(rig.task(each), "TASK_FINISHED")
    rig.offer()
    assert rig.task(own).mesos_executor_id == rig.task(own).id
    assert rig.state.sharing(HostId("h0")) is None


def test_a_shared_mesos_executor_serves_one_role() -> None:
    rig = Rig(hosts=1)
    offer(rig, "h0", "ants", Resources(1000, 1000))
    first = rig.submit(Resources(100, 100), shared=True)
    assert rig.state.sharing(HostId("h0")) == rig.task(first).role == "ants"
    offer(rig, "h0", "bees", Resources(1000, 1000))
    second = rig.submit(Resources(100, 100), shared=True)
    assert told(rig, second) == {"sharing": 1}


@pytest.mark.parametrize("bound", [True, False])
def test_a_kept_host_holds_no_offer_of_a_role_that_is_of_no_use(bound: bool) -> None:
    """As the tenant is bound to another role, or the shared Mesos executor there is of another."""
    rig = Rig(hosts=1, config=Config(roles=("ants", "bees")))
    offer(rig, "h0", "ants", Resources(1000, 1000))
    rig.submit(Resources(600, 100), shared=True)
    if bound:
        rig.send(ev.TenantSet(Tenant(TEAM, role="ants")))
    offer(rig, "h0", "bees", Resources(3000, 8000))
    waits = rig.submit(Resources(500, 100), shared=not bound)
    assert told(rig, waits) == {"role:ants" if bound else "sharing": 1}
    rig.after(rig.config.starving_after_s + 1)
    offer(rig, "h0", "bees", Resources(3000, 8000))
    assert rig.state.earmarks[HostId("h0")].request_id == waits.id
    assert list(rig.state.offers.of(HostId("h0"))) == []
    assert not rig.state.deadlines.has("host", "h0")
    offer(rig, "h0", "ants", Resources(3000, 8000))
    assert rig.task(waits).role == "ants"


def test_each_role_has_shared_mesos_executors_of_its_own() -> None:
    rig = Rig(hosts=1)
    offer(rig, "h0", "ants/ci", Resources(1000, 1000))
    first = rig.task(rig.submit(Resources(100, 100), shared=True))
    rig.update(first, "TASK_FINISHED")
    offer(rig, "h0", "*", Resources(1000, 1000))
    second = rig.task(rig.submit(Resources(100, 100), shared=True))
    assert first.mesos_executor_id == f"{SHARED_EXECUTOR_ID}~h0~ants~ci"
    assert second.mesos_executor_id == f"{SHARED_EXECUTOR_ID}~h0"


def test_a_host_is_kept_for_a_request_only_where_its_rules_let_it_go() -> None:
    rig = Rig(hosts=2)
    for rack in ("r0", "r1"):
        rig.running(need=Resources(2000, 4096), attributes={"rack": rack})
    big = rig.submit(Resources(3900, 8000), constraints=(Constraint("rack", Operator.UNLIKE, "r0"),))
    rig.offer()
    rig.after(rig.config.starving_after_s + 1)
    assert {host: earmark.request_id for host, earmark in rig.state.earmarks.items()} == {"h1": big.id}


def test_the_only_host_that_its_constraints_allow_is_not_avoided() -> None:
    rig = Rig(hosts=2)
    request, task = rig.running(constraints=(Constraint("rack", Operator.IS, "r0"),))
    rig.update(task, "TASK_LOST")
    assert request.avoid_hosts == []


def test_builds_are_found_by_any_of_their_labels_however_many_are_asked_for() -> None:
    rig = Rig(hosts=1)
    running = [rig.running(need=Resources(1, 1), labels={"app": "web", "build": str(nth)}) for nth in range(70)]
    groups = rig.state.groups
    for _ in range(2):
        for nth in range(70):
            assert list(groups.with_labels(TEAM, {"build": str(nth)}).hosts) == [running[nth][1].id]
    assert len(groups.with_labels(TEAM, {"app": "web"}).hosts) == 70
    assert groups.with_labels(TEAM, {"app": "web", "build": "70"}).hosts == {}
    for _, task in running:
        rig.update(task, "TASK_FINISHED")
    assert len(groups) == 0


def test_a_shared_mesos_executor_in_doubt_is_paid_for() -> None:
    rig = Rig(hosts=1, total=Resources(1500, 1500) + OVERHEAD)
    first = rig.submit(Resources(500, 500), shared=True)
    rig.offer()
    task = rig.task(first)
    second = rig.submit(Resources(500, 500), shared=True)
    rig.offer(resources=Resources(500, 500))
    assert rig.task(second), "Mesos took the launch before it offered more of the host"
    rig.update(rig.task(second), "TASK_FINISHED")
    rig.send(ev.Disconnected("gone"))
    rig.now += 1.0
    rig.send(ev.Subscribed(FrameworkId("f1")))
    third = rig.submit(Resources(500, 500), shared=True)
    rig.offer(resources=Resources(500, 500))
    assert told(rig, third) == {"cpu_millis": 1, "mem_mib": 1}
    rig.update(task, "TASK_RUNNING")
    rig.update(rig.task(third), "TASK_FINISHED")
    rig.update(task, "TASK_UNREACHABLE")
    fourth = rig.submit(Resources(500, 500), shared=True)
    rig.offer(resources=Resources(500, 500))
    assert told(rig, fourth) == {"cpu_millis": 1, "mem_mib": 1}
    rig.update(task, "TASK_RUNNING")
    assert rig.task(fourth)


def test_apart_holds_against_those_that_come_later_too() -> None:
    rig = Rig(hosts=2)
    apart = (Neighbour({"app": "noisy"}, near=False, field="rack"), Neighbour({"app": "noisy"}, near=False))
    quiet = rig.submit(Resources(100, 100), neighbours=apart)
    rig.offer("h0")
    task = rig.task(quiet)
    noisy = rig.submit(Resources(100, 100), labels={"app": "noisy", "of": "mine"})
    rig.offer("h0")
    assert told(rig, noisy) == {"shunned:app=noisy": 1, "no_offer": 1}
    rig.tenant(TenantName("other"))
    theirs = rig.submit(Resources(100, 100), TenantName("other"), labels={"app": "noisy"})
    assert rig.task(theirs).host_id == "h0", "what builds of other tenants want is nothing to them"
    rig.offer("h1")
    assert rig.task(noisy).host_id == "h1"
    again = rig.submit(Resources(100, 100), labels={"app": "noisy"})
    rig.offer("h0")
    assert rig.state.live_task(again) is None
    rig.update(task, "TASK_FINISHED")
    assert rig.task(again).host_id == "h0"
    for each in (noisy, again, theirs):
        rig.update(rig.task(each), "TASK_FINISHED")
    assert len(rig.state.groups) == 0
