"""Save, then call, then acknowledge; and nothing at all while nothing can be saved."""

from __future__ import annotations

import asyncio
import threading

import pytest

from framework.core.effects import Acknowledge, SaveRequest, SaveTask
from framework.core.events import MasterObserved
from framework.core.tasks import FailureClass
from framework.errors import StoreError, StoreFullError, UnavailableError
from framework.ports import NewRequest
from framework.runtime import loop
from tests.fakes import samples
from tests.fakes.clockwork import eventually, quiet
from tests.fakes.mesos_edges import Accepted
from tests.unit.runtime.conftest import Rig

FULL = StoreFullError("state.path x: cannot be saved now: database or disk is full")


def position(rig: Rig, wanted: object) -> int:
    return next(index for index, entry in enumerate(rig.journal) if entry is wanted)


async def test_a_launch_is_saved_before_it_is_sent(ready: Rig) -> None:
    (request_id,) = await ready.submit()
    await ready.offer()
    (task_id,) = await ready.launched()
    (accept,) = ready.calls(Accepted)
    (frame,) = [f for f in ready.calls(tuple) if any(isinstance(save, SaveTask) for save in f)]
    assert {save.request.state for save in frame if isinstance(save, SaveRequest)} == {"launching"}
    assert position(ready, frame) < position(ready, accept)
    launch = accept.launches[0]
    assert (launch.task_id, launch.resources, launch.executor.resources) == (
        f"{request_id}.1",
        samples.TEMPLATE.resources,
        ready.scheduler.loop.state.config.overhead,
    )
    assert b'"log_mib": 7' in launch.data
    assert task_id.encode() in launch.data


async def test_an_update_is_acknowledged_only_when_it_is_saved(ready: Rig) -> None:
    _, task_id = await ready.run_one()
    ready.store.hold = threading.Event()
    number = ready.tell(task_id, "TASK_FINISHED", FailureClass.PASSED)
    tried = ready.store.tried
    await eventually(lambda: ready.store.tried > tried)
    await quiet()
    assert number not in ready.acknowledged()
    ready.store.hold.set()
    await eventually(lambda: number in ready.acknowledged())
    acknowledgement = next(call for call in ready.calls(Acknowledge) if call.uuid == number)
    frame = [f for f in ready.calls(tuple) if any(isinstance(save, SaveTask) for save in f)][-1]
    assert position(ready, frame) < position(ready, acknowledgement)


async def test_many_submissions_are_saved_in_few_writes(ready: Rig) -> None:
    before = ready.store.tried
    taken = await asyncio.gather(*(ready.control.submit(samples.submission()) for _ in range(500)))
    assert len({request.id for request in taken}) == 500
    assert ready.store.tried - before <= 4
    assert ready.control.health().waiting == 500


async def test_while_nothing_can_be_saved_nothing_is_done_and_then_all_of_it(ready: Rig) -> None:
    (request_id,) = await ready.submit()
    ready.store.failing = FULL
    await ready.offer()
    await eventually(lambda: ready.scheduler.loop.saving_fails, "the failure")
    for _ in range(10):
        ready.clock.advance(5.0)
        await quiet(5)
    assert ready.calls(Accepted) == []
    assert any("disk is full" in notice for notice in ready.control.health().notices)
    ready.store.failing = None
    ready.clock.advance(5.0)
    (task_id,) = await ready.launched()
    assert task_id == f"{request_id}.1"
    assert ready.control.health().notices == []


async def test_while_nothing_can_be_saved_submissions_are_refused_at_once(ready: Rig) -> None:
    await ready.submit()
    ready.store.failing = FULL
    await ready.offer()
    await eventually(lambda: ready.scheduler.loop.saving_fails, "the failure")
    for _ in range(3):
        with pytest.raises(UnavailableError, match="disk is full"):
            await ready.submit()
        with pytest.raises(UnavailableError, match="disk is full"):
            await ready.control.set_tenant(samples.tenant("new"), new_token=True)
    ready.store.failing = None
    ready.clock.advance(5.0)
    await ready.launched()
    await ready.submit()
    assert [use.tenant.name for use in ready.control.tenants()] == [samples.TEAM]


async def test_submissions_that_waited_when_saving_began_to_fail_are_answered(ready: Rig) -> None:
    await ready.submit()
    ready.store.hold, ready.store.failing = threading.Event(), FULL
    await ready.offer()
    tried = ready.store.tried
    await eventually(lambda: ready.store.tried > tried)
    late = asyncio.create_task(ready.submit())
    await quiet(5)
    ready.store.hold.set()
    with pytest.raises(UnavailableError, match="disk is full"):
        await late


async def test_what_happens_and_what_is_submitted_is_saved_in_one_write(ready: Rig) -> None:
    _, task_id = await ready.run_one()
    ready.store.hold = threading.Event()
    started = asyncio.create_task(ready.submit())
    tried = ready.store.tried
    await eventually(lambda: ready.store.tried > tried)  # while that is written
    number = ready.tell(task_id, "TASK_FINISHED", FailureClass.PASSED)
    submitted = asyncio.create_task(ready.submit())
    await quiet(5)
    before = len(ready.journal)
    ready.store.hold.set()
    await asyncio.gather(started, submitted)
    await eventually(lambda: number in ready.acknowledged())
    _, with_update, batch, *_ = ready.journal[before:]
    assert isinstance(with_update, tuple)
    assert any(isinstance(save, SaveTask) and save.task.id == task_id for save in with_update)
    assert isinstance(batch, tuple)
    assert isinstance(batch[0], NewRequest)


async def test_submissions_that_cannot_be_saved_hold_up_nothing_else(ready: Rig) -> None:
    request_id, task_id = await ready.run_one()
    ready.store.hold, ready.store.refusing = threading.Event(), FULL
    first = asyncio.create_task(ready.submit())
    tried = ready.store.tried
    await eventually(lambda: ready.store.tried > tried)
    number = ready.tell(task_id, "TASK_FINISHED", FailureClass.PASSED)
    second = asyncio.create_task(ready.submit())
    await quiet(5)
    ready.store.hold.set()
    for refused in (first, second):
        with pytest.raises(UnavailableError, match="disk is full"):
            await refused
    await eventually(lambda: number in ready.acknowledged())
    assert not ready.scheduler.loop.saving_fails
    assert await ready.state_of(request_id) == "ended"
    ready.store.refusing = None
    await ready.submit()


async def test_a_submission_that_alone_cannot_be_saved_is_refused(ready: Rig) -> None:
    ready.store.failing = FULL
    with pytest.raises(UnavailableError, match="disk is full"):
        await ready.submit()
    ready.store.failing = None
    await ready.submit()


async def test_it_answers_in_bounded_time_when_the_store_hangs(ready: Rig) -> None:
    ready.store.hold = threading.Event()
    asking = asyncio.create_task(ready.submit())
    await quiet(5)
    ready.clock.advance(60.0)
    with pytest.raises(UnavailableError):
        await asking
    ready.store.hold.set()


async def test_it_stops_while_nothing_can_be_saved_and_does_nothing_more(ready: Rig) -> None:
    request_id, task_id = await ready.run_one()
    ready.store.failing = FULL
    number = ready.tell(task_id, "TASK_FINISHED", FailureClass.PASSED)
    await eventually(lambda: ready.scheduler.loop.saving_fails, "the failure")
    await ready.stop()
    assert ready.driver.stopped
    assert number not in ready.acknowledged()
    ready.store.failing = None
    await ready.start()
    await ready.subscribe(tenant=None)
    assert await ready.state_of(request_id) == "running"
    await ready.update(task_id, "TASK_FINISHED", FailureClass.PASSED)  # as Mesos does, since nobody acknowledged it
    assert await ready.state_of(request_id) == "ended"


async def test_updates_do_not_pile_up_for_ever_while_nothing_can_be_saved(
    ready: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MAX_PENDING_EVENTS", 10)
    _, task_id = await ready.run_one()
    ready.store.failing = FULL
    ready.tell(task_id, "TASK_FINISHED", FailureClass.PASSED)
    await eventually(lambda: ready.scheduler.loop.saving_fails, "the failure")
    told = [ready.tell(task_id, "TASK_FINISHED", FailureClass.PASSED) for _ in range(30)]
    ready.store.failing = None
    ready.clock.advance(5.0)
    await eventually(lambda: told[9] in ready.acknowledged())
    await quiet(5)
    assert told[10] not in ready.acknowledged()
    await ready.update(task_id, "TASK_FINISHED", FailureClass.PASSED)  # again, and now there is room


async def test_an_error_that_no_retry_cures_ends_the_run(ready: Rig) -> None:
    ready.store.failing = StoreError("state.path x: is corrupt")
    submitted = asyncio.create_task(ready.submit())
    with pytest.raises(StoreError, match="is corrupt"):
        await ready.running
    with pytest.raises(UnavailableError):
        await submitted
    with pytest.raises(UnavailableError, match="stopping"):
        await ready.submit()


async def test_an_error_that_no_retry_cures_in_a_frame_ends_the_run(ready: Rig) -> None:
    (request_id,) = await ready.submit()
    waiting = asyncio.create_task(ready.control.wait(request_id, 1000.0))
    cancelling = asyncio.create_task(ready.control.cancel(request_id, "enough"))
    ready.store.failing = StoreError("state.path x: is corrupt")
    with pytest.raises(StoreError, match="is corrupt"):
        await ready.running
    with pytest.raises(UnavailableError):
        await cancelling
    assert await waiting is not None


async def test_a_launch_whose_build_cannot_be_read_now_is_tried_again(ready: Rig) -> None:
    ready.store.unreadable = FULL
    (request_id,) = await ready.submit()
    await ready.offer()
    await eventually(lambda: ready.calls(Accepted), "the return of the offers")
    assert ready.calls(Accepted)[0].launches == ()
    ready.store.unreadable = None
    await eventually(lambda: ready.control.health().waiting == 1)
    ready.clock.advance(60.0)
    await ready.offer()
    assert await ready.launched() == [f"{request_id}.2"]


async def test_a_launch_whose_build_is_gone_ends_in_bounded_time(ready: Rig) -> None:
    (request_id,) = await ready.submit()
    ready.store.forget_payload(request_id)
    for _ in range(ready.scheduler.loop.state.config.max_drops + 1):
        await ready.offer()
        await quiet(3)
        ready.clock.advance(61.0)
        await quiet(3)
    request = await ready.control.wait(request_id, 60.0)
    assert request is not None
    assert request.outcome is not None
    assert request.outcome.result_class is FailureClass.INFRASTRUCTURE
    assert "description is not in the store" in request.outcome.message
    assert await ready.launched(0) == []


async def test_looks_at_masters_do_not_pile_up_while_nothing_can_be_saved(ready: Rig) -> None:
    await ready.submit()
    ready.store.failing = FULL
    await ready.offer()
    await eventually(lambda: ready.scheduler.loop.saving_fails, "the failure")
    observed = MasterObserved(samples.TEAM, ready.clock.now(), frozenset(), ())
    ready.scheduler.loop.emit(observed)
    await quiet(5)
    ready.store.failing = None
    ready.clock.advance(5.0)
    await ready.launched()
    master = ready.scheduler.loop.state.masters.of(samples.TEAM)
    assert master.looked_at == 0.0
    ready.scheduler.loop.emit(observed)
    await eventually(lambda: master.looked_at == observed.asked_at)
