"""Agents that serve one build after the other of their tenant, until they were idle for too long."""

from __future__ import annotations

import itertools

import msgspec

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.explain import why_not
from framework.core.ids import RequestId, TaskId, TenantName, node_of
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.resources import Resources
from framework.core.state import restore
from framework.core.tasks import FailureClass, Request, RequestState, Task, TaskState
from framework.core.templates import Lifetime, Template
from tests.unit.core.rig import TEAM, Rig

OTHER = TenantName("other")
TEMPLATE = Template(
    Resources(100, 100),
    timeout_s=600.0,
    connect_timeout_s=60.0,
    name="maven",
    version="v1",
    lifetime=Lifetime.POOLED,
    idle_s=300.0,
)
_numbers = itertools.count(1)


def side_of(request: Request) -> JenkinsSide:
    assert request.jenkins is not None
    return request.jenkins


def item_of(request: Request) -> QueueItem:
    found = side_of(request).item
    assert found is not None
    return found


def item(rig: Rig, tenant: TenantName = TEAM) -> Request:
    number = next(_numbers)
    side = JenkinsSide(QueueItem(number, 1), f"job-{number}", "job/", "maven", "maven", rig.now)
    request = Request(RequestId(f"q{number:015}"), tenant, "build", TEMPLATE, rig.now + number / 1e6, jenkins=side)
    rig.send(ev.Submitted(request))
    return request


def building(rig: Rig) -> tuple[Request, Task]:
    """A request whose agent was given its build."""
    request = item(rig)
    rig.offer()
    claim = rig.state.claims.of(request.id)
    assert claim is not None
    rig.send(ev.NodeReady(claim.task_id))
    task = rig.task(request)
    rig.update(task, "TASK_RUNNING")
    rig.send(ev.AgentOnline(task.id))
    take(rig, task, request)
    return request, task


def take(rig: Rig, task: Task, request: Request) -> None:
    """Jenkins gives the agent the request's item."""
    what = item_of(request)
    rig.send(ev.ItemLeft(request.tenant, what, cancelled=False))
    rig.send(ev.AgentAccepted(task.id, what, side_of(request).task, "job/"))


def idle(rig: Rig) -> tuple[Request, Task]:
    request, task = building(rig)
    rig.send(ev.AgentServed(task.id))
    return request, task


def look(rig: Rig, task: Task, *, online: bool, is_idle: bool) -> None:
    rig.now += 0.1
    node = ev.SeenNode(task.id, node_of(task.id, pooled=True), online, is_idle)
    rig.send(ev.MasterObserved(TEAM, rig.now, frozenset(), (node,)))


def gone(rig: Rig, task: Task) -> bool:
    return [each.task_id for each in rig.effects(ef.Kill)] == [task.id]


def test_an_agent_that_has_served_stays() -> None:
    rig = Rig()
    request, task = idle(rig)
    assert not rig.effects(ef.Kill) and not rig.effects(ef.RemoveNode)
    assert (request.state, side_of(request).builds, side_of(request).item) == (RequestState.RUNNING, 1, None)
    assert rig.state.live_task(request) is task


def test_an_item_that_comes_waits_for_the_idle_agent_and_is_served_by_it() -> None:
    rig = Rig()
    first, task = idle(rig)
    second = item(rig)
    rig.offer()
    assert second.state is RequestState.WAITING
    why = why_not(rig.state, second.id, rig.now)
    assert why is not None and "idle agent" in why.blockers[0]
    take(rig, task, second)
    assert second.outcome is not None
    assert (second.outcome.result_class, second.outcome.message) == (
        FailureClass.PASSED,
        f"served by agent {node_of(task.id, pooled=True)}",
    )
    assert side_of(first).item == item_of(second)
    rig.send(ev.AgentServed(task.id))
    assert side_of(first).builds == 2
    assert rig.state.tenants[TEAM].builds == 1


def test_an_item_that_nobody_takes_is_placed_after_all() -> None:
    rig = Rig()
    idle(rig)
    second = item(rig)
    rig.offer()
    rig.after(3.1)
    assert second.state is RequestState.PREPARING


def test_an_idle_agent_keeps_one_item_waiting_and_only_of_its_tenant() -> None:
    rig = Rig()
    rig.tenant(OTHER)
    _, task = idle(rig)
    rig.offer()
    held, placed, others = item(rig), item(rig), item(rig, OTHER)
    assert [each.state for each in (held, placed, others)] == [
        RequestState.WAITING, RequestState.PREPARING, RequestState.PREPARING,
    ]  # fmt: skip
    take(rig, task, placed)  # as Jenkins gives any agent to any item
    assert placed.outcome is not None and placed.outcome.result_class is FailureClass.PASSED
    assert rig.effects(ef.RemoveNode)[0].node.startswith(f"butlery-{placed.id}")
    assert held.state is RequestState.PREPARING


def test_one_that_was_idle_for_too_long_is_cordoned_and_goes_once_it_is_seen_idle() -> None:
    rig = Rig()
    request, task = idle(rig)
    rig.after(301)
    node = node_of(task.id, pooled=True)
    assert rig.effects(ef.RemoveNode) == [ef.RemoveNode(TEAM, node, "it was idle for 5 minutes", cordon=True)]
    assert not rig.effects(ef.Kill)
    rig.send(ev.AgentOffline(task.id, "it was idle for 5 minutes"))
    look(rig, task, online=True, is_idle=True)  # asked before it was cordoned there
    assert not rig.effects(ef.Kill)
    look(rig, task, online=False, is_idle=True)
    assert gone(rig, task)
    assert rig.effects(ef.RemoveNode) == [ef.RemoveNode(TEAM, node)]
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert request.outcome is not None and request.outcome.result_class is FailureClass.PASSED
    assert not rig.state.pooled


def test_one_that_was_given_a_build_at_the_last_moment_serves_it_first() -> None:
    rig = Rig()
    _, task = idle(rig)
    rig.after(301)
    second = item(rig)
    take(rig, task, second)
    look(rig, task, online=False, is_idle=False)
    rig.after(120)
    assert not rig.effects(ef.Kill)
    rig.send(ev.AgentServed(task.id))
    assert gone(rig, task)


def test_one_that_leaves_keeps_nobody_waiting() -> None:
    rig = Rig()
    idle(rig)
    rig.after(301)
    request = item(rig)
    rig.offer()
    assert request.state is RequestState.PREPARING


def test_lost_words_are_made_up_for_by_looks() -> None:
    rig = Rig()
    request, task = building(rig)
    rig.now += 10
    look(rig, task, online=True, is_idle=True)
    assert side_of(request).builds == 1
    rig.now += 10
    look(rig, task, online=True, is_idle=False)
    assert side_of(request).accepted_at is not None
    rig.after(301)
    assert not rig.effects(ef.RemoveNode)


def test_a_build_of_a_pool_has_its_own_time() -> None:
    rig = Rig()
    _, task = building(rig)
    rig.after(500)
    rig.send(ev.AgentServed(task.id))
    rig.after(200)
    take(rig, task, item(rig))
    rig.after(600)
    assert not rig.effects(ef.Kill)
    rig.after(100)
    assert gone(rig, task)
    assert task.kill_class is FailureClass.TIMEOUT


def test_a_restart_finds_it_idle() -> None:
    rig = Rig()
    _, task = idle(rig)
    requests = msgspec.json.decode(msgspec.json.encode(list(rig.state.requests.values())), type=list[Request])
    tasks = msgspec.json.decode(msgspec.json.encode(list(rig.state.tasks.values())), type=list[Task])
    tenants = [book.tenant for book in rig.state.tenants.values()]
    rig.state = restore(rig.config, rig.state.framework_id, tenants, requests, tasks, rig.now)
    rig.after(301)
    assert rig.effects(ef.RemoveNode)[0].cordon
    assert TaskId(task.id) in rig.state.pooled


def test_one_that_was_out_of_sight_has_the_time_of_its_newest_build() -> None:
    rig = Rig()
    _, task = building(rig)
    rig.after(500)
    rig.send(ev.AgentServed(task.id))
    rig.after(200)
    take(rig, task, item(rig))
    rig.update(task, "TASK_UNREACHABLE")
    rig.after(10)
    rig.update(task, "TASK_RUNNING")
    assert not rig.effects(ef.Kill)
    rig.after(600)
    assert not rig.effects(ef.Kill)
    rig.after(100)
    assert gone(rig, task)


def test_one_that_is_idle_for_too_long_while_out_of_sight_goes_later() -> None:
    rig = Rig()
    _, task = idle(rig)
    rig.now += 250
    rig.update(task, "TASK_UNREACHABLE")
    rig.after(51)
    assert not rig.effects(ef.RemoveNode)
    rig.update(task, "TASK_RUNNING")
    assert task.state is TaskState.RUNNING
    rig.after(31)
    assert rig.effects(ef.RemoveNode)[0].cordon


def test_one_whose_item_an_idle_agent_took_comes_for_nobody() -> None:
    rig = Rig()
    first, task = idle(rig)
    second = item(rig)
    rig.after(3.1)
    rig.offer()
    claim = rig.state.claims.of(second.id)
    assert claim is not None
    rig.send(ev.NodeReady(claim.task_id))
    launched = rig.task(second)
    take(rig, task, second)
    assert side_of(first).item is not None
    assert gone(rig, launched), "nothing is left for it"


def test_an_agent_remembers_the_last_builds_that_it_served() -> None:
    rig = Rig()
    request, task = idle(rig)
    side = side_of(request)
    rig.send(ev.BuildTold(task.id, "job/1/", "SUCCESS"))  # late
    for number in range(2, 7):
        rig.now += 10
        other = item(rig)
        take(rig, task, other)
        rig.now += 5
        if number == 3:
            rig.send(ev.BuildTold(task.id, f"job/{number}/", "FAILURE"))
        rig.send(ev.AgentServed(task.id))
    assert [build.number for build in side.past] == [3, 4, 5, 6]
    third, fourth = side.past[:2]
    assert (third.build_url, third.result) == ("job/3/", "FAILURE")
    assert (fourth.build_url, fourth.result) == ("", None), "nobody told of it"
    assert (fourth.accepted_at - third.served_at, fourth.served_at - fourth.accepted_at) == (10, 5)
    assert fourth.item is not None
    assert fourth.item != third.item
    assert fourth.buildable_at == fourth.accepted_at
