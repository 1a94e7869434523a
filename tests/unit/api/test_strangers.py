"""Bodies of nobody knows whom: those who send slowly keep no other out, at a leader or at a standby."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from framework.api.app import create_app
from framework.api.problems import ProblemError
from framework.api.strangers import MAX_READING, Strangers
from framework.ports import Leader
from framework.settings import ApiSettings
from framework.tokens import token_sha256
from tests.fakes.control import FakeControl
from tests.fakes.seats import FakeSeat
from tests.fakes.templates import fixed_templates


class Readers:
    """Of bodies that never come to their end."""

    def __init__(self, strangers: Strangers) -> None:
        self._strangers = strangers
        self.ended: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def add(self, address: str, name: str) -> None:
        self._tasks.append(asyncio.create_task(self._read(address, name)))
        for _ in range(5):
            await asyncio.sleep(0)

    async def _read(self, address: str, name: str) -> None:
        try:
            async with self._strangers.reading(address):
                await asyncio.Event().wait()
        except ProblemError as problem:
            assert problem.status == 408
            self.ended.append(name)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def readers() -> AsyncIterator[Readers]:
    made = Readers(Strangers(most=3))
    yield made
    await made.close()


async def test_the_oldest_of_whoever_has_the_most_gives_way(readers: Readers) -> None:
    for address, name in (("b", "b1"), ("a", "a1"), ("a", "a2")):
        await readers.add(address, name)
    assert readers.ended == []
    await readers.add("c", "c1")
    assert readers.ended == ["a1"]
    await readers.add("a", "a3")
    await readers.add("a", "a4")
    assert readers.ended == ["a1", "b1", "a2"]


async def test_an_error_of_the_reader_s_own_stays_what_it_is() -> None:
    strangers = Strangers(most=1)
    for _ in range(2):
        with pytest.raises(ValueError, match="odd"):
            async with strangers.reading("a"):
                raise ValueError("odd")


@pytest.mark.parametrize("leads", [True, False])
async def test_slow_senders_keep_no_forge_out(leads: bool) -> None:
    seat = FakeSeat(FakeControl("red"))
    seat.leads = leads
    if not leads:
        seat.leader = Leader("http://127.0.0.1:9", "gone", "1.1", 4, 1000.0)
    app = create_app(seat, ApiSettings(), fixed_templates(), token_sha256("the-administrator-s"))
    begun, all_begun = 0, asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        if begun == MAX_READING:
            all_begun.set()
        yield b"{"
        await asyncio.Event().wait()

    slow = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("10.0.0.1", 1)), base_url="http://butlery")
    forge = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("10.0.0.2", 1)), base_url="http://butlery")
    async with slow, forge:
        asking = [asyncio.create_task(slow.post("/v1/webhooks/shop", content=slowly())) for _ in range(MAX_READING)]
        await all_begun.wait()
        answer = await forge.post("/v1/webhooks/shop", content=b"{}")
        assert answer.status_code == (401 if leads else 503)  # of a wrong signature, and a leader that is gone
        assert (await asking[0]).status_code == 408
        assert not any(task.done() for task in asking[1:])
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    await app.state.forwarder.close()
