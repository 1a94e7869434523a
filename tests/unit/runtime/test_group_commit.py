"""Writes are spaced where the store wants it: what comes meanwhile goes together, a lone event at once."""

from __future__ import annotations

import asyncio

from tests.fakes import samples
from tests.fakes.clockwork import eventually, quiet
from tests.unit.runtime.conftest import Rig


async def submit_after_quiet(rig: Rig) -> None:
    """Taken though the clock stands still from then on."""
    rig.clock.advance(10_000.0)
    await quiet(5)
    await asyncio.wait_for(rig.submit(), 20)


async def test_a_lone_event_goes_at_once_and_the_next_are_gathered(ready: Rig) -> None:
    ready.store.commit_every_s = 0.04
    await submit_after_quiet(ready)
    before = ready.store.tried
    gathered = [asyncio.create_task(ready.control.submit(samples.submission())) for _ in range(5)]
    await quiet()
    assert ready.store.tried == before
    assert not any(each.done() for each in gathered)
    ready.clock.advance(0.04)
    await asyncio.wait_for(asyncio.gather(*gathered), 20)
    assert ready.store.tried - before <= 2  # the submissions and the frame of their turn


async def test_a_clock_that_is_set_back_delays_nothing_for_long(ready: Rig) -> None:
    ready.store.commit_every_s = 0.04
    await submit_after_quiet(ready)
    ready.clock.set_back(3600.0)
    waits = asyncio.create_task(ready.submit())
    for _ in range(2):  # for the frame of what was submitted before, and for this one
        await quiet()
        ready.clock.advance(0.04)
    await asyncio.wait_for(waits, 20)


async def test_a_stop_is_not_held_up(ready: Rig) -> None:
    ready.store.commit_every_s = 1000.0
    await submit_after_quiet(ready)
    waits = asyncio.create_task(ready.control.submit(samples.submission()))
    await quiet(5)
    await ready.stop()
    await eventually(waits.done)
    waits.exception()
