"""Deployments: what they do in which order, how they end, and what they never do on the way."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from framework.core import events as mesos
from framework.core.effects import Kill
from framework.local.marathon.control import AppLockedError, NoSuchDeploymentError, TooManyDeploymentsError
from framework.local.marathon.core.config import Config
from framework.local.marathon.core.scaling import capacities
from framework.local.marathon.happenings import AppTerminated, DeploymentTold, GroupChanged, HealthCheckSet
from framework.local.marathon.records import Condition, Goal
from tests.simulation.marathon import World
from tests.unit.marathon.core.worlds import (
    checked,
    commands,
    conditions,
    only,
    put,
    ready_check,
    running,
    small,
    steps,
    task_of,
    told,
    without,
)


def test_a_new_app_gets_its_instances_and_its_deployment_tells_each_step() -> None:
    world = World()
    started = world.deploy(put(small("/g/sub/a", instances=3)))
    assert [one.id for one in world.state.deployments()] == [started.deployment_id]
    assert world.state.deployments_of("/g/sub/a") == [started.deployment_id]
    assert world.rest()
    assert world.running() == {"/g/sub/a": 3}
    assert world.state.deployments() == []
    assert [one.group_id for one in told(world, GroupChanged)] == ["/g/sub"]
    assert steps(world) == [
        ("deployment_info", 0),
        ("deployment_step_success", 0),
        ("deployment_info", 1),
        ("deployment_step_success", 1),
        ("deployment_success", 1),
    ]


def test_an_app_without_instances_is_deployed_at_once() -> None:
    world = World()
    world.deploy(put(small(instances=0)))
    assert world.state.deployments() == []
    assert steps(world)[-1] == ("deployment_success", 1)


def test_a_change_of_nothing_ends_where_it_began() -> None:
    world = running(small())
    world.deploy(lambda root, _version: root)
    assert [kind for kind, _ in steps(world)] == ["deployment_success"]
    assert world.disk.deployments == {}


def test_a_step_waits_for_those_that_others_depend_on() -> None:
    world = World()
    world.deploy(put(small("/db", health_checks=checked()), small("/web", dependencies=("/db",))))
    world.unhealthy.add("/db")
    world.go()
    assert world.running() == {"/db": 1}
    world.unhealthy.clear()
    assert world.rest()
    assert world.running() == {"/db": 1, "/web": 1}


def test_a_scaling_waits_until_its_instances_are_healthy_and_ready() -> None:
    world = World()
    world.deploy(put(small(health_checks=checked(), readiness_checks=(ready_check(),))))
    world.deliver()
    world.advance(0.1)
    world.deliver()
    world.mesos.run(task_of(world, only(world)))
    world.deliver()
    assert (only(world).condition, only(world).healthy, only(world).ready) == (Condition.RUNNING, None, False)
    assert world.state.deployments()
    world.go()
    assert (only(world).healthy, only(world).ready) == (True, True)
    assert not world.state.deployments()
    assert [one.ready for one in world.state.readiness("/a")] == [True]


def test_what_was_there_before_a_scaling_is_not_waited_for() -> None:
    world = running(small(instances=3, health_checks=checked(failures=0)))
    world.unhealthy.add("/a")
    while any(one.healthy for one in world.state.instances("/a")):
        world.go()
    world.deploy(put(small(instances=2, health_checks=checked(failures=0))))
    world.go()
    assert world.state.deployments() == []
    assert world.running() == {"/a": 2}
    world.deploy(put(small(instances=3, health_checks=checked(failures=0))))
    for _ in range(5):
        world.go()
    assert world.running() == {"/a": 3}
    assert world.state.deployments()
    world.unhealthy.clear()
    assert world.rest()


def test_scaling_down_kills_those_named_first() -> None:
    world = running(small(instances=4))
    oldest = world.state.instances("/a")[0]
    world.deploy(put(replace(world.state.app("/a") or small(), instances=3)), kill={"/a": [oldest.id]})
    assert world.rest()
    assert world.state.instance(oldest.id) is None
    assert len(world.state.instances("/a")) == 3


def test_a_roll_replaces_all_within_its_capacity() -> None:
    world = running(small(instances=4, least=0.5, over=0.25))
    world.deploy(put(small(instances=4, least=0.5, over=0.25, cmd="new")))
    fewest, most = 4, 0
    while not world.idle():
        world.go()
        alive = world.mesos.alive("/a")
        fewest, most = min(fewest, sum(one.state == "TASK_RUNNING" for one in alive)), max(most, len(alive))
    assert commands(world) == {"new": 4}
    assert (fewest, most) == (2, 5)


def test_a_roll_to_unhealthy_ones_stops_before_it_costs_capacity() -> None:
    world = running(small(instances=4, least=0.5, over=0.0, health_checks=checked()))
    world.deploy(put(small(instances=4, least=0.5, over=0.0, health_checks=checked(failures=0), cmd="new")))
    world.unhealthy.add("new")
    for _ in range(20):
        world.go()
    assert commands(world) == {"sleep 1000": 2, "new": 2}
    assert world.state.deployments()


@pytest.mark.parametrize(
    ("instances", "least", "over", "expected"),
    [
        (10, 1.0, 1.0, (10, 20)),
        (10, 0.9, 0.0, (9, 10)),
        (10, 0.95, 0.0, (10, 11)),  # rounded up, so that one more may run
        (3, 0.5, 0.5, (2, 4)),
        (1, 1.0, 0.0, (1, 2)),
        (200, 0.9, 0.0, (180, 200)),
        (0, 1.0, 1.0, (0, 1)),
    ],
)
def test_capacities_are_rounded_as_marathon_does(
    instances: int, least: float, over: float, expected: tuple[int, int]
) -> None:
    assert capacities(small(instances=instances, least=least, over=over), instances) == expected


def test_an_app_that_grows_while_it_is_rolled_needs_no_more_room_than_it_grows_to() -> None:
    assert capacities(small(instances=4), 1) == (1, 8)
    assert capacities(small(instances=4, over=0.0), 1) == (1, 4)
    world = running(small(over=0.0, cpus=5.0), hosts=(8000, 8000))
    world.deploy(put(small(instances=2, over=0.0, cpus=5.0, cmd="new")))
    most = 0
    for _ in range(50):
        world.go()
        most = max(most, len(world.mesos.alive("/a")))
    assert world.idle()
    assert most == 2


def test_a_restart_rolls_though_nothing_changed() -> None:
    world = running(small(instances=2))
    before = {one.id for one in world.state.instances("/a")}
    world.deploy(lambda root, _version: root, restart=["/a"])
    assert world.rest()
    assert before.isdisjoint(one.id for one in world.state.instances("/a"))
    assert len(world.mesos.alive("/a")) == 2


@pytest.mark.parametrize("cmd", ["sleep 1000", "new"])
def test_what_a_roll_replaces_is_in_no_constraints_way(cmd: str) -> None:
    alone = (("hostname", "UNIQUE"),)
    world = running(small(instances=2, constraints=alone), hosts=(8000, 8000))
    world.deploy(put(small(instances=2, constraints=alone, cmd=cmd)), restart=["/a"])
    assert world.rest()
    hosts = [one.site.host_id for one in world.state.instances("/a") if one.site]
    assert len(set(hosts)) == 2
    world.deploy(put(small(instances=3, constraints=alone, cmd=cmd)))
    for _ in range(5):
        world.go()
    assert world.running() == {"/a": 2}


def test_an_app_that_is_removed_ends_and_is_forgotten() -> None:
    world = running(small(instances=2, health_checks=checked()))
    world.deploy(without("/a"))
    assert world.state.app("/a") is None
    assert {one.goal for one in world.state.instances("/a")} == {Goal.DECOMMISSIONED}
    assert world.rest()
    assert world.running() == {}
    assert world.disk.instances == {}
    assert told(world, AppTerminated) == [AppTerminated("/a")]
    assert [one.added for one in told(world, HealthCheckSet)] == [False]
    assert world.checked == {}


def test_what_is_being_deployed_is_locked_unless_forced() -> None:
    world = World()
    first = world.deploy(put(small(cpus=100.0)))
    with pytest.raises(AppLockedError) as refused:
        world.deploy(put(small(cmd="new")))
    assert refused.value.deployment_ids == (first.deployment_id,)
    assert refused.value.app_id == "/a"
    assert refused.value.told is not None
    assert (refused.value.told.group_id, refused.value.told.reason) == ("/", str(refused.value))
    assert (world.state.app("/a") or small()).cpus == 100.0
    world.deploy(put(small(cmd="new")), force=True)
    assert world.rest()
    assert commands(world) == {"new": 1}
    kinds = ("deployment_step_failure", "deployment_failed", "deployment_success")
    ends = [one for one in told(world, DeploymentTold) if one.kind in kinds]
    assert [(one.kind, one.deployment.id == first.deployment_id) for one in ends] == [
        ("deployment_step_failure", True),
        ("deployment_failed", True),
        ("deployment_success", False),
    ]


def test_no_more_deployments_run_at_once_than_may() -> None:
    world = World(config=Config(max_running_deployments=2))
    for name in ("/a", "/b"):
        world.deploy(put(small(name, cpus=100.0)))
    with pytest.raises(TooManyDeploymentsError):
        world.deploy(put(small("/c")))
    assert world.state.app("/c") is None
    world.deploy(put(small("/a")), force=True)
    assert len(world.state.deployments()) == 2


def test_a_cancelled_deployment_is_undone_by_another() -> None:
    world = running(small(instances=2))
    started = world.deploy(put(small(instances=2, cpus=100.0)))
    reverting = world.cancel(started.deployment_id)
    assert reverting is not None
    assert (world.state.app("/a") or small()).cpus == 0.1
    assert world.rest()
    assert len(world.mesos.alive("/a")) == 2
    assert {task.app.cpus for task in world.mesos.alive("/a")} == {0.1}


def test_a_deployment_cancelled_by_force_is_only_stopped() -> None:
    world = running(small(instances=2))
    started = world.deploy(put(small(instances=2, cpus=100.0)))
    assert world.cancel(started.deployment_id, force=True) is None
    assert world.state.deployments() == []
    assert (world.state.app("/a") or small()).cpus == 100.0
    for _ in range(5):
        world.go()
    assert {task.app.cpus for task in world.mesos.alive("/a")} == {0.1}


def test_a_new_app_whose_deployment_is_cancelled_goes() -> None:
    world = World()
    started = world.deploy(put(small(cpus=100.0)))
    world.cancel(started.deployment_id)
    assert world.rest()
    assert world.state.app("/a") is None
    assert world.state.all_instances() == []


def test_a_deployment_that_nobody_knows_cannot_be_cancelled() -> None:
    with pytest.raises(NoSuchDeploymentError):
        World().cancel("none", force=True)


def test_a_failing_app_of_a_later_step_is_kept_as_it_was() -> None:
    world = running(small("/db"), small("/web", dependencies=("/db",)))
    world.deploy(put(small("/db", cpus=100.0), small("/web", dependencies=("/db",), cmd="new")))
    world.mesos.update(world.mesos.alive("/web")[0], "TASK_FAILED")
    for _ in range(8):
        world.go()
    assert commands(world, "/web") == {"sleep 1000": 1}


@pytest.mark.parametrize("calls", range(4))
def test_a_crash_in_the_middle_of_each_kind_of_deployment_changes_nothing(calls: int) -> None:
    world = World()
    for change in (
        put(small(instances=3)),
        put(small(instances=6)),
        put(small(instances=6, cmd="new")),
        put(small(instances=2, cmd="new")),
        without("/a"),
    ):
        world.crash_at = calls
        world.deploy(change)
        for _ in range(3):
            world.crash_at = calls
            world.go()
        assert world.rest()
    assert world.crashes >= 5
    assert world.mesos.faults == []
    assert world.running() == {}


def test_a_thousand_instances_come_and_go() -> None:
    world = running(small(), hosts=[64_000, 64_000])
    world.deploy(put(small(instances=1000)))
    assert world.rest()
    assert world.running() == {"/a": 1000}
    world.deploy(put(small(instances=1)))
    assert world.rest()
    assert world.running() == {"/a": 1}


def test_deployments_go_on_as_far_as_they_can_while_mesos_is_away() -> None:
    world = World()
    world.mesos.disconnect()
    world.step(mesos.Disconnected("gone"))
    world.deploy(put(small()))
    assert conditions(world) == [Condition.SCHEDULED]
    assert world.rest()
    assert conditions(world) == [Condition.RUNNING]


def test_a_kill_names_the_grace_that_the_app_gives() -> None:
    calls: list[Kill] = []

    def watch(_world: World, effects: object) -> None:
        calls.extend(each for each in effects if isinstance(each, Kill))  # type: ignore[attr-defined]

    world = running(small(task_kill_grace_period_seconds=20), watch=watch)
    world.deploy(without("/a"))
    assert [each.grace_s for each in calls] == [20.0]
