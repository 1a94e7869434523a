"""What a client that is slow, or never ends, or does not read gets of a connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from starlette.types import Receive, Scope, Send

from framework.runtime import http_protocol, serving
from framework.runtime.serving import HttpServer, http_config

DEADLINE_S = 20.0
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
LARGE = b"x" * (8 << 20)


async def served(scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing at the root, without reading any body; what is asked for below it is large."""
    body = LARGE if scope["path"] == "/large" else b""
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(http_config(served, stop_grace_s=1))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    async with asyncio.timeout(DEADLINE_S):
        await running


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.2)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server ends the connection."""
    found = b""
    async with asyncio.timeout(DEADLINE_S):
        try:
            while piece := await reader.read(1 << 16):
                found += piece
        except ConnectionResetError:
            pass
    return found


async def dripping(writer: asyncio.StreamWriter, drop: bytes) -> None:
    while True:
        writer.write(drop)
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("beginning", "drop"),
    [
        (b"", b""),
        (b"", b"\r\n"),
        (b"GET", b""),
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\nX: ", b"a"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"),
    ],
)
@pytest.mark.usefixtures("hasty")
async def test_a_head_that_does_not_end(port: int, beginning: bytes, drop: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(beginning)
    drips = asyncio.create_task(dripping(writer, drop)) if drop else None
    answer = await ended(reader)
    assert answer.startswith(b"HTTP/1.1 200 " if beginning.endswith(b"\r\n\r\n") else b"")
    writer.close()
    if drips is not None:
        drips.cancel()
        await asyncio.gather(drips, return_exceptions=True)


async def test_a_head_that_is_too_long(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * (http_protocol.MAX_HEAD_BYTES + 1))
    assert b"The head of the request is too long." in await ended(reader)
    writer.close()


@pytest.mark.usefixtures("hasty")
async def test_a_body_that_goes_on_after_its_answer(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD)
    drips = asyncio.create_task(dripping(writer, b"a"))
    assert (await ended(reader)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    drips.cancel()
    await asyncio.gather(drips, return_exceptions=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "IDLE_S", 0.2)


@pytest.mark.usefixtures("impatient")
async def test_a_connection_that_is_not_used_any_more(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await ended(reader)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_many_requests_on_one_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(DEADLINE_S):
        for _ in range(5):
            writer.write(HEAD[:20])
            await asyncio.sleep(0)
            writer.write(HEAD[20:] + b"a" * 1000)
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def test_an_answer_that_is_not_read(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_protocol, "WRITE_TIMEOUT_S", 0.2)
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    async with asyncio.timeout(DEADLINE_S):
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        while "did not read" not in caplog.text:  # noqa: ASYNC110 - there is nothing else to wait for
            await asyncio.sleep(0.02)
    writer.close()
