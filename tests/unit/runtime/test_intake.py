"""What masters tell becomes one request for each item, whatever repeats, and the core's events of their own agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from framework.catalog.parts import AgentParts, sized
from framework.core import pools
from framework.core.events import CancelAsked, MasterObserved
from framework.core.ids import TenantName, node_of, task_id
from framework.core.jenkins import QueueItem
from framework.core.tasks import FailureClass, Outcome, Quota, Request, RequestState, Tenant
from framework.errors import StoreFullError, UnavailableError
from framework.jenkins_ports import DemandAnswer, DemandRecord, FoundItem, Look, RateLimitedError, Sizes
from framework.runtime.jenkins import intake as intake_module
from framework.runtime.jenkins.intake import MAX_AGAIN, DemandIntake
from tests.fakes.clockwork import eventually
from tests.fakes.driving import SeededChance
from tests.fakes.templates import fixed_templates
from tests.unit.runtime.conftest import Rig

RED, BLUE = TenantName("red"), TenantName("blue")


class Told:
    """An intake over a whole runtime; ``seq`` is that of the newest record of each session."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.templates = fixed_templates(
            maven={"cpus": 0.5, "mem_mib": 256}, huge={"mem_mib": 100_000}, any={"default": True, "cpus": 0.1}
        )
        self.heard: list[TenantName] = []
        self.looks: list[TenantName] = []
        self.seq: dict[str, int] = {}
        self.intake = self.begin()

    def begin(self, events_per_s: float = 1000.0, sizes: Sizes | None = None) -> DemandIntake:
        """As a scheduler that starts."""
        rig = self.rig
        self.intake = DemandIntake(
            rig.scheduler.loop,
            rig.store,
            self.templates,
            self.heard.append,
            self.looks.append,
            events_per_s,
            rig.clock,
            SeededChance(),
            sizes,
        )
        return self.intake

    def record(self, event: Any, item: int | None = None, session: str = "s1", **more: Any) -> DemandRecord:
        self.seq[session] = self.seq.get(session, 0) + 1
        values = {"task": "fs", "label": "maven", "in_queue_since_ms": 0 if item is None else 5, **more}
        return DemandRecord(event, session, self.seq[session], item=item, **values)

    async def take(self, *records: DemandRecord, tenant: TenantName = RED) -> DemandAnswer:
        return await self.intake.take(tenant, records)

    async def found(self, *items: int, label: str | None = "maven", asked_s: float = 0.0) -> None:
        """A look at red's queue that begins ``asked_s`` from now."""
        self.rig.clock.advance(0.01)
        there = [FoundItem(QueueItem(number, 5), "fs", "job/fs/", label) for number in items]
        observed = MasterObserved(RED, self.rig.clock.now() + asked_s, frozenset(one.item for one in there), ())
        self.rig.clock.advance(0.01)
        await self.intake.found(RED, Look("s1", tuple(there), observed))

    def live(self, tenant: TenantName = RED) -> list[Request]:
        return [one for one in self.rig.scheduler.loop.state.requests.values() if one.tenant == tenant]

    def of(self, number: int) -> Request | None:
        return self.rig.scheduler.loop.state.masters.of(RED).of_item(QueueItem(number, 5))

    async def cancel(self, number: int) -> None:
        request = self.of(number)
        assert request is not None
        await self.rig.scheduler.loop.settled(CancelAsked(request.id, "by hand"), 10)


@pytest.fixture
async def told(rig: Rig) -> AsyncIterator[Told]:
    await rig.subscribe("red")
    await rig.control.set_tenant(Tenant(BLUE), new_token=False)
    yield Told(rig)


async def test_an_item_gets_one_request_whatever_repeats(told: Told) -> None:
    first = [told.record("ready"), told.record("buildable", 1, task="part of pl #1", task_url="job/pl/1/")]
    assert await told.take(*first) == DemandAnswer(2)
    (request,) = told.live()
    assert request.jenkins is not None
    side = request.jenkins
    assert (request.job, side.item, side.task_url, side.label) == (
        "part of pl #1",
        QueueItem(1, 5),
        "job/pl/1/",
        "maven",
    )
    assert (request.template.name, side.node_labels) == ("maven", "maven")
    assert (side.task, side.buildable_at) == ("part of pl #1", told.rig.clock.now())
    spec = told.rig.store.payload(request.id)
    assert spec is not None
    assert (spec.job, spec.tenant) == ("part of pl #1", request.tenant)
    assert await told.take(*first) == DemandAnswer(0)
    await told.take(told.record("buildable", 1))
    await told.found(1)
    told.begin()  # a scheduler that starts
    await told.take(*first, told.record("buildable", 1), told.record("buildable", 1, session="s2"))
    await told.found(1)
    assert [one.id for one in told.live()] == [request.id]
    assert set(told.heard) == {RED}


async def test_a_crash_before_the_answer_makes_no_second_one(told: Told) -> None:
    records = [told.record("buildable", 1)]
    await told.take(*records)
    await told.rig.crash()
    await told.rig.start()
    await told.rig.subscribe(None)
    told.begin()
    told.intake._masters.clear()  # as though the request were not known to be live
    assert await told.take(*records) == DemandAnswer(1)
    assert len(told.live()) == 1


async def test_an_item_that_left_at_once_gets_none(told: Told) -> None:
    await told.take(told.record("buildable", 1), told.record("left", 1))
    await told.found(1, asked_s=-10.0)  # a look that was asked before
    assert told.live() == []


async def test_items_that_leave_are_told_to_the_core(told: Told) -> None:
    await told.take(told.record("buildable", 1), told.record("buildable", 2))
    await told.take(told.record("left", 1, cancelled=True), told.record("left", 99))
    await eventually(lambda: told.of(1) is None or told.of(1).state is RequestState.ENDED, "its end")  # type: ignore[union-attr]
    assert told.of(2) is not None


async def test_who_cannot_be_served_is_told_why(told: Told) -> None:
    answer = await told.take(
        told.record("buildable", 1, label="gpu"),
        told.record("buildable", 2, label="a &&"),
        told.record("buildable", 3, label="huge"),
        told.record("buildable", 4, label="x" * 3000),
        told.record("buildable", 5, label=None),
    )
    assert [one.item.number for one in answer.unserved] == [1, 2, 3, 4]
    reasons = [one.reason for one in answer.unserved]
    assert "gpu" in reasons[0]
    assert "label expression" in reasons[1]
    assert "template huge: 100000 MiB is more than any host can hold" in reasons[2]
    assert "longer than 2000" in reasons[3]
    assert [one.template.name for one in told.live()] == ["any"]
    assert (await told.take(told.record("alive"))).unserved == answer.unserved
    assert (await told.take(told.record("buildable", 6))).unserved == ()
    assert told.intake.unserved(RED) == answer.unserved
    assert told.intake.busy() == {RED}
    await told.take(told.record("left", 1), told.record("left", 2))
    await told.found(3, 5, 6, label="huge")
    assert [one.item.number for one in told.intake.unserved(RED)] == [3]
    told.templates.catalog = fixed_templates(huge={"mem_mib": 64}).catalog  # its operator mends it
    assert (await told.take(told.record("buildable", 3, label="huge"))).unserved == ()
    assert told.of(3) is not None


async def test_a_tenant_without_quota_is_told_so(told: Told) -> None:
    await told.rig.control.set_tenant(Tenant(RED, quota=Quota(builds=0)), new_token=False)
    (refused,) = (await told.take(told.record("buildable", 1))).unserved
    assert "quota of builds is 0" in refused.reason
    await told.found(2, label=None)
    assert "does not tell which label" in told.intake.unserved(RED)[-1].reason


async def test_more_items_than_there_is_room_for_are_turned_away(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "MAX_ITEMS", 3)
    answer = await told.take(*(told.record("buildable", number) for number in range(1, 6)))
    assert [one.item.number for one in answer.unserved] == [4, 5]
    assert len(told.live()) == 3


async def test_gaps_and_beginnings_have_the_queue_looked_at(told: Told) -> None:
    await told.take(told.record("ready"))
    await told.take(told.record("alive"))
    assert told.looks == [RED]
    told.record("left", 1)  # lost
    await told.take(told.record("alive"))
    assert told.looks == [RED, RED]
    await told.found(7)  # whose event was lost
    assert told.of(7) is not None


async def test_nobody_speaks_for_agents_of_others(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    await told.take(told.record("buildable", 1))
    (request,) = told.live()
    node = node_of(task_id(request.id, 1))
    events: list[object] = []
    take_all = told.rig.scheduler.loop.take_all

    async def noted(batch: Any, given: Any, timeout_s: float) -> Any:
        events.extend(given)
        return await take_all(batch, given, timeout_s)

    monkeypatch.setattr(told.rig.scheduler.loop, "take_all", noted)
    every = [
        told.record(event, node=given, session="s9")
        for event in ("online", "accepted", "started", "finished", "served", "offline")
        for given in (node, "butlery-by-hand", "own", None)
    ]
    await told.take(*every, tenant=BLUE)
    assert events == []
    await told.take(*every[:4])
    assert [type(one).__name__ for one in events] == ["AgentOnline"]


async def test_an_item_whose_request_ended_gets_another_a_few_times(told: Told) -> None:
    await told.take(told.record("buildable", 1))
    seen = set()
    for _ in range(MAX_AGAIN + 1):
        request = told.of(1)
        assert request is not None
        seen.add(request.id)
        await told.cancel(1)
        await told.take(told.record("buildable", 1))  # which may be an old one
        assert told.of(1) is None
        told.rig.clock.advance(400.0)
        await told.found(1)
    assert len(seen) == MAX_AGAIN + 1
    assert told.of(1) is None
    (unserved,) = told.intake.unserved(RED)
    assert "6 requests for an agent ended before it was served" in unserved.reason
    assert "by hand" in unserved.reason
    told.templates.catalog = fixed_templates(maven={"cpus": 0.7, "mem_mib": 256}).catalog  # which mends it, or not
    await told.found(1)
    assert told.of(1) is not None
    assert told.intake.unserved(RED) == ()
    await told.cancel(1)
    told.rig.clock.advance(400.0)
    await told.found(1)
    assert told.of(1) is None, "one more for each content"
    assert len(told.intake.unserved(RED)) == 1


async def test_who_waits_for_a_paused_template_is_told_why(told: Told) -> None:
    await told.take(told.record("ready"), told.record("buildable", 1))
    request, state = told.of(1), told.rig.scheduler.loop.state
    assert request is not None
    for number in (2, 3, 4):
        outcome = Outcome(FailureClass.CONNECT, "said why")
        state.paused.ended(request, task_id(request.id, number), outcome, told.rig.clock.now())
    assert (await told.take(told.record("online", node="butlery-other"))).unserved == ()  # so often nobody needs it
    assert (await told.take(told.record("buildable", 2, label="any"))).unserved == ()  # of another template
    (first,) = (await told.take(told.record("alive"))).unserved
    assert (first.item.number, first.label) == (1, "maven")
    assert first.reason.startswith("template maven@")
    assert first.reason.endswith(" of red is paused: said why")
    (second,) = (await told.take(told.record("buildable", 3))).unserved
    assert (second.item.number, second.reason) == (3, first.reason)
    told.rig.clock.advance(30.0)  # which a master that always has something to tell cannot wait for
    assert len((await told.take(told.record("online", node="butlery-other"))).unserved) == 2
    state.paused.works(request)
    assert (await told.take(told.record("alive"))).unserved == ()


async def test_a_storm_of_labels_is_judged_bit_by_bit_and_those_that_are_served_find_their_turn(told: Told) -> None:
    labels = [f"nobody-{number}" for number in range(150)] + ["maven"]
    await told.take(*(told.record("buildable", number, label=label) for number, label in enumerate(labels)))
    reasons = [one.reason for one in told.intake.unserved(RED)]
    assert sum("wait for its turn" in reason for reason in reasons) == 51
    assert told.live() == []
    told.rig.clock.advance(6.0)
    there = [FoundItem(QueueItem(number, 5), "fs", "", label) for number, label in enumerate(labels)]
    asked_at = told.rig.clock.now()
    told.rig.clock.advance(0.1)
    look = Look("s1", tuple(there), MasterObserved(RED, asked_at, frozenset(one.item for one in there), ()))
    await told.intake.found(RED, look)
    assert [one.jenkins.label for one in told.live() if one.jenkins is not None] == ["maven"]
    assert not any("wait for its turn" in one.reason for one in told.intake.unserved(RED))


async def test_another_request_waits_its_time(told: Told) -> None:
    await told.take(told.record("buildable", 1))
    await told.cancel(1)
    await told.found(1, asked_s=-100.0)  # asked before its end
    assert told.of(1) is None
    await told.found(1)
    await told.cancel(1)
    await told.found(1)
    assert told.of(1) is None  # at once only the first time
    told.rig.clock.advance(10.0)
    await told.found(1)
    assert told.of(1) is not None


async def test_a_storm_of_one_master_is_held_to_its_share(told: Told) -> None:
    told.begin(events_per_s=10.0)
    await told.take(*(told.record("alive") for _ in range(150)))
    with pytest.raises(RateLimitedError):
        await told.take(told.record("alive"))
    await told.take(told.record("alive"), tenant=BLUE)


async def test_what_cannot_be_saved_is_not_taken(told: Told) -> None:
    record = told.record("buildable", 1)
    told.rig.store.failing = StoreFullError("the disk is full")
    with pytest.raises(UnavailableError):
        await told.take(record)
    told.rig.store.failing = None
    told.rig.clock.advance(60.0)

    async def again() -> bool:
        try:
            return (await told.take(record)).taken == 1
        except UnavailableError:
            return False

    while not await again():
        told.rig.clock.advance(10.0)
        await asyncio.sleep(0.01)
    assert len(told.live()) == 1


async def test_a_masters_texts_are_made_fit_to_be_shown(told: Told) -> None:
    await told.take(told.record("buildable", 1, task="\x1b[31mred\nline" + "x" * 400))
    (request,) = told.live()
    assert request.job.startswith(" [31mred line")
    assert len(request.job) == 300


class Halving:
    """Gives every job half the memory of its template."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.times = 0.5

    def size(self, tenant: TenantName, job: str, parts: AgentParts) -> AgentParts:
        self.asked.append((tenant, job))
        return sized(parts, job, parts.spec.cpu_millis, int(parts.spec.mem_mib * self.times))


async def test_an_item_gets_an_agent_of_its_jobs_size_where_its_master_keeps_it_for_that_job(told: Told) -> None:
    sizes = Halving()
    told.begin(sizes=sizes)
    await told.take(told.record("buildable", 1, task="part of pl #1", fits=True))
    await told.take(told.record("buildable", 2, task="part of pl #1"))  # of an older init script
    await told.take(told.record("buildable", 3, task="odd\u0007name", fits=True))  # shown otherwise than it is
    await told.found(4)
    assert sizes.asked == [(RED, "pl")]
    made = [told.of(number) for number in (1, 2, 3, 4)]
    assert [one.template.own_resources.mem_mib for one in made if one is not None] == [128, 256, 256, 256]
    first, second = made[:2]
    assert first is not None and second is not None and first.template.sized is not None
    assert first.template.sized.job == "pl"
    assert not pools.alike(first, second)
    spec = told.rig.store.payload(first.id)
    assert spec is not None and spec.mem_mib == 128
    assert first.template.version.partition("~")[0] == second.template.version


async def test_a_size_that_no_host_has_is_not_asked_for(told: Told) -> None:
    sizes = Halving()
    sizes.times = 1e6
    told.begin(sizes=sizes)
    await told.take(told.record("buildable", 1, fits=True))
    [request] = told.live()
    assert request.template.own_resources.mem_mib == 256
