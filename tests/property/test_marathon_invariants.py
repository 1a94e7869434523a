"""What the core of the Marathon-compatible server keeps to, over whole histories with faults and crashes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framework.core import effects as mesos
from framework.core import events as told
from framework.local.marathon.control import AppLockedError
from framework.local.marathon.core import effects as ef
from framework.local.marathon.core.config import Config
from framework.local.marathon.core.events import DelayReset, KillAsked
from framework.local.marathon.core.scaling import capacities
from framework.local.marathon.definition.app import (
    App,
    Group,
    HealthCheck,
    Unreachable,
    UpgradeStrategy,
)
from framework.local.marathon.groups.tree import apps_of, with_apps
from framework.local.marathon.records import Condition, Goal, Instance
from tests.simulation.histories import Action, drawn
from tests.simulation.marathon import World
from tests.unit.marathon.core.worlds import ready_check
from tests.unit.marathon.groups.trees import app, persistent

IDS = ("/a", "/b", "/g/c", "/g/d", "/disks")
OFTEN = ("put", "go", "go", "go", "go", "go", "scale", "crash") * 3
SELDOM = (
    "remove", "restart", "cancel", "cancel_forced", "kill", "wipe", "fail", "fail", "mend", "lose_host", "find_host",
    "disconnect", "rescind", "wait", "wait_long", "duplicate", "reset", "end", "forced", "crash_between", "tear_down",
    "set_back",
)  # fmt: skip
STRATEGIES = ((1.0, 1.0), (0.5, 0.0), (1.0, 0.0), (0.0, 0.0), (0.9, 0.3), (0.0, 1.0))


def history_of(seed: int, length: int) -> list[Action]:
    return drawn(OFTEN + SELDOM, seed, length)


HISTORIES = st.builds(history_of, st.integers(0, 2**64), st.integers(1, 120))
ANSWERS = ef.Launch | ef.Free | mesos.Decline
Watch = Callable[[World, Sequence[ef.Effect]], None]


def made(app_id: str, a: int, b: int) -> App:
    least, over = STRATEGIES[b % len(STRATEGIES)]
    fields: dict[str, Any] = {"cpus": (0.1, 0.5, 1.0)[a % 3]}
    if app_id == "/g/c":
        fields["health_checks"] = (health_check("HTTP"), health_check("MESOS_HTTP"))
    if app_id == "/g/d":
        fields["readiness_checks"] = (ready_check(),)
        fields["unreachable_strategy"] = Unreachable(inactive_after_seconds=30, expunge_after_seconds=300)
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


def health_check(protocol: str) -> HealthCheck:
    return HealthCheck(
        protocol=protocol,
        grace_period_seconds=30,
        interval_seconds=10,
        timeout_seconds=5,
        max_consecutive_failures=3,
        delay_seconds=0,
    )


def putting(*apps: App) -> Callable[[Group, str], Group]:
    return lambda root, _version: with_apps(root, {one.id: one for one in apps})


class History:
    def __init__(self, watch: Watch | None = None, config: Config | None = None) -> None:
        self.world = World(config=config, watch=watch)
        self.world.mesos.lingering = True

    def play(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self.do(action)
        self.world.failing.clear()
        self.world.unhealthy.clear()
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
            case "crash":
                world.restart()
            case "crash_between":
                world.crash_at = a % 3
            case "kill" | "wipe" if alive:
                world.step(KillAsked((alive[a % len(alive)].instance_id,), wipe=name == "wipe"))
            case "fail":
                (world.failing if a % 2 else world.unhealthy).add(app_id)
            case "mend":
                world.failing.clear()
                world.unhealthy.clear()
            case "end" if alive and not alive[a % len(alive)].away:
                fake.update(alive[a % len(alive)], ("TASK_FINISHED", "TASK_FAILED", "TASK_ERROR")[b % 3])
            case "lose_host" if hosts[a % len(hosts)].up:
                fake.lose(hosts[a % len(hosts)].id)
            case "find_host" if not hosts[a % len(hosts)].up:
                fake.find(hosts[a % len(hosts)].id)
            case "disconnect":
                fake.disconnect()
                world.step(told.Disconnected("gone"))
            case "tear_down":
                fake.tear_down()
                world.step(told.FrameworkRemoved("torn down"))
            case "set_back":
                world.set_back(60.0 * a)
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
    history = History(config=Config(rest_s=1e6, garbage_s=1e6))  # hosts are gone for long
    history.play(actions)
    world = history.world
    assert world.rest(), (world.state.running, world.wanted(), world.running(), world.state.waiting)
    assert world.mesos.faults == []
    for _ in range(30):
        world.go()
    held = [name for host in world.mesos.hosts.values() for name in host.volumes]
    assert all(world.state.keeps(name.partition("#")[0]) for name in held), "what nobody wants is reserved still"


@given(HISTORIES)
def test_every_offer_is_used_held_until_a_stated_time_or_declined_and_none_twice(actions: list[Action]) -> None:
    def watch(world: World, effects: Sequence[ef.Effect]) -> None:
        state = world.state
        for held in state.offers:
            assert held.held_until > world.now
            assert state.deadlines.has("host", held.host_id)
        gone = [key for each in effects if isinstance(each, ANSWERS) for key in each.offer_ids]
        assert len(gone) == len(set(gone))
        used_up.update(gone)
        ours = {offer_id for held in state.offers for offer_id in held.offers}
        assert ours.isdisjoint(used_up)
        on_their_way = {offer.id for event in world.mesos.inbox for offer in getattr(event, "offers", ())}
        if state.connected:
            assert world.mesos.offers.keys() <= ours | on_their_way
        if state.connected and state.suppressed and not state.deadlines.has("revive", ""):
            assert not state.garbage
            assert len(state.waiting) == len(state.delayed)

    used_up: set[str] = set()
    history = History(watch)
    history.play(actions)
    history.world.rest()
    assert history.world.mesos.faults == []


@given(HISTORIES)
def test_never_more_tasks_of_an_app_at_once_than_wanted_and_its_strategy_allows(actions: list[Action]) -> None:
    def watch(world: World, effects: Sequence[ef.Effect]) -> None:
        state = world.state
        for launch in (each for each in effects if isinstance(each, ef.Launch)):
            for each in launch.placements:
                alive = [
                    task
                    for task in world.mesos.alive(each.app.id)
                    if state.instance(task.instance_id) is not None and not task.told_away
                ]
                assert len(alive) <= most_of(world, each.app.id)

    history = History(watch)
    history.play(actions)
    history.world.rest()


def most_of(world: World, app_id: str) -> int:
    state = world.state
    ours = state.deployments_of(app_id)
    if not ours:
        now = state.app(app_id)
        return now.instances if now else 0
    deployment = state.running[ours[0]].deployment
    change = next(one for one in deployment.apps if one.app_id == app_id)
    old = change.old.instances if change.old else 0
    new = capacities(change.new, change.new.instances)[1] if change.new else 0
    return max(old, new)


@given(HISTORIES)
def test_a_store_always_holds_what_the_server_knows(actions: list[Action]) -> None:
    def watch(world: World, effects: Sequence[ef.Effect]) -> None:
        state, saved = world.state, world.disk.load()
        assert saved.root == state.root
        assert {one.id: one for one in saved.instances} == {one.id: one for one in known_to(world)}
        assert {one.id: one for one in saved.deployments} == {one.id: one for one in state.deployments()}
        for one in state.all_instances():
            book = state.book(one.app_id)
            assert (one.id in book.scheduled) == (one.condition is Condition.SCHEDULED and one.goal is Goal.RUNNING)
            assert state.spec(one).version == one.version
        for app_id, book in state.books.items():
            assert bool(book.scheduled) == (app_id in state.waiting)
        assert state.delayed.keys() <= state.waiting.keys()
        assert state.acting.keys() <= state.locks.keys()
        assert set(state.locks.values()) <= state.running.keys()

    history = History(watch)
    history.play(actions)
    history.world.rest()
    world = history.world
    live = {one.id for one in world.state.all_instances()}
    for remembered in (world.state.results, world.state.checks, world.state.readiness_results, world.state.kills):
        assert remembered.keys() <= live
    assert not world.state.locks


def known_to(world: World) -> list[Instance]:
    buried = [one for each in world.state.garbage.values() for one in each.values()]
    return [*world.state.all_instances(), *buried]


@given(
    instances=st.integers(1, 12),
    least=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    over=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    checked=st.booleans(),
    crashes=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), max_size=4),
)
def test_a_roll_in_which_nothing_fails_keeps_its_capacity(
    instances: int, least: float, over: float, *, checked: bool, crashes: list[tuple[int, int]]
) -> None:
    strategy = UpgradeStrategy(maximum_over_capacity=over, minimum_health_capacity=least)
    checks = (health_check("HTTP"),) if checked else ()
    one = app("/a", ports=None, instances=instances, cpus=0.1, upgrade_strategy=strategy, health_checks=checks)
    fewest, most = capacities(one, instances)
    world = World()
    world.deploy(putting(one))
    assert world.rest()
    world.deploy(putting(replace(one, cmd="another")))
    for turn in range(300):
        if world.idle():
            break
        for at, calls in crashes:
            if at == turn:
                world.crash_at = calls
        world.go()
        at_work = [task for task in world.mesos.alive("/a") if task.state == "TASK_RUNNING"]
        assert len(at_work) >= fewest
        assert len(world.mesos.alive("/a")) <= most
    assert world.idle()
    assert {task.app.cmd for task in world.mesos.alive("/a")} == {"another"}


@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), min_size=1, max_size=5))
def test_a_crash_at_any_frame_leads_to_the_same_end(seed: int, crashes: list[tuple[int, int]]) -> None:
    def played(crashes: list[tuple[int, int]]) -> list[tuple[str, str | None, int]]:
        chance, world = random.Random(seed), World()
        ends: dict[str, App] = {}
        for _ in range(3):
            changes = [made(chance.choice(IDS), chance.randrange(256), chance.randrange(256)) for _ in range(2)]
            ends.update({one.id: one for one in changes})
            world.deploy(putting(*changes))
            for turn in range(chance.randrange(12)):
                for at, calls in crashes:
                    if at == turn:
                        world.crash_at = calls
                world.go()
            assert world.rest()
        tasks = [(task.app.id, task.app.cmd) for task in world.mesos.alive()]
        return sorted((app_id, cmd, tasks.count((app_id, cmd))) for app_id, cmd in set(tasks))

    assert played(crashes) == played([])


@given(
    factor=st.sampled_from([1.0, 1.15, 2.0, 10.0]),
    first_s=st.integers(0, 5),
    most_s=st.integers(5, 60),
    instances=st.integers(1, 5),
)
def test_an_app_that_always_fails_backs_off_within_its_bounds_and_holds_nobody_up(
    factor: float, first_s: int, most_s: int, instances: int
) -> None:
    bad = app("/bad", ports=None, instances=instances, cpus=0.1, backoff_factor=factor, backoff_seconds=first_s)
    bad = replace(bad, max_launch_delay_seconds=most_s)
    world = World()
    world.failing.add("/bad")
    world.deploy(putting(bad))
    delays: list[float] = []
    for _ in range(200):
        world.go()
        delay = world.state.delays.get("/bad")
        if delay is not None and delay.delay_s not in delays[-1:]:
            delays.append(delay.delay_s)
    assert delays == sorted(delays)
    assert all(min(first_s, most_s) <= each <= most_s for each in delays)
    if factor >= 2.0 and first_s:
        assert delays[-1] == most_s
        assert len(world.mesos.tasks) <= instances * (200 / most_s + 10)
    world.deploy(putting(app("/good", ports=None, cpus=0.1)))
    for _ in range(4):
        world.go()
    assert world.running().get("/good") == 1
    world.failing.clear()
    assert world.rest()


@given(HISTORIES)
def test_the_same_history_has_the_same_effects(actions: list[Action]) -> None:
    def played() -> list[list[ef.Effect]]:
        turns: list[list[ef.Effect]] = []
        History(lambda _world, effects: turns.append(list(effects))).play(actions)
        return turns

    assert played() == played()
