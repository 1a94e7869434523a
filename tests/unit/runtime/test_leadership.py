"""A scheduler among others: standing by, leading, being deposed, stepping down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from framework.core.effects import SaveTenant
from framework.core.events import Disconnected, OffersReceived, Subscribed
from framework.core.ids import FrameworkId
from framework.core.state import Config
from framework.errors import (
    DeposedError,
    FrameworkTakenError,
    MesosRefusedError,
    NoStandbyError,
    StoreError,
    StoreFullError,
    UnavailableError,
)
from framework.ports import Snapshot
from framework.runtime.leadership import Leadership, LoneElection
from framework.runtime.scheduler import Scheduler
from tests.fakes import samples
from tests.fakes.clockwork import ManualClock, eventually, quiet
from tests.fakes.driving import SeededChance
from tests.fakes.elections import FakeElection
from tests.fakes.memory_store import MemoryStore
from tests.fakes.mesos_edges import Accepted, FakeCluster, FakeDriver
from tests.unit.runtime.conftest import AGENT

FULL = StoreFullError("state.zookeeper: the connection is lost")
DEPOSED = DeposedError("state.zookeeper: this scheduler does not lead")


class Rig:
    """A seat with all that it stands on."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.revision = 0
        self.clock = ManualClock()
        self.election = FakeElection()
        self.drivers: list[FakeDriver] = []
        self.seat = Leadership(
            self.store,
            lambda: self.revision,
            self.election,
            self._new_scheduler,
            Config(),
            "http://here:8080",
            self.clock,
            SeededChance(),
        )
        self.running = asyncio.create_task(self.seat.run())

    @property
    def driver(self) -> FakeDriver:
        return self.drivers[-1]

    async def lead(self) -> None:
        """We are elected, and Mesos takes the subscription."""
        count = len(self.drivers)
        self.election.elect()
        await eventually(lambda: len(self.drivers) > count and self.driver.running, "the driver's start")
        await self.subscribe()

    async def subscribe(self) -> None:
        self.driver.tell(Subscribed(FrameworkId("f-1")))
        await eventually(lambda: self.seat.control.health().connected, "the subscription")

    async def stands_by(self, times: int) -> None:
        await self.in_time(
            lambda: self.election.journal.count("stands") == times and not self.seat.leads, "standing by"
        )

    async def in_time(self, condition: Callable[[], object], what: str) -> None:
        """Lets time pass until it holds."""

        def passing() -> object:
            self.clock.advance(0.1)
            return condition()

        await eventually(passing, what)

    async def stop(self) -> None:
        self.seat.stop()
        await asyncio.wait_for(self.running, 20)

    def _new_scheduler(self, found: Snapshot) -> Scheduler:
        return Scheduler(
            self.store,
            found,
            self._new_driver,
            FakeCluster(),
            Config(),
            AGENT,
            self.clock,
            SeededChance(),
            self.election.confirm,
        )

    def _new_driver(self, framework_id: FrameworkId | None) -> FakeDriver:
        self.drivers.append(FakeDriver(framework_id, self.store.journal))
        return self.drivers[-1]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    made.store.failing = None
    if not made.running.done():
        await made.stop()


async def test_a_standby_reads_and_leaves_the_rest_to_the_leader(rig: Rig) -> None:
    await rig.stands_by(1)
    control = rig.seat.control
    rig.store.commit([])
    rig.store.commit((), [samples.new(samples.request("r1"))])
    found = await control.request(samples.request("r1").id)
    assert found is not None
    assert not control.health().connected
    with pytest.raises(UnavailableError, match="does not lead"):
        await control.submit(samples.submission())
    with pytest.raises(UnavailableError, match="does not lead"):
        control.hosts()
    assert rig.drivers == []


async def test_a_standby_notices_what_another_writes(rig: Rig) -> None:
    await rig.stands_by(1)
    rig.store.commit([SaveTenant(samples.tenant())])
    rig.store.set_token(samples.TEAM, "0" * 64)
    rig.revision = 1
    await rig.in_time(lambda: rig.seat.control.token_sha256(samples.TEAM), "the token")
    assert [use.tenant.name for use in rig.seat.control.tenants()] == [samples.TEAM]


async def test_a_standby_whose_clock_is_set_while_it_reads_notices_what_another_writes_all_the_same(rig: Rig) -> None:
    await rig.stands_by(1)
    loop, load, reads = asyncio.get_running_loop(), rig.store.load, []

    def while_the_clock_is_set() -> Snapshot:
        reads.append("read")
        loop.call_soon_threadsafe(rig.clock.advance, 3600.0)
        return load()

    rig.store.load = while_the_clock_is_set  # type: ignore[method-assign]
    rig.revision = 1
    await rig.in_time(lambda: reads, "a read")
    await quiet(20)
    rig.store.load = load  # type: ignore[method-assign]
    rig.store.commit([SaveTenant(samples.tenant())])
    rig.revision, since = 2, rig.clock.now()
    await rig.in_time(rig.seat.control.tenants, "the tenant")
    assert rig.clock.now() - since < 60.0


async def test_waiting_at_a_standby_ends_with_the_build_or_the_time(rig: Rig) -> None:
    await rig.stands_by(1)
    request = samples.request("r1")
    rig.store.commit((), [samples.new(request)])
    waiting = asyncio.create_task(rig.seat.control.wait(request.id, 100.0))
    await quiet(5)
    assert not waiting.done()
    rig.store.commit(samples.ended(request))
    await rig.in_time(waiting.done, "the end of the wait")
    found = waiting.result()
    assert found is not None
    assert found.state == "ended"


async def test_the_elected_one_subscribes_with_the_saved_framework(rig: Rig) -> None:
    await rig.lead()
    assert rig.seat.leads
    assert rig.driver.framework_id is None
    await rig.stop()
    assert rig.driver.stopped
    assert rig.election.journal == ["stands", "leads", "steps down"]
    again = Rig()
    again.store = rig.store  # what the first one saved
    again.seat._store = rig.store
    await again.lead()
    assert again.driver.framework_id == "f-1"
    await again.stop()


async def test_a_deposed_leader_closes_its_connection_first_and_stands_by(rig: Rig) -> None:
    await rig.lead()
    rig.store.failing = FULL  # so that a turn is under way that cannot be saved
    rig.driver.tell(Disconnected("cable"), Subscribed(FrameworkId("f-2")))
    rig.election.depose()
    await rig.stands_by(2)
    assert rig.driver.stopped
    rig.store.failing = None
    assert "teardown" not in rig.store.journal
    await rig.lead()
    assert len(rig.drivers) == 2


async def test_what_cannot_be_saved_as_another_leads_is_not_performed(rig: Rig) -> None:
    await rig.lead()
    await rig.seat.control.set_tenant(samples.tenant(), new_token=False)
    await eventually(lambda: rig.seat.control.hosts(), "the list of hosts")
    await rig.seat.control.submit(samples.submission())
    rig.store.failing = DEPOSED
    rig.driver.tell(OffersReceived((samples.offer("o1"),)))
    await rig.stands_by(2)
    assert [call for call in rig.store.journal if isinstance(call, Accepted)] == []
    assert rig.driver.stopped


async def test_a_lost_connection_is_made_anew_only_by_one_who_still_leads(rig: Rig) -> None:
    await rig.lead()
    first = rig.driver
    rig.election.unconfirmed = UnavailableError("ZooKeeper does not answer")
    first.tell(Disconnected("cable"))
    await eventually(lambda: first.stopped, "the end of the driver")
    for _ in range(10):
        rig.clock.advance(30.0)
        await quiet(5)
    assert not any(driver.running for driver in rig.drivers)
    rig.election.unconfirmed = None
    await rig.in_time(lambda: rig.driver is not first and rig.driver.running, "another driver")
    assert rig.driver.framework_id == "f-1"
    rig.driver.tell(Disconnected("cable"))
    rig.election.unconfirmed = DEPOSED
    await rig.stands_by(2)


async def test_one_that_is_stopped_while_it_does_not_know_whether_it_leads_subscribes_no_more(rig: Rig) -> None:
    await rig.lead()
    rig.election.unconfirmed = UnavailableError("ZooKeeper does not answer")
    rig.driver.tell(Disconnected("cable"))
    await rig.in_time(lambda: len(rig.drivers) == 2, "another driver")
    await quiet(5)
    await rig.stop()
    assert not rig.driver.ran


async def test_a_framework_that_another_took_is_taken_back_by_the_leader_alone(rig: Rig) -> None:
    await rig.lead()
    rig.driver.refuse(FrameworkTakenError("Framework failed over"))
    await rig.in_time(lambda: len(rig.drivers) == 2 and rig.driver.running, "another driver")
    await rig.subscribe()
    rig.election.unconfirmed = DEPOSED
    rig.driver.refuse(FrameworkTakenError("Framework failed over"))
    await rig.stands_by(2)


async def test_other_refusals_of_mesos_end_it(rig: Rig) -> None:
    await rig.lead()
    rig.driver.refuse(MesosRefusedError("401"))
    with pytest.raises(MesosRefusedError):
        await rig.running


async def test_stepping_down_hands_over_and_stands_again(rig: Rig) -> None:
    await rig.lead()
    await rig.seat.step_down(force=False)
    assert not rig.seat.leads
    await rig.stands_by(2)
    assert rig.election.journal == ["stands", "leads", "steps down", "stands"]
    with pytest.raises(UnavailableError, match="does not lead"):
        await rig.seat.step_down(force=True)


async def test_nobody_steps_down_with_nobody_to_take_over_unless_forced(rig: Rig) -> None:
    await rig.lead()
    rig.election.standbys = 0
    with pytest.raises(NoStandbyError):
        await rig.seat.step_down(force=False)
    rig.election.connected = False
    with pytest.raises(UnavailableError):
        await rig.seat.step_down(force=True)
    rig.election.connected = True
    assert rig.seat.leads
    await rig.seat.step_down(force=True)
    await rig.stands_by(2)


async def test_a_damaged_state_ends_a_standby_and_one_that_is_away_does_not(rig: Rig) -> None:
    await rig.stands_by(1)

    def away() -> Snapshot:
        raise FULL

    def damaged() -> Snapshot:
        raise StoreError("node /butlery/epoch is damaged")

    rig.store.load = away  # type: ignore[method-assign]
    rig.revision = 1
    await rig.in_time(lambda: any("lost" in notice for notice in rig.seat.control.health().notices), "the notice")
    rig.store.load = damaged  # type: ignore[method-assign]
    await rig.in_time(rig.running.done, "its end")
    with pytest.raises(StoreError, match="damaged"):
        rig.running.result()


async def test_stop_ends_a_standby_at_once(rig: Rig) -> None:
    await rig.stands_by(1)
    await rig.stop()
    assert rig.drivers == []


async def test_alone_it_leads() -> None:
    election = LoneElection("http://here:1", "here", "1.0", ManualClock())
    assert [await election.lead(), await election.lead()] == [1, 2]
    assert election.leader is not None
    assert (election.leader.epoch, election.standbys, election.connected) == (2, 0, True)
    await election.confirm()
