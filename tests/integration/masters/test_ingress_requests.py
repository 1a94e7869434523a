"""What a real HAProxy and the holder make of requests that are odd, false or made to deceive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from masters.ingress.config import NOT_BELIEVED
from masters.records import Policy
from tests.fakes.placed_masters import PlacedMasters, Pretender
from tests.integration.masters.ingress_parts import ingress_of, until, until_mapped

TIMEOUT_S = 20.0


@pytest.fixture
async def one() -> AsyncIterator[Pretender]:
    found = await Pretender("one").start()
    yield found
    await found.stop()


async def sent(port: int, *lines: str, body: bytes = b"") -> tuple[int, str]:
    """Status and the whole answer to a request of these lines, whose connection ends with it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            writer.write("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body)
            answer = (await reader.read(-1)).decode("latin-1")
    finally:
        writer.close()
    return int(answer.split(" ", 2)[1]), answer


async def test_only_a_path_leads_anywhere_and_nothing_that_stands_before_masters_tells_of_itself(
    tmp_path: Path, one: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port])
    marathon.put_at("two", [one.port], policy=Policy(path="/two"))
    marathon.put_at("off", wanted="off")
    async with ingress_of(tmp_path, marathon) as ingress:
        await until_mapped(tmp_path, {"one.localhost": "one", "/two": "two", "off.localhost": "off"})
        port = int(ingress.url.rpartition(":")[2])
        end = "Connection: close"
        for target in ("/a?b", "http://one.localhost/a?b", "HTTP://ONE.localhost/a?b"):
            status, answer = await sent(port, f"GET {target} HTTP/1.1", f"Host: {_host(target)}", end)
            assert (status, answer.splitlines()[-1]) == (200, "one GET /a?b 0")
        status, answer = await sent(port, "GET /two HTTP/1.1", "Host: [::1]:8082", end)
        assert answer.splitlines()[-1] == "one GET /two 0"
        for line in ("OPTIONS * HTTP/1.1", "CONNECT one.localhost:80 HTTP/1.1", "GET @127.0.0.1:1/ HTTP/1.1"):
            host = "one.localhost:80" if line.startswith("CONNECT") else "one.localhost"
            assert (await sent(port, line, f"Host: {host}", end))[0] == 400
        assert (await sent(port, "GET / HTTP/1.1", "Host: one.localhost", "Host: two", end))[0] == 400
        for path in ("/two%2f", "/%2e%2e/two", "/two;x", "//two"):
            assert (await sent(port, f"GET {path} HTTP/1.1", "Host: x", end))[0] == 404
        for host, expected in (("one.localhost", 200), ("nobody", 404), ("off.localhost", 503)):
            status, answer = await sent(port, "GET / HTTP/1.1", f"Host: {host}", end)
            assert status == expected
            names = {line.partition(":")[0].lower() for line in answer.partition("\r\n\r\n")[0].splitlines()[1:]}
            assert names & {"server", "via", "x-butlery-tenant"} == set()


def _host(target: str) -> str:
    return target.split("/")[2] if "://" in target else "one.localhost"


async def test_a_client_cannot_have_what_the_ingress_says_of_it_left_out(tmp_path: Path, one: Pretender) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one")
    async with ingress_of(tmp_path, marathon) as ingress:
        await until_mapped(tmp_path, {"one.localhost": "one"})
        port = int(ingress.url.rpartition(":")[2])
        lines = ["GET / HTTP/1.1", "Host: one.localhost", "Connection: close, X-Forwarded-For, X-Forwarded-Proto"]
        lines += [f"{name}: made-up" for name in NOT_BELIEVED]
        held = asyncio.create_task(sent(port, *lines, "Upgrade: h2c"))
        await until(lambda: ingress.held("one"))
        marathon.put_at("one", [one.port])
        assert (await held)[0] == 200
        await until_mapped(tmp_path, {"one.localhost": "one"})
        assert (await sent(port, *lines, "Upgrade: h2c"))[0] == 200
        for told in [headers for headers in one.headers if headers.get("X-Forwarded-For")][-2:]:
            assert told["X-Forwarded-For"] == "127.0.0.1"
            assert told["X-Forwarded-Proto"] == "http"
            assert "Upgrade" not in told
            assert "made-up" not in told.values()


async def test_what_is_held_while_the_service_ends_is_given_to_the_next_one(tmp_path: Path, one: Pretender) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one")
    head = b"POST /hook HTTP/1.1\r\nHost: one.localhost\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n"
    async with ingress_of(tmp_path, marathon, keep=True) as ingress:
        await until_mapped(tmp_path, {"one.localhost": "one"})
        reader, writer = await asyncio.open_connection("127.0.0.1", int(ingress.url.rpartition(":")[2]))
        writer.write(head)
        await asyncio.sleep(0.1)  # as some senders do: the body comes on its own
        writer.write(b"x" * 2000)
        await until(lambda: ingress.held("one"))
        ended = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - ended < 20
    async with ingress_of(tmp_path, marathon) as ingress:
        await until(lambda: ingress.held("one"))
        marathon.put_at("one", [one.port])
        async with asyncio.timeout(TIMEOUT_S):
            assert (await reader.read(-1)).endswith(b"one POST /hook 2000")
    writer.close()


async def test_no_second_request_is_smuggled_past_the_routes(tmp_path: Path, one: Pretender) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one")
    async with ingress_of(tmp_path, marathon) as ingress:
        await until_mapped(tmp_path, {"one.localhost": "one"})
        port = int(ingress.url.rpartition(":")[2])
        both = ("POST / HTTP/1.1", "Host: one.localhost", "Content-Length: 6", "Transfer-Encoding: chunked")
        body = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: one.localhost\r\n\r\n"
        held = asyncio.create_task(sent(port, *both, "Connection: close", body=body))
        await until(lambda: ingress.held("one"))
        marathon.put_at("one", [one.port])
        for status, answer in (await held, await sent(port, *both, "Connection: close", body=body)):
            assert (status, answer.splitlines()[-1], answer.count("HTTP/1.")) == (200, "one POST / 0", 1)


async def test_a_websocket_is_a_use_of_its_master_for_as_long_as_it_is_open_unless_it_is_an_agents(
    tmp_path: Path, one: Pretender
) -> None:
    marathon = PlacedMasters()
    for name in ("agent", "cli"):
        marathon.put_at(name, [one.port])
    async with ingress_of(tmp_path, marathon) as ingress, aiohttp.ClientSession() as session:
        await until_mapped(tmp_path, {"agent.localhost": "agent", "cli.localhost": "cli"})
        async with (
            session.ws_connect(ingress.url + "/wsagents/", headers={"Host": "agent.localhost"}),
            session.ws_connect(ingress.url + "/cli/ws", headers={"Host": "cli.localhost"}),
        ):
            await ingress.count_uses()
            opened = ingress.last_use("cli")
            assert opened is not None
            assert ingress.last_use("agent") is None
            await asyncio.sleep(0.05)
            await ingress.count_uses()
            assert (ingress.last_use("cli") or 0) > opened
