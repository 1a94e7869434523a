"""What goes wrong between the driver and a real Mesos, made by a proxy between them."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import socket
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from framework.core.effects import Acknowledge, Decline, Kill, Reconcile
from framework.core.events import Disconnected, NotSubscribed, Subscribed, TaskUpdate
from framework.core.ids import HostId, TaskId
from framework.edges.mesos import connection, subscription
from framework.edges.mesos.driver import MAX_REDIRECTS, NOT_MESOS_PATIENCE, RETRY_BASE_S, RETRY_CAP_S, MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.pymesos_driver import PymesosDriver
from framework.errors import MesosRefusedError
from framework.local.cluster import MesosCluster
from tests.fakes.driving import Driving, FastClock, SeededChance, launch, launching
from tests.fakes.fault_proxy import FaultProxy, Script, answer, fault_proxy

HURRIED = 0.001
"""A clock's scale at which retries take no time."""


@pytest.fixture
async def proxy(cluster: MesosCluster) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(cluster.port) as running:
        yield running


@pytest.fixture
def clock() -> FastClock:
    return FastClock()


Start = Callable[..., contextlib.AbstractAsyncContextManager[Driving]]
Make = Callable[..., MesosDriver]


@pytest.fixture(params=[MesosDriver, PymesosDriver])
def make(request: pytest.FixtureRequest, clock: FastClock) -> Make:
    """Each test is of both drivers, unless it asks for one."""

    def made(masters: Sequence[str], heartbeats_missed: int = 5) -> MesosDriver:
        framework = FrameworkSettings("faults", getpass.getuser(), ("faults",), 60.0, "localhost")
        driver: MesosDriver = request.param(masters, framework, clock, SeededChance(), None, heartbeats_missed)
        return driver

    return made


@pytest.fixture
def start(clock: FastClock, make: Make) -> Start:
    @contextlib.asynccontextmanager
    async def started(*masters: str, heartbeats_missed: int = 5) -> AsyncIterator[Driving]:
        driving = Driving(make(masters, heartbeats_missed))
        try:
            yield driving
        finally:
            clock.scale = 1.0
            await driving.end()

    return started


def times(count: int, request: str, reply: bytes) -> Script:
    """Answers the first ``count`` of the requests, and passes on what comes after."""
    left = [count]

    def script(seen: str) -> bytes | None:
        if seen != request or left[0] == 0:
            return None
        left[0] -= 1
        return reply

    return script


async def test_503_is_retried_with_growing_waits(proxy: FaultProxy, clock: FastClock, start: Start) -> None:
    clock.scale = HURRIED
    proxy.script = times(8, "SUBSCRIBE", answer("503 Service Unavailable", "no leader elected"))
    async with start(proxy.url) as driving:
        await driving.subscribed()
        waits = clock.sleeps[:8]
        ceilings = [min(RETRY_CAP_S, RETRY_BASE_S * 2**n) for n in range(8)]
        assert all(ceiling / 2 <= wait <= ceiling for wait, ceiling in zip(waits, ceilings, strict=True)), waits
        assert proxy.requests.count("SUBSCRIBE") == 9
        assert not driving.of(Disconnected)


async def test_each_reason_is_logged_once_and_told_each_time(
    proxy: FaultProxy, clock: FastClock, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    clock.scale = HURRIED
    replies = iter([answer("503 Service Unavailable", said) for said in ("one", "one", "two", "one", "two")])
    proxy.script = lambda seen: next(replies, None) if seen == "SUBSCRIBE" else None
    with caplog.at_level("WARNING"):
        async with start(proxy.url) as driving:
            await driving.subscribed()
            told = [event.reason for event in driving.of(NotSubscribed)]
    assert [said for reason in told for said in ("one", "two") if said in reason] == ["one", "one", "two", "one", "two"]
    assert len([record for record in caplog.records if "cannot be subscribed to" in record.message]) == 2


async def test_refused_connections_are_retried_on_the_next_master(cluster: MesosCluster, start: Start) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with start(f"http://127.0.0.1:{nobody.getsockname()[1]}", cluster.url) as driving:
            await driving.subscribed()


async def test_a_redirect_leads_to_the_leader_without_a_wait(
    cluster: MesosCluster, proxy: FaultProxy, clock: FastClock, start: Start
) -> None:
    location = f"Location: //127.0.0.1:{cluster.port}/api/v1/scheduler\r\n"
    proxy.script = times(1, "SUBSCRIBE", answer("307 Temporary Redirect", headers=location))
    async with start(proxy.url) as driving:
        await driving.subscribed()
        assert set(clock.sleeps) <= {subscription.TICK_S}, "no sleep but that of the watchdog"
        assert proxy.requests.count("SUBSCRIBE") == 1
        await driving.offer()


async def test_redirects_in_a_circle_make_no_storm(proxy: FaultProxy, clock: FastClock, start: Start) -> None:
    clock.scale = HURRIED
    location = f"Location: //127.0.0.1:{proxy.port}/api/v1/scheduler\r\n"
    proxy.script = times(4 * (MAX_REDIRECTS + 1), "SUBSCRIBE", answer("307 Temporary Redirect", headers=location))
    async with start(proxy.url) as driving:
        await driving.subscribed()
        assert len([wait for wait in clock.sleeps if wait != subscription.TICK_S]) == 4


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        ("400 Bad Request", ""),
        ("401 Unauthorized", "set mesos.principal and mesos.secret_file"),
        ("403 Forbidden", "its ACLs must let mesos.principal do so"),
        ("409 Conflict", "its master's log says how"),
    ],
)
async def test_a_refused_subscription_ends_the_driver(proxy: FaultProxy, make: Make, status: str, fix: str) -> None:
    proxy.script = times(1, "SUBSCRIBE", answer(status, "Framework principal is not allowed"))
    with pytest.raises(MesosRefusedError, match=rf"\(40.\): 'Framework principal is not allowed'.*{fix}"):
        await asyncio.wait_for(make([proxy.url]).run(lambda _: None), 30)


@pytest.mark.parametrize("make", [MesosDriver], indirect=True)  # pymesos asks for none
@pytest.mark.parametrize(
    ("version", "named"),
    [
        ('{"version":"0.28.3"}', r"is Mesos 0\.28\.3; 1\.0 or later is needed"),
        ("<html>It works!</html>", "is not Mesos: its /version is '<html>It works!</html>'"),
        ('{"version":"x"}', "is not Mesos"),
        ('{"number":"7.17"}', "is not Mesos"),
    ],
)
async def test_a_wrong_version_is_refused_by_name(proxy: FaultProxy, make: Make, version: str, named: str) -> None:
    proxy.script = times(1, "GET /version", answer("200 OK", version))
    with pytest.raises(MesosRefusedError, match=named):
        await asyncio.wait_for(make([proxy.url]).run(lambda _: None), 30)


@pytest.mark.parametrize(
    "reply",
    [
        answer("404 Not Found", "nginx"),
        answer("405 Method Not Allowed", "POST is not known here"),
        answer("501 Unsupported method ('POST')"),
        answer("200 OK", "<html>It works!</html>"),
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    ],
)
async def test_what_is_not_mesos_is_refused_in_the_end(
    proxy: FaultProxy, clock: FastClock, make: Make, reply: bytes
) -> None:
    clock.scale = HURRIED
    proxy.script = times(NOT_MESOS_PATIENCE, "SUBSCRIBE", reply)
    with pytest.raises(MesosRefusedError):
        await asyncio.wait_for(make([proxy.url]).run(lambda _: None), 30)
    assert proxy.requests.count("SUBSCRIBE") == NOT_MESOS_PATIENCE


async def test_a_master_that_starts_is_waited_for(proxy: FaultProxy, clock: FastClock, start: Start) -> None:
    clock.scale = HURRIED
    proxy.script = times(NOT_MESOS_PATIENCE - 1, "SUBSCRIBE", answer("404 Not Found"))
    async with start(proxy.url) as driving:
        await driving.subscribed()


async def test_a_silent_connection_is_found_by_its_missing_heartbeats(
    proxy: FaultProxy, clock: FastClock, start: Start
) -> None:
    async with start(proxy.url, heartbeats_missed=3) as driving:
        framework_id = await driving.subscribed()
        proxy.hush()
        clock.scale = 0.02
        assert await driving.disconnected() == "3 heartbeats were missed"
        clock.scale = 1.0
        proxy.flow()
        assert await driving.subscribed(2) == framework_id


@pytest.mark.parametrize("called", [True, False])
async def test_a_peer_that_answers_no_more_is_found(
    proxy: FaultProxy, clock: FastClock, start: Start, called: bool
) -> None:
    async with start(proxy.url, heartbeats_missed=1000) as driving:
        await driving.subscribed()
        proxy.stall()
        if called:
            driving.driver.revive()
        clock.scale = HURRIED
        assert await driving.disconnected() == "calls are not answered"
        clock.scale = 1.0
        proxy.flow()
        await driving.subscribed(2)


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"this is no record\n", "not RecordIO"),
        (b"<html>It works!</html>", "not RecordIO"),
        (b'104857600\n{"type":', "a record of 104857600... bytes; at most"),
        (b"99999999\n", "a record of 99999999 bytes; at most"),
    ],
)
async def test_garbage_in_the_stream_ends_the_connection_not_the_driver(
    proxy: FaultProxy, start: Start, garbage: bytes, reason: str
) -> None:
    async with start(proxy.url) as driving:
        framework_id = await driving.subscribed()
        proxy.inject(garbage)
        assert reason in await driving.disconnected()
        assert await driving.subscribed(2) == framework_id
        await driving.offer(driving.events.index(driving.of(Subscribed)[1]))


async def test_events_that_cannot_be_used_are_left_out(proxy: FaultProxy, start: Start) -> None:
    async with start(proxy.url) as driving:
        await driving.subscribed()
        for event in (
            b'{"type":"INVERSE_OFFERS"}',
            b'{"type":"SOMETHING_NEW","x":1}',
            b'{"type":"UPDATE"}',
            b"{",
            b"[]",
        ):
            proxy.inject(b"%d\n%b" % (len(event), event))
        update = b'{"type":"UPDATE","update":{"status":{"task_id":{"value":"t"},"state":"TASK_RUNNING"}}}'
        proxy.inject(b"%d\n%b" % (len(update), update))
        await driving.update("t", "TASK_RUNNING")
        assert not driving.of(Disconnected)


async def test_a_launch_that_mesos_refuses_drops_each_of_its_tasks(proxy: FaultProxy, start: Start) -> None:
    proxy.script = times(1, "ACCEPT", answer("400 Bad Request", "Failed to parse JSON"))
    async with start(proxy.url) as driving:
        offer = await driving.offer()
        driving.driver.accept([offer.id], offer.host_id, launching(launch("a.1"), launch("b.1")))
        for name in ("a.1", "b.1"):
            dropped = await driving.update(name, "TASK_DROPPED")
            assert (dropped.uuid, dropped.host_id) == (b"", offer.host_id)
        assert driving.driver.connected
        driving.driver.accept([offer.id], offer.host_id, launching(launch("c.1")))
        await driving.update("c.1", "TASK_FINISHED")


async def test_secrets_of_a_refused_launch_are_not_logged(
    proxy: FaultProxy, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.script = times(1, "ACCEPT", answer("400 Bad Request", "syntax error at line 1 near: hunter2"))
    async with start(proxy.url) as driving:
        offer = await driving.offer()
        driving.driver.accept([offer.id], offer.host_id, launching(launch("a.1")))
        await driving.update("a.1", "TASK_DROPPED")
    records = [vars(record) for record in caplog.records]
    assert any(record.get("fields", {}).get("call") == "ACCEPT" for record in records)
    assert "hunter2" not in str(records)


@pytest.mark.parametrize(
    "reply",
    [
        answer("503 Service Unavailable"),
        answer("403 Forbidden", "Framework is not subscribed"),
        answer("400 Bad Request", "The stream ID included in this request didn't match"),
    ],
)
async def test_calls_that_show_the_subscription_gone_lead_to_a_new_one(
    proxy: FaultProxy, start: Start, reply: bytes
) -> None:
    proxy.script = times(1, "KILL", reply)
    async with start(proxy.url) as driving:
        framework_id = await driving.subscribed()
        driving.driver.kill(Kill(TaskId("t"), HostId("h"), 0.0))
        assert "KILL" in await driving.disconnected()
        assert await driving.subscribed(2) == framework_id
        assert len(driving.of(Disconnected)) == 1


async def test_half_a_record_is_lost_with_its_connection(proxy: FaultProxy, start: Start) -> None:
    async with start(proxy.url) as driving:
        framework_id = await driving.subscribed()
        proxy.inject(b'400\n{"type":"UPDATE",')
        proxy.cut()
        await driving.disconnected()
        assert await driving.subscribed(2) == framework_id
        await driving.offer(driving.events.index(driving.of(Subscribed)[1]))


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("ACCEPT", "503 Service Unavailable"),
        ("ACCEPT", "401 Unauthorized"),
        ("ACCEPT", "307 Temporary Redirect"),
        ("ACKNOWLEDGE", "503 Service Unavailable"),
        ("DECLINE", "503 Service Unavailable"),
        ("REVIVE", "429 Too Many Requests"),
        ("RECONCILE", "503 Service Unavailable"),
    ],
)
async def test_no_call_is_lost_in_silence(proxy: FaultProxy, start: Start, call: str, status: str) -> None:
    """The subscription ends, upon which the core asks for the state of every task; nothing is torn down."""
    proxy.script = times(1, call, answer(status))
    async with start(proxy.url) as driving:
        framework_id, offer = await driving.subscribed(), await driving.offer()
        calls: dict[str, Callable[[], None]] = {
            "ACCEPT": lambda: driving.driver.accept([offer.id], offer.host_id, launching(launch("lost.1"))),
            "ACKNOWLEDGE": lambda: driving.driver.acknowledge(Acknowledge(TaskId("t"), offer.host_id, bytes(16))),
            "DECLINE": lambda: driving.driver.decline(Decline((offer.id,), 0.0)),
            "REVIVE": driving.driver.revive,
            "RECONCILE": lambda: driving.driver.reconcile(Reconcile(())),
        }
        calls[call]()
        assert f"answers {call} with {status[:3]}" in await driving.disconnected()
        assert await driving.subscribed(2) == framework_id
        assert not [update for update in driving.of(TaskUpdate) if update.state == "TASK_DROPPED"]
        assert "TEARDOWN" not in proxy.requests


async def test_calls_that_nobody_takes_lose_the_connection(
    proxy: FaultProxy, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(proxy.url) as driving:
        await driving.subscribed()
        monkeypatch.setattr(connection, "MAX_OUTGOING_BYTES", 1 << 20)
        proxy.stall()
        for _ in range(100):
            driving.driver.message(HostId("h"), "e", bytes(1 << 16))
        assert "wait to be taken" in await driving.disconnected()
        proxy.flow()
        await driving.subscribed(2)


async def test_whoever_has_much_to_send_can_wait_until_it_is_taken(proxy: FaultProxy, start: Start) -> None:
    async with start(proxy.url) as driving:
        await driving.subscribed()
        await asyncio.wait_for(driving.driver.drain(), 10)
        proxy.stall()
        for _ in range(4):
            driving.driver.message(HostId("h"), "e", bytes(connection.ROOM_BELOW_BYTES))
        waiting = asyncio.ensure_future(driving.driver.drain())
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        proxy.flow()
        await asyncio.wait_for(waiting, 30)
        assert driving.driver.connected


async def test_too_many_unanswered_calls_lose_the_connection(
    proxy: FaultProxy, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(proxy.url) as driving:
        await driving.subscribed()
        monkeypatch.setattr(subscription, "MAX_PENDING_CALLS", 10)
        proxy.stall()
        for _ in range(11):
            driving.driver.revive()
        assert "not answered" in await driving.disconnected()
        proxy.flow()
        await driving.subscribed(2)
        assert not [update for update in driving.of(TaskUpdate) if update.state == "TASK_DROPPED"]
