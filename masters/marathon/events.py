"""Marathon's event stream as a hint of which apps to look at again. Nothing that it tells is taken for true.

It neither keeps an order nor tells of all: it is cut where we are slow, and says nothing while it is not there. So all
may have changed whenever it begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from framework.errors import UnavailableError
from framework.log import get_logger
from masters.bounded import STOP_CHECK_S, StoppedError
from masters.marathon.pace import Pace, stream_pause_s
from masters.marathon.session import MarathonSession, library_errors

ANY = "*"
MOST_EVENT_BYTES = 4 << 20
"""The light plan of a deployment of 2000 apps is 0.5 MB."""
PIECE_BYTES = 64 << 10
TYPES = (
    "status_update_event",
    "health_status_changed_event",
    "instance_health_changed_event",
    "deployment_info",
    "deployment_success",
    "deployment_failed",
    "app_terminated_event",
)

log = get_logger(__name__)


class _Action(msgspec.Struct):
    app: str | None = None


class _Step(msgspec.Struct):
    actions: list[_Action] = []


class _Plan(msgspec.Struct):
    steps: list[_Step] = []


class _Event(msgspec.Struct, rename="camel"):
    app_id: str | None = None
    run_spec_id: str | None = None
    plan: _Plan | None = None


class Parser:
    """Bytes of an event stream, as they come, to the data of its events (WHATWG's server-sent events)."""

    def __init__(self, most_bytes: int = MOST_EVENT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._line = bytearray()  # that is not complete
        self._data: list[bytes] = []  # of the event that is not complete
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Raises ValueError where an event is longer than it may be."""
        *lines, rest = piece.split(b"\n")
        for line in lines:
            self._line += line
            complete = bytes(self._line).removesuffix(b"\r")
            self._line.clear()
            if complete:
                self._field(complete)
            elif self._data:
                yield b"\n".join(self._data)
                self._data.clear()
                self._size = 0
        self._line += rest
        self._bound(len(self._line))

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
            self._bound(0)

    def _bound(self, more: int) -> None:
        if self._size + more > self._most_bytes:
            raise ValueError(f"an event is longer than {self._most_bytes} bytes")


def apps_of(data: bytes) -> set[str]:
    """Ids of the apps that an event is about. Raises ValueError (msgspec's errors are) where it is none."""
    event = msgspec.json.decode(data, type=_Event)
    found = {event.app_id, event.run_spec_id}
    if event.plan is not None:
        found |= {action.app for step in event.plan.steps for action in step.actions}
    return {one for one in found if one}


class Events:
    """One subscription, that is made anew until ``stop()``."""

    def __init__(self, session: MarathonSession, pace: Pace, group: str) -> None:
        self._session = session
        self._pace = pace
        self._below = f"{group}/"

    def follow(self, stop: Callable[[], bool]) -> Iterator[str]:
        """Ids of apps below the group, ``*`` for any. Returns at ``stop()``; raises nothing that a retry can help."""
        attempt = 0
        while not stop():
            try:
                for app_id in self._once(stop):
                    attempt = 0
                    yield app_id
            except StoppedError:
                return
            except UnavailableError as error:
                (log.debug if attempt else log.warning)("Marathon tells no events for the moment", error=str(error))
            pause_s = stream_pause_s(self._pace, attempt)
            attempt += 1
            _sleep(pause_s, stop)

    def _once(self, stop: Callable[[], bool]) -> Iterator[str]:
        params = {"plan-format": "light", "event_type": TYPES}
        stream = self._session.events("/v2/events", params, idle_s=self._pace.stream_idle_s, stop=stop)
        with stream:
            yield ANY
            parser = Parser()
            while True:
                with library_errors(self._session.who):
                    piece: bytes = stream.raw.read1(PIECE_BYTES)
                if not piece:
                    raise UnavailableError(f"{self._session.who} ended the event stream")
                yield from self._told(parser, piece)

    def _told(self, parser: Parser, piece: bytes) -> list[str]:
        """Each app once, whatever came together."""
        found: dict[str, None] = {}
        try:
            for data in parser.feed(piece):
                found.update(dict.fromkeys(one for one in apps_of(data) if one.startswith(self._below)))
        except ValueError as error:
            raise UnavailableError(f"{self._session.who} sent what is no event: {type(error).__name__}") from error
        return list(found)


def _sleep(pause_s: float, stop: Callable[[], bool]) -> None:
    until = time.monotonic() + pause_s
    while not stop() and (left_s := until - time.monotonic()) > 0:
        time.sleep(min(left_s, STOP_CHECK_S))
