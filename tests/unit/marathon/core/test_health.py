"""Health and readiness: what counts, what it leads to, what is told."""

from __future__ import annotations

from framework.local.marathon.core.effects import StartChecks, StopChecks
from framework.local.marathon.core.events import HealthProbed, ReadinessProbed
from framework.local.marathon.core.step import turn
from framework.local.marathon.happenings import HealthChanged, HealthCheckFailed, UnhealthyKill
from framework.local.marathon.records import Goal, Instance
from tests.simulation.marathon import World
from tests.unit.marathon.core.worlds import checked, only, put, ready_check, running, small, task_of, told, update


def probe(world: World, *, alive: bool, index: int = 0) -> None:
    instance = only(world)
    world.step(HealthProbed(instance.id, instance.attempt, index, alive, "" if alive else "connection refused"))


def started(world: World) -> Instance:
    """The one instance of an app, which runs and of which no check has said anything yet."""
    world.deliver()
    world.advance(0.1)
    world.deliver()
    world.mesos.run(task_of(world, only(world)))
    world.deliver()
    return only(world)


def fresh(**more: object) -> World:
    world = World()
    world.deploy(put(small(health_checks=checked(**more))))  # type: ignore[arg-type]
    started(world)
    return world


def test_an_instance_is_healthy_once_its_check_says_so() -> None:
    world = fresh()
    assert only(world).healthy is None
    probe(world, alive=True)
    assert only(world).healthy is True
    (result,) = world.state.health(only(world).id)
    assert (result.alive, result.consecutive_failures, result.first_success_at) == (True, 0, world.now)
    assert [one.healthy for one in told(world, HealthChanged)] == [True]
    probe(world, alive=True)
    assert len(told(world, HealthChanged)) == 1


def test_an_instance_is_healthy_only_when_all_its_checks_say_so() -> None:
    world = World()
    world.deploy(put(small(health_checks=checked() * 2)))
    started(world)
    probe(world, alive=True)
    assert only(world).healthy is None
    probe(world, alive=True, index=1)
    assert only(world).healthy is True
    probe(world, alive=False)
    assert only(world).healthy is False


def test_failures_within_the_grace_period_do_not_count_until_the_first_success() -> None:
    world = fresh(grace_s=60, failures=1)
    probe(world, alive=False)
    assert only(world).healthy is None
    assert told(world, HealthCheckFailed) == []
    probe(world, alive=True)
    probe(world, alive=False)
    assert only(world).kill_asked_at is not None


def test_failures_after_the_grace_period_count() -> None:
    world = fresh(grace_s=5, failures=3)
    world.now += 6
    probe(world, alive=False)
    assert only(world).healthy is False
    assert only(world).goal is Goal.RUNNING


def test_too_many_failures_in_a_row_have_it_killed_and_replaced() -> None:
    world = fresh(failures=3)
    before = only(world)
    for alive in (False, False, True, False, False):
        probe(world, alive=alive)
    assert only(world).kill_asked_at is None
    probe(world, alive=False)
    assert only(world).kill_asked_at is not None
    assert world.state.book("/a").good == 0
    assert len(told(world, HealthCheckFailed)) == 5
    (kill,) = told(world, UnhealthyKill)
    assert kill.reason == "connection refused"
    failure = world.state.last_failure("/a")
    assert failure is not None
    assert failure.message == "Task was killed since health check failed. Reason: connection refused"
    probe(world, alive=False)
    assert len(told(world, UnhealthyKill)) == 1, "one that is being killed is judged no more"
    assert world.rest()
    assert only(world).task_id == f"{before.id}._app.2"


def test_failures_that_may_be_any_number_kill_nobody() -> None:
    world = fresh(failures=0)
    for _ in range(50):
        probe(world, alive=False)
    assert only(world).goal is Goal.RUNNING


def test_what_the_executor_checks_is_told_with_its_tasks_updates() -> None:
    world = World()
    world.deploy(put(small(health_checks=checked("MESOS_HTTP", failures=1))))
    world.deliver()
    world.advance(0.1)
    world.deliver()
    instance = only(world)
    world.step(update(instance, "TASK_RUNNING"))
    assert only(world).healthy is None
    world.step(update(instance, "TASK_RUNNING", healthy=False))
    assert only(world).healthy is False
    assert only(world).goal is Goal.RUNNING, "its executor kills it, where it is to be killed"
    world.step(update(instance, "TASK_RUNNING", healthy=False, reason="REASON_TASK_CHECK_STATUS_UPDATED"))
    assert [one.consecutive_failures for one in world.state.health(instance.id)] == [1]
    again = update(
        instance, "TASK_RUNNING", healthy=False, reason="REASON_TASK_HEALTH_CHECK_STATUS_UPDATED", message="no"
    )
    world.step(again)
    assert [one.consecutive_failures for one in world.state.health(instance.id)] == [2]
    assert [one.last_failure_cause for one in world.state.health(instance.id)] == ["no"]
    assert len(told(world, HealthCheckFailed)) == 2
    world.step(update(instance, "TASK_RUNNING", healthy=True))
    assert only(world).healthy is True
    assert world.checked == {}


def test_probes_of_an_earlier_task_or_of_one_that_is_out_of_sight_do_not_count() -> None:
    world = fresh(failures=1)
    instance = only(world)
    world.step(HealthProbed(instance.id, instance.attempt + 1, 0, alive=False))
    world.step(HealthProbed("nobody", 1, 0, alive=False))
    world.step(HealthProbed(instance.id, instance.attempt, 7, alive=False))
    assert only(world) == instance


def test_checks_are_made_while_the_instance_runs_and_again_after_a_restart() -> None:
    world = running(small(health_checks=checked(), unreachable_strategy="disabled"))
    instance = only(world)
    assert list(world.checked) == [instance.id]
    host_id = task_of(world, instance).host_id
    world.mesos.lose(host_id)
    world.deliver()
    assert world.checked == {}
    world.mesos.find(host_id)
    world.deliver()
    assert list(world.checked) == [instance.id]
    world.restart()
    assert list(world.checked) == [instance.id]
    effects = turn(world.state, (update(only(world), "TASK_FAILED"),), world.now)
    assert [one.instance_id for one in effects if isinstance(one, StopChecks)] == [instance.id]
    assert not [one for one in effects if isinstance(one, StartChecks)]


def test_health_is_kept_over_a_restart() -> None:
    world = running(small(health_checks=checked() * 2))
    world.restart()
    assert only(world).healthy is True
    probe(world, alive=True)
    assert only(world).healthy is True


def test_an_instance_is_ready_when_all_its_readiness_checks_say_so() -> None:
    world = World()
    checks = (ready_check("one", preserve=True), ready_check("two", preserve=False))
    world.deploy(put(small(readiness_checks=checks)))
    instance = started(world)
    assert list(world.readying) == [instance.id]
    answer = {"status": 503, "content_type": "text/plain", "body": "soon"}
    world.step(ReadinessProbed(instance.id, 1, "one", ready=False, **answer))  # type: ignore[arg-type]
    world.step(ReadinessProbed(instance.id, 1, "two", ready=True, status=200, body="yes"))
    assert only(world).ready is False
    results = {one.name: one for one in world.state.readiness("/a")}
    assert (results["one"].ready, results["one"].status, results["one"].body) == (False, 503, "soon")
    assert (results["two"].ready, results["two"].status, results["two"].body) == (True, None, None)
    world.step(ReadinessProbed(instance.id, 1, "one", ready=True, status=200))
    assert only(world).ready is True
    assert world.readying == {}
    assert world.state.deployments() == []
    world.restart()
    assert world.readying == {}, "it is ready for good"
