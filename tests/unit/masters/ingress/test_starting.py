"""Masters that start, asked whether they answer before Marathon calls them healthy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from masters.ingress.due import Due
from masters.ingress.routes import Endpoint
from masters.ingress.starting import Start, Starting
from tests.fakes.clockwork import eventually


class Booting:
    """503 until ``status`` is another; notes the paths that it was asked for."""

    def __init__(self) -> None:
        self.status = 503
        self.asked: list[str] = []

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Endpoint]:
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield Endpoint("127.0.0.1", runner.addresses[0][1])
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(request.path)
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@contextlib.asynccontextmanager
async def working(starting: Starting) -> AsyncIterator[None]:
    works = [asyncio.create_task(starting.work()) for _ in range(2)]
    try:
        yield
        assert not any(work.done() for work in works)
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)


@pytest.mark.parametrize("status", [200, 302])
async def test_one_that_answers_as_its_health_check_wants_counts_until_it_is_gone(status: int) -> None:
    changes: list[int] = []
    starting, master = Starting(lambda: changes.append(1)), Booting()
    async with master.serving() as endpoint, working(starting):
        starting.take({"booting": Start(endpoint, "/ci/login"), "refused": Start(Endpoint("127.0.0.1", 9), "/login")})
        await eventually(lambda: len(master.asked) > 1, "asked again")
        assert starting.answered == set()
        master.status = status
        await eventually(lambda: starting.answered == {"booting"})
        assert set(master.asked) == {"/ci/login"}
        assert changes == [1]
        starting.take({})
        assert starting.answered == set()


async def test_one_that_went_elsewhere_is_asked_there() -> None:
    starting, first, other = Starting(lambda: None), Booting(), Booting()
    other.status = 200
    async with first.serving() as old, other.serving() as new, working(starting):
        starting.take({"task": Start(old, "/login")})
        await eventually(lambda: first.asked)
        starting.take({"task": Start(new, "/login")})
        await eventually(lambda: starting.answered == {"task"})


async def test_what_is_due_comes_in_its_order_and_once() -> None:
    due = Due()
    waiting = asyncio.create_task(due.next())
    await asyncio.sleep(0)
    due.set("later", 0.05)
    due.set("never", 3600.0)
    due.set("now")
    assert await waiting == "now"
    due.set("dropped")
    due.drop("dropped")
    assert await due.next() == "later"
