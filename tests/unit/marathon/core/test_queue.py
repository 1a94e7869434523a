"""The launch queue: back-off, what the API tells, and which instances go first when there are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from framework.core.effects import Decline, Revive, Suppress
from framework.core.events import Tick
from framework.core.ids import HostId
from framework.local.marathon.core.books import Book
from framework.local.marathon.core.config import Config
from framework.local.marathon.core.effects import Effect, Launch
from framework.local.marathon.core.events import DelayReset
from framework.local.marathon.core.killing import to_scale_down
from framework.local.marathon.records import Condition, Goal, Instance, Site
from tests.simulation.marathon import World
from tests.unit.marathon.core.worlds import conditions, put, running, small


def failing(**fields: object) -> World:
    world = World()
    world.failing.add("/a")
    world.deploy(put(small(**fields)))  # type: ignore[arg-type]
    for _ in range(3):
        world.go(0.1)
    return world


def test_an_app_whose_task_fails_waits_ever_longer() -> None:
    world = failing(backoff_seconds=2, backoff_factor=2.0, max_launch_delay_seconds=7)
    seen = []
    for _ in range(100):
        world.go(0.5)
        (entry,) = world.state.queue() or (None,)
        seen.append(world.state.delays["/a"].delay_s)
        assert entry is None or entry.delay_s <= 7
    assert list(dict.fromkeys(seen)) == [2.0, 4.0, 7.0]


def test_a_clock_that_is_set_back_makes_nothing_wait_longer() -> None:
    world = failing(backoff_seconds=20)
    world.deploy(put(small(backoff_seconds=20), small("/b", cpus=1000.0)))
    world.go()
    assert world.state.queue()[0].delay_s > 15
    world.failing.clear()
    world.now -= 7200.0
    world.mesos.suppressed = True  # no offers come unless they are asked for
    world.step(Tick())
    assert 0 < world.state.queue()[0].delay_s <= 20
    for _ in range(25):
        world.go()
    assert world.running() == {"/a": 1}


def test_many_tasks_that_fail_together_count_as_one_failure() -> None:
    world = running(small(instances=20, backoff_factor=2.0))
    for task in world.mesos.alive():
        world.mesos.update(task, "TASK_FAILED")
    world.deliver()
    assert world.state.delays["/a"].delay_s == 1.0


def test_a_task_that_runs_for_long_ends_the_back_off() -> None:
    world = failing()
    assert "/a" in world.state.delays
    world.failing.clear()
    assert world.rest()
    world.advance(61.0)
    assert world.state.delays == {}


def test_a_delay_is_ended_by_the_user() -> None:
    world = failing(backoff_seconds=200)
    assert [one.count for one in world.state.queue()] == [1]
    assert world.state.queue()[0].delay_s > 190
    world.step(DelayReset("/a"))
    assert world.state.queue() == [] or world.state.queue()[0].delay_s == 0
    world.failing.clear()
    assert world.rest(10)
    world.step(DelayReset("/nobody"))
    assert world.state.waiting == {}


def test_a_delay_is_ended_by_another_configuration_but_not_by_another_number() -> None:
    world = failing(backoff_seconds=200)
    started = world.state.deployments()[0]
    world.cancel(started.id, force=True)
    world.deploy(put(small(backoff_seconds=200, instances=2)))
    assert world.state.queue()[0].delay_s > 190
    world.failing.clear()
    world.deploy(put(small(backoff_seconds=200, instances=2, cmd="new")), force=True)
    assert world.rest(10)


def test_an_app_that_fails_or_fits_nowhere_holds_no_other_up() -> None:
    world = World()
    world.failing.add("/bad")
    world.deploy(
        put(small("/bad", instances=50), small("/big", cpus=1000.0, instances=50), small("/good", instances=5))
    )
    for _ in range(4):
        world.go()
    assert world.running()["/good"] == 5


def test_a_turn_launches_a_bounded_number_and_the_rest_follows() -> None:
    launched: list[int] = []

    def watch(_world: World, effects: Sequence[Effect]) -> None:
        count = sum(len(each.placements) for each in effects if isinstance(each, Launch))
        if count:
            launched.append(count)

    world = running(small("/a", instances=25), small("/b", instances=25), config=Config(max_launches=10), watch=watch)
    assert max(launched) == 10
    assert sum(launched) == 50
    assert world.running() == {"/a": 25, "/b": 25}


def test_the_queue_tells_why_an_app_waits() -> None:
    world = World(hosts=(1000, 2000))
    world.deploy(put(small(cpus=100.0, instances=3)))
    world.go()
    (entry,) = world.state.queue()
    assert (entry.app.id, entry.count, entry.role, entry.delay_s) == ("/a", 3, "*", 0.0)
    assert entry.processed == entry.unused >= 2
    assert entry.last_used_at is None
    assert entry.last_unused_at is not None
    assert {reason: declined for reason, declined, _ in entry.last_offers}["InsufficientCpus"] == 2
    assert entry.last_offers[0] == ("UnfulfilledRole", 0, 2)
    assert entry.last_offers[-1] == ("DeclinedScarceResources", 0, 0)
    assert {(one.hostname, one.reasons) for one in entry.unused_offers} == {
        ("h0.example.com", ("InsufficientCpus",)),
        ("h1.example.com", ("InsufficientCpus",)),
    }


def test_offers_that_are_of_no_use_are_held_for_a_moment_and_then_declined() -> None:
    calls: list[Effect] = []

    def watch(_world: World, effects: Sequence[Effect]) -> None:
        calls.extend(each for each in effects if isinstance(each, Decline | Revive | Suppress))

    world = running(small(), watch=watch)
    for _ in range(5):
        world.go()
    assert isinstance(calls[-1], Suppress)
    assert any(isinstance(each, Decline) for each in calls)
    assert len(world.state.offers) == 0
    calls.clear()
    world.deploy(put(small("/b")))
    assert calls == [Revive()]
    assert world.rest(5)


def test_an_app_that_comes_while_offers_are_held_starts_at_once() -> None:
    world = World()
    world.mesos.suppressed = False
    world.mesos.offer(world.now)
    world.deliver()
    assert len(world.state.offers) == 3
    world.deploy(put(small()))
    assert conditions(world) == [Condition.PROVISIONED]


def made(number: int, condition: Condition, *, started_at: float | None = None, host: str = "h0") -> Instance:
    site = Site(HostId(host), f"{host}.example.com", {"rack": host})
    return Instance(
        f"a.instance-{number}", "/a", "1", "*", Goal.RUNNING, condition, 0.0, site=site, started_at=started_at
    )


def book_of(*instances: Instance, bad: Sequence[str] = ()) -> Book:
    book = Book()
    for one in instances:
        book.put(one, good=one.condition is Condition.RUNNING and one.id not in bad)
    return book


def test_those_that_do_no_work_go_first() -> None:
    order = (
        Condition.SCHEDULED,
        Condition.PROVISIONED,
        Condition.UNREACHABLE,
        Condition.STAGING,
        Condition.STARTING,
        Condition.RUNNING,
    )
    instances = [made(number, condition) for number, condition in enumerate(order)]
    unhealthy = made(9, Condition.RUNNING)
    book = book_of(*reversed(instances), unhealthy, bad=[unhealthy.id])
    chosen = to_scale_down(book, small(), 7, ())
    assert [one.id for one in chosen] == [one.id for one in (*instances[:5], unhealthy, instances[5])]


@pytest.mark.parametrize(("selection", "expected"), [("YOUNGEST_FIRST", [3, 2]), ("OLDEST_FIRST", [1, 2])])
def test_then_the_kill_selection_decides(selection: str, expected: list[int]) -> None:
    book = book_of(*(made(number, Condition.RUNNING, started_at=float(number)) for number in (2, 1, 3)))
    chosen = to_scale_down(book, small(kill_selection=selection), 2, ())
    assert [one.started_at for one in chosen] == expected


def test_those_that_are_named_go_before_all_others() -> None:
    book = book_of(made(1, Condition.STAGING), made(2, Condition.RUNNING), made(3, Condition.RUNNING))
    assert [one.id for one in to_scale_down(book, small(), 1, ["a.instance-2"])] == ["a.instance-2"]


def test_an_app_that_is_spread_stays_spread() -> None:
    hosts = ["h0"] * 5 + ["h1"] * 2 + ["h2"] * 2
    instances = [made(n, Condition.RUNNING, started_at=float(n), host=host) for n, host in enumerate(hosts)]
    app = small(constraints=(("rack", "GROUP_BY"),))
    chosen = to_scale_down(book_of(*instances), app, 4, ())
    assert Counter(one.site.host_id for one in chosen if one.site) == {"h0": 3, "h2": 1}
    assert [one.id for one in chosen][:3] == ["a.instance-4", "a.instance-3", "a.instance-2"]


def test_a_spread_app_s_idle_instances_still_go_first() -> None:
    instances = [
        made(0, Condition.RUNNING, host="h0"),
        made(1, Condition.RUNNING, host="h0"),
        made(2, Condition.STAGING, host="h1"),
    ]
    app = small(constraints=(("hostname", "GROUP_BY"),))
    assert [one.id for one in to_scale_down(book_of(*instances), app, 1, ())] == ["a.instance-2"]


def test_constraints_look_at_instances_of_the_present_configuration() -> None:
    world = running(small(constraints=(("hostname", "UNIQUE"),), instances=3, least=0.5, over=1.0))
    world.deploy(put(small(constraints=(("hostname", "UNIQUE"),), instances=3, least=0.5, over=1.0, cmd="new")))
    assert world.rest()
    assert len({task.host_id for task in world.mesos.alive("/a")}) == 3
    world.deploy(put(replace(world.state.app("/a") or small(), instances=4)))
    for _ in range(5):
        world.go()
    assert [one.count for one in world.state.queue()] == [1]


def test_one_that_was_in_the_way_of_a_constraint_makes_room_at_once() -> None:
    world = running(small(constraints=(("hostname", "UNIQUE"),), instances=3))
    world.deploy(put(small(constraints=(("hostname", "UNIQUE"),), instances=4)))
    for _ in range(8):
        world.go()
    assert world.state.waiting
    revived: list[Effect] = []
    world.watch = lambda _world, effects: revived.extend(each for each in effects if isinstance(each, Revive))
    world.mesos.update(world.mesos.alive("/a")[0], "TASK_KILLED")
    world.deliver()
    assert revived
