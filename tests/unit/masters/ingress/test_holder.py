"""Requests that are held, without HAProxy before them."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from framework.runtime.chance import SystemChance
from masters.ingress import holder as held
from masters.ingress.config import TENANT_HEADER
from masters.ingress.holder import Holder, Standing
from masters.ingress.routes import Endpoint
from tests.fakes.clockwork import eventually
from tests.fakes.placed_masters import Pretender


class Place:
    """Where the one master is."""

    def __init__(self) -> None:
        self.now: tuple[Standing, Endpoint | None] = ("comes", None)
        self.woken = 0
        self._moved = asyncio.Event()

    def standing(self, tenant: str) -> tuple[Standing, Endpoint | None]:
        return self.now

    def moved(self) -> asyncio.Event:
        return self._moved

    def wake(self, tenant: str) -> None:
        self.woken += 1

    def put(self, standing: Standing, port: int | None = None) -> None:
        self.now = (standing, Endpoint("127.0.0.1", port) if port else None)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Front:
    """A holder, and a client that speaks to it as HAProxy does."""

    def __init__(self, place: Place, session: aiohttp.ClientSession, holder: Holder, port: int) -> None:
        self.place, self.session, self.holder, self.port = place, session, holder, port

    async def ask(self, method: str = "GET", **more: Any) -> tuple[int, str]:
        headers = {TENANT_HEADER: "one", **more.pop("headers", {})}
        async with self.session.request(
            method, f"http://127.0.0.1:{self.port}/a%2Fb?c", headers=headers, **more
        ) as got:
            return got.status, (await got.text()).strip()

    def begin(self, method: str = "GET", **more: Any) -> asyncio.Task[tuple[int, str]]:
        return asyncio.create_task(self.ask(method, **more))


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    place = Place()
    holder = Holder(place, hold_s=1.0, held_requests=50, chance=SystemChance())
    port = await holder.start(0)
    async with aiohttp.ClientSession(max_field_size=1 << 15) as session:
        yield Front(place, session, holder, port)
    await holder.close()


@pytest.fixture
async def master() -> AsyncIterator[Pretender]:
    found = await Pretender("one").start()
    yield found
    await found.stop()


async def test_what_is_held_is_passed_on_as_it_came(front: Front, master: Pretender) -> None:
    asked = [front.begin(method, data=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}) for method in ("POST", "PUT")]
    asked += [front.begin("GET"), front.begin("HEAD")]
    await eventually(lambda: front.holder.held["one"] == 4)
    front.place.put("serves", master.port)
    answers = [await each for each in asked]
    assert answers[:3] == [
        (200, f"one {method} /a%2Fb?c {length}") for method, length in (("POST", 2), ("PUT", 2), ("GET", 0))
    ]
    assert answers[3] == (200, "")
    assert sorted(master.bodies) == [b"", b"", b"\x1f\x8b", b"\x1f\x8b"]
    assert all(TENANT_HEADER not in headers for headers in master.headers)
    await eventually(lambda: not front.holder.held)


async def test_a_body_too_long_to_keep_is_sent_on_piece_by_piece(
    front: Front, master: Pretender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "BODY_BYTES", 10)
    body = b"long" * 500_000
    asked = front.begin("POST", data=io.BytesIO(body), expect100=True)
    await eventually(lambda: front.holder.held["one"])
    front.place.put("serves", master.port)
    assert await asked == (200, f"one POST /a%2Fb?c {len(body)}")
    assert master.bodies == [body]


async def test_a_client_that_waits_to_be_asked_for_its_body(front: Front, master: Pretender) -> None:
    front.place.put("serves", master.port)
    assert await front.ask("POST", data=b"1234", expect100=True) == (200, "one POST /a%2Fb?c 4")


async def test_who_cannot_be_served_is_told_so(front: Front) -> None:
    front.place.put("asleep")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert (await front.ask(headers=upgrade))[0] == 503
    assert front.place.woken == 0
    assert (await front.ask())[0] == 503
    assert front.place.woken > 0
    front.place.put("off")
    assert await front.ask() == (503, "It is switched off. Its operator can switch it on.")


async def test_no_tenant_takes_all_room(front: Front) -> None:
    asked = [front.begin() for _ in range(7)]
    answers = [await each for each in asked]
    assert sorted("too many" in text for _, text in answers) == [False] * 5 + [True] * 2
    assert {status for status, _ in answers} == {503}


async def test_a_master_wakes_however_many_wait_for_others(front: Front) -> None:
    front.place.put("asleep")
    asked = [front.begin(headers={TENANT_HEADER: f"other-{number % 10}"}) for number in range(50)]
    await eventually(lambda: front.holder.held.total() == 50)
    asked += [front.begin() for _ in range(3)]
    await eventually(lambda: asked[-1].done() or front.holder.held["one"] == held.LEAST_EACH)
    answers = [text for _, text in await asyncio.gather(*asked)]
    assert sum("too many" in text for text in answers) == 1
    assert front.holder.held.total() == 0


async def test_what_was_sent_to_a_master_that_ends_is_sent_again_only_where_it_only_reads(
    front: Front, master: Pretender
) -> None:
    async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        front.place.put("serves", master.port)
        writer.close()

    broken = await asyncio.start_server(ends, "127.0.0.1", 0)
    port = broken.sockets[0].getsockname()[1]
    front.place.put("serves", port)
    assert (await front.ask("POST", data=b"once"))[0] == 502
    assert master.bodies == []
    front.place.put("serves", port)
    assert await front.ask() == (200, "one GET /a%2Fb?c 0")
    broken.close()
    await broken.wait_closed()


async def test_nobody_asks_a_master_for_a_reader_who_has_gone(front: Front, master: Pretender) -> None:
    asked = front.begin()
    await eventually(lambda: front.holder.held["one"])
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    front.place.put("comes")
    await eventually(lambda: not front.holder.held)
    front.place.put("serves", master.port)
    assert master.bodies == []


async def answering(answer: bytes, front: Front) -> asyncio.Server:
    """A master that reads the head of a request, answers so, and ends; ``front`` knows it."""

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answered, "127.0.0.1", 0)
    front.place.put("serves", server.sockets[0].getsockname()[1])
    return server


@pytest.mark.parametrize(
    "head", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"], ids=["with a length", "in chunks"]
)
async def test_an_answer_that_breaks_off_is_seen_to_and_nothing_is_put_behind_it(front: Front, head: bytes) -> None:
    async with await answering(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n5\r\nhello\r\n", front):
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(f"GET / HTTP/1.1\r\nHost: x\r\n{TENANT_HEADER}: one\r\n\r\n".encode())
        seen = b""
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(10):
                while piece := await reader.read(1 << 16):
                    seen += piece
        writer.close()
        assert seen.count(b"HTTP/1.1") == 1
        assert not seen.endswith(b"0\r\n\r\n")


async def test_a_request_that_ends_masters_is_not_sent_without_end(front: Front) -> None:
    asked = 0

    async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    async with await asyncio.start_server(ends, "127.0.0.1", 0) as server:
        front.place.put("serves", server.sockets[0].getsockname()[1])
        assert (await front.ask())[0] == 502
    assert asked == held.SENDS


async def test_long_headers_of_an_answer_are_passed_on(front: Front) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: " + b"a" * 12_000 + b"\r\n\r\nok"
    async with await answering(head, front):
        assert await front.ask() == (200, "ok")


async def test_a_master_wakes_while_the_body_for_it_still_comes(front: Front) -> None:
    front.place.put("asleep")
    _, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(f"POST / HTTP/1.1\r\nHost: x\r\n{TENANT_HEADER}: one\r\nContent-Length: 9\r\n\r\n1".encode())
    await eventually(lambda: front.place.woken)
    writer.transport.abort()  # its sender goes away in the middle of it
    await eventually(lambda: not front.holder.held)


async def test_who_sends_much_to_a_master_that_is_off_is_told_so(front: Front) -> None:
    front.place.put("off")
    assert (await front.ask("POST", data=io.BytesIO(b"x" * 3_000_000)))[0] == 503
