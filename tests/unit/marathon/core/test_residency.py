"""Instances with persistent volumes: they stay where these are, and what nobody wants any more is given back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from framework.core.events import FrameworkRemoved
from framework.local.marathon.core.effects import Effect, Free
from framework.local.marathon.core.events import KillAsked
from framework.local.marathon.core.scaling import capacities
from framework.local.marathon.definition.app import App
from framework.local.marathon.happenings import InstanceChanged
from framework.local.marathon.records import Condition, Goal
from tests.simulation.marathon import Disk, World
from tests.unit.marathon.core.worlds import commands, only, put, running, small, task_of, told, update, without
from tests.unit.marathon.groups.trees import persistent


def resident(**fields: object) -> App:
    return small(container=persistent("data"), over=0.0, unreachable_strategy="disabled", **fields)  # type: ignore[arg-type]


def volumes(world: World) -> list[str]:
    return [name for host in world.mesos.hosts.values() for name in host.volumes]


def test_a_resident_instance_is_started_again_where_its_volumes_are() -> None:
    world = running(resident(), hosts=(1000, 8000, 8000))
    before = only(world)
    assert before.reserved
    assert len(before.volumes) == 1
    world.mesos.update(task_of(world, before), "TASK_FAILED")
    world.deliver()
    assert only(world).condition is Condition.SCHEDULED
    assert only(world).site == before.site
    assert world.rest()
    after = only(world)
    assert (after.id, after.attempt, after.volumes, after.site) == (before.id, 2, before.volumes, before.site)
    assert after.task_id == f"{before.id}._app.2"
    seen = [one.condition for one in told(world, InstanceChanged) if one.instance.id == before.id]
    assert seen[:3] == [Condition.FAILED, Condition.SCHEDULED, Condition.PROVISIONED]


def test_a_user_s_kill_restarts_it_and_a_wipe_makes_another() -> None:
    world = running(resident())
    before = only(world)
    world.step(KillAsked((before.id,)))
    assert world.rest()
    assert (only(world).id, only(world).attempt) == (before.id, 2)
    world.step(KillAsked((before.id,), wipe=True))
    assert world.rest()
    assert only(world).id != before.id
    for _ in range(10):
        world.go()
    assert volumes(world) == [only(world).volumes[0].persistence_id]
    world.advance(world.config.rest_s)
    assert world.state.garbage == {}
    assert list(world.disk.instances) == [only(world).id]


def test_scaling_down_keeps_the_volumes_for_scaling_up_again() -> None:
    world = running(resident(instances=2))
    ids = {one.id for one in world.state.instances("/a")}
    world.deploy(put(resident(instances=0)))
    assert world.rest()
    assert {one.goal for one in world.state.instances("/a")} == {Goal.STOPPED}
    assert len(volumes(world)) == 2
    world.restart()
    world.deploy(put(resident(instances=2)))
    assert world.rest()
    assert {one.id for one in world.state.instances("/a")} == ids
    assert len(volumes(world)) == 2


def test_one_that_is_stopped_can_be_wiped() -> None:
    world = running(resident())
    instance = only(world)
    world.deploy(put(resident(instances=0)))
    assert world.rest()
    world.step(KillAsked((instance.id,), wipe=True))
    assert world.state.instances("/a") == ()
    for _ in range(10):
        world.go()
    assert volumes(world) == []


@pytest.mark.parametrize("restart", [False, True])
def test_an_app_that_is_removed_has_its_volumes_destroyed(*, restart: bool) -> None:
    freed: list[Free] = []

    def watch(_world: World, effects: Sequence[Effect]) -> None:
        freed.extend(each for each in effects if isinstance(each, Free))

    world = running(resident(instances=2), watch=watch)
    world.deploy(without("/a"))
    if restart:
        world.restart()
    assert world.rest()
    for _ in range(10):
        world.go()
    assert volumes(world) == []
    assert freed
    world.advance(world.config.garbage_s if restart else world.config.rest_s)
    assert world.disk.instances == {}
    world.go()
    assert world.state.suppressed


def test_what_the_mesos_executor_still_had_of_a_reservation_is_freed_when_it_is_offered() -> None:
    world = running(resident())
    instance = only(world)
    host = world.mesos.hosts[task_of(world, instance).host_id]
    world.deploy(without("/a"))
    assert world.rest()
    for _ in range(5):
        world.go()
    assert volumes(world) == []
    host.volumes[f"{instance.id}#rest"] = 100  # offered later than the volume was, as the executor ends after its task
    for _ in range(20):
        world.go()
    assert volumes(world) == []


def test_what_is_left_on_a_host_that_never_comes_back_is_let_go() -> None:
    world = running(resident())
    instance = only(world)
    world.mesos.lose(task_of(world, instance).host_id)
    world.deliver()
    world.deploy(without("/a"))
    assert list(world.disk.instances) == [instance.id]
    world.advance(3601.0)
    assert world.disk.instances == {}
    assert world.state.garbage == {}


def test_volumes_that_nobody_knows_of_are_destroyed_when_they_are_offered() -> None:
    world = running(small())
    next(iter(world.mesos.hosts.values())).volumes["lost#data"] = 100
    world.deploy(put(small(instances=2)))
    for _ in range(10):
        world.go()
    assert volumes(world) == []


def test_a_launch_that_failed_has_reserved_nothing() -> None:
    world = World()
    world.deploy(put(resident()))
    world.deliver()
    world.advance(0.1)
    world.crash_at = 0
    world.deliver()
    assert only(world).condition is Condition.PROVISIONED
    assert not only(world).reserved
    assert world.rest()
    assert only(world).reserved


def test_a_task_that_failed_before_it_ran_left_its_volumes() -> None:
    world = World()
    world.deploy(put(resident()))
    world.deliver()
    world.advance(0.1)
    world.deliver()
    before = only(world)
    assert (before.condition, before.reserved) == (Condition.PROVISIONED, False)
    world.mesos.update(task_of(world, before), "TASK_FAILED")
    world.deliver()
    assert world.rest()
    assert (only(world).id, only(world).attempt) == (before.id, 2)
    assert volumes(world) == [before.volumes[0].persistence_id]


def test_volumes_that_nobody_knows_of_are_kept_where_a_state_was_lost() -> None:
    world = running(resident())
    lost = only(world).volumes[0].persistence_id
    world.disk = Disk(framework_id=world.disk.framework_id, lost_some=True)
    world.restart()
    assert world.rest()
    world.deploy(put(resident()))
    assert world.rest()
    own = only(world).volumes[0].persistence_id
    assert set(volumes(world)) == {lost, own}
    world.deploy(without("/a"))
    assert world.rest()
    for _ in range(5):
        world.go()
    assert volumes(world) == [lost]


def test_what_a_launch_that_failed_may_have_reserved_is_freed() -> None:
    world = World()
    world.deploy(put(resident()))
    world.deliver()
    world.advance(0.1)
    world.deliver()
    before = only(world)
    world.deploy(without("/a"), force=True)
    world.step(update(before, "TASK_DROPPED"))
    world.mesos.tasks.clear()
    for _ in range(5):
        world.go()
    assert volumes(world) == []


def test_volumes_outlive_a_framework_that_mesos_removed() -> None:
    world = running(resident(instances=2))
    before = {one.id: one.volumes for one in world.state.instances("/a")}
    for task in world.mesos.alive():
        task.alive = False
    world.mesos.disconnect()
    world.step(FrameworkRemoved("torn down"))
    assert world.rest()
    assert {one.id: one.volumes for one in world.state.instances("/a")} == before
    assert {one.attempt for one in world.state.instances("/a")} == {2}


def test_one_just_launched_when_mesos_removed_the_framework_waits_for_no_volumes() -> None:
    world = World()
    world.deploy(put(resident()))
    world.deliver()
    world.advance(0.1)
    world.crash_at = 0
    world.deliver()
    before = only(world)
    assert before.condition is Condition.PROVISIONED
    world.mesos.disconnect()
    world.step(FrameworkRemoved("torn down"))
    assert world.rest()
    assert only(world).id != before.id


def test_a_resident_app_is_rolled_in_place_with_one_fewer() -> None:
    world = running(resident(instances=3))
    assert capacities(resident(instances=3), 3) == (2, 3)
    before = {one.id: one.site for one in world.state.instances("/a")}
    world.deploy(put(resident(instances=3, cmd="new")))
    fewest = 3
    while not world.idle():
        world.go()
        fewest = min(fewest, sum(one.state == "TASK_RUNNING" for one in world.mesos.alive("/a")))
    assert fewest == 2
    assert commands(world) == {"new": 3}
    assert {one.id: one.site for one in world.state.instances("/a")} == before


def test_one_out_of_sight_keeps_its_volumes_when_its_app_is_scaled_down() -> None:
    world = running(resident())
    instance = only(world)
    host_id = task_of(world, instance).host_id
    world.mesos.lose(host_id)
    world.deliver()
    world.deploy(put(resident(instances=0)))
    assert world.state.deployments() == []
    assert only(world).goal is Goal.STOPPED
    world.mesos.find(host_id)
    assert world.rest()
    assert only(world).condition.terminal
    assert volumes(world) == [instance.volumes[0].persistence_id]
