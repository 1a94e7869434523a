"""Commits' statuses: in order, the newest of each commit, tried again, and told of once a restart is over too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from framework.core.effects import SaveRequest
from framework.core.ids import TenantName
from framework.core.origin import Origin
from framework.core.tasks import FailureClass, Outcome, Request, RequestState
from framework.forge_ports import CommitState, CommitStatus, Delivery, ForgeError
from framework.runtime import statuses
from framework.runtime.statuses import GIVE_UP_S, LOOK_BACK_S, Statuses
from tests.fakes import samples
from tests.fakes.clockwork import ManualClock, eventually, quiet
from tests.fakes.driving import SeededChance
from tests.fakes.forge_messages import COMMIT, REPOSITORY
from tests.fakes.memory_store import MemoryStore

ORIGIN = Origin("shop", REPOSITORY, COMMIT, "main")
QUEUED, RUNNING, PASSED, FAILED = (
    CommitState.QUEUED, CommitState.RUNNING, CommitState.PASSED, CommitState.FAILED,
)  # fmt: skip


class Forge:
    """Implements ``framework.forge_ports.Forge``. ``failing`` is raised by ``tell``; while ``held`` it waits."""

    def __init__(self) -> None:
        self.told: list[tuple[str, CommitStatus]] = []
        self.tries = 0
        self.failing: ForgeError | None = None
        self.held: asyncio.Event | None = None

    @property
    def states(self) -> list[CommitState]:
        return [status.state for _, status in self.told]

    def genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        raise NotImplementedError

    def read(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        raise NotImplementedError

    async def tell(self, origin: Origin, status: CommitStatus) -> None:
        self.tries += 1
        if self.failing is not None:
            raise self.failing
        if self.held is not None:
            await self.held.wait()
        self.told.append((origin.commit, status))

    async def file(self, repository: str, commit: str, path: str, max_bytes: int) -> str | None:
        raise NotImplementedError


class Told:
    """A store, a forge and what tells it."""

    def __init__(self) -> None:
        self.store, self.forge, self.clock = MemoryStore(), Forge(), ManualClock()
        self.new()

    def new(self) -> Statuses:
        self.statuses = Statuses(
            {"shop": self.forge}, {TenantName("team")}, self.store, "http://butlery:8080", self.clock, SeededChance(1)
        )
        return self.statuses

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.statuses.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def submitted(self, request_id: str, **changes: Any) -> Request:
        given = {"origin": ORIGIN, "submitted_at": self.clock.now(), **changes}
        request = samples.request(request_id, **given)
        self.store.commit((), [samples.new(request)])
        return request

    def saved(self, request: Request, **changes: Any) -> Request:
        """It is told of as the loop does."""
        changed = msgspec.structs.replace(request, **changes)
        self.store.commit([SaveRequest(changed)])
        self.statuses.changed(changed)
        return changed

    def ended(self, request: Request, result: FailureClass = FailureClass.PASSED, message: str = "") -> Request:
        return self.saved(request, state=RequestState.ENDED, outcome=Outcome(result, message, wall_s=3.2))

    def noted(self, request_id: str) -> bool:
        found = self.store.request(samples.request(request_id).id)
        return found is not None and found.origin is not None and found.origin.told


@pytest.fixture
def told() -> Told:
    return Told()


async def test_from_waiting_to_its_end(told: Told) -> None:
    request = told.submitted("r1")
    async with told.running():
        told.statuses.changed(request)
        await eventually(lambda: told.forge.states == [QUEUED])
        told.saved(request, state=RequestState.LAUNCHING)
        await quiet()
        told.saved(request, state=RequestState.RUNNING)
        await eventually(lambda: told.forge.states == [QUEUED, RUNNING])
        told.ended(request, FailureClass.FAILED, "exit code 2")
        await eventually(lambda: told.noted("r1"))
    assert told.forge.states == [QUEUED, RUNNING, FAILED]
    commit, last = told.forge.told[-1]
    assert commit == COMMIT
    assert last == CommitStatus(FAILED, "failed: exit code 2", "http://butlery:8080/v1/jobs/r1", "butlery/shop")


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (FailureClass.PASSED, PASSED),
        (FailureClass.OOM, FAILED),
        (FailureClass.TIMEOUT, FAILED),
        (FailureClass.CANCELLED, CommitState.CANCELLED),
        (FailureClass.CHECKOUT, CommitState.ERROR),
        (FailureClass.INFRASTRUCTURE, CommitState.ERROR),
    ],
)
async def test_every_end_has_its_state(told: Told, result: FailureClass, state: CommitState) -> None:
    request = told.submitted("r1")
    async with told.running():
        told.ended(request, result)
        await eventually(lambda: told.forge.states == [state])


async def test_what_came_meanwhile_is_left_out_but_for_the_newest(told: Told) -> None:
    told.forge.held = asyncio.Event()
    request = told.submitted("r1")
    async with told.running():
        told.statuses.changed(request)
        await eventually(lambda: told.forge.tries == 1)
        told.saved(request, state=RequestState.RUNNING)
        told.ended(request)
        await quiet()
        assert told.forge.tries == 1  # of one commit one after the other
        told.forge.held.set()
        await eventually(lambda: told.noted("r1"))
    assert told.forge.states == [QUEUED, PASSED]


async def test_the_newest_build_of_a_commit_speaks_for_it(told: Told) -> None:
    first, second = told.submitted("r1"), told.submitted("r2")
    async with told.running():
        told.ended(second)
        await eventually(lambda: told.forge.states == [PASSED])
        told.ended(first, FailureClass.FAILED)
        await quiet()
    assert told.forge.states == [PASSED]


async def test_losses_are_tried_again_later_each_time(told: Told) -> None:
    told.forge.failing = ForgeError("502", retryable=True)
    request = told.submitted("r1")
    async with told.running():
        told.ended(request)
        await eventually(lambda: told.forge.tries == 1)
        assert "cannot be set: 502" in told.statuses.notices[0]

        async def until(tries: int) -> None:
            await quiet()
            told.clock.advance(2.0**tries)
            await eventually(lambda: told.forge.tries == tries)

        for tries in (2, 3, 4):
            await until(tries)
        told.forge.failing = None
        await quiet()
        told.clock.advance(60)
        await eventually(lambda: told.noted("r1"))
    assert told.forge.states == [PASSED]
    assert told.statuses.notices == []


async def test_a_forge_is_asked_again_when_it_said(told: Told) -> None:
    told.forge.failing = ForgeError("429", retryable=True, retry_after_s=120)
    async with told.running():
        told.ended(told.submitted("r1"))
        await eventually(lambda: told.forge.tries == 1)
        await quiet()
        told.clock.advance(100)
        await quiet()
        assert told.forge.tries == 1
        told.clock.advance(30)
        await eventually(lambda: told.forge.tries == 2)


async def test_what_a_forge_refuses_is_told_once_and_is_a_notice(told: Told) -> None:
    told.forge.failing = ForgeError("401: Bad credentials", retryable=False)
    async with told.running():
        told.ended(told.submitted("r1"))
        await eventually(lambda: told.statuses.notices)
        await quiet()
        told.clock.advance(10_000)
        await quiet()
    assert told.forge.tries == 1
    assert "webhook shop" in told.statuses.notices[0]
    assert not told.noted("r1")  # so that the next start, with another token, tells it


async def test_it_is_given_up_in_the_end(told: Told) -> None:
    told.forge.failing = ForgeError("502", retryable=True)
    async with told.running():
        told.ended(told.submitted("r1"))
        await eventually(lambda: told.forge.tries == 1)
        await quiet()
        told.clock.advance(GIVE_UP_S + 1)
        await eventually(lambda: told.forge.tries == 2)
        await quiet()
        told.clock.advance(GIVE_UP_S)
        await quiet()
    assert told.forge.tries == 2


async def test_after_a_restart_what_was_not_told_is(told: Told) -> None:
    request = told.submitted("r1")
    told.ended(request)  # and nobody told the forge
    told.ended(told.submitted("r0", origin=msgspec.structs.replace(ORIGIN, commit="old")))
    waiting = told.submitted("r3", origin=msgspec.structs.replace(ORIGIN, commit="other"))
    told.ended(told.submitted("r4", origin=None))
    told.ended(told.submitted("r5", origin=msgspec.structs.replace(ORIGIN, hook="gone")))
    told.new().changed(waiting)
    async with told.running():
        await eventually(lambda: told.noted("r1") and told.noted("r0") and len(told.forge.told) == 3)
    told.new()
    async with told.running():
        await quiet()
    assert sorted((commit, one.state) for commit, one in told.forge.told) == [
        (COMMIT, PASSED), ("old", PASSED), ("other", QUEUED),
    ]  # fmt: skip


async def test_a_restart_lets_an_older_build_not_speak_over_a_newer(told: Told) -> None:
    told.ended(told.submitted("r1"))
    told.ended(told.submitted("r2", origin=msgspec.structs.replace(ORIGIN, told=True)), FailureClass.FAILED)
    told.new()
    async with told.running():
        await quiet()
    assert told.forge.told == []


async def test_what_is_older_than_a_day_is_left(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statuses, "_PAGE", 2)
    for number in range(5):
        told.ended(told.submitted(f"r{number}", origin=msgspec.structs.replace(ORIGIN, commit=f"c{number}")))
    told.clock.advance(LOOK_BACK_S + 1)
    for number in range(5, 10):
        told.ended(told.submitted(f"r{number}", origin=msgspec.structs.replace(ORIGIN, commit=f"c{number}")))
    told.new()
    async with told.running():
        await eventually(lambda: len(told.forge.told) == 5)
        await quiet()
    assert {commit for commit, _ in told.forge.told} == {f"c{number}" for number in range(5, 10)}


async def test_a_commit_that_is_not_built(told: Told) -> None:
    async with told.running():
        told.statuses.refused(ORIGIN, "cannot be built: .butlery.yaml:1 cpus: must be at most 4")
        await eventually(lambda: told.forge.told)
    [(_, status)] = told.forge.told
    assert (status.state, status.reason) == (
        CommitState.ERROR,
        "cannot be built: .butlery.yaml:1 cpus: must be at most 4",
    )


async def test_of_too_many_the_oldest_are_left(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statuses, "MAX_DUE", 3)
    for number in range(5):
        told.statuses.refused(msgspec.structs.replace(ORIGIN, commit=f"c{number}"), "no")
    async with told.running():
        await eventually(lambda: len(told.forge.told) == 3)
        await quiet()
    assert {commit for commit, _ in told.forge.told} == {"c2", "c3", "c4"}
