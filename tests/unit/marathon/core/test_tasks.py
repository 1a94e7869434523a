"""What Mesos tells of tasks: conditions, ends, tasks out of sight, tasks nobody knows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace

from framework.core import events as mesos
from framework.core.effects import Acknowledge, Kill, Reconcile, Report
from framework.core.events import CheckResult, TaskUpdate
from framework.core.ids import HostId, TaskId
from framework.local.marathon.core.effects import Effect
from framework.local.marathon.core.events import KillAsked
from framework.local.marathon.core.step import turn
from framework.local.marathon.core.tasks import condition_of
from framework.local.marathon.definition.app import Unreachable
from framework.local.marathon.happenings import InstanceChanged, Registered, StatusUpdate, UnknownTerminated
from framework.local.marathon.records import Condition, Goal
from tests.simulation.marathon import World
from tests.unit.marathon.core.worlds import conditions, only, put, running, small, task_of, told, update
from tests.unit.marathon.groups.trees import persistent

PATIENT = Unreachable(inactive_after_seconds=60, expunge_after_seconds=300)


@pytest.mark.parametrize(
    ("state", "reason", "message", "expected"),
    [
        ("TASK_STAGING", "", "", Condition.STAGING),
        ("TASK_STARTING", "", "", Condition.STARTING),
        ("TASK_RUNNING", "", "", Condition.RUNNING),
        ("TASK_KILLING", "", "", Condition.KILLING),
        ("TASK_FINISHED", "", "", Condition.FINISHED),
        ("TASK_FAILED", "", "", Condition.FAILED),
        ("TASK_KILLED", "", "", Condition.KILLED),
        ("TASK_ERROR", "", "", Condition.ERROR),
        ("TASK_UNREACHABLE", "", "", Condition.UNREACHABLE),
        ("TASK_GONE", "", "", Condition.GONE),
        ("TASK_GONE_BY_OPERATOR", "", "", Condition.GONE),
        ("TASK_DROPPED", "", "", Condition.DROPPED),
        ("TASK_UNKNOWN", "", "", Condition.UNKNOWN),
        ("TASK_LOST", "REASON_SLAVE_REMOVED", "", Condition.UNREACHABLE),
        ("TASK_LOST", "REASON_RECONCILIATION", "Task is unknown to the agent", Condition.DROPPED),
        ("TASK_LOST", "REASON_INVALID_OFFERS", "", Condition.DROPPED),
        ("TASK_OF_THE_FUTURE", "", "", Condition.UNKNOWN),
    ],
)
def test_each_state_of_a_task_is_a_condition(state: str, reason: str, message: str, expected: Condition) -> None:
    assert condition_of(TaskUpdate(TaskId("t"), state, reason=reason, message=message)) is expected


def test_an_instance_tells_when_it_was_staged_and_started_and_where() -> None:
    world = World()
    world.deploy(put(small()))
    staged_at = world.now
    world.deliver()
    world.advance(2.0)
    world.deliver()
    world.mesos.tasks.clear()
    world.step(update(only(world), "TASK_RUNNING", addresses=("172.17.0.2",), check=CheckResult(exit_code=3)))
    found = only(world)
    assert found.condition is Condition.RUNNING
    assert found.staged_at is not None
    assert found.started_at == world.now >= found.staged_at >= staged_at
    assert found.site is not None
    assert found.site.hostname.endswith(".example.com")
    assert found.addresses == ("172.17.0.2",)
    assert world.state.check_result(found.id) == {"command": {"exitCode": 3}}
    assert found.id.startswith("a.instance-")
    assert found.task_id == f"{found.id}._app.1"


def test_every_update_is_acknowledged_after_it_is_saved() -> None:
    world = World()
    world.deploy(put(small()))
    world.go()
    effects = turn(world.state, (update(only(world), "TASK_FAILED", uuid=b"u"),), world.now)
    kinds = [type(one).__name__ for one in effects]
    assert kinds.index("SaveInstance") < kinds.index("Acknowledge")
    assert [one.uuid for one in effects if isinstance(one, Acknowledge)] == [b"u"]


@pytest.mark.parametrize("state", ["TASK_FINISHED", "TASK_FAILED", "TASK_ERROR", "TASK_GONE", "TASK_DROPPED"])
def test_an_instance_that_ends_gets_another_task(state: str) -> None:
    world = running(small())
    before = only(world)
    world.mesos.update(task_of(world, before), state, message="it broke")
    assert world.rest()
    assert only(world).task_id == f"{before.id}._app.2"
    changed = [one.condition for one in told(world, InstanceChanged)]
    assert changed[:3] == [condition_of(TaskUpdate(TaskId("t"), state)), Condition.SCHEDULED, Condition.PROVISIONED]
    assert next(one.task_status for one in told(world, StatusUpdate)) == state
    failure = world.state.last_failure("/a")
    if state == "TASK_FINISHED":
        assert failure is None
    else:
        assert failure is not None
        assert (failure.message, failure.state, failure.task_id) == ("it broke", state, before.task_id)
        assert list(world.disk.failures) == ["/a"]


def test_the_log_tells_of_a_task_that_fails() -> None:
    world = running(small())
    task_id = only(world).task_id
    effects = turn(world.state, (update(only(world), "TASK_FAILED", message="it broke"),), world.now)
    (told_of,) = [each for each in effects if isinstance(each, Report)]
    assert (told_of.level, told_of.task_id) == ("warning", task_id)
    assert told_of.message == "the task has failed, as TASK_FAILED: it broke"


@pytest.mark.parametrize(("wipe", "goal"), [(False, Goal.RUNNING), (True, Goal.DECOMMISSIONED)])
def test_what_a_user_kills_comes_back_without_a_failure_or_a_delay_as_another_if_it_is_wiped(
    wipe: bool, goal: Goal
) -> None:
    world = running(small())
    before = only(world)
    world.step(KillAsked((before.id,), wipe=wipe))
    assert only(world).goal is goal
    world.mesos.update(task_of(world, before), "TASK_FAILED")
    assert world.rest()
    assert (only(world).id == before.id) is not wipe
    assert only(world).attempt == (1 if wipe else 2)
    assert world.state.last_failure("/a") is None
    assert world.state.delays == {}


def test_one_out_of_sight_is_forgotten_and_replaced_at_once_by_default() -> None:
    world = running(small())
    before = only(world)
    task = task_of(world, before)
    world.mesos.lose(task.host_id)
    world.deliver()
    world.go()
    assert world.rest()
    assert only(world).id != before.id
    world.mesos.find(task.host_id)
    assert world.rest()
    assert not task.alive, "it is killed once it is back"


def test_one_out_of_sight_is_replaced_and_forgotten_when_its_app_says_so() -> None:
    world = running(small(unreachable_strategy=PATIENT))
    before = only(world)
    world.mesos.lose(task_of(world, before).host_id)
    world.deliver()
    assert conditions(world) == [Condition.UNREACHABLE]
    world.advance(59.0)
    assert len(world.state.instances("/a")) == 1
    world.advance(2.0)
    assert conditions(world) == [Condition.UNREACHABLE_INACTIVE, Condition.SCHEDULED]
    world.advance(240.0)
    assert world.state.instance(before.id) is None


def test_one_that_comes_back_is_taken_up_again_and_its_replacement_ends() -> None:
    world = running(small(unreachable_strategy=PATIENT))
    before = only(world)
    host_id = task_of(world, before).host_id
    world.mesos.lose(host_id)
    world.deliver()
    world.advance(61.0)
    world.go()
    world.go()
    assert conditions(world) == [Condition.UNREACHABLE_INACTIVE, Condition.RUNNING]
    world.mesos.find(host_id)
    assert world.rest()
    assert only(world).id == before.id
    assert not world.state.deadlines.has("expunge", before.id)


def test_one_out_of_sight_is_waited_for_without_end_where_the_strategy_is_disabled() -> None:
    world = running(small(unreachable_strategy="disabled"))
    world.mesos.lose(task_of(world, only(world)).host_id)
    world.deliver()
    world.advance(100_000.0)
    assert conditions(world) == [Condition.UNREACHABLE]


def test_what_is_out_of_sight_is_forgotten_by_a_server_that_starts_later() -> None:
    world = running(small(unreachable_strategy=PATIENT))
    before = only(world)
    world.mesos.lose(task_of(world, before).host_id)
    world.deliver()
    world.now += 301.0
    world.restart()
    world.go()
    assert world.state.instance(before.id) is None


def test_a_task_of_nobody_is_killed_and_its_end_told() -> None:
    world = World()
    task_id, host_id = TaskId("g_a.instance-1._app.1"), HostId("h0")
    effects = turn(world.state, (TaskUpdate(task_id, "TASK_RUNNING", host_id),), world.now)
    assert [one.task_id for one in effects if isinstance(one, Kill)] == [task_id]
    world.step(TaskUpdate(task_id, "TASK_UNREACHABLE", host_id))
    world.step(TaskUpdate(task_id, "TASK_KILLED", host_id, uuid=b"u"))
    assert told(world, UnknownTerminated) == [UnknownTerminated("g_a.instance-1", "/g/a", Condition.KILLED)]


def test_a_task_that_never_runs_is_killed_and_replaced() -> None:
    world = World()
    world.deploy(put(small()))
    world.deliver()
    world.advance(0.1)
    world.deliver()
    before = only(world)
    assert before.condition is Condition.PROVISIONED
    world.step(update(before, "TASK_STARTING"))
    world.advance(301.0)
    assert only(world).goal is Goal.DECOMMISSIONED
    assert world.rest()
    assert only(world).id != before.id


def test_a_launch_that_mesos_never_heard_of_is_made_again() -> None:
    world = World()
    world.deploy(put(small()))
    world.deliver()
    world.crash_at = 0
    world.advance(0.1)
    world.deliver()
    assert conditions(world) == [Condition.PROVISIONED]
    assert world.mesos.tasks == {}
    assert world.rest()
    assert world.running() == {"/a": 1}


def test_a_kill_is_asked_for_again_ever_more_seldom_until_the_task_has_ended() -> None:
    seen: list[float] = []

    def watch(one: World, effects: Sequence[Effect]) -> None:
        seen.extend(one.now for each in effects if isinstance(each, Kill))

    world = running(small(), watch=watch)
    world.step(KillAsked((only(world).id,)))
    for _ in range(600):
        world.advance(2.0)
        world.mesos.inbox.clear()
    waits = [later - earlier for earlier, later in itertools.pairwise(seen)]
    assert 4 <= len(waits) <= 20
    assert waits[0] < 20.0
    assert 100.0 < max(waits) <= 310.0


def test_all_tasks_are_asked_for_after_every_subscription_and_now_and_then() -> None:
    world = running(small(instances=2))
    known = {one.task_id for one in world.state.instances("/a")}
    asked: list[Reconcile] = []
    world.watch = lambda _world, effects: asked.extend(each for each in effects if isinstance(each, Reconcile))
    world.mesos.connect()
    world.deliver()
    world.deliver()
    world.advance(601.0)
    assert [{task_id for task_id, _ in each.tasks} for each in asked] == [known, set(), known, set()]


def test_of_tasks_that_a_new_mesos_master_is_silent_about_it_is_asked_again_later_each_time() -> None:
    world = running(small(instances=2))
    silent, told_of = (one.task_id for one in world.state.instances("/a"))
    asked: list[Reconcile] = []
    world.mesos.connect()
    world.deliver()
    world.watch = lambda _world, effects: asked.extend(each for each in effects if isinstance(each, Reconcile))
    answers, world.mesos.inbox = world.mesos.inbox, []
    world.step(*(each for each in answers if isinstance(each, mesos.TaskUpdate) and each.task_id == told_of))
    for _ in range(100):
        world.advance(1.0)
        world.mesos.inbox.clear()
    assert {task_id for each in asked for task_id, _ in each.tasks} == {silent}
    assert 5 <= len(asked) <= 6
    world.advance(30.0)
    world.deliver()
    asked.clear()
    world.advance(60.0)
    assert asked == []


def test_subscribing_is_told_as_the_first_time_or_again() -> None:
    world = World()
    world.mesos.connect()
    world.deliver()
    assert [one.again for one in told(world, Registered)] == [False, True]
    assert world.disk.framework_id == "f"


def test_a_framework_that_mesos_removed_starts_all_over() -> None:
    world = running(small(instances=2))
    for task in world.mesos.alive():
        task.alive = False
    world.mesos.disconnect()
    world.step(mesos.FrameworkRemoved("torn down"))
    assert world.state.framework_id is None
    assert world.disk.framework_id is None
    assert world.rest()
    assert world.running() == {"/a": 2}


def test_an_instance_of_a_version_that_nobody_knows_any_more_is_left_out_and_its_task_killed() -> None:
    world = running(small())
    task = task_of(world, only(world))
    saved = world.disk.load()
    lost = replace(saved.instances[0], version="1999-01-01T00:00:00.000Z")
    world.disk.instances = {lost.id: msgspec.msgpack.encode(lost)}
    world.disk.apps["/a", lost.version] = msgspec.msgpack.encode(small("/elsewhere"))
    world.restart()
    assert world.state.instance(lost.id) is None
    assert world.rest()
    assert not task.alive
    assert world.running() == {"/a": 1}


def test_a_kill_whose_connection_was_lost_is_asked_for_at_once_over_the_next() -> None:
    world = running(small())
    instance = only(world)
    world.mesos.disconnect()
    world.step(mesos.Disconnected("gone"), KillAsked((instance.id,)))
    assert not task_of(world, instance).kill_asked
    world.mesos.connect()
    world.deliver()
    assert task_of(world, instance).kill_asked


def test_a_kill_is_asked_for_at_once_of_one_that_comes_back_into_sight() -> None:
    world = running(small(unreachable_strategy="disabled", container=persistent("data"), over=0.0))
    task = task_of(world, only(world))
    world.mesos.lose(task.host_id)
    world.deliver()
    world.step(KillAsked((only(world).id,)))
    world.mesos.find(task.host_id)
    world.deliver()
    assert task.kill_asked


def test_one_of_an_older_configuration_that_ends_is_replaced_by_another() -> None:
    world = running(small(instances=2))
    before = world.state.instances("/a")
    started = world.deploy(put(small(instances=2, cmd="new", cpus=100.0)))
    world.cancel(started.deployment_id, force=True)
    world.mesos.update(task_of(world, before[0]), "TASK_FAILED")
    for _ in range(3):
        world.go()
    kept, new = world.state.instances("/a")
    assert kept.id == before[1].id
    assert new.id != before[0].id
    assert (new.condition, new.version) == (Condition.SCHEDULED, started.version)
