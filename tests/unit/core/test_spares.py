"""Agents that stand ready, given to whichever tenant's request is next."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.ids import FrameworkId, RequestId, TenantName, node_of
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.resources import Resources
from framework.core.state import restore
from framework.core.tasks import SPARES, FailureClass, Quota, Request, RequestState, Task
from framework.core.templates import Template
from tests.unit.core.rig import TEAM, Rig

OTHER = TenantName("other")
TINY = Resources(100, 100)
_numbers = itertools.count(1)


def kind(version: str = "v1", **changes: Any) -> dict[str, Any]:
    return {"name": "maven", "version": version, **changes}


def spare(rig: Rig, version: str = "v1") -> Task:
    """One that runs and waits."""
    request = rig.submit(TINY, SPARES, timeout_s=1e9, preemptible=True, **kind(version))
    rig.offer()
    task = rig.task(request)
    rig.update(task, "TASK_RUNNING")
    return task


def item(rig: Rig, tenant: TenantName = TEAM, **template: Any) -> Request:
    """A request of a queue item, sent in."""
    number = next(_numbers)
    side = JenkinsSide(QueueItem(number, 1), "build", "job/build/", "maven", "maven", rig.now)
    made = Template(TINY, connect_timeout_s=60.0, **{**kind(), **template})
    request = Request(RequestId(f"q{number:015}"), tenant, "build", made, rig.now + number / 1e6, jenkins=side)
    rig.send(ev.Submitted(request))
    return request


def prepared(rig: Rig) -> list[tuple[str, str]]:
    return [(each.task_id, each.request.id) for each in rig.effects(ef.PrepareNode)]


def test_a_waiting_request_takes_a_spare_at_once() -> None:
    rig = Rig()
    task = spare(rig)
    request = item(rig)
    assert prepared(rig) == [(task.id, request.id)]
    assert rig.effects(ef.PrepareNode)[0].node == node_of(task.id)
    assert (request.state, request.claimed_at) == (RequestState.PREPARING, rig.now)


def test_once_its_node_stands_the_spare_is_the_requests_agent() -> None:
    rig = Rig()
    task = spare(rig)
    owner = rig.state.requests[task.request_id]
    request = item(rig)
    effects = rig.send(ev.NodeReady(task.id))
    assert [type(each) for each in effects if not isinstance(each, ef.Report)] == [
        ef.SaveTask, ef.SaveRequest, ef.SaveRequest, ef.Assign,
    ]  # fmt: skip
    assert rig.state.live_task(request) is task
    assert (task.request_id, task.tenant) == (request.id, TEAM)
    assert (request.state, request.attempt, request.given) == (RequestState.RUNNING, 1, task.id)
    assert owner.state is RequestState.ENDED and owner.id not in rig.state.requests
    assert (rig.state.tenants[SPARES].builds, rig.state.tenants[TEAM].builds) == (0, 1)
    rig.send(ev.AgentOnline(task.id))
    rig.send(ev.AgentServed(task.id))
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert request.outcome is not None and request.outcome.result_class is FailureClass.PASSED
    assert (rig.state.tenants[SPARES].builds, rig.state.tenants[TEAM].builds) == (0, 0)
    assert not rig.state.tasks and not rig.state.preemptible and not rig.state.spares.ready


def test_only_requests_of_its_version_take_it() -> None:
    rig = Rig()
    task = spare(rig)
    item(rig, version="v2")
    assert prepared(rig)[0][0] != task.id
    item(rig, version="v1+cpus=2")
    assert prepared(rig)[0][0] != task.id


def test_a_quota_holds_for_spares_too() -> None:
    rig = Rig()
    spare(rig)
    rig.tenant(TEAM, quota=Quota(builds=0))
    item(rig)
    assert prepared(rig) == []
    rig.tenant(TEAM, quota=Quota(builds=1))
    assert len(prepared(rig)) == 1


def test_the_tenant_with_the_smallest_share_is_given_the_last_spare() -> None:
    rig = Rig()
    rig.tenant(OTHER)
    rig.running(need=Resources(1000, 1000))
    owner = rig.submit(TINY, SPARES, timeout_s=1e9, preemptible=True, **kind())
    rig.offer()
    task = rig.task(owner)
    for host_id in rig.hosts:
        rig.send(ev.HostLost(host_id))  # with all that is offered of it
    mine, theirs = item(rig, TEAM), item(rig, OTHER)
    rig.update(task, "TASK_RUNNING")
    assert prepared(rig) == [(task.id, theirs.id)]
    assert mine.state is RequestState.WAITING


def test_a_spare_that_ends_while_it_is_promised_leaves_the_request_waiting() -> None:
    rig = Rig()
    task = spare(rig)
    request = item(rig)
    for host_id in rig.hosts:
        rig.send(ev.HostLost(host_id))
    rig.update(task, "TASK_LOST")
    assert rig.effects(ef.RemoveNode) == [ef.RemoveNode(TEAM, node_of(task.id))]
    assert request.attempt == 0
    rig.send(ev.NodeReady(task.id))
    assert not rig.effects(ef.Assign)
    assert not rig.state.spares.promised and not rig.state.spares.ready


def saved(rig: Rig) -> Rig:
    """A scheduler that starts from what the other has saved, which is all but promises."""
    again = Rig(0)
    requests = msgspec.json.decode(msgspec.json.encode(list(rig.state.requests.values())), type=list[Request])
    tasks = msgspec.json.decode(msgspec.json.encode(list(rig.state.tasks.values())), type=list[Task])
    for request in requests:
        request.state = RequestState.WAITING if request.state is RequestState.PREPARING else request.state
    tenants = [book.tenant for book in rig.state.tenants.values()]
    again.state = restore(rig.config, rig.state.framework_id, tenants, requests, tasks, rig.now)
    again.hosts, again.now = rig.hosts, rig.now
    again.send(ev.Subscribed(FrameworkId("f1")), ev.HostsObserved(tuple(rig.hosts.values())))
    return again


def test_a_crash_before_the_node_stands_leaves_a_spare_and_a_request_that_takes_it_again() -> None:
    rig = Rig()
    task = spare(rig)
    request = item(rig)
    again = saved(rig)
    assert prepared(again) == [(task.id, request.id)]
    assert len(again.state.tasks) == 1


def test_a_crash_before_the_spare_was_told_has_it_told_again() -> None:
    rig = Rig()
    task = spare(rig)
    request = item(rig)
    rig.send(ev.NodeReady(task.id))
    again = saved(rig)
    assert prepared(again) == [(task.id, request.id)]
    again.send(ev.NodeReady(task.id))
    [assigned] = again.effects(ef.Assign)
    assert (assigned.task.id, assigned.request.id) == (task.id, request.id)
    assert set(again.state.tasks) == {task.id}
    assert set(again.state.requests) == {request.id}


def test_a_message_that_is_lost_is_found_by_the_time_to_connect() -> None:
    rig = Rig()
    task = spare(rig)
    request = item(rig)
    rig.send(ev.NodeReady(task.id))
    rig.after(61)
    assert rig.effects(ef.LookAt) == [ef.LookAt(TEAM)]
    node = ev.SeenNode(task.id, node_of(task.id), online=False, idle=True)
    assert request.jenkins is not None and request.jenkins.item is not None
    rig.send(ev.MasterObserved(TEAM, rig.now, frozenset({request.jenkins.item}), (node,)))
    assert [each.task_id for each in rig.effects(ef.Kill)] == [task.id]
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert (request.state, request.given, request.losses) == (RequestState.WAITING, None, 1)
    assert rig.effects(ef.RemoveNode)[0].node == node_of(task.id)


def test_a_master_that_fails_leaves_the_spare_to_others() -> None:
    rig = Rig()
    rig.tenant(OTHER)
    task = spare(rig)
    request = item(rig)
    rig.send(ev.NodeFailed(task.id, "it does not answer", 10.0))
    assert request.state is RequestState.WAITING
    theirs = item(rig, OTHER)
    assert prepared(rig) == [(task.id, theirs.id)]
    assert (rig.state.tenants[TEAM].builds, rig.state.tenants[OTHER].builds) == (0, 1)


def test_a_spare_whose_node_somebody_made_by_hand_is_ended() -> None:
    rig = Rig()
    task = spare(rig)
    request = item(rig)
    rig.send(ev.NodeFailed(task.id, "made by hand", name_taken=True))
    assert [each.task_id for each in rig.effects(ef.Kill)] == [task.id]
    assert not rig.state.spares.promised
    assert request.jenkins is not None


def test_an_item_that_leaves_meanwhile_lets_the_spare_go() -> None:
    rig = Rig()
    task = spare(rig)
    request = item(rig)
    assert request.jenkins is not None and request.jenkins.item is not None
    rig.send(ev.ItemLeft(TEAM, request.jenkins.item, cancelled=True))
    assert rig.effects(ef.RemoveNode) == [ef.RemoveNode(TEAM, node_of(task.id))]
    assert request.state is RequestState.ENDED
    assert not rig.state.spares.promised
    assert task.id in rig.state.spares.ready
    assert rig.state.tenants[TEAM].builds == 0
