"""A tenant's master may answer anything, slowly, endlessly: calls end in time, with an error that says what it was."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from framework.core.ids import TenantName
from framework.edges.jenkins.calls import MAX_BYTES
from framework.edges.jenkins.edge import JenkinsEdge
from framework.jenkins_ports import MasterError, MasterRecord, NewNode
from framework.runtime.chance import SystemClock

TENANT = TenantName("odd")
TOKEN = "token-of-tests-0123456789"
TIMEOUT_S = 0.5
NODE = NewNode(
    "butlery-0123456789abcdef.1", "maven", "butlery: agent of task 0123456789abcdef.1", "agent", exclusive=True
)
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def page(status: str, *headers: str, body: bytes = b"", jenkins: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, *(["X-Jenkins: 2.463", "X-Jenkins-Session: s1"] if jenkins else [])]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


class Odd:
    """Answers every request with the same bytes, or as ``answer`` does."""

    def __init__(self, answer: bytes | Answer) -> None:
        self._answer = answer
        self._serving: set[asyncio.Task[None]] = set()
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = re.search(rb"content-length: (\d+)", head.lower())
                await reader.readexactly(int(length[1]) if length else 0)
                if isinstance(self._answer, bytes):
                    writer.write(self._answer)
                    await writer.drain()
                else:
                    await self._answer(reader, writer)
        writer.transport.abort()

    async def stop(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving)


@asynccontextmanager
async def odd_master(answer: bytes | Answer, *, direct: bool = False) -> AsyncIterator[tuple[MasterRecord, Odd]]:
    odd = Odd(answer)
    server = await asyncio.start_server(odd.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield MasterRecord(url, "butlery", TOKEN, "2.463", "s1", url if direct else ""), odd
    finally:
        server.close()
        await odd.stop()


@pytest.fixture
async def edge() -> AsyncIterator[JenkinsEdge]:
    edge = JenkinsEdge(SystemClock(), TIMEOUT_S)
    yield edge
    await edge.close()


async def refused(edge: JenkinsEdge, master: MasterRecord) -> MasterError:
    """What comes of every method; none may take longer than its calls may, nor tell the token."""
    asked = (
        lambda: edge.look(master, TENANT, labels=True),
        lambda: edge.create_node(master, NODE),
        lambda: edge.remove_node(master, NODE.name),
        lambda: edge.tell(master, NODE.name, "lost", resubmit=True),
        lambda: edge.jar(master),
    )
    errors: list[MasterError] = []
    for ask in asked:
        began = time.monotonic()
        with pytest.raises(MasterError) as raised:
            await ask()
        assert time.monotonic() - began < 20
        assert TOKEN not in str(raised.value)
        assert str(raised.value).isprintable()
        errors.append(raised.value)
    return errors[0]


ENDLESS = b"HTTP/1.1 200 OK\r\nX-Jenkins: 2.463\r\nTransfer-Encoding: chunked\r\n\r\n"
NESTED = b'{"computer":' + b"[" * 100_000


CASES: list[tuple[bytes, str, str]] = [
    (page("401 Unauthorized"), "refused", "401"),
    (page("403 Forbidden"), "refused", "403"),
    (page("429 Too Many Requests"), "full", "429"),
    (page("500 Server Error"), "full", "500"),
    (page("502 Bad Gateway", jenkins=False), "full", "502"),
    (page("503 Service Unavailable", jenkins=False), "down", "503"),
    (page("404 Not Found", jenkins=False), "odd", "no Jenkins"),
    (page("302 Found", "Location: https://login.example/computer/"), "odd", "HTTP 302"),
    (page("418 I'm a teapot"), "odd", "418"),
    (page("200 OK", body=b"<html>Hello</html>"), "odd", "other JSON"),
    (page("200 OK", body=b'["none"]'), "odd", "other JSON"),
    (page("200 OK", body=b'{"computer":[{"displayName":"\xff"}],"displayName":"\xff"}'), "odd", "other JSON"),
    (page("200 OK", body=NESTED), "odd", "other JSON"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "odd", "does not speak HTTP"),
    (b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n", "odd", "does not speak HTTP"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "odd", "more than 16 MiB"),
]


@pytest.mark.parametrize(
    ("answer", "kind", "told"), CASES, ids=[f"{number}-{kind}" for number, (_, kind, _) in enumerate(CASES)]
)
async def test_what_is_no_answer_of_a_jenkins_is_told_as_such(
    edge: JenkinsEdge, answer: bytes, kind: str, told: str
) -> None:
    async with odd_master(answer) as (master, _):
        if told == "more than 16 MiB":
            with pytest.raises(MasterError) as raised:
                await edge.look(master, TENANT, labels=True)
            error = raised.value
        else:
            error = await refused(edge, master)
    assert (error.kind, told in str(error)) == (kind, True), str(error)


async def test_one_that_closes_the_connection_is_down(edge: JenkinsEdge) -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(page("200 OK", body=b"x" * 100)[:-50])
        writer.close()
        raise OSError

    async with odd_master(close) as (master, _):
        assert (await refused(edge, master)).kind == "down"


async def test_one_that_says_nothing_is_slow(edge: JenkinsEdge) -> None:
    async def nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with odd_master(nothing) as (master, _):
        assert (await refused(edge, master)).kind == "slow"


async def test_one_that_drips_is_slow(edge: JenkinsEdge) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ENDLESS)
        while True:
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with odd_master(drip) as (master, _):
        with pytest.raises(MasterError) as raised:
            await edge.look(master, TENANT, labels=True)
    assert raised.value.kind == "slow"


async def test_an_endless_answer_is_read_no_further_than_any_that_is_of_use() -> None:
    sent = 0

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(ENDLESS)
        part = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        while True:
            writer.write(part)
            await writer.drain()
            sent += 0x100000

    edge = JenkinsEdge(SystemClock(), timeout_s=20)
    async with odd_master(pour) as (master, _):
        with pytest.raises(MasterError, match="more than 16 MiB") as raised:
            await edge.look(master, TENANT, labels=True)
    await edge.close()
    assert raised.value.kind == "odd"
    assert sent <= 2 * MAX_BYTES


async def test_a_queue_without_end_is_not_taken_in() -> None:
    edge = JenkinsEdge(SystemClock(), timeout_s=20)
    items = [{"item": number, "task": "a", "in_queue_since_ms": 1} for number in range(20_001)]
    answer = json.dumps({"session": "s1", "items": items, "nodes": []}).encode()
    async with odd_master(page("200 OK", body=answer)) as (master, _):
        with pytest.raises(MasterError, match="more than 20000 items"):
            await edge.look(master, TENANT, labels=True)
    await edge.close()


async def test_the_token_follows_no_redirect(edge: JenkinsEdge) -> None:
    async with odd_master(b"") as (elsewhere, other):
        moved = page("302 Found", f"Location: {elsewhere.url}computer/")
        async with odd_master(moved) as (master, odd):
            with pytest.raises(MasterError):
                await edge.look(master, TENANT, labels=True)
    assert odd.heads
    assert other.heads == []


async def test_what_stands_before_a_master_and_wants_a_login_is_told_of(edge: JenkinsEdge) -> None:
    async with odd_master(page("302 Found", "Location: /securityRealm/commenceLogin")) as (master, _):
        with pytest.raises(MasterError, match="login") as raised:
            await edge.create_node(master, NODE)
    assert raised.value.kind == "refused"


async def test_the_process_in_a_masters_place_is_shown_no_token_until_it_says_that_it_is_that(
    edge: JenkinsEdge,
) -> None:
    for answer in (
        page("200 OK", body=b"{}").replace(b"Session: s1", b"Session: s2"),
        page("200 OK", body=b"{}", jenkins=False),
        page("503 Service Unavailable", jenkins=False),
        page("302 Found", "Location: /login", jenkins=False),
    ):
        async with odd_master(answer, direct=True) as (master, odd):
            await refused(edge, master)
        assert len(odd.heads) == 5
        assert all(b"authorization" not in head.lower() for head in odd.heads)


async def test_a_secret_of_another_shape_or_node_is_not_taken(edge: JenkinsEdge) -> None:
    for arguments in ("<argument>x</argument>", f"<argument>{'a' * 64}</argument><argument>another</argument>"):
        body = f"<jnlp>{arguments}</jnlp>".encode()
        found = page("200 OK", body=body)
        made = page("302 Found", "Location: /computer/")
        replies = iter((made, found))

        async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(next(replies))  # noqa: B023

        async with odd_master(reply) as (master, _):
            with pytest.raises(MasterError, match="no secret") as raised:
                await edge.create_node(master, NODE)
        assert "a" * 64 not in str(raised.value)
