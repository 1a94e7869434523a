"""Waits that end: for something, or for a time on the clock that the runtime was given."""

from __future__ import annotations

import asyncio
from typing import Any

from framework.ports import Clock


async def until_set(event: asyncio.Event, clock: Clock, timeout_s: float) -> bool:
    """Whether the event is set; waits for it for at most ``timeout_s``."""
    if event.is_set():
        return True
    waiter: asyncio.Future[Any] = asyncio.ensure_future(event.wait())
    try:
        await until_done(waiter, clock, timeout_s)
    finally:
        waiter.cancel()
    return event.is_set()


async def until_done(future: asyncio.Future[Any], clock: Clock, timeout_s: float) -> bool:
    """Whether the future is done; waits for it for at most ``timeout_s`` and leaves it as it is."""
    if future.done():
        return True
    sleeper: asyncio.Future[Any] = asyncio.ensure_future(clock.sleep(timeout_s))
    try:
        await asyncio.wait({future, sleeper}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeper.cancel()
    return future.done()
