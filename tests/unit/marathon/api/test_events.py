"""The event stream, over a real connection."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import httpx
import pytest
from starlette.types import Message

from framework.core.ids import FrameworkId
from framework.local.marathon.api import events as streams
from framework.local.marathon.api.render import Renderer
from framework.local.marathon.definition.read import Defaults, new_app
from framework.local.marathon.groups.tree import put_app
from framework.local.marathon.happenings import (
    AppTerminated,
    DeploymentTold,
    GroupChanged,
    Happening,
    HealthChanged,
    HealthCheckFailed,
    HealthCheckSet,
    InstanceChanged,
    Registered,
    StatusUpdate,
    UnhealthyKill,
    UnknownTerminated,
)
from framework.local.marathon.records import Condition, Goal
from tests.contract.marathon_api.events import EVENTS, faults_of_event
from tests.fakes.marathon_control import FakeMarathon
from tests.unit.marathon.api.serving import DEADLINE_S, Server

STREAM = {"Accept": "text/event-stream"}
VERSION = "2026-11-21T12:00:00.000Z"

Event = tuple[str, dict[str, Any]]


@asynccontextmanager
async def subscribed(server: Server, query: str = "") -> AsyncIterator[AsyncIterator[Event]]:
    """Events as they come; each is held against its schema."""
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE_S) as client:
        async with client.stream("GET", f"/v2/events?{query}", headers=STREAM) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream;charset=utf-8"
            yield _events(answer)


async def _events(answer: httpx.Response) -> AsyncIterator[Event]:
    name = ""
    async for line in answer.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            wrong = faults_of_event(name, value)
            assert not wrong, wrong
            yield name, json.loads(value)


async def taken(events: AsyncIterator[Event], count: int) -> list[Event]:
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(events) for _ in range(count)]


def told(marathon: FakeMarathon) -> list[tuple[Happening, list[str]]]:
    """One of each kind, with the names of its events."""
    instance = marathon.launch("/web", addresses=("10.0.0.5",))
    waiting = marathon.launch("/web", condition=Condition.SCHEDULED, site=None)
    deployment = next(iter(marathon.running.values()))
    group = marathon.root
    return [
        (StatusUpdate(instance, "TASK_RUNNING", ""), ["status_update_event"]),
        (InstanceChanged(instance, Condition.RUNNING, Goal.RUNNING), ["instance_changed_event"]),
        (InstanceChanged(waiting, Condition.SCHEDULED, Goal.RUNNING), ["instance_changed_event"]),
        (HealthChanged(instance, True), ["health_status_changed_event", "instance_health_changed_event"]),
        (HealthCheckFailed(instance, 0), ["failed_health_check_event"]),
        (UnhealthyKill(instance, "it does not answer"), ["unhealthy_instance_kill_event"]),
        (HealthCheckSet("/web", VERSION, 0, added=True), ["add_health_check_event"]),
        (HealthCheckSet("/web", VERSION, 0, added=False), ["remove_health_check_event"]),
        (UnknownTerminated(instance.id, "/web", Condition.KILLED), ["unknown_instance_terminated_event"]),
        (AppTerminated("/web"), ["app_terminated_event"]),
        *[
            (DeploymentTold(kind, deployment, 0, group, group, reason), [kind])
            for kind, reason in (
                ("deployment_info", ""),
                ("deployment_step_success", ""),
                ("deployment_step_failure", ""),
                ("deployment_success", ""),
                ("deployment_failed", "cancelled"),
            )
        ],
        (GroupChanged("/", VERSION), ["group_change_success"]),
        (GroupChanged("/", VERSION, "why"), ["group_change_failed"]),
        (Registered(FrameworkId("f1"), "127.0.0.1:5050", again=False), ["scheduler_registered_event"]),
        (Registered(FrameworkId("f1"), "127.0.0.1:5050", again=True), ["scheduler_reregistered_event"]),
    ]


async def make_web(server: Server) -> None:
    checks = [{"protocol": "HTTP", "path": "/", "portIndex": 0}]
    app = {"id": "/web", "cmd": "sleep 1", "portDefinitions": [{"port": 0}], "healthChecks": checks}
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE_S) as client:
        assert (await client.post("/v2/apps", json=app)).status_code == 201


async def test_every_event_there_is(server: Server, marathon: FakeMarathon) -> None:
    marathon.holding = True
    async with subscribed(server) as events:
        ((name, attached),) = await taken(events, 1)
        assert (name, attached["remoteAddress"]) == ("event_stream_attached", "127.0.0.1")
        await make_web(server)
        ((name, posted),) = await taken(events, 1)
        assert (name, posted["clientIp"], posted["uri"]) == ("api_post_event", "127.0.0.1", "/v2/apps")
        assert posted["appDefinition"]["id"] == "/web"
        expected = []
        for happening, names in told(marathon):
            marathon.happen(happening)
            expected += names
        got = await taken(events, len(expected))
        assert [name for name, _ in got] == expected
        assert {data["timestamp"] for _, data in got} == {VERSION}
        seen = {"event_stream_attached", "event_stream_detached", "api_post_event", *expected}
        assert seen == set(EVENTS) - {"scheduler_disconnected_event"}
        status = got[0][1]
        assert (status["taskStatus"], status["host"], status["ports"]) == ("TASK_RUNNING", "host-1", [31000])
        info = next(data for name, data in got if name == "deployment_info")
        assert info["plan"]["target"]["apps"][0]["id"] == "/web"
        assert info["currentStep"] == {"actions": [{"action": "StartApplication", "app": "/web"}]}


async def test_only_what_was_asked_for_and_plans_without_groups(server: Server, marathon: FakeMarathon) -> None:
    marathon.holding = True
    await make_web(server)
    query = "event_type=deployment_info&event_type=app_terminated_event&plan-format=light"
    async with subscribed(server, query) as events:
        for happening, _ in told(marathon):
            marathon.happen(happening)
        got = await taken(events, 2)
        assert [name for name, _ in got] == ["app_terminated_event", "deployment_info"]
        assert set(got[1][1]["plan"]) == {"id", "steps", "version"}


async def test_subscribers_are_told_of_each_other(server: Server, marathon: FakeMarathon) -> None:
    async with subscribed(server) as first:
        await taken(first, 1)
        async with subscribed(server) as second:
            await taken(second, 1)
            assert [name for name, _ in await taken(first, 1)] == ["event_stream_attached"]
        assert [name for name, _ in await taken(first, 1)] == ["event_stream_detached"]
        assert len(marathon.takers) == 1
    async with asyncio.timeout(DEADLINE_S):
        while marathon.takers:  # noqa: ASYNC110 - the server notices by itself
            await asyncio.sleep(0.01)


class Reader:
    """A connection that reads the messages of status updates."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.got: list[str] = []
        self.came = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.reader, self._writer = await asyncio.open_connection("127.0.0.1", self._server.port, limit=1 << 16)
        path = b"/v2/events?event_type=status_update_event"
        self._writer.write(b"GET %b HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n" % path)
        assert (await self.reader.readline()).startswith(b"HTTP/1.1 200")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def read(self, count: int) -> None:
        while len(self.got) < count:
            line = await self.reader.readline()
            assert line
            if line.startswith(b"data: "):
                self.got.append(json.loads(line[6:])["message"].partition(" ")[0])
                self.came.set()

    async def has(self, count: int) -> None:
        while len(self.got) < count:
            self.came.clear()
            await self.came.wait()


async def test_many_events_of_one_moment_reach_everybody(server: Server, marathon: FakeMarathon) -> None:
    await make_web(server)
    instance = marathon.launch("/web")
    count = 4 * streams.MAX_WAITING
    async with asyncio.timeout(DEADLINE_S), Reader(server) as one, Reader(server) as two:
        for number in range(count):
            marathon.happen(StatusUpdate(instance, "TASK_RUNNING", str(number)))
        await asyncio.gather(one.read(count), two.read(count))
        assert one.got == two.got == [str(number) for number in range(count)]


async def test_a_long_event_is_shared_and_written_bit_by_bit(marathon: FakeMarathon) -> None:
    """So that a hundred connections do not have a hundred copies, and one that is slow is not taken for stuck."""
    marathon.root = put_app(marathon.root, new_app({"id": "/web", "cmd": "a"}, defaults=Defaults(), version=VERSION))
    instance = marathon.launch("/web")
    hub = streams.Hub(marathon, Renderer())
    subscriber = streams.Subscriber(hub, "127.0.0.1", ["status_update_event"], False)
    hub.attach(subscriber)
    texts = ["a", "b" * 5 * streams.PIECE_BYTES, "c", "d"]
    for text in texts:
        hub.publish(StatusUpdate(instance, "TASK_RUNNING", text))
    pieces: list[bytes] = []
    done = asyncio.Event()

    async def send(message: Message) -> None:
        pieces.append(message["body"])
        if pieces[-1].count(b"data: ") == 2:
            done.set()

    passing = asyncio.create_task(subscriber.pass_on(send))
    async with asyncio.timeout(DEADLINE_S):
        await done.wait()
    passing.cancel()
    assert max(map(len, pieces)) == streams.PIECE_BYTES
    blocks = [block.partition(b"data: ")[2] for block in b"".join(pieces).split(b"\r\n\r\n")[:-1]]
    assert [json.loads(block)["message"] for block in blocks] == texts
    assert hub.sent_bytes == sum(map(len, pieces))


async def test_a_loop_that_was_busy_cuts_nobody(marathon: FakeMarathon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STUCK_S", 0.2)
    hub = streams.Hub(marathon, Renderer())
    subscriber = streams.Subscriber(hub, "127.0.0.1", ["app_terminated_event"], False)
    hub.attach(subscriber)
    took = asyncio.Event()
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        await took.wait()
        sent.append(message["body"])

    passing = asyncio.create_task(subscriber.pass_on(send))
    hub.publish(AppTerminated("/0"))
    await asyncio.sleep(0.01)
    busy(2 * streams.STUCK_S)
    count = 2 * streams.MAX_WAITING
    for number in range(1, count):
        hub.publish(AppTerminated(f"/{number}"))
    took.set()
    async with asyncio.timeout(DEADLINE_S):
        while b"".join(sent).count(b"data: ") < count:  # noqa: ASYNC110 - the last of them tells nobody
            await asyncio.sleep(0.01)
    await asyncio.sleep(streams.STUCK_S)  # in which it would be cut
    passing.cancel()
    assert not subscriber.over.is_set()


async def test_one_that_takes_nothing_is_cut_though_nothing_more_comes(
    marathon: FakeMarathon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STUCK_S", 0.05)
    hub = streams.Hub(marathon, Renderer())
    subscriber = streams.Subscriber(hub, "127.0.0.1", ["app_terminated_event"], False)
    hub.attach(subscriber)
    never = asyncio.Event()

    async def send(message: Message) -> None:
        await never.wait()

    passing = asyncio.create_task(subscriber.pass_on(send))
    hub.publish(AppTerminated("/first"))
    await asyncio.sleep(0)  # it is being written now, and the rest comes at once
    for number in range(streams.MAX_WAITING + 1):
        hub.publish(AppTerminated(f"/{number}"))
    async with asyncio.timeout(DEADLINE_S):
        await subscriber.over.wait()
    passing.cancel()
    assert subscriber.stuck


def busy(seconds: float) -> None:
    time.sleep(seconds)


async def test_one_that_does_not_read_is_cut_and_the_others_get_every_event_once_in_order(
    server: Server, marathon: FakeMarathon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The messages are long, so that the connection of who does not read is soon full."""
    monkeypatch.setattr(streams, "STUCK_S", 0.05)
    marathon.holding = True
    await make_web(server)
    instance = marathon.launch("/web")
    hub, filling = server.app.state.hub, "x" * 8192
    total = 0
    async with asyncio.timeout(DEADLINE_S), Reader(server) as stuck, Reader(server) as one, Reader(server) as two:
        async with asyncio.TaskGroup() as group:
            readings = [group.create_task(reader.read(1 << 30)) for reader in (one, two)]
            while hub.active == 3:
                assert total < 20_000
                for _ in range(200):
                    marathon.happen(StatusUpdate(instance, "TASK_RUNNING", f"{total} {filling}"))
                    total += 1
                await asyncio.gather(one.has(total), two.has(total))
            for reading in readings:
                reading.cancel()
        assert one.got == two.got == [str(number) for number in range(total)]
        with suppress(ConnectionResetError):
            while await stuck.reader.read(1 << 20):
                pass
    assert [one.levelname for one in caplog.records] == ["WARNING"]  # that it was cut


async def test_a_quiet_stream_is_kept_alive(
    server: Server, marathon: FakeMarathon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.05)
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE_S) as client:
        async with client.stream("GET", "/v2/events?event_type=none", headers=STREAM) as answer:
            pieces = answer.aiter_raw()
            async with asyncio.timeout(DEADLINE_S):
                assert await anext(pieces) == b"\r\n"
            server.app.state.hub.close()
            async with asyncio.timeout(DEADLINE_S):
                assert {piece async for piece in pieces} <= {b"\r\n"}
    assert marathon.takers == []


async def test_who_does_not_ask_for_a_stream_gets_none(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE_S) as client:
        answer = await client.get("/v2/events")
        assert (answer.status_code, answer.headers["content-type"]) == (405, "text/html;charset=utf-8")
        assert "HTTP method GET is not supported by this URL" in answer.text
        assert (await client.post("/v2/events")).status_code == 405


async def test_there_are_no_more_streams_than_may_be(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_SUBSCRIBERS", 1)
    async with subscribed(server) as events, httpx.AsyncClient(base_url=server.url, timeout=DEADLINE_S) as client:
        await taken(events, 1)
        assert (await client.get("/v2/events", headers=STREAM)).status_code == 503
