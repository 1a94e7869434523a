"""Agents of several containers, a scheduler that drains, and events that are for nobody here."""

from __future__ import annotations

from agents.shared import SHARED_EXECUTOR_ID
from framework.core.effects import Acknowledge, Decline, Kill, Launch, Reconcile, Report, Revive, SaveDraining, Suppress
from framework.core.events import (
    DrainSet,
    ExecutorLost,
    ExecutorMessage,
    HostLost,
    OperationUpdate,
    Subscribed,
    TaskUpdate,
)
from framework.core.explain import health, why_not
from framework.core.ids import FrameworkId, HostId, TaskId, container_task_id
from framework.core.resources import Resources
from framework.core.state import restore
from framework.core.tasks import FailureClass, RequestState, Task
from framework.core.templates import Container
from tests.unit.core.rig import SMALL, TEAM, Rig

SIDES = (Container("db", Resources(100, 256)), Container("web", Resources(100, 128)))


def update_of(task: Task, name: str, state: str) -> TaskUpdate:
    return TaskUpdate(container_task_id(task.id, name), state, task.host_id, uuid=b"side")


def test_updates_of_other_containers_are_acknowledged_and_end_nothing() -> None:
    rig = Rig()
    request, task = rig.launched(containers=SIDES)
    for state in ("TASK_RUNNING", "TASK_FAILED", "TASK_LOST"):
        rig.send(update_of(task, "db", state))
        assert rig.last == [Acknowledge(container_task_id(task.id, "db"), task.host_id, b"side")]
        assert request.state is RequestState.LAUNCHING
    rig.update(task, "TASK_RUNNING")
    rig.send(update_of(task, "db", "TASK_FAILED"))
    assert request.state is RequestState.RUNNING
    rig.update(task, "TASK_FAILED", FailureClass.FAILED)
    assert not rig.effects(Kill), "its Mesos executor has ended them all, and has said so"
    assert request.outcome is not None


def test_containers_of_an_agent_that_nobody_knows_are_killed() -> None:
    rig = Rig()
    gone = TaskUpdate(TaskId("r9.1~db"), "TASK_RUNNING", HostId("h0"), uuid=b"u")
    rig.send(gone)
    assert rig.effects(Kill) == [Kill(gone.task_id, HostId("h0"), 0.0)]
    assert rig.effects(Acknowledge)


def test_where_only_mesos_tells_of_the_end_the_other_containers_are_killed() -> None:
    rig = Rig()
    _, task = rig.running(containers=SIDES)
    rig.update(task, "TASK_LOST")
    assert [each.task_id for each in rig.effects(Kill)] == [f"{task.id}~db", f"{task.id}~web"]


def test_a_kill_goes_to_the_one_that_builds() -> None:
    rig = Rig()
    _, task = rig.running(containers=SIDES, timeout_s=10.0)
    rig.after(10.0 + task.deadline - rig.now)
    assert [each.task_id for each in rig.effects(Kill)] == [task.id]


def test_all_containers_are_reconciled() -> None:
    rig = Rig()
    _, task = rig.running(containers=SIDES)
    every = {(task.id, task.host_id), *((container_task_id(task.id, name), task.host_id) for name in ("db", "web"))}
    rig.send(Subscribed(FrameworkId("f1")))
    assert set(rig.effects(Reconcile)[0].tasks) == every
    rig.send(HostLost(task.host_id))
    assert set(rig.effects(Reconcile)[0].tasks) == every


def test_a_scheduler_that_drains_launches_nothing_and_lets_what_runs_go_on() -> None:
    rig = Rig()
    request, task = rig.running()
    rig.offer()
    rig.send(DrainSet(draining=True))
    assert rig.effects(SaveDraining) == [SaveDraining(draining=True)]
    assert rig.effects(Decline)
    assert rig.effects(Suppress)
    assert len(rig.state.offers) == 0
    waiting = rig.submit(SMALL)
    rig.offer()
    assert not rig.effects(Launch)
    assert rig.effects(Decline)
    assert rig.effects(Suppress), "as a driver that has taken the place of the one before does not know"
    assert not rig.effects(Revive)
    answer = why_not(rig.state, waiting.id, rig.now)
    assert answer is not None
    assert "the scheduler is draining" in answer.summary
    assert health(rig.state, [], rig.now).draining
    rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    assert request.state is RequestState.ENDED
    assert not rig.effects(Launch)
    rig.send(DrainSet(draining=True))
    assert not rig.effects(SaveDraining), "a repeat changes nothing"
    rig.send(DrainSet(draining=False))
    assert rig.effects(SaveDraining) == [SaveDraining(draining=False)]
    assert rig.effects(Revive)
    rig.offer()
    assert [each.request_id for launch in rig.effects(Launch) for each in launch.tasks] == [waiting.id]


def test_draining_outlives_a_restart() -> None:
    rig = Rig()
    book = rig.state.tenants[TEAM]
    rig.state = restore(rig.config, FrameworkId("f1"), [book.tenant], [], [], rig.now, draining=True)
    rig.send(Subscribed(FrameworkId("f1")))
    assert rig.effects(Suppress)
    rig.submit(SMALL)
    rig.offer()
    assert not rig.effects(Launch)


def test_what_is_not_for_the_core_is_only_told() -> None:
    rig = Rig()
    host = HostId("h0")
    told = rig.send(
        OperationUpdate("op1", "OPERATION_FINISHED", host, uuid=b"u"),
        ExecutorMessage(host, SHARED_EXECUTOR_ID, b"hello"),
        ExecutorLost(host, SHARED_EXECUTOR_ID, 1),
    )
    assert {type(each) for each in told} == {Report}
    assert {each.level for each in told if isinstance(each, Report)} == {"debug"}
