"""What the core of the Marathon-compatible server keeps to, over whole histories with faults and crashes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framework.core import events as told
from framework.local.marathon.control import AppLockedError
from framework.local.marathon.core import effects as ef
from framework.local.marathon.core.events import DelayReset, KillAsked
from framework.local.marathon.definition.app import App, Group, UpgradeStrategy
from framework.local.marathon.groups import apps_of, with_apps
from tests.simulation.marathon import World
from tests.unit.marathon.groups.trees import app, persistent

IDS = ("/a", "/b", "/g/c", "/g/d", "/disks")
OFTEN = ("put", "go", "go", "go", "go", "go", "scale", "crash") * 3
SELDOM = (
    "remove", "restart", "cancel", "cancel_forced", "kill", "wipe", "fail", "fail", "mend", "lose_host", "find_host",
    "disconnect", "rescind", "wait", "wait_long", "duplicate", "reset", "end", "forced", "crash_between",
)  # fmt: skip
STRATEGIES = ((1.0, 1.0), (0.5, 0.0), (1.0, 0.0), (0.0, 0.0), (0.9, 0.3), (0.0, 1.0))


class Action(NamedTuple):
    name: str
    a: int
    b: int


def history_of(seed: int, length: int) -> list[Action]:
    """Drawn from a seed: an order of magnitude more of it, and more of what is rare, than drawn choice by choice."""
    chance = random.Random(seed)
    return [Action(chance.choice(OFTEN + SELDOM), chance.randrange(256), chance.randrange(256)) for _ in range(length)]


HISTORIES = st.builds(history_of, st.integers(0, 2**64), st.integers(1, 120))
Watch = Callable[[World, Sequence[ef.Effect]], None]


def made(app_id: str, a: int, b: int) -> App:
    least, over = STRATEGIES[b % len(STRATEGIES)]
    fields: dict[str, Any] = {"cpus": (0.1, 0.5, 1.0)[a % 3]}
    if app_id == "/disks":
        fields, over = {"cpus": 0.5, "container": persistent("data")}, 0.0
    return app(
        app_id,
        ports=None,
        cmd=f"sleep {b % 3}",
        instances=a % 6,
        upgrade_strategy=UpgradeStrategy(maximum_over_capacity=over, minimum_health_capacity=least),
        dependencies=("/a",) if app_id == "/b" and b % 2 else (),
        **fields,
    )


def putting(*apps: App) -> Callable[[Group, str], Group]:
    return lambda root, _version: with_apps(root, {one.id: one for one in apps})


class History:
    def __init__(self, watch: Watch | None = None, *, crashes: bool = True, faults: bool = True) -> None:
        self.world = World(watch=watch)
        self.crashes = crashes
        self.faults = faults

    def play(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self.do(action)
        self.world.failing.clear()
        for host_id, host in self.world.mesos.hosts.items():
            if not host.up:
                self.world.mesos.find(host_id)

    def do(self, action: Action) -> None:  # noqa: C901 - one arm an action
        world, (name, a, b) = self.world, action
        fake = world.mesos
        app_id = IDS[b % len(IDS)]
        known = {one.id: one for one in apps_of(world.state.root)}
        alive = fake.alive()
        hosts = list(fake.hosts.values())
        match name:
            case "put" | "forced":
                changes = [made(IDS[(b + n) % len(IDS)], a + n, b) for n in range(1 + a % 3)]
                self.deploy(putting(*changes), force=name == "forced")
            case "scale" if app_id in known:
                changed = made(app_id, a, b)
                self.deploy(
                    lambda root, _: with_apps(root, {app_id: replace(known[app_id], instances=changed.instances)})
                )
            case "remove" if app_id in known:
                self.deploy(lambda root, _: with_apps(root, {app_id: None}))
            case "restart" if app_id in known:
                self.deploy(lambda root, _: root, restart=[app_id])
            case "cancel" | "cancel_forced" if world.state.running:
                running = list(world.state.running)
                world.cancel(running[a % len(running)], force=name == "cancel_forced")
            case "go":
                world.go()
            case "crash" if self.crashes:
                world.restart()
            case "crash_between" if self.crashes:
                world.crash_at = a % 3
            case "kill" | "wipe" if alive:
                world.step(KillAsked((alive[a % len(alive)].instance_id,), wipe=name == "wipe"))
            case "fail" if self.faults:
                world.failing.add(app_id)
            case "mend":
                world.failing.clear()
            case "end" if alive and self.faults and not alive[a % len(alive)].away:
                fake.update(alive[a % len(alive)], ("TASK_FINISHED", "TASK_FAILED", "TASK_ERROR")[b % 3])
            case "lose_host" if self.faults and hosts[a % len(hosts)].up:
                fake.lose(hosts[a % len(hosts)].id)
            case "find_host" if not hosts[a % len(hosts)].up:
                fake.find(hosts[a % len(hosts)].id)
            case "disconnect":
                fake.disconnect()
                world.step(told.Disconnected("gone"))
            case "rescind" if fake.offers:
                offer_id = list(fake.offers)[a % len(fake.offers)]
                del fake.offers[offer_id]
                fake.inbox.append(told.OfferRescinded(offer_id))
            case "duplicate" if fake.unacknowledged:
                fake.inbox.append(list(fake.unacknowledged.values())[a % len(fake.unacknowledged)])
            case "reset":
                world.step(DelayReset(app_id))
            case "wait":
                world.advance(10.0)
            case "wait_long":
                world.advance(400.0)

    def deploy(self, change: Callable[[Group, str], Group], **more: Any) -> None:
        with contextlib.suppress(AppLockedError):
            self.world.deploy(change, **more)


@given(HISTORIES)
def test_every_deployment_ends_and_every_app_gets_its_instances(actions: list[Action]) -> None:
    history = History()
    history.play(actions)
    world = history.world
    assert world.rest(), (world.state.running, world.wanted(), world.running(), world.state.waiting)
    assert world.mesos.faults == []
