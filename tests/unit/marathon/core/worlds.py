"""What the tests of the core begin with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from framework.core.events import TaskUpdate
from framework.local.marathon.definition.app import App, Group, HealthCheck, ReadinessCheck, UpgradeStrategy
from framework.local.marathon.groups.tree import with_apps
from framework.local.marathon.happenings import DeploymentTold
from framework.local.marathon.records import Condition, Instance
from tests.simulation.marathon import FakeTask, World
from tests.unit.marathon.groups.trees import app

T = TypeVar("T")


def small(app_id: str = "/a", *, least: float = 1.0, over: float = 1.0, **fields: Any) -> App:
    strategy = UpgradeStrategy(maximum_over_capacity=over, minimum_health_capacity=least)
    return app(app_id, ports=None, upgrade_strategy=strategy, **{"cpus": 0.1, **fields})


def put(*apps: App) -> Callable[[Group, str], Group]:
    return lambda root, _version: with_apps(root, {one.id: one for one in apps})


def without(*app_ids: str) -> Callable[[Group, str], Group]:
    return lambda root, _version: with_apps(root, dict.fromkeys(app_ids))


def ready_check(name: str = "ready", *, preserve: bool = False) -> ReadinessCheck:
    return ReadinessCheck(
        name=name,
        protocol="HTTP",
        path="/ready",
        port_name="http",
        interval_seconds=1,
        timeout_seconds=1,
        http_status_codes_for_ready=(200,),
        preserve_last_response=preserve,
    )


def checked(protocol: str = "HTTP", *, failures: int = 3, grace_s: int = 0) -> tuple[HealthCheck, ...]:
    return (
        HealthCheck(
            protocol=protocol,
            grace_period_seconds=grace_s,
            interval_seconds=10,
            timeout_seconds=5,
            max_consecutive_failures=failures,
            delay_seconds=0,
        ),
    )


def running(*apps: App, **more: Any) -> World:
    """A world in which these run; ``more`` is the world's."""
    world = World(**more)
    world.deploy(put(*apps))
    assert world.rest()
    world.told.clear()
    return world


def only(world: World, app_id: str = "/a") -> Instance:
    (instance,) = world.state.instances(app_id)
    return instance


def task_of(world: World, instance: Instance) -> FakeTask:
    return world.mesos.tasks[instance.task_id]


def conditions(world: World, app_id: str = "/a") -> list[Condition]:
    return [one.condition for one in world.state.instances(app_id)]


def told(world: World, kind: type[T]) -> list[T]:
    return [one for one in world.told if isinstance(one, kind)]


def steps(world: World) -> list[tuple[str, int]]:
    return [(one.kind, one.step) for one in told(world, DeploymentTold)]


def update(instance: Instance, state: str, **more: Any) -> TaskUpdate:
    host_id = instance.site.host_id if instance.site else None
    return TaskUpdate(instance.task_id, state, host_id, **more)


def commands(world: World, app_id: str = "/a") -> Mapping[str | None, int]:
    """How many tasks live of each command."""
    found: dict[str | None, int] = {}
    for task in world.mesos.alive(app_id):
        found[task.app.cmd] = found.get(task.app.cmd, 0) + 1
    return found
