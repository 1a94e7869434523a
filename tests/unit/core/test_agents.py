"""Agents of Jenkins after their launch: they come, take builds, serve them; or are lost, and what is told of it."""

from __future__ import annotations

import pytest

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.agents import LOOK_S, TAKEN_S
from framework.core.ids import TaskId, TenantName, node_of
from framework.core.sweep import LATE_S, RESUMED_S
from framework.core.tasks import FailureClass, Request, RequestState, TaskState
from tests.unit.core.agents_rig import CONNECT_S, AgentsRig
from tests.unit.core.rig import TEAM


def result(request: Request) -> FailureClass:
    assert request.outcome is not None
    return request.outcome.result_class


def test_an_agent_that_serves_its_build_goes_with_its_node() -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.send(ev.BuildTold(task.id, "job/1/7/", "FAILURE"))
    rig.now += 5.0
    rig.send(ev.AgentServed(task.id))
    assert rig.removed() == [ef.RemoveNode(TEAM, node_of(task.id))], "and nothing is told, as nothing went wrong"
    assert [each.task_id for each in rig.effects(ef.Kill)] == [task.id]
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert result(request) is FailureClass.PASSED
    assert not rig.removed(), "once is enough"
    side = rig.side(request)
    assert (side.result, side.build_url, side.served_at) == ("FAILURE", "job/1/7/", rig.now)


@pytest.mark.parametrize("end", [FailureClass.CONNECT, FailureClass.FAILED, FailureClass.INFRASTRUCTURE])
def test_however_the_process_ends_whose_node_is_gone_it_has_served(end: FailureClass) -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.send(ev.BuildTold(task.id, "job/1/7/", "SUCCESS"), ev.AgentServed(task.id))
    rig.update(task, "TASK_FAILED", end)
    assert result(request) is FailureClass.PASSED


@pytest.mark.parametrize("end", [FailureClass.OOM, FailureClass.FAILED])  # FAILED: by a container beside it
@pytest.mark.parametrize("told", ["FAILURE", None])
def test_why_a_build_was_broken_off_is_told_though_jenkins_was_sooner(end: FailureClass, told: str | None) -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.send(ev.BuildTold(task.id, "job/1/7/", told), ev.AgentServed(task.id))
    assert rig.removed() == [ef.RemoveNode(TEAM, node_of(task.id))]
    rig.update(task, "TASK_FAILED", end)
    assert result(request) is end
    [again] = rig.removed()
    assert again.reason.startswith(f"{end.value}: ")
    assert not again.resubmit


def test_words_that_come_twice_or_late_change_nothing() -> None:
    rig = AgentsRig()
    request, task = rig.building()
    online_at = rig.side(request).online_at
    rig.now += 1.0
    again = (ev.AgentOnline(task.id), ev.AgentAccepted(task.id, rig.item_of(request), "job 1", "job/1/"))
    rig.send(*again, ev.ItemLeft(TEAM, rig.item_of(request), cancelled=False))
    assert rig.last == []
    rig.send(ev.AgentServed(task.id), ev.AgentServed(task.id), *again)
    assert len(rig.removed()) == 1
    assert rig.side(request).online_at == online_at
    rig.update(task, "TASK_KILLED")
    rig.send(*again, ev.AgentServed(task.id), ev.AgentOffline(task.id, "gone"), ev.BuildTold(task.id, "x"))
    assert rig.last == []


def test_an_agent_that_never_comes_is_ended_once_a_look_confirms_it() -> None:
    rig = AgentsRig()
    request, task = rig.agent(retries=1)
    rig.after(CONNECT_S)
    assert rig.effects(ef.LookAt) == [ef.LookAt(TEAM)]
    assert not rig.effects(ef.Kill), "its word may be lost"
    rig.look((task.id, False, True), items=(request,))
    assert [each.task_id for each in rig.effects(ef.Kill)] == [task.id]
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    (removal,) = rig.removed()
    assert removal.reason.startswith("connect: ")
    assert "did not come to its master for 60 s" in removal.reason
    assert (request.state, request.losses) == (RequestState.WAITING, 1)
    rig.after(5.0)
    rig.offer()
    rig.ready(request)
    again = rig.task(request)
    assert again.id != task.id
    rig.update(again, "TASK_FAILED", FailureClass.CONNECT)
    assert result(request) is FailureClass.CONNECT, "its retries are used up"


def test_an_agent_whose_word_was_lost_is_found_by_the_look() -> None:
    rig = AgentsRig()
    request, task = rig.agent()
    rig.after(CONNECT_S)
    rig.look((task.id, True, True), items=(request,))
    assert rig.side(request).online_at == rig.now
    rig.after(10 * CONNECT_S)
    assert not rig.effects(ef.Kill)


def test_while_the_master_cannot_be_looked_at_nobody_is_ended_for_its_absence() -> None:
    rig = AgentsRig()
    _, task = rig.agent()
    rig.after(CONNECT_S)
    for _ in range(20):
        rig.after(LOOK_S)
        assert rig.effects(ef.LookAt)
        assert not rig.effects(ef.Kill)
    assert task.state is TaskState.RUNNING


def test_a_masters_restart_is_survived() -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.send(ev.AgentOffline(task.id, "channel closed"))
    rig.after(CONNECT_S / 2)
    rig.send(ev.AgentOnline(task.id))
    rig.after(CONNECT_S)
    assert not rig.effects(ef.Kill)
    rig.send(ev.AgentServed(task.id))
    rig.update(task, "TASK_KILLED")
    assert result(request) is FailureClass.PASSED


def test_an_agent_that_left_for_good_is_ended() -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.send(ev.AgentOffline(task.id, "channel closed"))
    rig.after(CONNECT_S)
    rig.look((task.id, False, False))
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert result(request) is FailureClass.CONNECT
    assert "was away from its master" in rig.removed()[0].reason


def test_an_agent_whose_node_is_gone_is_ended_and_another_made_while_its_item_waits() -> None:
    rig = AgentsRig()
    request, task = rig.online()
    rig.send(ev.AgentOffline(task.id, "removed", node_gone=True))
    assert rig.effects(ef.Kill)
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert request.state is RequestState.WAITING


def test_a_build_that_is_lost_is_told_and_built_again_by_jenkins_not_by_another_attempt() -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.update(task, "TASK_LOST", reason="REASON_AGENT_REMOVED")
    (removal,) = rig.removed()
    assert removal.resubmit
    assert "TASK_LOST" in removal.reason
    assert result(request) is FailureClass.INFRASTRUCTURE


def test_a_build_that_broke_its_agent_is_told_and_not_built_again() -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.send(ev.AgentServed(task.id, "channel closed"))  # which Jenkins sees first
    rig.update(task, "TASK_FAILED", FailureClass.OOM)
    assert result(request) is FailureClass.OOM


def test_a_build_that_fails_as_its_agent_leaves_is_not_served() -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.send(ev.AgentOffline(task.id, "channel closed"), ev.AgentServed(task.id, "ChannelClosedException"))
    assert not rig.removed(), "first it is known why"
    rig.update(task, "TASK_LOST")
    assert rig.removed()[0].resubmit
    assert result(request) is FailureClass.INFRASTRUCTURE


def test_a_build_that_was_stopped_while_its_agent_was_away_is_not_built_again() -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.send(ev.AgentOffline(task.id, "channel closed"), ev.BuildTold(task.id, "job/1/7/", "ABORTED"))
    rig.send(ev.AgentServed(task.id))
    rig.update(task, "TASK_KILLED")
    assert result(request) is FailureClass.PASSED
    assert not any(each.resubmit for each in rig.removed())


def test_agents_that_take_each_others_items_swap_them() -> None:
    rig = AgentsRig()
    (one, first), (other, second) = rig.online(), rig.online()
    its, mine = rig.item_of(other), rig.item_of(one)
    rig.accept(first, other)
    assert (rig.item_of(one), rig.item_of(other)) == (its, mine)
    assert rig.side(one).task == f"job {its.number}"
    rig.accept(second, other)
    assert rig.side(other).accepted_at == rig.now
    rig.after(TAKEN_S)
    assert not rig.effects(ef.Kill)
    for task in (first, second):
        rig.send(ev.AgentServed(task.id))
        rig.update(task, "TASK_KILLED")
    assert result(one) is result(other) is FailureClass.PASSED


def test_an_item_whose_master_cannot_tell_is_known_by_its_builds_name() -> None:
    rig = AgentsRig()
    (one, first), (other, _) = rig.online(), rig.online()
    rig.send(ev.AgentAccepted(first.id, None, rig.side(other).task, ""))
    assert rig.side(one).task == "job 2"
    assert rig.side(other).task == "job 1"


def test_an_agent_of_another_template_took_the_item() -> None:
    rig = AgentsRig()
    one, first = rig.online(label="maven")
    other = rig.claimed(label="node")
    rig.accept(first, other)
    assert result(other) is FailureClass.CANCELLED, "nothing waits for its agent"
    assert ef.LookAt(TEAM) in rig.last, "somebody must come for the item that the agent was for"
    assert rig.side(one).task == "job 2"


def test_an_agent_whose_item_somebody_else_took_comes_for_another_that_waits() -> None:
    rig = AgentsRig(hosts=1)
    one, task = rig.online()
    rig.state.masters.of(TEAM).closed_until = rig.now + 100.0
    waiting = rig.item()
    item = rig.item_of(waiting)
    rig.send(ev.ItemLeft(TEAM, rig.item_of(one), cancelled=False))
    assert not rig.effects(ef.Kill), "an agent of ours may have it, whose word follows"
    rig.after(TAKEN_S)
    assert rig.item_of(one) == item
    assert result(waiting) is FailureClass.CANCELLED
    assert task.state is TaskState.RUNNING


def test_an_agent_that_nobody_waits_for_any_more_is_ended() -> None:
    rig = AgentsRig()
    request, task = rig.online()
    rig.send(ev.ItemLeft(TEAM, rig.item_of(request), cancelled=True))
    assert rig.effects(ef.Kill)
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert result(request) is FailureClass.CANCELLED
    assert rig.removed() == [ef.RemoveNode(TEAM, node_of(task.id))]


def test_a_build_that_such_an_agent_took_at_the_last_moment_is_built_again() -> None:
    rig = AgentsRig()
    request, task = rig.online()
    rig.send(ev.ItemLeft(TEAM, rig.item_of(request), cancelled=True))
    rig.send(ev.AgentAccepted(task.id, None, "job 9", ""))
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert rig.removed()[0].resubmit


def test_the_sweep_removes_nodes_without_tasks_and_only_those() -> None:
    rig = AgentsRig()
    request, task = rig.online()
    claimed = rig.claimed()
    stray = TaskId("z000000000000001.1")
    rig.now += 1.0
    rig.look(
        (task.id, True, True), (rig.claim(claimed).task_id, False, True), (stray, False, True), items=(request, claimed)
    )
    assert rig.removed() == [ef.RemoveNode(TEAM, node_of(stray))]
    assert not rig.effects(ef.Kill)


def test_the_sweep_ends_tasks_without_nodes() -> None:
    rig = AgentsRig()
    request, task = rig.online()
    rig.look(items=(request,), asked_at=rig.side(request).node_at or 0)
    assert not rig.effects(ef.Kill), "it was made as the look was asked for"
    rig.now += 1.0
    rig.look(items=(request,))
    assert [each.task_id for each in rig.effects(ef.Kill)] == [task.id]


def test_an_older_look_says_nothing_after_a_newer_one() -> None:
    rig = AgentsRig()
    request, task = rig.online()
    rig.now += 9.0
    rig.look((task.id, True, True), items=(request,))
    rig.look(asked_at=rig.now - 5.0)
    assert not rig.effects(ef.Kill)


def test_the_node_of_a_request_that_waits_anew_is_swept_and_not_taken_for_its_next() -> None:
    rig = AgentsRig()
    request = rig.item()
    rig.now += 1.0
    rig.look((TaskId(f"{request.id}.1"), False, True), items=(request,))  # from before a crash
    assert rig.removed()
    rig.offer()
    assert [each.task_id for each in rig.effects(ef.PrepareNode)] == [f"{request.id}.2"]


def test_a_word_of_a_builds_end_that_was_lost_is_made_up_for() -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.now += LATE_S + 1.0
    rig.look((task.id, True, True))
    rig.update(task, "TASK_KILLED")
    assert result(request) is FailureClass.PASSED


def test_a_word_of_a_builds_begin_that_was_lost_is_made_up_for() -> None:
    rig = AgentsRig()
    request, task = rig.online()
    rig.now += LATE_S + 1.0
    rig.look((task.id, True, False))
    assert rig.side(request).accepted_at == rig.now
    rig.after(TAKEN_S)
    assert task.state is TaskState.RUNNING


def test_nodes_of_another_tenants_agents_are_not_left_where_they_do_not_belong() -> None:
    rig = AgentsRig()
    other = TenantName("other")
    rig.tenant(other)
    _, task = rig.online(tenant=other)
    rig.look((task.id, True, True))
    assert rig.removed() == [ef.RemoveNode(TEAM, node_of(task.id))]
    assert task.state is TaskState.RUNNING


def test_a_pipeline_that_goes_on_after_its_masters_restart_has_time_to() -> None:
    rig = AgentsRig()
    request, task = rig.building()
    rig.now += 100.0
    rig.send(ev.AgentOnline(task.id))  # the process before could not say that it left
    rig.now += LATE_S + 1.0
    rig.look((task.id, True, True))
    assert not rig.effects(ef.Kill), "its script is not at the agent yet"
    rig.now += RESUMED_S
    rig.look((task.id, True, True))
    rig.update(task, "TASK_KILLED")
    assert result(request) is FailureClass.PASSED


def test_an_item_that_is_younger_than_the_look_is_not_missed() -> None:
    rig = AgentsRig()
    one, _ = rig.online()
    asked_at = rig.now + 0.5
    rig.now += 1.0
    rig.state.masters.of(TEAM).closed_until = rig.now + 100.0
    waiting = rig.item()
    rig.send(ev.ItemLeft(TEAM, rig.item_of(one), cancelled=True))
    assert result(waiting) is FailureClass.CANCELLED, "the agent comes for its item"
    rig.look((rig.task(one).id, True, True), asked_at=asked_at)
    rig.after(TAKEN_S)
    assert one.state is RequestState.RUNNING


def test_a_request_whose_item_an_agent_without_one_took_is_ended() -> None:
    rig = AgentsRig()
    one, task = rig.online()
    rig.now += LATE_S + 1.0
    rig.look((task.id, True, False), items=(one,))  # it builds, and not what it came for
    assert rig.side(one).item is None
    rig.state.masters.of(TEAM).closed_until = rig.now + 100.0
    waiting = rig.item()
    rig.accept(task, waiting)
    assert result(waiting) is FailureClass.CANCELLED
