"""Records come into the spool, or builds are found in the state and told again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from framework.core import events as ev
from framework.core.tasks import FailureClass
from framework.core.templates import Lifetime
from framework.errors import StoreError, UnavailableError
from framework.runtime.telemetry import outlet
from framework.runtime.telemetry import recorder as recorder_module
from framework.runtime.telemetry.outlet import FULL, HELD_S, RETRY_CAP_S
from tests.unit.core.rig import SMALL, T0, TEAM
from tests.unit.runtime.telemetry.recording import RecordedRig


class RunningRig(RecordedRig):
    """The recorder runs, as time does."""

    under_way: asyncio.Task[None] | None = None

    def run(self) -> None:
        assert self.recorder is not None
        self.under_way = asyncio.create_task(self.recorder.run())

    async def settle(self, seconds: float = RETRY_CAP_S) -> None:
        """Time goes by, and what is due is done."""
        for _ in range(4):
            self.now += seconds / 4
            self.clock.advance(seconds / 4)
            for _ in range(10):
                await asyncio.sleep(0.002)

    async def stop(self) -> None:
        assert self.recorder is not None
        if self.under_way is not None:
            self.recorder.stop()
            self.clock.advance(0)
            await asyncio.wait_for(self.under_way, 20)
            self.under_way = None

    def kill(self) -> None:
        if self.under_way is not None:
            self.under_way.cancel()
            self.under_way = None
        self.crash()

    def ended(self) -> str:
        """A build that passed; its id."""
        request, task = self.running()
        self.update(task, "TASK_FINISHED", FailureClass.PASSED)
        return request.id

    def ids(self) -> list[str]:
        return [build.id for build in self.spool.builds()]

    @property
    def notices(self) -> list[str]:
        assert self.recorder is not None
        return self.recorder.notices


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[RunningRig]:
    rig = RunningRig(tmp_path)
    yield rig
    await rig.stop()


async def test_what_was_told_is_in_the_spool_within_a_second(rig: RunningRig) -> None:
    rig.run()
    await rig.settle(2)
    build = rig.ended()
    await rig.settle(1)
    assert rig.ids() == [build]
    assert rig.spool.told_until >= rig.now - 2
    assert rig.spool.builds(again=True) == []


async def test_what_a_crash_kept_from_the_spool_is_told_by_the_next_start(rig: RunningRig) -> None:
    rig.run()
    await rig.settle(2)
    before = rig.ended()
    await rig.settle(2)
    lost = [rig.ended() for _ in range(3)]
    request, task = rig.running()
    rig.now += 5
    rig.kill()
    rig.run()
    await rig.settle(2)
    assert sorted(build.id for build in rig.spool.builds(again=True)) == sorted([before, *lost])
    assert [build.id for build in rig.spool.builds(again=False)] == [before]
    again = {build.id: build for build in rig.spool.builds(again=True)}
    (first,) = rig.spool.builds(again=False)
    assert again[before] == first, "the same record"
    assert {change.id for change in rig.spool.changes()} >= {
        f"{request.id}.1.{each}" for each in ("starting", "building")
    }
    rig.update(rig.state.tasks[task.id], "TASK_FINISHED", FailureClass.PASSED)
    await rig.settle(2)
    assert rig.ids()[-1] == request.id
    assert rig.spool.told_until > T0 + 5


async def test_changes_that_were_told_long_ago_are_not_told_again(rig: RunningRig) -> None:
    rig.run()
    await rig.settle(2)
    request, _ = rig.running()
    await rig.settle(HELD_S + 10)
    other, _ = rig.running()
    await rig.settle(2)
    told = len(rig.spool.changes())
    rig.kill()
    rig.run()
    await rig.settle(2)
    again = [change.build for change in rig.spool.changes()[told:]]
    assert set(again) == {other.id}
    assert request.id not in again


async def test_attempts_before_a_restart_count(rig: RunningRig) -> None:
    request, task = rig.running()
    rig.now += 10
    rig.update(task, "TASK_LOST")
    rig.now += 60
    rig.offer()
    rig.update(rig.task(request), "TASK_RUNNING")
    rig.crash()
    rig.run()
    await rig.settle(2)
    begun_at = rig.state.requests[request.id].launched_at
    assert begun_at is not None
    rig.update(rig.task(rig.state.requests[request.id]), "TASK_FINISHED", FailureClass.PASSED)
    await rig.settle(1)
    (build,) = rig.spool.builds()
    assert (build.attempts, build.cost_micros) == (2, round((10 + rig.now - 1 - begun_at) * 500))


async def test_one_that_ends_before_its_attempts_were_read_is_found_in_the_state(rig: RunningRig) -> None:
    request, task = rig.running()
    rig.now += 10
    rig.update(task, "TASK_LOST")
    rig.now += 60
    rig.offer()
    rig.crash()
    rig.update(rig.task(request), "TASK_FINISHED", FailureClass.PASSED)
    rig.run()
    await rig.settle(4)
    (build,) = rig.spool.builds(again=True)
    assert (build.id, build.attempts) == (request.id, 2)


async def test_builds_of_a_pool_are_told_again_too(rig: RunningRig) -> None:
    request, task = rig.building(lifetime=Lifetime.POOLED, idle_s=300.0)
    for _ in range(2):
        rig.now += 10
        rig.send(ev.AgentServed(task.id))
        rig.now += 5
        rig.accept(task, rig.item(lifetime=Lifetime.POOLED, idle_s=300.0))
    rig.crash()
    rig.run()
    await rig.settle(2)
    assert rig.ids() == [f"{request.id}+1", f"{request.id}+2"]
    assert [build.cost_micros for build in rig.spool.builds()] == [10 * 500, 15 * 500]
    rig.update(rig.state.tasks[task.id], "TASK_FAILED", FailureClass.FAILED)
    await rig.settle(2)
    assert rig.ids() == [f"{request.id}+{number}" for number in (1, 2, 3)]
    rig.spool.told_until = T0 - HELD_S  # what is in the spool now is lost
    await rig.settle(4)
    assert rig.ids()[3:] == [f"{request.id}+{number}" for number in (1, 2, 3)]


@pytest.mark.parametrize("way", ["full", "failing"])
async def test_builds_wait_in_memory_while_the_spool_takes_none(rig: RunningRig, way: str) -> None:
    rig.run()
    await rig.settle(2)
    told_until = rig.spool.told_until
    setattr(rig.spool, way, True if way == "full" else UnavailableError("the disk is full"))
    builds = []
    for _ in range(3):
        builds.append(rig.ended())
        await rig.settle(10)
    assert rig.notices == [f"telemetry: {FULL if way == 'full' else 'the disk is full'}"]
    assert (rig.ids(), rig.spool.told_until) == ([], told_until)
    setattr(rig.spool, way, False if way == "full" else None)
    await rig.settle()
    assert rig.ids() == builds
    assert not rig.notices
    assert not rig.spool.builds(again=True)


async def test_what_does_not_fit_into_memory_is_found_in_the_state(
    rig: RunningRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "MAX_GATHERED", 5)
    rig.run()
    await rig.settle(2)
    rig.spool.full = True
    builds = []
    for _ in range(8):
        builds.append(rig.ended())
        await rig.settle(10)
    assert rig.recorder is not None
    assert rig.recorder.dropped == 8 * 4 - 5, "of the changes"
    assert any("are yet to be told: the spool is full" in notice for notice in rig.notices)
    rig.spool.full = False
    await rig.settle(2 * RETRY_CAP_S)
    assert set(rig.ids()) == set(builds)
    assert not rig.notices
    rig.ended()
    await rig.settle(2)
    assert rig.spool.told_until > T0 + 80


async def test_a_part_of_the_spool_that_was_lost_is_told_again(rig: RunningRig) -> None:
    rig.run()
    await rig.settle(4)
    builds = [rig.ended() for _ in range(2)]
    await rig.settle(4)
    rig.spool.batches.clear()
    rig.spool.told_until = T0
    await rig.settle(4)
    assert [build.id for build in rig.spool.builds(again=True)] == builds
    after = rig.ended()
    await rig.settle(2)
    assert rig.spool.told_until > T0 + 5
    assert rig.ids()[-1] == after


@pytest.mark.parametrize(
    ("error", "reason"),
    [(StoreError("it cannot be read"), "it cannot be read"), (KeyError("x"), "a fault in butlery itself (KeyError)")],
)
async def test_a_state_that_cannot_be_read_is_asked_again(
    rig: RunningRig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    reason: str,
) -> None:
    build = rig.ended()
    rig.crash()

    def unreadable(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(rig.store, "ended_since", unreadable)
        rig.run()
        await rig.settle(4)
        assert rig.notices == [f"telemetry: builds that have ended are yet to be told: {reason}"]
        assert sum("told again" in record.getMessage() for record in caplog.records) == 1
        assert rig.ids() == []
    await rig.settle()
    assert rig.ids() == [build]
    assert not rig.notices


async def test_prices_of_what_ended_before_wait_for_the_hosts_to_be_known(rig: RunningRig) -> None:
    build = rig.ended()
    hosts = rig.state.hosts
    rig.crash()
    rig.state.set_hosts({})
    rig.run()
    await rig.settle(4)
    assert rig.ids() == []
    rig.state.set_hosts(hosts)
    await rig.settle(4)
    (found,) = rig.spool.builds()
    assert (found.id, found.cost_micros) == (build, 0)


async def test_it_stops_at_once_whatever_it_waits_for(rig: RunningRig) -> None:
    rig.ended()
    rig.crash()
    rig.state.set_hosts({})
    rig.run()
    await rig.settle(2)
    rig.submit(SMALL)
    await rig.stop()
    assert [change.state for change in rig.spool.changes()] == ["waiting"]


async def test_where_nobody_asks_for_time_nothing_is_written(rig: RunningRig) -> None:
    rig.run()
    await rig.settle(10)
    assert rig.spool.batches == []


async def test_a_clock_that_was_set_back_between_two_starts_hides_no_build(rig: RunningRig) -> None:
    rig.run()
    await rig.settle(2)
    before = rig.ended()
    await rig.settle(2)
    rig.kill()
    rig.now -= 3600
    rig.clock.set_back(3600)
    rig.crash()
    lost = rig.ended()
    rig.now += 30
    rig.kill()
    rig.run()
    await rig.settle(4)
    assert sorted(rig.ids()) == sorted([before, before, lost])
    rig.ended()
    await rig.settle(2)
    assert rig.spool.told_until < T0 - 3000


async def test_builds_that_end_before_the_hosts_are_known_have_their_price(rig: RunningRig) -> None:
    _, task = rig.running()
    hosts = rig.state.hosts
    rig.crash()
    rig.state.set_hosts({})
    rig.run()
    rig.now += 10
    rig.update(rig.state.tasks[task.id], "TASK_FINISHED", FailureClass.PASSED)
    assert rig.metrics.counted().ended == {(TEAM, "passed"): 1}
    await rig.settle(2)
    rig.state.set_hosts(hosts)
    await rig.settle(4)
    (build,) = rig.spool.builds()
    assert build.cost_micros == 10 * 500


async def test_a_fault_at_the_start_costs_no_build(rig: RunningRig, monkeypatch: pytest.MonkeyPatch) -> None:
    _, task = rig.running()
    other, _ = rig.running()
    with monkeypatch.context() as patched:
        patched.setattr(recorder_module, "reached", lambda _: 1 / 0)
        rig.crash()
    rig.run()
    await rig.settle(2)
    for each in list(rig.state.tasks.values()):
        rig.update(each, "TASK_FINISHED", FailureClass.PASSED)
    await rig.settle(4)
    assert {build.id for build in rig.spool.builds()} == {task.request_id, other.id}
