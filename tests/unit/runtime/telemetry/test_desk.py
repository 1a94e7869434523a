"""Telemetry as a whole: from what is saved, over a spool of files, to a history in SQLite."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from framework.core.tasks import FailureClass
from framework.edges.spool.spool import FileSpool
from framework.edges.sqlite_history import SqliteHistory
from framework.errors import StoreError, StoreFullError, UnavailableError
from framework.runtime.chance import SystemChance, SystemClock
from framework.runtime.telemetry import beside
from framework.runtime.telemetry.desk import TelemetryDesk
from framework.runtime.telemetry.late_sink import LateSink
from framework.runtime.telemetry.outlet import Outlet
from framework.telemetry.records import Kind
from framework.telemetry_ports import BuildQuery, Rejected, SpoolDepth
from tests.fakes.clockwork import eventually
from tests.fakes.records import batch, build
from tests.unit.runtime.telemetry.recording import RecordedRig

KEEP_D = dict.fromkeys(Kind, 4000)


class Opening:
    """Opens a history, or fails as a test wants it to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failing: StoreError | None = None

    def __call__(self) -> SqliteHistory:
        if self.failing is not None:
            raise self.failing
        return SqliteHistory(self.path, KEEP_D)


@pytest.fixture
def opening(tmp_path: Path) -> Opening:
    return Opening(tmp_path / "history.db")


MakeDesk = Callable[[], TelemetryDesk]


@pytest.fixture
def rig(tmp_path: Path) -> RecordedRig:
    return RecordedRig(tmp_path)


@pytest.fixture
def make_desk(tmp_path: Path, opening: Opening, rig: RecordedRig) -> Iterator[MakeDesk]:
    """The desk of a process; the one before has ended then."""
    made: list[TelemetryDesk] = []

    def make() -> TelemetryDesk:
        for desk in made:
            desk.close()
        sink = LateSink("sqlite", opening)
        spool = FileSpool(tmp_path / "spool", {sink.name: sink.kinds}, 16 << 20, SystemClock())
        made[:] = [TelemetryDesk(spool, sink, (), rig.prices, rig.metrics, 30.0, SystemClock(), SystemChance())]
        return made[0]

    yield make
    for desk in made:
        desk.close()


async def past(desk: TelemetryDesk, count: int) -> list[str]:
    """The history, once there are so many builds in it."""

    def listed() -> list[str]:
        with suppress(UnavailableError):
            return [each.id for each in desk.history.builds(BuildQuery()).builds]
        return []

    await eventually(lambda: len(listed()) >= count, f"{count} builds in the history")
    return listed()


def ended(rig: RecordedRig) -> str:
    request, task = rig.running()
    rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    return request.id


async def test_what_is_saved_comes_into_the_history_once_over_restarts(make_desk: MakeDesk, rig: RecordedRig) -> None:
    ids: list[str] = []
    rig.now = SystemClock().now()
    for restart in range(3):
        desk = make_desk()
        rig.crash()
        watch = desk.watch(rig.state, rig.store)
        rig.recorder = watch.recorder
        running = asyncio.create_task(watch.run())
        ids += [ended(rig) for _ in range(2)]
        if restart == 1:
            running.cancel()  # a crash, before anything is in the spool
            await asyncio.wait({running})
            continue
        assert sorted(await past(desk, len(ids))) == sorted(ids)
        watch.stop()
        await asyncio.wait_for(running, 20)
    health = await desk.health()
    assert (health.sink, health.rejected, health.dropped, health.notices) == ("sqlite", 0, 0, [])
    assert [each.name for each in health.consumers] == ["sqlite"]
    assert not desk.shared


async def test_its_use_is_known_only_while_we_lead(make_desk: MakeDesk, rig: RecordedRig) -> None:
    desk = make_desk()
    before = desk.use
    watch = desk.watch(rig.state, rig.store)
    running = asyncio.create_task(watch.run())
    await watch.sampler.sample()
    sampled = desk.use
    assert sampled is not None
    watch.stop()
    await asyncio.wait_for(running, 20)
    assert (before, desk.use) == (None, None)


async def test_a_fault_of_ours_ends_no_scheduler(
    make_desk: MakeDesk, rig: RecordedRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch = make_desk().watch(rig.state, rig.store)

    async def flush(_: Outlet) -> None:
        raise KeyError("x")

    monkeypatch.setattr(Outlet, "_flush", flush)
    await asyncio.wait_for(watch.run(), 20)
    assert "telemetry is at fault" in caplog.text


async def test_a_history_whose_disk_is_full_opens_once_there_is_room(
    make_desk: MakeDesk, rig: RecordedRig, opening: Opening
) -> None:
    opening.failing = StoreFullError("no room")
    desk = make_desk()
    assert (await desk.health()).notices[0] == "no room"
    with pytest.raises(UnavailableError, match="no room"):
        desk.history.builds(BuildQuery())
    opening.failing = StoreError("somebody wrote over it")
    with pytest.raises(UnavailableError, match="wrote over"):
        desk.history.build("r1")
    opening.failing = None
    assert desk.history.changes("r1") == []
    notices = (await desk.health()).notices
    assert notices == [] or "telemetry: sqlite" in notices[0]
    watch = desk.watch(rig.state, rig.store)
    rig.recorder = watch.recorder
    expected = ended(rig)
    watch.stop()
    await watch.run()
    assert await past(desk, 1) == [expected]


def test_a_history_that_its_author_must_mend_does_not_open(opening: Opening) -> None:
    opening.failing = StoreError("another scheduler is using it")
    with pytest.raises(StoreError, match="another scheduler"):
        LateSink("sqlite", opening)


async def test_records_that_were_refused_are_told_of_and_sent_again(
    tmp_path: Path, rig: RecordedRig, opening: Opening
) -> None:
    sink = LateSink("sqlite", opening)
    spool = FileSpool(tmp_path / "spool", {sink.name: sink.kinds}, 16 << 20, SystemClock())
    refused = batch([build("b1")])
    spool.reject(sink.name, [Rejected(Kind.BUILDS, "b1", "a field is of another kind", refused.documents()[0])])
    desk = TelemetryDesk(spool, sink, (), rig.prices, rig.metrics, 30.0, SystemClock(), SystemChance())
    try:
        health = await desk.health()
        assert health.rejected == 1
        assert "butlery telemetry resend" in health.notices[0]
        assert await desk.resend() == 1
        assert await past(desk, 1) == ["b1"]
        assert (await desk.health()).notices == []
    finally:
        desk.close()


async def test_a_disk_that_hangs_is_told_and_takes_none_of_the_threads_that_save(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, answers = make_desk(), threading.Event()
    monkeypatch.setattr(beside, "ANSWER_S", 0.05)
    asked = 0

    def depth(_: FileSpool, __: str) -> SpoolDepth:
        nonlocal asked
        asked += 1
        assert answers.wait(20)
        return SpoolDepth(0, 0, None)

    with monkeypatch.context() as hanging:
        hanging.setattr(FileSpool, "depth", depth)
        for _ in range(100):
            with pytest.raises(UnavailableError, match=r"telemetry\.path does not answer within 0\.05 s"):
                await desk.health()
        assert asked == 1
        assert await asyncio.wait_for(asyncio.to_thread(threading.get_ident), 20)
    answers.set()
    async with asyncio.timeout(20):
        while True:
            with suppress(UnavailableError):
                assert [each.name for each in (await desk.health()).consumers] == ["sqlite"]
                break
            await asyncio.sleep(0.001)
