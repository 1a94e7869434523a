"""The server's own checks, against real sockets on 127.0.0.1."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from msgspec.structs import replace

from framework.core.ids import HostId
from framework.local.marathon import checks as checks_module
from framework.local.marathon.checks import Checker
from framework.local.marathon.core.events import Event, HealthProbed, ReadinessProbed
from framework.local.marathon.definition.app import (
    App,
    Container,
    HealthCheck,
    Network,
    NetworkMode,
    PortDefinition,
    PortMapping,
    ReadinessCheck,
)
from framework.local.marathon.records import Condition, Goal, Instance, Site
from tests.fakes.clockwork import ManualClock, eventually
from tests.fakes.driving import SeededChance
from tests.unit.marathon.matching.hosts import app as made_app

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Bench:
    """A checker with what it says; ``step`` lets the next looks be taken."""

    def __init__(self) -> None:
        self.said: list[Event] = []
        self.clock = ManualClock()
        self.checker = Checker(self.said.append, self.clock, SeededChance(1))

    async def next(self) -> Any:
        """The next result, a minute later."""
        before = len(self.said)
        await eventually(self.clock.sleeping_s, "a sleeper")
        self.clock.advance(60)
        await eventually(lambda: len(self.said) > before, "a result")
        return self.said[before]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.checker.close()


class Web:
    """Answers each connection with ``answer``; None: never."""

    def __init__(self) -> None:
        self.answer: bytes | None = OK
        self.requests: list[bytes] = []
        self.port = 0


@asynccontextmanager
async def web(context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Web]:
    made = Web()
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.read(4096)
        if head:
            made.requests.append(head)
        if made.answer is None:
            await gone.wait()
        else:
            writer.write(made.answer)
        writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        gone.set()
        server.close()
        await server.wait_closed()


def instance_of(*ports: int, addresses: tuple[str, ...] = ()) -> Instance:
    return Instance(
        id="web.instance-1",
        app_id="/web",
        version="v",
        role="*",
        goal=Goal.RUNNING,
        condition=Condition.RUNNING,
        since=0.0,
        attempt=2,
        site=Site(HostId("a"), "host-1"),
        ports=ports,
        addresses=addresses,
    )


def health(protocol: str = "HTTP", **wanted: Any) -> HealthCheck:
    given: dict[str, Any] = {
        "grace_period_seconds": 300, "interval_seconds": 60, "timeout_seconds": 20, "max_consecutive_failures": 3,
        "delay_seconds": 15, "port_index": 0,
    }  # fmt: skip
    return HealthCheck(protocol=protocol, **{**given, **wanted})


def app_of(*checks: HealthCheck, **fields: Any) -> App:
    return replace(made_app(), health_checks=checks, **fields)


async def test_http_until_it_is_stopped(bench: Bench) -> None:
    async with web() as server:
        bench.checker.start(app_of(health(path="up?x=1")), instance_of(server.port))
        assert await bench.next() == HealthProbed("web.instance-1", 2, 0, alive=True)
        assert server.requests[0].startswith(b"GET /up?x=1 HTTP/1.1\r\n")
        server.answer = b"HTTP/1.1 503 Too Busy\r\nContent-Length: 0\r\n\r\n"
        assert await bench.next() == HealthProbed("web.instance-1", 2, 0, alive=False, cause="503 Too Busy")
        server.answer = b"HTTP/1.1 302 Found\r\nLocation: http://nowhere.invalid/\r\nContent-Length: 0\r\n\r\n"
        assert (await bench.next()).alive is True
        bench.checker.stop("web.instance-1")
        await asyncio.sleep(0)
        assert bench.clock.sleeping_s() == []


async def test_what_is_not_healthy(bench: Bench) -> None:
    async with web() as server:
        server.answer = b"SSH-2.0-OpenSSH_9.2\r\n"
        bench.checker.start(app_of(health()), instance_of(server.port))
        assert (await bench.next()).cause.startswith("not an HTTP answer: ")
        server.answer = b""
        assert (await bench.next()).cause == "the connection was closed before an answer"
    assert (await bench.next()).cause == "Connection refused"
    bench.checker.start(app_of(health()), instance_of())
    assert (await bench.next()).cause == "the task has no port of index 0"


async def test_silence_ends_with_the_timeout(bench: Bench) -> None:
    async with web() as server:
        server.answer = None
        bench.checker.start(app_of(health(timeout_seconds=1)), instance_of(server.port))
        assert (await bench.next()).cause == "no answer within 1 s"


async def test_a_clock_that_is_set_back_during_a_look_does_not_put_off_the_next(bench: Bench) -> None:
    async with web() as server:
        server.answer = None
        bench.checker.start(app_of(health(interval_seconds=10, timeout_seconds=1)), instance_of(server.port))
        await eventually(bench.clock.sleeping_s, "a sleeper")
        bench.clock.advance(60)
        await eventually(lambda: server.requests, "the look")
        bench.clock.advance(-7200)
        await eventually(bench.clock.sleeping_s, "the wait for the next look")
        assert bench.clock.sleeping_s()[0] <= 10


async def test_statuses_of_1xx_may_say_nothing(bench: Bench) -> None:
    async with web() as server:
        server.answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
        bench.checker.start(app_of(health(ignore_http1xx=True), health()), instance_of(server.port))
        assert await bench.next() == HealthProbed("web.instance-1", 2, 1, alive=False, cause="101 Switching Protocols")
        await eventually(lambda: len(server.requests) == 2)
        await eventually(lambda: len(bench.clock.sleeping_s()) == 2)
        assert len(bench.said) == 1


async def test_https_without_a_known_authority(bench: Bench) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("elsewhere.example").configure_cert(context)
    async with web(context) as server:
        bench.checker.start(app_of(health("HTTPS")), instance_of(server.port))
        assert (await bench.next()).alive is True


async def test_tcp(bench: Bench) -> None:
    async with web() as server:
        bench.checker.start(app_of(health("TCP", port_index=1)), instance_of(1, server.port))
        assert (await bench.next()).alive is True
    assert (await bench.next()).cause == "Connection refused"


async def test_what_the_executor_checks_is_left_to_it(bench: Bench) -> None:
    bench.checker.start(app_of(health("MESOS_HTTP"), health("COMMAND")), instance_of(1))
    await asyncio.sleep(0)
    assert bench.clock.sleeping_s() == []


async def test_a_container_on_a_network_of_its_own_is_asked_itself(bench: Bench) -> None:
    mapping = PortMapping(container_port=1, service_port=10000)
    async with web(host="127.0.0.9") as server:
        container = Container(type="DOCKER", volumes=(), port_mappings=(replace(mapping, container_port=server.port),))
        networks = (Network(mode=NetworkMode.CONTAINER, name="n"),)
        app = app_of(health(), health(port=server.port), networks=networks, container=container, port_definitions=None)
        bench.checker.start(app, instance_of(0, addresses=("127.0.0.9",)))
        assert (await bench.next()).alive is True
        await eventually(lambda: len(server.requests) == 2)


async def test_readiness_ends_when_ready(bench: Bench) -> None:
    check = ReadinessCheck(
        name="warm", protocol="HTTP", path="/warm", port_name="api", interval_seconds=30, timeout_seconds=10,
        http_status_codes_for_ready=(200, 204), preserve_last_response=True,
    )  # fmt: skip
    async with web() as server:
        ports = (PortDefinition(port=10000, name="other"), PortDefinition(port=10001, name="api"))
        app = app_of(readiness_checks=(check,), port_definitions=ports)
        server.answer = b"HTTP/1.1 503 No\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 200_000
        bench.checker.start_readiness(app, instance_of(1, server.port))
        first = await bench.next()
        assert isinstance(first, ReadinessProbed)
        assert (first.ready, first.status, first.content_type) == (False, 503, "text/plain")
        assert len(first.body or "") == checks_module.MAX_BODY_BYTES
        server.answer = OK
        assert (await bench.next()).ready is True
        await asyncio.sleep(0)
        assert bench.clock.sleeping_s() == []
        bench.checker.start_readiness(replace(app, port_definitions=()), instance_of(1, server.port))
        lost = await bench.next()
        assert (lost.ready, lost.status) == (False, 504)
        assert "there is no port named 'api'" in lost.body


async def test_a_thousand_at_once_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.checker, "_places", asyncio.Semaphore(3))
    async with web() as server:
        server.answer = None
        app = app_of(health(timeout_seconds=600))
        for number in range(50):
            bench.checker.start(app, replace(instance_of(server.port), id=f"web.instance-{number}"))
        await eventually(lambda: len(bench.clock.sleeping_s()) == 50)
        bench.clock.advance(1)
        await eventually(lambda: len(server.requests) == 3)
        await asyncio.sleep(0.05)
        assert len(server.requests) == 3
