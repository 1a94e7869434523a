"""Clients that send a body too slowly, or not all of it, are left."""

from __future__ import annotations

import asyncio

import pytest

from framework.api import reading
from tests.fakes.marathon_control import FakeMarathon
from tests.unit.marathon.api.serving import DEADLINE_S, Server


async def test_a_body_that_does_not_come(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_TIMEOUT_S", 0.1)
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = b"POST /v2/apps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        writer.write(head + b'{"id":')
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b'{"message":"The body did not come within 0 s"}')


async def test_a_body_that_ends_in_the_middle(server: Server, marathon: FakeMarathon) -> None:
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /v2/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
    assert marathon.roots == []
