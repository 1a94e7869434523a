"""When masters are looked at, and what becomes of what is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from framework.core.events import MasterObserved
from framework.core.ids import TenantName
from framework.errors import UnavailableError
from framework.jenkins_ports import Look, MasterError
from framework.runtime.jenkins.poller import FAILING_AT_ONCE, LOOKS_AT_ONCE, LOOKS_PER_S, SILENT_S
from tests.fakes.clockwork import eventually, quiet
from tests.fakes.master_edge import record_of
from tests.unit.runtime.jenkins.rig import BLOG, DOWN, PAYMENTS, Rig, stop


class Watching(Rig):
    """Its poller runs; ``seen`` are the looks that were handed on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[TenantName, Look]] = []
        self.unavailable = False

    async def found(self, tenant: TenantName, look: Look) -> None:
        if self.unavailable:
            raise UnavailableError("the state cannot be saved")
        self.seen.append((tenant, look))

    def looks(self, tenant: TenantName = PAYMENTS) -> int:
        return sum(asked == ("look", record_of(tenant).url, "") for asked in self.masters.asked)

    async def looked(self, times: int, tenant: TenantName = PAYMENTS) -> None:
        await eventually(lambda: self.looks(tenant) == times, f"{times} looks")
        await quiet(5)
        assert self.looks(tenant) == times

    async def pass_s(self, seconds: float, step_s: float = 1.0) -> None:
        """In small steps, as time passes."""
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            await quiet(2)


@pytest.fixture
async def rig() -> AsyncIterator[Watching]:
    rig = Watching()
    running = asyncio.create_task(rig.poller.run(rig.found, lambda: rig.busy))
    await asyncio.sleep(0)
    yield rig
    await stop(running)


async def test_a_master_is_looked_at_as_soon_as_it_is_known(rig: Watching) -> None:
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    await rig.looked(1)
    assert [tenant for tenant, _ in rig.seen] == [PAYMENTS]
    assert [event.tenant for event in rig.of(MasterObserved)] == [PAYMENTS]


async def test_one_that_has_nothing_to_do_is_looked_at_once_a_minute(rig: Watching) -> None:
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    await rig.pass_s(300, 2.0)
    assert 4 <= rig.looks() <= 7


async def test_one_with_something_to_do_is_looked_at_often_while_it_is_silent(rig: Watching) -> None:
    rig.busy = {PAYMENTS}
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    await rig.pass_s(60)
    assert 9 <= rig.looks() <= 16
    rig.poller.heard(PAYMENTS)
    await rig.pass_s(6)
    before = rig.looks()
    await rig.pass_s(SILENT_S - 10)
    assert rig.looks() <= before + 1, "its events come"
    await rig.pass_s(30)
    assert rig.looks() >= before + 3, "it fell silent"


async def test_one_that_has_started_anew_is_looked_at_often_for_a_while(rig: Watching) -> None:
    rig.busy = {PAYMENTS}
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    for _ in range(12):
        rig.poller.heard(PAYMENTS)
        await rig.pass_s(10)
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    before = rig.looks()
    rig.poller.heard(PAYMENTS)
    await rig.pass_s(30)
    assert rig.looks() <= before + 2, "it told the same again"
    before = rig.looks()
    rig.poller.know(PAYMENTS, record_of(PAYMENTS, "s2"))
    rig.poller.heard(PAYMENTS)
    await rig.pass_s(30)
    assert rig.looks() >= before + 4


async def test_a_clock_that_is_set_back_keeps_nobody_from_being_looked_at(rig: Watching) -> None:
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    await rig.looked(1)
    rig.clock.set_back(3600)
    await rig.pass_s(100, 2.0)
    assert rig.looks() >= 2


async def test_one_that_is_away_is_looked_at_less_and_less_and_at_once_when_it_tells_itself_anew(rig: Watching) -> None:
    rig.masters.fail(PAYMENTS, DOWN)
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    await rig.pass_s(3600, 10.0)
    assert rig.looks() <= 14
    rig.masters.fail(PAYMENTS, None)
    before = rig.looks()
    rig.poller.know(PAYMENTS, record_of(PAYMENTS, "s2"))
    await rig.looked(before + 1)
    assert rig.seen[-1][1].session == "s2"


async def test_one_that_is_away_is_looked_at_when_it_tells_something(rig: Watching) -> None:
    rig.masters.fail(PAYMENTS, DOWN)
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    await rig.pass_s(100)
    before = rig.looks()
    rig.masters.fail(PAYMENTS, None)
    rig.poller.heard(PAYMENTS)
    await rig.looked(before + 1)


async def test_whoever_asks_for_a_look_has_one_that_begins_after(rig: Watching) -> None:
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    await rig.looked(1)
    await rig.pass_s(1)
    rig.masters.held = asyncio.Event()
    for _ in range(100):
        rig.poller.look_soon(PAYMENTS)
    await rig.looked(2)
    for _ in range(100):
        rig.poller.look_soon(PAYMENTS)
    rig.masters.held.set()
    await rig.pass_s(2)
    assert rig.looks() == 3


async def test_a_look_that_cannot_be_taken_in_is_only_told_of(rig: Watching) -> None:
    rig.unavailable = True
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    await rig.looked(1)
    rig.unavailable = False
    await rig.pass_s(80)
    assert rig.seen


async def test_a_master_that_is_forgotten_is_left_alone(rig: Watching) -> None:
    rig.masters.held = asyncio.Event()
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    await rig.looked(1)
    rig.poller.know(PAYMENTS, None)
    rig.masters.held.set()
    await rig.pass_s(200, 10.0)
    assert rig.looks() == 1
    assert rig.seen == []


async def test_slow_masters_leave_places_to_others(rig: Watching) -> None:
    slow = [TenantName(f"slow{number}") for number in range(3 * FAILING_AT_ONCE)]
    for tenant in slow:
        rig.masters.fail(tenant, MasterError("slow", "no answer within 10 s"))
        rig.poller.know(tenant, record_of(tenant))
    await quiet(5)
    await rig.pass_s(2)
    assert {url for what, url, _ in rig.masters.asked} == {record_of(tenant).url for tenant in slow}
    rig.masters.held = asyncio.Event()
    await rig.pass_s(30)
    assert rig.masters.at_once == FAILING_AT_ONCE
    rig.poller.know(BLOG, record_of(BLOG))
    await rig.looked(1, BLOG)
    assert rig.masters.at_once == FAILING_AT_ONCE + 1
    rig.masters.held.set()
    await rig.pass_s(30)
    assert rig.looks(slow[-1]) >= 2, "those that waited for a place had one"


async def test_looks_of_very_many_are_bounded_at_once_and_in_a_second(rig: Watching) -> None:
    tenants = [TenantName(f"t{number}") for number in range(1000)]
    for tenant in tenants:
        rig.poller.know(tenant, record_of(tenant))
    await quiet(20)
    assert rig.masters.count("look") <= 2 * LOOKS_AT_ONCE
    assert rig.masters.most_at_once <= LOOKS_AT_ONCE
    begun = rig.masters.count("look")
    for _ in range(20):
        rig.clock.advance(0.1)
        await quiet(5)
    assert rig.masters.count("look") - begun <= 2.2 * LOOKS_PER_S
    for _ in range(140):
        rig.clock.advance(0.2)
        await quiet(3)
    assert rig.masters.count("look") == len(tenants)


async def test_a_look_that_is_asked_for_goes_before_all_that_are_due(rig: Watching) -> None:
    rig.poller.know(PAYMENTS, record_of(PAYMENTS))
    await rig.looked(1)
    await rig.pass_s(2)
    for number in range(1000):
        tenant = TenantName(f"t{number}")
        rig.poller.know(tenant, record_of(tenant))
    late = TenantName("t999")
    await quiet(5)
    for tenant in (PAYMENTS, late):
        rig.poller.look_soon(tenant)
    await rig.pass_s(2, 0.1)
    assert rig.looks(late) == 1
    assert rig.looks() == 2
    assert rig.masters.count("look") < 200


async def test_troubles_of_masters_that_have_builds_waiting_are_told(rig: Watching) -> None:
    rig.masters.fail(PAYMENTS, DOWN)
    rig.masters.fail(BLOG, MasterError("refused", "it does not know our API token (HTTP 401, GET computer/api/json)"))
    for tenant in (PAYMENTS, BLOG):
        rig.poller.know(tenant, record_of(tenant))
    await rig.looked(1)
    assert [PAYMENTS in notice for notice in rig.troubles.notices(lambda _: True)] == [False], "it may restart"
    await rig.pass_s(40)
    down, refused = rig.troubles.notices(lambda _: True)
    assert "not there: payments (payments: no connection" in down
    assert "HTTP 401" in refused
    assert len(rig.troubles.notices(lambda _: False)) == 1
