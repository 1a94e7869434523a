"""When masters go to sleep, when they make backups, and what is learned of their boots."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import replace
from typing import Any

import pytest

from framework.runtime.chance import SystemChance
from masters.ports import Backup
from masters.records import MasterState, ObservedMaster
from masters.service.backups import Backups, due_at, made_at
from masters.service.boots import Boots
from masters.service.hibernation import Hibernation
from tests.fakes.applying import Bench
from tests.fakes.clockwork import ManualClock, eventually, quiet
from tests.fakes.masters import FakeJenkins

START = 1_700_000_000.0


class FakeAddresses:
    """``masters.service.addresses.Addresses``, of what the fake Marathon has now."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.quieted: set[str] = set()
        self.uses: dict[str, float] = {}
        self.holding: set[str] = set()
        self.waiting: dict[str, int] = {}
        self.on_hold: Any = lambda tenant: None

    @property
    def masters(self) -> Mapping[str, ObservedMaster]:
        self._bench.marathon.deployments()
        return {
            name: replace(found, tasks=tuple(replace(task, started_at=START, healthy_at=START) for task in found.tasks))
            for name, found in self._bench.marathon.masters().items()
        }

    def hint(self, app_id: str) -> None: ...

    async def count_uses(self) -> None: ...

    def last_use(self, tenant: str) -> float | None:
        return self.uses.get(tenant)

    def held(self, tenant: str) -> int:
        return self.waiting.get(tenant, 0)

    async def hold(self, tenant: str) -> None:
        self.holding.add(tenant)
        self.on_hold(tenant)

    def release(self, tenant: str) -> None:
        self.holding.discard(tenant)

    def note_quieted(self, tenant: str, quieted: bool) -> None:
        (self.quieted.add if quieted else self.quieted.discard)(tenant)


@pytest.fixture
def addresses(bench: Bench) -> FakeAddresses:
    return FakeAddresses(bench)


@contextlib.asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def pass_time(clock: ManualClock, seconds: float) -> None:
    for _ in range(int(seconds)):
        clock.advance(1)
        await quiet(3)


def told(bench: Bench, name: str, **fields: Any) -> FakeJenkins:
    bench.write(name, **fields)
    bench.apply()
    return bench.edges.masters.setdefault(name, FakeJenkins())


def state(bench: Bench, name: str) -> MasterState:
    return bench.marathon.masters()[name].state


async def test_a_master_that_nobody_uses_goes_to_sleep(bench: Bench, addresses: FakeAddresses) -> None:
    jenkins = told(bench, "a", hibernate={"after_idle_min": 1})
    told(bench, "b")
    clock = ManualClock(START)
    async with running(Hibernation(bench.edges, addresses, clock, lambda *_: True).run()):
        await pass_time(clock, 30)
        addresses.uses["a"] = clock.now()
        await pass_time(clock, 50)
        assert state(bench, "a") is MasterState.ON
        assert not jenkins.quieting
        await pass_time(clock, 12)
        await eventually(lambda: state(bench, "a") is MasterState.ASLEEP)
        await eventually(lambda: not addresses.quieted)
        await pass_time(clock, 3)
    assert state(bench, "b") is MasterState.ON
    assert not addresses.holding


@pytest.mark.parametrize("what", ["builds", "queue", "scheduler", "operator", "backup"])
async def test_a_master_with_work_stays_awake(bench: Bench, addresses: FakeAddresses, what: str) -> None:
    jenkins = told(bench, "a", hibernate={"after_idle_min": 0.1})
    jenkins.busy, jenkins.queued = int(what == "builds"), int(what == "queue")
    jenkins.quieting = what == "operator"
    bench.scheduler.working = {"a": 1} if what == "scheduler" else {}
    clock = ManualClock(START)
    async with running(Hibernation(bench.edges, addresses, clock, lambda *_: what != "backup").run()):
        await pass_time(clock, 60)
    assert state(bench, "a") is MasterState.ON
    assert jenkins.quieting == (what == "operator")
    assert not addresses.quieted


@pytest.mark.parametrize("what", ["request", "used", "build"])
async def test_what_comes_while_a_master_quiets_down_keeps_it_awake(
    bench: Bench, addresses: FakeAddresses, what: str
) -> None:
    jenkins = told(bench, "a", hibernate={"after_idle_min": 0.5})
    clock = ManualClock(START)

    def come(tenant: str) -> None:
        assert jenkins.quieting
        assert addresses.quieted == {"a"}
        if what == "request":
            addresses.waiting["a"] = 1
        elif what == "used":
            addresses.uses["a"] = clock.now()
        else:
            jenkins.busy = 1

    addresses.on_hold = come
    async with running(Hibernation(bench.edges, addresses, clock, lambda *_: True).run()):
        await pass_time(clock, 31)
        await eventually(lambda: not addresses.quieted and not jenkins.quieting)
    assert state(bench, "a") is MasterState.ON
    assert not addresses.holding


async def test_a_master_that_a_killed_service_quieted_builds_again(bench: Bench, addresses: FakeAddresses) -> None:
    jenkins = told(bench, "a")
    jenkins.quieting = True
    addresses.quieted = {"a"}
    clock = ManualClock(START)
    async with running(Hibernation(bench.edges, addresses, clock, lambda *_: True).run()):
        await eventually(lambda: not jenkins.quieting and not addresses.quieted)


async def test_backups_are_made_when_they_are_due(bench: Bench, addresses: FakeAddresses) -> None:
    jenkins = told(bench, "a", backup={"to": "/srv/backups", "every_h": 0.01})
    other = told(bench, "b")
    clock = ManualClock(START)
    backups = Backups(bench.edges, addresses, clock, SystemChance())
    async with running(backups.run()):
        await pass_time(clock, 100)
        await eventually(lambda: len(jenkins.made) >= 2)
    assert not other.made
    assert len(jenkins.made) in (2, 3)  # 36 s apart, seen each 5 s
    assert [found.name for found in bench.edges.ledger.backups("a")] == [found.name for found in jenkins.made]


async def test_a_backup_that_fails_is_tried_again_later(bench: Bench, addresses: FakeAddresses) -> None:
    jenkins = told(bench, "a", backup={"to": "/srv/backups", "every_h": 1})
    jenkins.outcome = "failed"
    jenkins.made = [Backup("a-20200101T000000Z", "done", 1, "")]
    clock = ManualClock(START)
    backups = Backups(bench.edges, addresses, clock, SystemChance())
    async with running(backups.run()):
        await pass_time(clock, 20)
        await eventually(lambda: len(jenkins.made) == 2)
        await pass_time(clock, 80)
        jenkins.outcome = "done"
        await pass_time(clock, 130)
        await eventually(lambda: jenkins.made[0].state == "done")
        made = len(jenkins.made)
        await pass_time(clock, 60)
    assert len(jenkins.made) == made < 7


async def test_a_new_master_of_a_deleted_ones_name_makes_its_first_backup_in_its_own_time(
    bench: Bench, addresses: FakeAddresses
) -> None:
    jenkins = told(bench, "a", backup={"to": "/srv/backups", "every_h": 1000})
    jenkins.made = [Backup("a-20200101T000000Z", "done", 1, "")]
    jenkins.outcome = "failed"
    clock = ManualClock(START)
    backups = Backups(bench.edges, addresses, clock, SystemChance())
    async with running(backups.run()):
        await pass_time(clock, 10)
        await eventually(lambda: len(jenkins.made) == 2)
        await pass_time(clock, 10)
        bench.marathon.delete(bench.marathon.masters()["a"].app_id)
        bench.edges.ledger.forget("a")
        await pass_time(clock, 10)
        jenkins.made, jenkins.outcome = [], "done"
        bench.apply()
        await pass_time(clock, 100)
    assert not jenkins.made


async def test_a_master_sleeps_only_once_what_was_done_is_in_a_backup(bench: Bench, addresses: FakeAddresses) -> None:
    jenkins = told(bench, "a", backup={"to": "/srv/backups", "every_h": 1000})
    told(bench, "b")
    clock = ManualClock(START)
    backups = Backups(bench.edges, addresses, clock, SystemChance())
    masters = addresses.masters
    assert backups.let_sleep("b", masters["b"], clock.now())
    async with running(backups.run()):
        await pass_time(clock, 20)
        assert not jenkins.made
        used_at = clock.now()
        assert not backups.let_sleep("a", masters["a"], used_at)
        await pass_time(clock, 10)
        await eventually(lambda: backups.let_sleep("a", masters["a"], used_at))
        assert len(jenkins.made) == 1
        assert not backups.let_sleep("a", masters["a"], clock.now() + 1)


def test_when_a_backup_is_due() -> None:
    known = [Backup("a-b-20261121T203000Z", "done", 1, ""), Backup("a-b-20261121T213000Z", "failed", 1, "")]
    assert made_at("a-b-20261121T203000Z") == 1_795_293_000.0
    assert made_at("handmade") is None
    assert due_at("a-b", 3600, known, START) == 1_795_293_000.0 + 3600
    for name in ("a", "b", "c"):
        assert START <= due_at(name, 86_400, [], START) <= START + 3600
    assert due_at("a", 60, [], START) != due_at("b", 60, [], START)


async def test_boots_are_learned_once_for_each_task(bench: Bench, addresses: FakeAddresses) -> None:
    told(bench, "a")
    boots = Boots(bench.edges, addresses, ManualClock(START))
    await boots.look()
    assert bench.edges.ledger.boots() == {"a": 0.0}
    bench.edges.ledger.save_boots({"a": 5.0})
    await boots.look()
    assert bench.edges.ledger.boots() == {"a": 5.0}
