"""Waits that end: for something, or for a time on the clock that the runtime was given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

from framework.errors import UnavailableError
from framework.ports import Clock

T = TypeVar("T")

MAX_SLEEP_S = 60.0
"""The wall clock may be set while we sleep."""


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
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    future.add_done_callback(end)
    timer = clock.call_later(timeout_s, end)
    try:
        await over
    finally:
        timer.cancel()
        future.remove_done_callback(end)
    return future.done()


async def until_due(wake: asyncio.Event, clock: Clock, due: float | None) -> None:
    """Until ``due``, in seconds since the epoch, or the event is set, or it is time to look at the clock again."""
    await until_set(wake, clock, MAX_SLEEP_S if due is None else min(MAX_SLEEP_S, max(0.0, due - clock.now())))


def tell(waiters: Iterable[asyncio.Future[None]]) -> None:
    """What they wait for is done."""
    for done in waiters:
        if not done.done():
            done.set_result(None)


def fail(waiters: Iterable[asyncio.Future[T]], reason: str) -> None:
    """Those that still wait get an UnavailableError."""
    for done in waiters:
        if not done.done():
            done.set_exception(UnavailableError(reason))
