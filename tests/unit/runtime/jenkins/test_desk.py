"""A scheduler that serves its tenants' masters: it knows how they are spoken to, and has what it needs to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from framework.core.ids import TaskId, node_of
from framework.core.jenkins import QueueItem
from framework.core.state import Config
from framework.errors import StoreFullError
from framework.jenkins_ports import DemandRecord, MasterError, MasterRecord, NewNode
from framework.runtime.jenkins.desk import MastersAccess
from framework.runtime.scheduler import Scheduler
from framework.runtime.templates import TemplateWatch
from framework.settings import JenkinsSettings
from tests.fakes import samples
from tests.fakes.clockwork import ManualClock, eventually
from tests.fakes.driving import SeededChance
from tests.fakes.master_edge import FakeMasters, record_of
from tests.fakes.memory_store import MemoryStore
from tests.fakes.mesos_edges import FakeCluster, FakeDriver
from tests.unit.runtime.conftest import AGENT

TEAM = samples.TEAM
TEMPLATES = "templates: {maven: {command: 'true', cpus: 1, mem_mib: 64}}"


class Whole:
    """A scheduler on fakes, which may be started anew."""

    def __init__(self, directory: Path) -> None:
        (directory / "butlery.yaml").write_text(TEMPLATES)
        self.config = directory / "butlery.yaml"
        self.store = MemoryStore()
        self.clock = ManualClock()
        self.masters = FakeMasters(self.clock.now)
        self.scheduler: Scheduler
        self.running: asyncio.Task[None]

    async def start(self) -> None:
        access = MastersAccess(self.masters, TemplateWatch(self.config, None, self.clock), JenkinsSettings())
        self.scheduler = Scheduler(
            self.store,
            self.store.load(),
            lambda known: FakeDriver(known, self.store.journal),
            FakeCluster(),
            Config(),
            AGENT,
            self.clock,
            SeededChance(),
            masters=access,
        )
        self.running = asyncio.create_task(self.scheduler.run())
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self.scheduler.stop()
        await self.running

    def looks(self) -> int:
        return self.masters.count("look")


@pytest.fixture
async def whole(tmp_path: Path) -> AsyncIterator[Whole]:
    """With one tenant, whose master has told nothing yet."""
    whole = Whole(tmp_path)
    await whole.start()
    await whole.scheduler.control.set_tenant(samples.tenant(), new_token=False)
    yield whole
    if not whole.running.done():
        await whole.stop()


async def test_a_master_is_looked_at_when_it_tells_how_and_after_a_restart(whole: Whole) -> None:
    await whole.scheduler.control.set_master(TEAM, record_of(TEAM))
    await eventually(lambda: whole.looks() == 1, "a look")
    await whole.scheduler.control.set_master(TEAM, record_of(TEAM))
    await whole.stop()
    await whole.start()
    await eventually(lambda: whole.looks() == 2, "a look of the next scheduler")


async def test_records_that_cannot_be_read_now_are_read_later(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    await whole.scheduler.control.set_master(TEAM, record_of(TEAM))
    await eventually(lambda: whole.looks() == 1, "a look")
    await whole.stop()
    readable, asked = whole.store.master, 0

    def unreadable(_: str) -> MasterRecord | None:
        nonlocal asked
        asked += 1
        raise StoreFullError("the disk is full")

    monkeypatch.setattr(whole.store, "master", unreadable)
    await whole.start()
    await eventually(lambda: asked == 1, "a try to read")
    monkeypatch.setattr(whole.store, "master", readable)

    def looked() -> bool:
        whole.clock.advance(0.1)
        return whole.looks() >= 2

    await eventually(looked, "a look")


async def test_what_a_master_tells_and_what_is_seen_becomes_one_request(whole: Whole) -> None:
    await whole.scheduler.control.set_master(TEAM, record_of(TEAM))
    item = QueueItem(7, 1_000_000)
    whole.masters.items[record_of(TEAM).url] = {item: "maven"}
    told = DemandRecord("buildable", "s1", 1, 5, item.number, item.since_ms, "job", "job/job/", "maven")
    answer = await whole.scheduler.control.demand(TEAM, [told])
    assert (answer.taken, answer.unserved) == (1, ())
    whole.clock.advance(3.0)
    await eventually(lambda: whole.looks() >= 1, "a look")
    (request,) = whole.scheduler.loop.state.requests.values()
    assert request.jenkins is not None
    assert request.jenkins.item == item


async def test_an_item_that_no_event_told_of_is_found(whole: Whole) -> None:
    whole.masters.items[record_of(TEAM).url] = {QueueItem(7, 1_000_000): "maven", QueueItem(8, 1_000_000): "gpu"}
    await whole.scheduler.control.set_master(TEAM, record_of(TEAM))
    await eventually(lambda: whole.scheduler.control.unserved(TEAM), "an item that nobody serves")
    (unserved,) = whole.scheduler.control.unserved(TEAM)
    (request,) = whole.scheduler.loop.state.requests.values()
    assert unserved.item.number == 8
    assert request.jenkins is not None
    assert request.jenkins.item == QueueItem(7, 1_000_000)


async def test_nodes_that_nobody_is_behind_are_removed(whole: Whole) -> None:
    left_over = node_of(TaskId("0123456789abcdef.1"))
    whole.masters.of(TEAM)[left_over] = NewNode(left_over, "maven", "butlery: agent", "agent", exclusive=True)
    await whole.scheduler.control.set_master(TEAM, record_of(TEAM))
    await eventually(lambda: not whole.masters.of(TEAM), "the removal")


async def test_troubles_of_masters_are_told_with_the_schedulers_health(whole: Whole) -> None:
    whole.masters.fail(TEAM, MasterError("refused", "it does not know its own API token (HTTP 401)"))
    await whole.scheduler.control.set_master(TEAM, record_of(TEAM))
    await eventually(lambda: whole.scheduler.control.health().notices, "a notice")
    (notice,) = whole.scheduler.control.health().notices
    assert "do not let their scheduler in" in notice
    assert TEAM in notice
    await whole.scheduler.control.set_master(TEAM, None)
    assert whole.scheduler.control.health().notices == []


async def test_nothing_waits_for_a_master_that_is_forgotten(whole: Whole) -> None:
    whole.masters.items[record_of(TEAM).url] = {QueueItem(7, 1_000_000): "maven", QueueItem(8, 1_000_000): "gpu"}
    await whole.scheduler.control.set_master(TEAM, record_of(TEAM))
    await eventually(lambda: whole.scheduler.control.unserved(TEAM), "an item that nobody serves")
    assert whole.scheduler.loop.state.requests
    await whole.scheduler.control.set_master(TEAM, None)
    assert not whole.scheduler.loop.state.requests
    assert not whole.scheduler.control.unserved(TEAM)
    assert not whole.scheduler.loop.state.masters.of(TEAM).bound()
