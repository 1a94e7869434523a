"""The life cycle: its table, and each way a request can go through it."""

from __future__ import annotations

import itertools

import pytest

from framework.core import events as ev
from framework.core.effects import Acknowledge, Kill, Launch, Reconcile, Report, SaveFrameworkId, SaveRequest, SaveTask
from framework.core.ids import FrameworkId, HostId, OfferId, RequestId, TaskId
from framework.core.resources import Resources
from framework.core.state import Config, restore
from framework.core.tasks import (
    FailureClass,
    InvalidTransitionError,
    RequestState,
    Task,
    TaskState,
    Tenant,
    move,
)
from tests.unit.core.rig import SMALL, T0, TEAM, Rig

TRIED_AGAIN = (FailureClass.INFRASTRUCTURE, FailureClass.IMAGE, FailureClass.PREEMPTED, FailureClass.CONNECT)
MOVES = ("stage", "run", "lose_sight", "kill", "end")
L, R, U, K, E = TaskState.LAUNCHING, TaskState.RUNNING, TaskState.UNREACHABLE, TaskState.KILLING, TaskState.ENDED
TABLE = {  # of stage, run, lose_sight, kill, end; None: there is no such move
    L: (L, R, U, K, E),
    R: (None, R, U, K, E),
    U: (L, R, U, K, E),
    K: (K, K, K, K, E),
    E: (None, None, None, None, None),
}


def a_task(state: TaskState) -> Task:
    return Task(
        TaskId("r1.1"), RequestId("r1"), TEAM, HostId("h0"), "host-0", [OfferId("o1")], SMALL, state, T0, T0 + 120
    )


@pytest.mark.parametrize(("state", "name"), list(itertools.product(TABLE, MOVES)))
def test_the_table(state: TaskState, name: str) -> None:
    task, target = a_task(state), TABLE[state][MOVES.index(name)]
    task.history = ["run@1.000"]
    if target is None:
        with pytest.raises(InvalidTransitionError, match=rf"r1\.1 is {state.value} and cannot take {name}.*run@1.000"):
            move(task, name, T0)
    else:
        move(task, name, T0)
        assert task.state is target


def test_the_history_is_bounded() -> None:
    task = a_task(TaskState.KILLING)
    for nth in range(100):
        move(task, "kill", T0 + nth)
    assert len(task.history) == 16
    assert task.history[-1] == f"kill@{T0 + 99:.3f}"


def test_a_request_that_passes() -> None:
    rig = Rig()
    request, task = rig.launched()
    kinds = [type(effect) for effect in rig.last if not isinstance(effect, Report)]
    assert kinds.index(Launch) > max(kinds.index(SaveTask), kinds.index(SaveRequest)), "saved, then called"
    assert (request.state, request.attempt, task.id) == (RequestState.LAUNCHING, 1, f"{request.id}.1")
    assert request.claimed_at == request.launched_at == rig.now
    rig.update(task, "TASK_RUNNING")
    assert rig.effects(Acknowledge) == [Acknowledge(task.id, task.host_id, b"uuid")]
    assert request.state is RequestState.RUNNING
    rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    assert (request.state, task.state) == (RequestState.ENDED, TaskState.ENDED)
    assert request.outcome is not None
    assert request.outcome.result_class is FailureClass.PASSED
    assert isinstance(rig.last[-1], Report | Acknowledge)
    assert not rig.state.requests
    assert not rig.state.tasks


@pytest.mark.parametrize(
    "result",
    sorted(set(FailureClass) - {*TRIED_AGAIN, FailureClass.PASSED}),
)
def test_what_the_build_did_is_never_tried_again(result: FailureClass) -> None:
    rig = Rig()
    request, task = rig.running()
    rig.update(task, "TASK_FAILED", result)
    assert request.state is RequestState.ENDED
    assert request.outcome is not None
    assert request.outcome.result_class is result


def test_a_loss_is_tried_again_on_another_host_a_bounded_number_of_times() -> None:
    rig = Rig(hosts=3)
    request, task = rig.running(retries=2)
    hosts = [task.host_id]
    for wait_s in (1.0, 2.0):
        rig.update(task, "TASK_FAILED", FailureClass.INFRASTRUCTURE)
        assert request.state is RequestState.WAITING
        assert rig.now + wait_s / 2 <= request.not_before <= rig.now + wait_s
        rig.offer()
        assert not rig.effects(Launch), "not before its back-off is over"
        rig.after(wait_s)
        rig.offer()
        task = rig.task(request)
        hosts.append(task.host_id)
        rig.update(task, "TASK_RUNNING")
    assert len(set(hosts)) == 3
    rig.update(task, "TASK_LOST")
    assert request.outcome is not None
    assert request.outcome.result_class is FailureClass.INFRASTRUCTURE
    assert "TASK_LOST" in request.outcome.message


def test_the_only_host_that_could_hold_it_is_not_avoided() -> None:
    rig = Rig(hosts=2)
    request, task = rig.running(attributes={"rack": "r1"})
    rig.update(task, "TASK_FAILED", FailureClass.INFRASTRUCTURE)
    assert request.avoid_hosts == []
    rig.after(1.0)
    rig.offer()
    assert rig.task(request).host_id == "h1"


def test_hosts_are_avoided_no_longer_when_no_other_is_left() -> None:
    rig = Rig(hosts=2)
    request = rig.submit()
    rig.offer("h0")
    task = rig.task(request)
    rig.update(task, "TASK_FAILED", FailureClass.INFRASTRUCTURE)
    assert request.avoid_hosts == [task.host_id]
    rig.after(1.0)
    rig.send(ev.HostsObserved((rig.hosts[task.host_id],)))
    assert request.avoid_hosts == []
    assert SaveRequest(request) in rig.last
    rig.offer(task.host_id)
    assert rig.task(request).host_id == task.host_id


@pytest.mark.parametrize(
    ("state", "reason"), [("TASK_DROPPED", "REASON_INVALID_OFFERS"), ("TASK_GONE", "REASON_RECONCILIATION")]
)
def test_a_dropped_launch_is_tried_again_and_blames_nobody(state: str, reason: str) -> None:
    rig = Rig(config=Config(max_drops=2))
    request, task = rig.launched(retries=0)
    for drop in (1, 2):
        rig.update(task, state, reason=reason)
        assert (request.state, request.drops, request.losses) == (RequestState.WAITING, drop, 0)
        assert request.avoid_hosts == []
        rig.after(60.0)
        rig.offer()
        task = rig.task(request)
    rig.update(task, state, reason=reason)
    assert request.outcome is not None
    assert request.outcome.result_class is FailureClass.INFRASTRUCTURE


def test_a_launch_that_does_not_run_in_time_is_ended_and_tried_again() -> None:
    rig = Rig()
    request, task = rig.launched()
    rig.after(rig.config.launch_timeout_s - 1)
    assert not rig.effects(Kill)
    rig.after(1.0)
    assert [kill.task_id for kill in rig.effects(Kill)] == [task.id]
    assert request.state is RequestState.ENDING
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert (request.outcome, request.losses) == (None, 1)
    rig.after(1.0)
    rig.offer()
    assert rig.task(request).host_id != task.host_id


def test_a_build_over_its_time_is_ended_and_not_tried_again() -> None:
    rig = Rig()
    request, task = rig.running(timeout_s=100.0, grace_s=10.0)
    rig.after(100.0 + 10.0 + rig.config.timeout_slack_s)
    assert [kill.grace_s for kill in rig.effects(Kill)] == [10.0]
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert request.outcome is not None
    assert request.outcome.result_class is FailureClass.TIMEOUT
    assert "100 s" in request.outcome.message


def test_a_kill_without_an_answer_is_sent_again_and_asked_about() -> None:
    rig = Rig()
    _, task = rig.running()
    rig.send(ev.CancelAsked(task.request_id, "wrong branch"))
    patience_s = rig.config.kill_confirm_s
    for factor in (1, 2, 4, 8, 16, 16):
        rig.after(10.0 + patience_s * factor - 0.5)
        assert not rig.effects(Kill)
        rig.after(0.5)
        assert [kill.task_id for kill in rig.effects(Kill)] == [task.id]
        assert rig.effects(Reconcile)[-1] == Reconcile(((task.id, task.host_id),))


@pytest.mark.parametrize("ended_as", ["cancelled", "passed", "infrastructure"])
@pytest.mark.parametrize("before", ["launching", "running", "unreachable", "launch_timed_out"])
def test_cancel_of_a_live_task(before: str, ended_as: str) -> None:
    rig = Rig()
    request, task = rig.launched()
    if before == "running":
        rig.update(task, "TASK_RUNNING")
    elif before == "unreachable":
        rig.update(task, "TASK_UNREACHABLE")
    elif before == "launch_timed_out":
        rig.after(rig.config.launch_timeout_s)
    rig.send(ev.CancelAsked(request.id, "wrong branch"))
    assert [kill.task_id for kill in rig.effects(Kill)] == [task.id]
    assert request.state is RequestState.ENDING
    rig.send(ev.CancelAsked(request.id, "again"))
    assert not rig.effects(Kill)
    state = "TASK_FINISHED" if ended_as == "passed" else "TASK_KILLED"
    rig.update(task, state, FailureClass(ended_as))
    assert request.outcome is not None
    expected = FailureClass.PASSED if ended_as == "passed" else FailureClass.CANCELLED
    assert request.outcome.result_class is expected
    if expected is FailureClass.CANCELLED:
        assert request.outcome.message == "wrong branch"


@pytest.mark.parametrize("in_back_off", [False, True])
def test_cancel_of_a_waiting_request_ends_it_at_once(in_back_off: bool) -> None:
    rig = Rig()
    if in_back_off:
        request, task = rig.running()
        rig.update(task, "TASK_LOST")
    else:
        request = rig.submit()
    rig.send(ev.CancelAsked(request.id, "wrong branch"))
    assert request.outcome is not None
    assert request.outcome.result_class is FailureClass.CANCELLED
    rig.after(100.0)
    rig.offer()
    assert not rig.effects(Launch)


def test_cancel_of_an_unknown_request_changes_nothing() -> None:
    assert Rig().send(ev.CancelAsked(RequestId("never"), "")) == []


def test_an_unreachable_task_is_waited_for_then_given_up_and_killed_when_it_is_back() -> None:
    rig = Rig()
    request, task = rig.running()
    rig.update(task, "TASK_UNREACHABLE")
    rig.after(rig.config.unreachable_s - 1)
    assert rig.task(request) is task
    rig.after(1.0)
    assert request.state is RequestState.WAITING
    rig.after(1.0)
    rig.offer("h1" if task.host_id == "h0" else "h0")
    second = rig.task(request)
    assert second.host_id != task.host_id
    rig.update(task, "TASK_RUNNING")
    assert rig.effects(Kill) == [Kill(task.id, task.host_id, 0.0)]
    assert rig.task(request) is second
    rig.update(task, "TASK_KILLED", FailureClass.PASSED)
    assert rig.effects(Acknowledge)
    assert rig.task(request) is second


def test_an_unreachable_task_that_comes_back_in_time_goes_on() -> None:
    rig = Rig()
    request, task = rig.running(timeout_s=1000.0)
    rig.update(task, "TASK_UNREACHABLE")
    rig.after(rig.config.unreachable_s - 1)
    rig.update(task, "TASK_RUNNING")
    assert request.state is RequestState.RUNNING
    rig.after(rig.config.unreachable_s + 1)
    assert rig.task(request) is task


def test_a_kill_that_was_sent_into_a_partition_is_sent_again_when_the_host_is_back() -> None:
    rig = Rig()
    request, task = rig.running()
    rig.update(task, "TASK_UNREACHABLE")
    rig.send(ev.CancelAsked(request.id, "wrong branch"))
    rig.update(task, "TASK_RUNNING")
    assert [kill.task_id for kill in rig.effects(Kill)] == [task.id]


def test_a_cancelled_task_on_a_host_that_stays_away_is_given_up() -> None:
    rig = Rig()
    request, task = rig.running(grace_s=0.0)
    rig.update(task, "TASK_UNREACHABLE")
    rig.send(ev.CancelAsked(request.id, "wrong branch"))
    for _ in range(3):
        rig.after(rig.config.kill_confirm_s * 4)
    assert request.outcome is not None
    assert request.outcome.result_class is FailureClass.CANCELLED


def test_reconciliation_never_moves_a_task_back_or_ends_it_without_its_result() -> None:
    rig = Rig()
    request, task = rig.running()
    for state in ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED"):
        rig.send(ev.TaskUpdate(task.id, state, task.host_id, reason="REASON_RECONCILIATION"))
        assert request.state is RequestState.RUNNING, state
    rig.update(task, "TASK_FAILED", FailureClass.OOM)
    assert request.outcome is not None
    assert request.outcome.result_class is FailureClass.OOM


def test_a_framework_that_mesos_removed_starts_again_as_a_new_one() -> None:
    rig = Rig()
    request, _ = rig.running()
    waiting = rig.submit(Resources(100_000, 1))
    rig.send(ev.FrameworkRemoved("failover timeout"))
    assert rig.effects(SaveFrameworkId) == [SaveFrameworkId(None)]
    assert request.state is RequestState.WAITING
    assert not rig.state.tasks
    rig.now += 1.0
    rig.send(ev.Subscribed(FrameworkId("f2")))
    assert rig.effects(SaveFrameworkId) == [SaveFrameworkId(FrameworkId("f2"))]
    rig.offer()
    assert rig.task(request).id == f"{request.id}.2"
    assert waiting.id in rig.state.requests


def test_subscribing_asks_about_every_task_and_repeats_the_kills() -> None:
    rig = Rig()
    _, first = rig.running()
    second_request, second = rig.running()
    rig.send(ev.CancelAsked(second_request.id, ""))
    rig.send(ev.Disconnected("reset"), ev.Subscribed(FrameworkId("f1")))
    known = ((first.id, first.host_id), (second.id, second.host_id))
    assert rig.effects(Reconcile) == [Reconcile(known), Reconcile(())]
    assert [kill.task_id for kill in rig.effects(Kill)] == [second.id]
    assert not rig.effects(SaveFrameworkId)


def test_a_lost_host_is_asked_about() -> None:
    rig = Rig()
    _, task = rig.running()
    rig.send(ev.HostLost(task.host_id))
    assert rig.effects(Reconcile) == [Reconcile(((task.id, task.host_id),))]
    other = next(host for host in rig.hosts if host != task.host_id)
    assert not rig.send(ev.HostLost(other))


def test_every_now_and_then_all_tasks_are_asked_about() -> None:
    rig = Rig()
    _, task = rig.running()
    for _ in range(2):
        rig.after(rig.config.reconcile_every_s)
        assert rig.effects(Reconcile) == [Reconcile(((task.id, task.host_id),)), Reconcile(())]


def test_an_update_of_a_task_nobody_knows_is_acknowledged_and_killed_where_it_runs() -> None:
    rig = Rig()
    ghost = a_task(TaskState.RUNNING)
    rig.update(ghost, "TASK_RUNNING")
    assert (len(rig.effects(Kill)), len(rig.effects(Acknowledge))) == (1, 1)
    rig.update(ghost, "TASK_FINISHED")
    assert (len(rig.effects(Kill)), len(rig.effects(Acknowledge))) == (0, 1)


def test_a_repeated_submission_changes_nothing() -> None:
    rig = Rig()
    request, task = rig.running()
    rig.send(ev.Submitted(request))
    rig.offer()
    assert not rig.effects(Launch)
    assert rig.task(request) is task


def test_restore_counts_what_lives_and_queues_what_waits() -> None:
    rig = Rig()
    running, task = rig.running()
    waiting = rig.submit(Resources(100_000, 1))
    state = restore(rig.config, FrameworkId("f1"), [Tenant(TEAM)], [running, waiting], [task], rig.now)
    book = state.tenants[TEAM]
    assert (book.builds, book.used, list(book.queue)) == (1, SMALL, [waiting.id])
    assert state.deadlines.next() == task.deadline
    assert not state.connected


def test_losses_at_once_are_not_all_tried_again_at_once() -> None:
    rig = Rig(hosts=4)
    lost = [rig.running() for _ in range(8)]
    for _, task in lost:
        rig.update(task, "TASK_LOST")
    assert len({request.not_before for request, _ in lost}) == len(lost)


def test_a_lost_attempt_is_told_with_its_task_and_host() -> None:
    rig = Rig()
    request, task = rig.running()
    rig.update(task, "TASK_LOST", message="gone")
    (report,) = rig.effects(Report)
    assert (report.level, report.tenant, report.request_id) == ("warning", TEAM, request.id)
    assert (report.task_id, report.host) == (task.id, task.hostname)
    assert "gone" in report.message


@pytest.mark.parametrize("seen", [None, "TASK_UNREACHABLE"])
def test_nothing_is_given_up_while_mesos_cannot_reach_us(seen: str | None) -> None:
    rig = Rig()
    request, task = rig.launched()
    if seen is not None:
        rig.update(task, seen)
    rig.send(ev.Disconnected("reset"))
    for _ in range(20):
        rig.after(rig.config.kill_confirm_s)
        assert request.state is RequestState.LAUNCHING
    rig.send(ev.Subscribed(FrameworkId("f1")))
    assert not rig.effects(Kill)
    rig.update(task, "TASK_RUNNING", reason="REASON_RECONCILIATION")
    assert request.state is RequestState.RUNNING


def test_a_launch_before_a_long_absence_may_still_say_that_it_runs() -> None:
    rig = Rig()
    request, task = rig.launched()
    later = rig.now + 10 * rig.config.launch_timeout_s
    rig.state = restore(rig.config, FrameworkId("f1"), [Tenant(TEAM)], [request], [task], later)
    rig.now = later
    rig.send(ev.Tick())
    rig.send(ev.Subscribed(FrameworkId("f1")))
    assert not rig.effects(Kill)
    rig.after(rig.config.kill_confirm_s)
    assert rig.effects(Kill), "but not for ever"
