"""What the core tells: who is refused at once and why, why a request waits, who uses what."""

from __future__ import annotations

from typing import Any

import pytest

from framework.core import events as ev
from framework.core.admission import faults, faults_of_tenant
from framework.core.answers import Refusal
from framework.core.explain import health, host_uses, tenant_uses, why_not
from framework.core.ids import FrameworkId, HostId, RequestId, TenantName
from framework.core.offers import Host
from framework.core.resources import Resources
from framework.core.state import Config
from framework.core.tasks import FailureClass, Quota, Request, Tenant
from framework.core.templates import Constraint, Neighbour, Operator, Template
from tests.unit.core.rig import SMALL, TEAM, Rig


@pytest.mark.parametrize(
    ("template", "quota", "where", "says"),
    [
        (Template(SMALL), Quota(), [], ""),
        (Template(Resources(3950, 8160, 1000)), Quota(), [], ""),
        (Template(Resources(3951, 1)), Quota(), ["cpu_millis"], "with 4 CPUs, of which a build may ask 3.95"),
        (Template(Resources(9999, 99_999, 9999)), Quota(), ["cpu_millis", "mem_mib", "disk_mib"], "99999 MiB is more"),
        (
            Template(Resources(1, 1), attributes={"rack": "r9"}),
            Quota(),
            ["attributes"],
            "none of the 2 hosts has rack=r9",
        ),
        (Template(SMALL), Quota(cpu_millis=400, mem_mib=400), ["cpu_millis", "mem_mib"], "whole quota of 0.4 CPUs"),
        (Template(SMALL), Quota(builds=0), ["tenant"], "quota of builds is 0"),
    ],
)
def test_what_no_waiting_would_cure_is_refused(template: Template, quota: Quota, where: list[str], says: str) -> None:
    rig = Rig()
    rig.tenant(TEAM, quota=quota)
    found = faults(rig.state, TEAM, template)
    assert [fault.where for fault in found] == where
    assert says in " ".join(fault.message for fault in found)


@pytest.mark.parametrize(
    ("rules", "faults_by_field"),
    [
        (
            {"constraints": (Constraint("rack", Operator.IS, "r9"),)},
            {"constraints[0]": "whose rack is 'r0', 'r1', 'r2'"},
        ),
        (
            {"constraints": (Constraint("rack", Operator.LIKE, "x.*"),)},
            {"constraints[0]": "rack LIKE x.* holds on none of the 3"},
        ),
        (
            {"constraints": (Constraint("rack", Operator.UNLIKE, ".*"),)},
            {"constraints[0]": "rack UNLIKE .* holds on none"},
        ),
        (
            {"constraints": (Constraint("zone", Operator.UNIQUE),)},
            {"constraints[0]": "has 'zone'; there are hostname, os, rack"},
        ),
        ({"constraints": (Constraint("zone", Operator.UNLIKE, "a"), Constraint("hostname", Operator.UNIQUE))}, {}),
        (
            {"constraints": (Constraint("rack", Operator.IS, "r0"), Constraint("rack", Operator.IS, "r1"))},
            {"constraints[1]": "rack IS r1 and constraints[0] leave none of the 3 hosts together"},
        ),
        (
            {
                "attributes": {"os": "bsd"},
                "constraints": (Constraint("rack", Operator.IS, "r0"), Constraint("a", Operator.CLUSTER)),
            },
            {"constraints[0]": "rack IS r0 and attributes leave none", "constraints[1]": "has 'a'"},
        ),
        (
            {"neighbours": (Neighbour({"a": "b", "c": "d"}, near=True), Neighbour({"a": "b"}, near=False))},
            {"apart[0]": "near[0] wants it beside builds that this wants it apart from"},
        ),
        (
            {"neighbours": (Neighbour({"a": "b"}, near=True), Neighbour({"a": "b"}, near=False)), "labels": {"a": "b"}},
            {},
        ),
        (
            {"neighbours": (Neighbour({"a": "b"}, near=False, field="x"), Neighbour({"a": "b"}, near=True, field="y"))},
            {"apart[0].field": "has 'x'", "near[0].field": "has 'y'"},
        ),
        (
            {"constraints": (Constraint("rack", Operator.IS, "a\nb\x1b[1m"),)},
            {"constraints[0]": r"'rack IS a\nb\x1b[1m' holds on none"},
        ),
        (
            {"resources": Resources(1, 1, gpus=5, ports=9), "constraints": (Constraint("os", Operator.IS, "bsd"),)},
            {"gpus": "no host it may go to has any GPUs", "ports": "no host it may go to has any ports"},
        ),
    ],
)
def test_rules_that_can_never_hold_are_refused(rules: dict[str, Any], faults_by_field: dict[str, str]) -> None:
    rig = Rig(hosts=0)
    hosts = [
        Host(HostId(f"h{i}"), f"h{i}", Resources(4000, 8192), {"rack": f"r{i}", "os": "bsd" if i == 2 else "linux"})
        for i in range(3)
    ]
    rig.send(ev.HostsObserved(tuple(hosts)))
    found = faults(rig.state, TEAM, Template(**{"resources": SMALL, **rules}))
    assert [fault.where for fault in found] == list(faults_by_field)
    for fault in found:
        assert faults_by_field[fault.where] in fault.message


def test_hosts_that_have_enough_of_each_but_never_together() -> None:
    rig = Rig()
    hosts = (
        Host(HostId("a"), "a", Resources(8000, 1000)),
        Host(HostId("b"), "b", Resources(1000, 8000)),
    )
    rig.send(ev.HostsObserved(hosts))
    large = Template(Resources(4000, 4000))
    (fault,) = faults(rig.state, TEAM, large)
    assert (fault.where, "b with 1 CPUs (cpu), 8000 MiB (mem)" in fault.message) == ("resources", True)
    rig.send(ev.HostsObserved((*hosts, Host(HostId("c"), "c", Resources(9000, 9000), active=False))))
    assert faults(rig.state, TEAM, large) == [], "it may come back"


def test_a_role_that_is_none_of_ours_is_told_to_whoever_could_wait_for_its_offers() -> None:
    rig = Rig(hosts=1, config=Config(roles=("builds", "gold")))
    rig.send(ev.TenantSet(Tenant(TEAM, role="silver")))
    (fault,) = faults(rig.state, TEAM, Template(SMALL))
    assert fault.where == "tenant"
    assert "silver is none of mesos.roles, which are builds, gold" in fault.message
    assert [fault.where for fault in faults_of_tenant(rig.state, Tenant(TEAM, role="silver"))] == ["role"]
    assert faults_of_tenant(rig.state, Tenant(TEAM, role="gold")) == []


def test_no_host_is_kept_for_a_role_that_is_none_of_ours() -> None:
    rig = Rig(hosts=1, config=Config(roles=("builds",)))
    rig.send(ev.TenantSet(Tenant(TEAM, role="silver")))
    rig.submit()
    rig.offer()
    rig.after(rig.config.starving_after_s + 1)
    assert not rig.state.earmarks


def test_an_unknown_tenant_is_told_how_to_make_it() -> None:
    (fault,) = faults(Rig().state, TenantName("who"), Template(SMALL))
    assert "butlery tenants set who" in fault.message


def test_size_is_judged_whoever_asks() -> None:
    large = Template(Resources(9999, 1))
    assert [fault.where for fault in faults(Rig().state, TenantName("who"), large)] == ["tenant", "cpu_millis"]
    assert [fault.where for fault in faults(Rig().state, None, large)] == ["cpu_millis"]


def test_before_hosts_are_known_size_is_not_judged() -> None:
    rig = Rig(hosts=0)
    assert faults(rig.state, TEAM, Template(Resources(10**6, 10**6))) == []


def why(rig: Rig, request: Request) -> tuple[dict[str, int], list[str], str]:
    answer = why_not(rig.state, request.id, rig.now)
    assert answer is not None
    return answer.turned_away, answer.blockers, answer.summary


def test_why_not_counts_hosts_by_what_turned_the_request_away() -> None:
    rig = Rig(hosts=4)
    rig.offer("h0", resources=Resources(100, 8192))
    rig.offer("h1", resources=Resources(4000, 100))
    hosts = [
        *rig.hosts.values(),
        Host(HostId("off"), "off", SMALL, active=False),
        Host(HostId("tiny"), "tiny", Resources(1, 1)),
    ]
    rig.send(ev.HostsObserved(tuple(hosts)))
    request = rig.submit(Resources(1000, 1000))
    turned_away, blockers, summary = why(rig, request)
    assert blockers == []
    assert turned_away == {
        "cpu_millis": 1, "mem_mib": 1, "no_offer": 3, "inactive": 1, "too_small:cpu_millis": 1, "too_small:mem_mib": 1,
    }  # fmt: skip
    assert summary.startswith("of 6 hosts: 3 nothing free and offered")


def test_hosts_and_offers_are_counted_by_the_group_of_what_refused_them() -> None:
    rig = Rig(hosts=3)
    rig.offer("h0", resources=Resources(100, 8192))
    rig.offer("h0", resources=Resources(100, 100))
    rig.offer("h1", resources=Resources(4000, 100))
    request = rig.submit(Resources(1000, 1000), attributes={"rack": "r1"})
    answer = why_not(rig.state, request.id, rig.now)
    assert answer is not None
    assert answer.refusals == [
        Refusal("constraint", "attribute:rack", 2, 2),
        Refusal("resource", "cpu_millis", 1, 2),
        Refusal("resource", "mem_mib", 1, 1),
        Refusal("host", "no_offer", 1, 0),
    ]


def test_what_holds_a_request_refuses_every_offer() -> None:
    rig = Rig(hosts=2)
    rig.send(ev.TenantSet(Tenant(TEAM, quota=Quota(builds=1))))
    rig.running()
    waiting = rig.submit()
    answer = why_not(rig.state, waiting.id, rig.now)
    assert answer is not None
    assert answer.refusals[0] == Refusal("quota", "quota", 2, 1)


def test_why_not_names_attributes_avoided_and_kept_hosts() -> None:
    rig = Rig(hosts=2)
    _, task = rig.running(need=Resources(2000, 4096), attributes={"rack": "r0"})
    big = rig.submit(Resources(3900, 8000))
    rig.offer()
    rig.after(rig.config.hold_idle_s)
    wants_rack = rig.submit(Resources(3900, 8000), attributes={"rack": "r0"})
    assert why(rig, wants_rack)[0]["attribute:rack"] == 1
    assert task.host_id == "h0"
    assert why_not(rig.state, task.request_id, rig.now) is None
    assert big.id not in rig.state.requests or rig.state.live_task(big)


def test_why_not_names_quota_breaker_back_off_and_connection() -> None:
    rig = Rig(hosts=2)
    rig.tenant(TEAM, quota=Quota(builds=1))
    lost, task = rig.running()
    blocked = rig.submit()
    assert why(rig, blocked)[1] == ["quota: builds 1 of 1 in use"]
    rig.tenant(TEAM)
    rig.update(task, "TASK_LOST")
    left_s = lost.not_before - rig.now
    assert why(rig, lost)[1] == [f"back-off: attempt 2 may start in {left_s:.1f} s, attempt 1 failed"]
    rig.send(ev.Disconnected("reset"))
    assert why(rig, lost)[1][0] == "no connection to Mesos"
    for nth in range(3):
        rig.state.breakers.failed("bad:1", type(task.id)(str(nth)), "manifest unknown", rig.now)
    image = rig.submit(image="bad:1")
    assert "breaker: image bad:1 could not be had (manifest unknown); tried again in 60 s" in why(rig, image)[1]


def test_why_not_says_that_the_quota_is_kept_for_an_older_one() -> None:
    rig = Rig(hosts=1)
    rig.tenant(TEAM, quota=Quota(cpu_millis=1000))
    rig.running()
    elder = rig.submit(Resources(800, 100))
    rig.now += rig.config.starving_after_s + 1
    younger = rig.submit(Resources(100, 100))
    rig.offer()
    assert why(rig, elder)[1] == ["quota: cpu_millis 500 of 1000 in use"]
    assert why(rig, younger)[1] == [
        f"quota: what is left is kept for request {elder.id}, which has waited too long for it"
    ]


def test_why_not_of_what_does_not_wait_is_none() -> None:
    rig = Rig()
    request, _ = rig.running()
    assert why_not(rig.state, request.id, rig.now) is None
    assert why_not(rig.state, RequestId("never"), rig.now) is None


def test_use_of_tenants_hosts_and_the_whole() -> None:
    rig = Rig(hosts=2)
    idle = TenantName("idle")
    rig.tenant(idle, weight=300)
    _, task = rig.running()
    rig.submit(Resources(100_000, 1))
    uses = {use.tenant.name: use for use in tenant_uses(rig.state)}
    assert (uses[TEAM].running, uses[TEAM].waiting, uses[TEAM].fair_share) == (1, 1, 1.0)
    assert uses[TEAM].dominant_share == pytest.approx(1024 / 16384)
    assert (uses[idle].fair_share, uses[idle].used) == (0.0, Resources())
    by_host = {use.host.id: use for use in host_uses(rig.state)}
    assert by_host[task.host_id].used == SMALL + rig.config.overhead
    assert [by_host[HostId(name)].tasks for name in ("h0", "h1")] == [1, 0]
    found = health(rig.state, ["a notice"], rig.now)
    assert (found.connected, found.waiting, found.running, found.launching, found.hosts) == (True, 1, 1, 0, 2)
    assert found.notices == ["a notice"]
    rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    assert health(rig.state, [], rig.now).running == 0


def test_why_mesos_is_not_connected_is_told_until_it_is() -> None:
    rig = Rig()
    for event, told in ((ev.Disconnected("it hung up"), "it hung up"), (ev.NotSubscribed("503"), "503")):
        rig.send(event)
        found = health(rig.state, ["a notice"], rig.now)
        assert (found.connected, found.notices) == (False, ["a notice", f"no connection to Mesos: {told}"])
    rig.send(ev.Subscribed(FrameworkId("f1")))
    assert health(rig.state, ["a notice"], rig.now).notices == ["a notice"]
