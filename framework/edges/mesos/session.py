"""One subscription: from connecting to a Mesos master until it is lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from framework.core.ids import HostId, TaskId
from framework.edges.mesos import wire
from framework.edges.mesos.access import Access, mends_itself, tls_trouble
from framework.edges.mesos.addresses import Address, redirect_target
from framework.edges.mesos.connection import NOT_HTTP, STREAM_ID, Answer, CallConnection, EventStream, HttpConnection
from framework.errors import FrameworkRemovedError, FrameworkTakenError, MesosRefusedError, UnavailableError
from framework.log import get_logger

log = get_logger(__name__)

PATH = "/api/v1/scheduler"
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0
"""For GET /version, SUBSCRIBE and the first event; a master that is recovering takes seconds."""

MAX_PENDING_CALLS = 200_000
"""Calls not answered yet: eight times the acknowledgements of 8000 tasks' three updates each."""

TICK_S = 5.0
UNANSWERED_TICKS = 4
"""Twenty seconds in which no call is answered, though one was made: a master with much to do answers some."""

OLDEST_MAJOR = 1
"""Mesos has its v1 API since 1.0."""

MAX_SHOWN_CHARS = 200

_NOT_OF_THE_CALL = (401, 407, 408, 429)  # said of whoever calls, or by a proxy

_FINAL = {  # Mesos' words (master.cpp, 1.11)
    "Framework has been removed": FrameworkRemovedError,  # torn down, or away for too long
    "Framework failed over": FrameworkTakenError,
}

_Result = TypeVar("_Result")


class NotMesosError(UnavailableError):
    """What answers does not speak Mesos' v1 API, or does not yet: a master that starts says 404 for a moment."""


class UntrustedError(NotMesosError):
    """What answers, and we, do not agree on TLS or on certificates, and trying on changes nothing."""


class RedirectedError(UnavailableError):
    """Another master leads."""

    def __init__(self, leader: Address) -> None:
        super().__init__(f"another Mesos master leads: {leader}")
        self.leader = leader


class Sent(NamedTuple):
    """A call on its way."""

    kind: str
    host_id: HostId | None = None
    task_ids: tuple[TaskId, ...] = ()  # that an ACCEPT launches
    operation_ids: tuple[str, ...] = ()  # of it that ask for an update
    answered: asyncio.Future[Answer] | None = None  # for those who wait; else only refusals are told


class Session:
    """``open`` it, then ``send`` until it is ``lost``.

    ``on_event`` gets SUBSCRIBED first and no event after the loss; ``on_refused`` the calls that Mesos refused;
    ``on_lost`` the reason, once, where a subscription stood.
    """

    def __init__(
        self,
        master: Address,
        access: Access,
        on_event: Callable[[wire.Event], None],
        on_refused: Callable[[Sent, int], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.master = master
        self._access = access
        self._on_event = on_event
        self._on_refused = on_refused
        self._on_lost = on_lost
        self.standing = False
        """Between SUBSCRIBED and the loss: calls may be sent."""
        self._over = False
        self._stream: EventStream | None = None
        self._calls: CallConnection | None = None
        self._pending: deque[Sent] = deque()
        self._call_head = b""
        self._answers = self._answers_at_tick = 0
        self._bytes_at_tick = 0
        self._silent_ticks = self._unanswered_ticks = 0
        self._subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tearing_down = False
        self.refusal: MesosRefusedError | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done with the reason when the session is over."""

    async def open(self, subscribe: bytes) -> None:
        """Connects, checks what answers, subscribes; returns when SUBSCRIBED has come.

        Raises UnavailableError, of which RedirectedError and NotMesosError are kinds, and MesosRefusedError.
        """
        try:
            await self._open(subscribe)
        except OSError as error:  # TimeoutError is one
            self._raise_untrusted(error)
            reason = "time is up" if isinstance(error, TimeoutError) else str(error) or "it closes the connection"
            if (
                self.master.secure
                and isinstance(error, ConnectionError)
                and not isinstance(error, ConnectionRefusedError)
            ):
                reason += "; where it speaks no TLS, write http:// in mesos.url"
            raise UnavailableError(f"Mesos at {self.master.url} does not answer: {reason}") from error
        finally:
            if not self.standing:
                self.close()

    async def _open(self, subscribe: bytes) -> None:
        loop = asyncio.get_running_loop()
        tls = self._access.tls if self.master.secure else None
        calls = self._calls = CallConnection(self._on_answer, self.lose)
        stream = self._stream = EventStream(self._on_record, self._stream_lost)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            for connection in (calls, stream):
                await loop.create_connection(partial(_it, connection), self.master.host, self.master.port, ssl=tls)
        version: asyncio.Future[Answer] = loop.create_future()
        self._pending.append(Sent("GET /version", answered=version))
        calls.send(self._head("GET /version") + b"\r\n")
        self._check_version(await self._before_loss(version))
        head = self._head(f"POST {PATH}")
        stream.subscribe(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(subscribe), subscribe))
        self._check_subscription(await self._before_loss(stream.answer))
        await self._before_loss(self._subscribed)

    async def _before_loss(self, future: asyncio.Future[_Result]) -> _Result:
        either: set[asyncio.Future[Any]] = {future, self.lost}
        await asyncio.wait(either, timeout=ANSWER_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if self.refusal is not None:
            raise self.refusal
        if self.lost.done() and self.lost.result().startswith(NOT_HTTP):
            raise NotMesosError(f"{self.master} is not Mesos: {self.lost.result()}")
        if self.lost.done():
            for connection in (self._calls, self._stream):
                self._raise_untrusted(connection.error if connection is not None else None)
            unheard = self.master.secure and self._calls is not None and not self._calls.bytes_seen
            hint = "; where it asks for a certificate, name ours with mesos.cert_file" if unheard else ""
            raise UnavailableError(f"Mesos at {self.master.url}: {self.lost.result()}{hint}")
        raise TimeoutError(f"no answer in {ANSWER_TIMEOUT_S:g} s")

    def _raise_untrusted(self, error: Exception | None) -> None:
        """Where TLS is what failed. Raises UntrustedError, or UnavailableError where trying on can help."""
        trouble = tls_trouble(error)
        if trouble is not None:
            kind = UnavailableError if mends_itself(error) else UntrustedError
            raise kind(f"Mesos at {self.master.url} is not spoken to: {trouble}") from error

    def _head(self, verb_and_path: str) -> bytes:
        """The one place of headers, but for Content-Length and Mesos-Stream-Id."""
        authorization = self._access.authorization
        return (
            f"{verb_and_path} HTTP/1.1\r\nHost: {self.master}\r\nAccept: application/json\r\n"
            "Accept-Encoding: gzip\r\nContent-Type: application/json\r\n"
            + (f"Authorization: {authorization}\r\n" if authorization else "")
        ).encode()

    def _check_version(self, answer: Answer) -> None:
        if answer.status >= 500:
            raise UnavailableError(f"Mesos at {self.master} answers {answer.status}: {_shown(answer.body)}")
        if answer.status != 200:  # such as 404 from a master that has only begun to start: SUBSCRIBE's answer decides
            return
        try:
            version = wire.version_decoder.decode(answer.body).version
            major = int(version.split(".")[0])
        except ValueError as error:
            raise MesosRefusedError(f"{self.master} is not Mesos: its /version is {_shown(answer.body)}") from error
        if major < OLDEST_MAJOR:
            raise MesosRefusedError(f"{self.master} is Mesos {version}; {OLDEST_MAJOR}.0 or later is needed")

    def _check_subscription(self, answer: Answer) -> None:
        status, text = answer.status, _shown(answer.body)
        if status == 200 and STREAM_ID in answer.headers:
            return
        if status in (302, 307):
            leader = redirect_target(answer.headers.get("location", ""), self.master)
            if leader is None:
                raise UnavailableError(f"{self.master} redirects, but not to a Mesos master")
            if self.master.secure and not leader.secure:
                raise UnavailableError(
                    f"{self.master.url} redirects to {leader.url}, which is not followed: no TLS there"
                )
            raise RedirectedError(leader)
        if status >= 500 and status != 501:  # which is how servers say that they know no POST
            raise UnavailableError(f"Mesos at {self.master} answers {status}: {text}")
        if status in (400, 401, 403, 409):
            fix = refusal_fix(status, self._access)
            raise MesosRefusedError(f"Mesos at {self.master} refuses the subscription ({status}): {text}{fix}")
        raise NotMesosError(f"{self.master} has no v1 scheduler API: {PATH} answers {status}, {text}")

    def send(self, sent: Sent, body: bytes) -> None:
        """Puts a call on the wire. Where too many are unanswered the session is lost instead."""
        if self._calls is None or not self.standing:
            return
        if len(self._pending) >= MAX_PENDING_CALLS:
            self.lose(f"{MAX_PENDING_CALLS} calls are not answered")
            return
        self._pending.append(sent)
        self._calls.send(b"%bContent-Length: %d\r\n\r\n%b" % (self._call_head, len(body), body))

    async def drain(self) -> None:
        """Returns once Mesos has taken most of the calls made, or is lost."""
        if self._calls is not None:
            await self._calls.drain()

    async def teardown(self, body: bytes) -> None:
        """Sends a TEARDOWN and waits for its answer. Raises UnavailableError, MesosRefusedError."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._tearing_down = True
        self.send(Sent("TEARDOWN", answered=answered), body)
        try:
            answer = await self._before_loss(answered)
        except TimeoutError as error:
            raise UnavailableError(f"Mesos at {self.master} does not answer TEARDOWN: {error}") from error
        if answer.status != 202:
            raise MesosRefusedError(f"Mesos refuses TEARDOWN ({answer.status}): {_shown(answer.body)}")

    def tick(self, heartbeats_missed: int, silent_ticks: int) -> None:
        """To be called every ``TICK_S``: loses the session where no event has come for ``silent_ticks``, in which so

        many heartbeats were due, or calls go unanswered; and makes a call where none was made, to see it answered.
        Ticks are counted rather than time taken, so that a jump of the clock or a suspended machine loses nothing.
        """
        if self._stream is None or self._calls is None or not self.standing:
            return
        self._silent_ticks = self._silent_ticks + 1 if self._stream.bytes_seen == self._bytes_at_tick else 0
        self._bytes_at_tick = self._stream.bytes_seen
        quiet = self._answers == self._answers_at_tick
        self._unanswered_ticks = self._unanswered_ticks + 1 if self._pending and quiet else 0
        self._answers_at_tick = self._answers
        if self._silent_ticks >= silent_ticks:
            self.lose(f"{heartbeats_missed} heartbeats were missed")
        elif self._unanswered_ticks >= UNANSWERED_TICKS:
            self.lose("calls are not answered")
        elif quiet and not self._pending:
            self._pending.append(Sent("GET /version", answered=asyncio.get_running_loop().create_future()))
            self._calls.send(self._head("GET /version") + b"\r\n")

    def lose(self, reason: str) -> None:
        """Ends the session, and tells why where a subscription stood."""
        if self._over:
            return
        stood = self.standing
        self._end(reason)
        if stood:
            self._on_lost(reason)

    def close(self) -> None:
        """Ends the session once the calls made are sent, and tells nobody."""
        if not self._over:
            if self._calls is not None:
                self._calls.finish()
            self._end("closed")

    def _stream_lost(self, reason: str) -> None:
        # Mesos ends the stream before it answers TEARDOWN on the other connection (seen with 1.11).
        if not self._tearing_down:
            self.lose(reason)

    def _end(self, reason: str) -> None:
        self.standing, self._over = False, True
        self.lost.set_result(reason)
        for connection in (self._stream, self._calls):
            if connection is not None:
                connection.close()
        self._pending.clear()

    def _on_record(self, record: bytes) -> None:
        try:
            event = wire.read_event(record)
        except msgspec.DecodeError as error:
            _report_unread(record, error)
            return
        if type(event) is wire.Heartbeat:
            return
        if type(event) is wire.Error:
            # All of Mesos' errors are final: removed, not authorised, invalid, or another scheduler subscribed as us.
            kinds = (kind for words, kind in _FINAL.items() if words in event.error.message)
            kind = next(kinds, MesosRefusedError)
            self.refusal = kind(f"Mesos at {self.master}: {event.error.message}")
            self.lose(event.error.message)
            return
        if type(event) is wire.Subscribed and not self.standing and not self._over:
            # Here, as the answer's head and its first events may have come in one piece, and events lead to calls.
            stream_id = self._stream.headers[STREAM_ID] if self._stream is not None else ""
            self._call_head = self._head(f"POST {PATH}") + f"Mesos-Stream-Id: {stream_id}\r\n".encode("latin-1")
            self.standing = True
            self._subscribed.set_result(None)
        if self.standing:
            self._on_event(event)

    def _on_answer(self, answer: Answer) -> None:
        if self._over:
            return
        if not self._pending:
            self.lose("an answer came to no call")
            return
        sent = self._pending.popleft()
        self._answers += 1
        if sent.answered is not None and not sent.answered.done():
            sent.answered.set_result(answer)
        elif answer.status not in (200, 202):  # 200: done already, as UPDATE_FRAMEWORK is
            self._refused(sent, answer)

    def _refused(self, sent: Sent, answer: Answer) -> None:
        if not 400 <= answer.status < 500 or answer.status in _NOT_OF_THE_CALL:
            self.lose(f"Mesos answers {sent.kind} with {answer.status}")
            return
        # Mesos' explanation may quote the call, which for these two may hold secrets.
        explanation = None if sent.kind in ("ACCEPT", "MESSAGE") else _shown(answer.body)
        log.warning("Mesos refused a call", call=sent.kind, status=answer.status, explanation=explanation)
        self._on_refused(sent, answer.status)
        if answer.status == 403 or b"stream ID" in answer.body or b"Framework cannot be found" in answer.body:
            self.lose(f"Mesos no longer knows the subscription: {sent.kind} is answered with {answer.status}")


def _it(connection: HttpConnection) -> HttpConnection:
    return connection


def _report_unread(record: bytes, error: msgspec.DecodeError) -> None:
    try:
        kind = wire.any_event_decoder.decode(record).type
    except msgspec.DecodeError:
        kind = ""
    if kind in wire.EVENT_TYPES or not kind:
        log.warning("an event of Mesos cannot be read", event=kind, error=str(error))
    else:
        log.debug("an event of Mesos is not used", event=kind)


def refusal_fix(status: int, access: Access) -> str:
    """What to mend, as the end of a sentence that tells Mesos' refusal."""
    if status == 401 and access.authorization is None:
        return "; it wants to know who asks: set mesos.principal and mesos.secret_file"
    if status == 401:
        return "; mesos.principal and the secret of mesos.secret_file must be a pair that its credentials file holds"
    if status == 403:
        return "; its ACLs must let mesos.principal do so, with the roles of the settings"
    if status == 409:
        return "; it is at odds with what Mesos knows of this framework: its master's log says how"
    return ""


def _shown(body: bytes) -> str:
    text = body[: 4 * MAX_SHOWN_CHARS].decode("utf-8", "replace").strip()
    return repr(text[:MAX_SHOWN_CHARS])
