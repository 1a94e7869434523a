"""The stream of events: every subscriber is sent every event once and in order, or it is cut."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from framework.local.marathon.api.happened import Attached, Told, data_of, names
from framework.local.marathon.api.problems import RefusedError
from framework.local.marathon.api.render import Renderer
from framework.local.marathon.control import Control
from framework.runtime.http_protocol import cut

MAX_WAITING = 1024
"""Events that may wait for one subscriber whose connection takes no more; with more it is cut, as the real one does."""
STUCK_S = 2.0
"""A connection that has not taken a piece for so long takes no more. A thousand events of one moment are no reason."""
MAX_BURST = 32 * 1024
"""Events that may wait for one subscriber at all. It shares them with the others."""
MAX_SUBSCRIBERS = 512
CUT_TIMEOUT_S = 5.0
"""Until a connection that was cut is known to be gone, which takes a turn of the loop."""
KEEP_ALIVE_S = 10.0
"""An empty line so often, as Jetty sends it, tells clients and proxies that the stream is alive."""
PIECE_BYTES = 64 << 10
"""Events that wait are written together, up to about so much: one write costs as much as a few encoded events. Longer

ones are written bit by bit: each connection has a copy of what it has not taken, and plans with thousands of apps are
megabytes.
"""
LONG_BYTES = 16 << 10
LONG_KEPT = 8
"""An encoded event stays with the event as long as that waits for anybody. Of those longer than LONG_BYTES, plans with

thousands of apps, only the last so many are kept: a thousand of them may wait for one that is slow.
"""

_log = logging.getLogger(__name__)


class _Event:
    """One thing that happened. ``encoded``: its lines by name and whether plans are light."""

    __slots__ = ("at", "encoded", "told")

    def __init__(self, told: Told, at: float) -> None:
        self.told = told
        self.at = at
        self.encoded: dict[tuple[str, bool], bytes] = {}


class Hub:
    """Passes what happens on to the subscribers. Events are encoded where they are sent, once for all."""

    def __init__(self, control: Control, render: Renderer) -> None:
        self._control = control
        self._render = render
        self._subscribers: set[Subscriber] = set()
        self._long: deque[_Event] = deque()  # those whose encoded lines are long
        self._unsubscribe: Callable[[], None] | None = None
        self.sent_bytes = 0

    @property
    def active(self) -> int:
        return len(self._subscribers)

    def publish(self, told: Told, at: float | None = None) -> None:
        if not self._subscribers:
            return
        event = _Event(told, time.time() if at is None else at)
        called = names(told)
        for one in self._subscribers:
            one.offer(event, called)

    def attach(self, subscriber: Subscriber) -> None:
        """Raises RefusedError (503) where there are as many as may be."""
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            raise RefusedError(503, f"There are {MAX_SUBSCRIBERS} event streams already", headers={"Retry-After": "30"})
        if self._unsubscribe is None:
            self._unsubscribe = self._control.subscribe(self.publish)
        self._subscribers.add(subscriber)
        self.publish(Attached(subscriber.remote_address, True))

    def detach(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)
        self.publish(Attached(subscriber.remote_address, False))
        if not self._subscribers and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def close(self) -> None:
        """Ends all streams, before the server stops."""
        for one in self._subscribers:
            one.over.set()

    def lines(self, event: _Event, name: str, light: bool) -> bytes:
        found = event.encoded.get((name, light))
        if found is None:
            data = data_of(name, event.told, event.at, self._control.view, self._render, light)
            found = b"event: %b\r\ndata: %b\r\n\r\n" % (name.encode(), data)
            event.encoded[name, light] = found
            if len(found) > LONG_BYTES:
                self._long.append(event)
                if len(self._long) > LONG_KEPT:
                    self._long.popleft().encoded.clear()
        return found


class Subscriber:
    """``wanted``: names of events; none: all. ``light``: plans without groups."""

    def __init__(self, hub: Hub, remote_address: str, wanted: Collection[str], light: bool) -> None:
        self._hub = hub
        self.remote_address = remote_address
        self._wanted = frozenset(wanted)
        self._light = light
        self._waiting: deque[tuple[_Event, str]] = deque()
        self._news = asyncio.Event()
        self.over = asyncio.Event()
        self.stuck = False  # it did not keep up
        self._loop = asyncio.get_running_loop()
        self._writing_since: float | None = None
        self._watched = False

    def offer(self, event: _Event, called: tuple[str, ...]) -> None:
        if self.over.is_set():
            return
        for name in called:
            if not self._wanted or name in self._wanted:
                if len(self._waiting) >= MAX_BURST:
                    self._cut()
                    return
                self._waiting.append((event, name))
                self._news.set()
        self._watch()

    def _watch(self) -> None:
        """Looks after a piece that is being written while too much waits, whether or not more comes."""
        since = self._writing_since
        if since is None or self._watched or len(self._waiting) <= MAX_WAITING:
            return
        self._watched = True
        self._loop.call_at(since + STUCK_S, self._suspect, since)

    def _suspect(self, since: float) -> None:
        """Gives a piece that is not taken yet a little longer: it may have been the loop that was busy all the time."""
        if self._writing_since == since:
            self._loop.call_later(STUCK_S / 4, self._confirm, since)
        else:
            self._confirm(since)

    def _confirm(self, since: float) -> None:
        self._watched = False
        if self._writing_since == since:
            self._cut()
        else:
            self._watch()

    def _cut(self) -> None:
        self._waiting.clear()
        self.stuck = True
        self.over.set()

    async def pass_on(self, send: Send) -> None:
        """Writes events until the task that runs this is cancelled; never more than one piece beside what waits."""
        while True:
            while self._waiting:
                lines = self._taken()
                self._hub.sent_bytes += len(lines)
                for start in range(0, len(lines), PIECE_BYTES):
                    self._writing_since = self._loop.time()
                    await send(_piece(lines[start : start + PIECE_BYTES]))
                    self._writing_since = None
            self._news.clear()
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await self._news.wait()
            except TimeoutError:
                await send(_piece(b"\r\n"))

    def _taken(self) -> bytes:
        """Events to be written together. One that is longer than a piece comes alone, so that all share its bytes."""
        taken: list[bytes] = []
        size = 0
        while self._waiting:
            lines = self._hub.lines(*self._waiting[0], self._light)
            if taken and size + len(lines) > PIECE_BYTES:
                break
            self._waiting.popleft()
            taken.append(lines)
            size += len(lines)
        return b"".join(taken)


class EventStream:
    """The answer to GET /v2/events."""

    def __init__(self, hub: Hub, subscriber: Subscriber, scope: Scope) -> None:
        self._hub = hub
        self._subscriber = subscriber
        self._scope = scope
        self.headers: dict[str, str] = {}

    async def __call__(self, receive: Receive, send: Send) -> None:
        headers = {"content-type": "text/event-stream;charset=utf-8", **self.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        ends: list[asyncio.Task[object]] = []
        try:
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            passing = asyncio.create_task(self._subscriber.pass_on(send))
            over = asyncio.create_task(self._subscriber.over.wait())
            gone = asyncio.create_task(_gone(receive))
            ends = [passing, over, gone]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._subscriber.stuck:
                _log.warning("an event stream to %s was cut: it did not keep up", self._subscriber.remote_address)
                if cut(self._scope):
                    await asyncio.wait([gone], timeout=CUT_TIMEOUT_S)
            elif self._subscriber.over.is_set():
                passing.cancel()
                await asyncio.wait([passing])
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            for task in ends:
                task.cancel()
            self._hub.detach(self._subscriber)
            await asyncio.gather(*ends, return_exceptions=True)


def open_stream(request: Request, hub: Hub) -> EventStream | None:
    """A subscription that is told of whatever happens from now on. None where the client does not ask for a stream.

    Raises RefusedError (503) where there are as many as may be.
    """
    if request.method != "GET" or "text/event-stream" not in request.headers.get("accept", ""):
        return None
    light = request.query_params.get("plan-format") == "light"
    address = request.client.host if request.client else ""
    subscriber = Subscriber(hub, address, request.query_params.getlist("event_type"), light)
    hub.attach(subscriber)
    return EventStream(hub, subscriber, request.scope)


async def _gone(receive: Receive) -> None:
    """Until the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _piece(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}
