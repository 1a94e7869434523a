"""A subscription on connections of our own: from connecting to a Mesos master until it is lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from framework.edges.mesos import wire
from framework.edges.mesos.access import Access, mends_itself, tls_trouble
from framework.edges.mesos.addresses import Address
from framework.edges.mesos.connection import (
    ACCEPTED,
    NOT_HTTP,
    STREAM_ID,
    Answer,
    CallConnection,
    EventStream,
    HttpConnection,
)
from framework.edges.mesos.subscription import (
    CONNECT_TIMEOUT_S,
    MAX_PENDING_CALLS,
    PATH,
    NotMesosError,
    Sent,
    Subscription,
    not_subscribed,
    report_unread,
    shown,
)
from framework.errors import MesosRefusedError, UnavailableError

OLDEST_MAJOR = 1
"""Mesos has its v1 API since 1.0."""


class UntrustedError(NotMesosError):
    """What answers, and we, do not agree on TLS or on certificates, and trying on changes nothing."""


class Session(Subscription):
    """A ``Subscription`` whose calls are pipelined."""

    def __init__(
        self,
        master: Address,
        access: Access,
        on_event: Callable[[wire.Event], None],
        on_refused: Callable[[Sent, int], None],
        on_lost: Callable[[str], None],
    ) -> None:
        super().__init__(master, access, on_event, on_refused, on_lost)
        self._stream: EventStream | None = None
        self._calls: CallConnection | None = None
        self._pending: deque[Sent] = deque()
        self._call_head = b""

    async def open(self, subscribe: bytes) -> None:
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
        calls = self._calls = CallConnection(self._on_answers, self.lose)
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
        answer = await self._before_loss(stream.answer)
        if answer.status != 200 or STREAM_ID not in answer.headers:
            raise not_subscribed(self.master, self._access, answer)
        await self._before_loss(self._subscribed)

    def _untold(self, reason: str) -> UnavailableError | MesosRefusedError:
        if reason.startswith(NOT_HTTP):
            return NotMesosError(f"{self.master} is not Mesos: {reason}")
        for connection in (self._calls, self._stream):
            self._raise_untrusted(connection.error if connection is not None else None)
        hint = ""
        if self._calls is not None and not self._calls.bytes_seen:
            if self.master.secure:
                hint = "; where it asks for a certificate, name ours with mesos.cert_file"
            else:
                hint = "; where it speaks TLS, write https:// in mesos.url"
        return super()._untold(reason + hint)

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
            raise UnavailableError(f"Mesos at {self.master} answers {answer.status}: {shown(answer.body)}")
        if answer.status != 200:  # such as 404 from a master that has only begun to start: SUBSCRIBE's answer decides
            return
        try:
            version = wire.version_decoder.decode(answer.body).version
            major = int(version.split(".")[0])
        except ValueError as error:
            raise MesosRefusedError(f"{self.master} is not Mesos: its /version is {shown(answer.body)}") from error
        if major < OLDEST_MAJOR:
            raise MesosRefusedError(f"{self.master} is Mesos {version}; {OLDEST_MAJOR}.0 or later is needed")

    def send(self, sent: Sent, body: bytes) -> None:
        if not self.standing or self._calls is None:
            return
        if len(self._pending) >= MAX_PENDING_CALLS:
            self._lose_for_room()
            return
        self._pending.append(sent)
        self._calls.send(b"%bContent-Length: %d\r\n\r\n%b" % (self._call_head, len(body), body))

    async def drain(self) -> None:
        if self._calls is not None:
            await self._calls.drain()

    def _heard(self) -> int:
        return self._stream.bytes_seen if self._stream is not None else 0

    def _waiting(self) -> bool:
        return bool(self._pending)

    def _probe(self) -> None:
        if self._calls is not None:
            self._pending.append(Sent("GET /version", answered=asyncio.get_running_loop().create_future()))
            self._calls.send(self._head("GET /version") + b"\r\n")

    def close(self) -> None:
        if not self._over:
            if self._calls is not None:
                self._calls.finish()
            self._end("closed")

    def _end(self, reason: str) -> None:
        super()._end(reason)
        for connection in (self._stream, self._calls):
            if connection is not None:
                connection.close()
        self._pending.clear()

    def _begin(self) -> None:
        stream_id = self._stream.headers[STREAM_ID] if self._stream is not None else ""
        self._call_head = self._head(f"POST {PATH}") + f"Mesos-Stream-Id: {stream_id}\r\n".encode("latin-1")

    def _on_record(self, record: bytes | memoryview) -> None:
        try:
            event = wire.read_event(record)
        except msgspec.DecodeError as error:
            report_unread(record, error)
        else:
            self._take(event)

    def _on_answers(self, answers: Iterable[Answer]) -> None:
        pending = self._pending  # which a loss empties
        for answer in answers:
            if not pending:
                self.lose("an answer came to no call")
                return
            sent = pending.popleft()
            self._answers += 1
            if answer is ACCEPTED and sent.answered is None:
                continue
            if sent.answered is not None and not sent.answered.done():
                sent.answered.set_result(answer)
            elif answer.status not in (200, 202):  # 200: done already, as UPDATE_FRAMEWORK is
                self._refused(sent, answer)


def _it(connection: HttpConnection) -> HttpConnection:
    return connection
