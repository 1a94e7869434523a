"""The two HTTP/1.1 connections to a Mesos master: one that events stream down, one that calls are pipelined on.

Mesos answers the requests of one connection in order (libprocess), so answers are matched to calls by order alone.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import httptools

from framework.edges.mesos.access import tls_trouble
from framework.edges.mesos.recordio import RecordIOError, RecordReader

MAX_ANSWER_BYTES = 64 * 1024
"""Of the body of an answer to a call: Mesos' are one line."""

MAX_OUTGOING_BYTES = 64 * 1024 * 1024
"""Not yet taken by the peer. 8000 launches of 2 kB are 16 MiB; a peer that is behind by more than this is lost."""

ROOM_BELOW_BYTES = 4 * 1024 * 1024
"""Not yet taken by the peer, up to which ``drain`` does not wait."""

NOT_HTTP = "what came is not HTTP"
"""How the reason begins, where a connection is lost for this."""

STREAM_ID = "mesos-stream-id"
"""The header that names a subscription, in the answer to SUBSCRIBE and with every call after it."""

GATHER_S = 0.002
"""For which no more is read after something came, so that under load one read takes in many events: a task's life cycle

then costs 40 us of CPU and not 105 us, most of which would be system calls (``butlery bench wire``). What comes first
is not held up.
"""

READ_BYTES = 64 * 1024
"""At once, into one piece of memory that is used again."""

KEEPALIVE_IDLE_S = 4
KEEPALIVE_INTERVAL_S = 2
KEEPALIVE_PROBES = 3
USER_TIMEOUT_MS = 10_000
"""A peer's machine that is gone is found within ten seconds, by probes where nothing is on the way, else because

nothing is acknowledged (RFC 5482). What a proxy keeps open with nobody behind it, ``Subscription.tick`` finds.
"""

INFLATED_BYTES = 1024 * 1024
"""At a time, of what comes compressed: a thousandfold of what was sent must not be held at once."""

_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = zlib.MAX_WBITS | 16


class Answer(NamedTuple):
    """An answer's status, headers by lower-case name, and the first ``MAX_ANSWER_BYTES`` of its body."""

    status: int
    headers: dict[str, str]
    body: bytes


ACCEPTED = Answer(202, {}, b"")
"""To nearly every call."""


def _inflated(body: bytes) -> bytes:
    """An answer's body, known as compressed by its first bytes: no text of Mesos begins like that."""
    if not body.startswith(_GZIP):
        return body
    try:
        return zlib.decompressobj(_GZIP_WINDOW).decompress(body, MAX_ANSWER_BYTES)
    except zlib.error:
        return body


class _Inflater:
    """Of an event stream that comes compressed."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_WINDOW)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Raises RecordIOError."""
        try:
            while data:
                yield self._zlib.decompress(data, INFLATED_BYTES)
                data = self._zlib.unconsumed_tail
        except zlib.error as error:
            raise RecordIOError(f"the event stream says gzip and is not: {error}") from error


class HttpConnection(asyncio.BufferedProtocol):
    """One client connection. Tells of its loss once, unless it was closed from here."""

    def __init__(self, on_lost: Callable[[str], None]) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self._parser: Any = httptools.HttpResponseParser(self)
        self.error: Exception | None = None
        """Of the system or of TLS, that ended the connection."""
        self._buffer = memoryview(bytearray(READ_BYTES))  # asyncio reads into slices of it, which must not be copies
        self.bytes_seen = 0
        """Received so far, to tell whether the peer lives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: uvloop's transports are asyncio's by their methods alone.
        self._transport = cast(asyncio.Transport, transport)
        if self._closed:  # while it was being made
            self.close()
            return
        sock = transport.get_extra_info("socket")
        for level, option, value in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS),
        ):
            sock.setsockopt(level, option, value)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio gives it
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_seen += nbytes
        if self._transport is not None and nbytes < READ_BYTES:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(GATHER_S, self._read_on)
        with self._buffer[:nbytes] as data:
            self.data_received(data)

    def data_received(self, data: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.lose(f"{NOT_HTTP}: {error}")

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        if exc is None:
            self.lose("the peer closed the connection")
        else:
            self.lose(tls_trouble(exc) or f"connection lost: {exc}")

    def lose(self, reason: str) -> None:
        """Closes the connection and tells why, the first time."""
        if self._transport is not None:
            self.close()
            self._on_lost(reason)

    def close(self) -> None:
        """Closes the connection at once, and tells nobody."""
        self._closed = True
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


class EventStream(HttpConnection):
    """Carries one SUBSCRIBE and its answer, which goes on for as long as the subscription stands."""

    def __init__(self, on_record: Callable[[bytes | memoryview], None], on_lost: Callable[[str], None]) -> None:
        super().__init__(on_lost)
        self._on_record = on_record
        self._reader = RecordReader()
        self.headers: dict[str, str] = {}
        """Of the answer, by lower-case name."""
        self._body = bytearray()
        self._pieces: list[bytes] = []
        self._streaming = self._ended = False
        self._inflater: _Inflater | None = None
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        """Done with the head where events follow, else when the whole answer is there."""

    def subscribe(self, request: bytes) -> None:
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes | memoryview) -> None:
        super().data_received(data)
        # Only here, outside of the parser, as that would wrap what is raised below.
        body = b"".join(self._pieces)
        self._pieces.clear()
        try:
            for plain in self._inflater.pieces(body) if self._inflater else (body,):
                for record in self._reader.feed(plain):
                    if self._transport is None:
                        return
                    self._on_record(record)
        except RecordIOError as error:
            self.lose(str(error))
        if self._ended:  # told only now, as the last event may say why
            self.lose("Mesos ended the event stream")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._streaming = self._parser.get_status_code() == 200 and STREAM_ID in self.headers
        if self._streaming:
            if self.headers.get("content-encoding") == "gzip":
                self._inflater = _Inflater()
            self._finish()

    def on_body(self, body: bytes) -> None:
        if self._streaming:
            self._pieces.append(body)
        elif len(self._body) < MAX_ANSWER_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        if self._streaming:
            self._ended = True
        else:
            self._finish()

    def _finish(self) -> None:
        if not self.answer.done():
            self.answer.set_result(
                Answer(self._parser.get_status_code(), self.headers, _inflated(bytes(self._body[:MAX_ANSWER_BYTES])))
            )


class CallConnection(HttpConnection):
    """Carries calls, pipelined: each turn of the loop's calls go out in one write. Answers' headers are not read."""

    def __init__(self, on_answers: Callable[[list[Answer]], None], on_lost: Callable[[str], None]) -> None:
        super().__init__(on_lost)
        self._loop = asyncio.get_running_loop()
        self._on_answers = on_answers
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._answers: list[Answer] = []
        self._body = bytearray()
        self._room = asyncio.Event()
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=ROOM_BELOW_BYTES)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.set()
        super().connection_lost(exc)

    async def drain(self) -> None:
        """Returns once the peer has taken most of what was sent, or is lost."""
        self._flush()
        await self._room.wait()

    def send(self, request: bytes) -> None:
        """Queues a request. Where the peer is too far behind the connection is lost instead."""
        if self._transport is None:
            return
        if not self._outgoing:
            self._outgoing_bytes = self._transport.get_write_buffer_size()
            self._loop.call_soon(self._flush)
        if self._outgoing_bytes > MAX_OUTGOING_BYTES:
            self._outgoing.clear()
            self.lose(f"more than {MAX_OUTGOING_BYTES} bytes of calls wait to be taken")
            return
        self._outgoing_bytes += len(request)
        self._outgoing.append(request)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._transport is not None and outgoing:
            self._transport.write(b"".join(outgoing))

    def data_received(self, data: bytes | memoryview) -> None:
        super().data_received(data)
        answers, self._answers = self._answers, []  # outside of the parser, which would wrap what is raised below
        if answers:
            self._on_answers(answers)

    def finish(self) -> None:
        """Closes the connection when what was sent is taken, and tells nobody; for at most ``USER_TIMEOUT_MS``."""
        self._flush()
        self._closed = True
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def on_body(self, body: bytes) -> None:
        if len(self._body) < MAX_ANSWER_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._body:
            self._answers.append(Answer(status, {}, _inflated(bytes(self._body[:MAX_ANSWER_BYTES]))))
            self._body.clear()
        else:
            self._answers.append(ACCEPTED if status == 202 else Answer(status, {}, b""))
