"""A subscription that pymesos keeps: it connects, subscribes, reads events and sends calls, on threads.

Only ``PymesosDriver`` imports this, as pymesos need not be there, and takes SIGINT over when it is imported. pymesos
0.3.15 would also end the framework, or the program, over one answer that it does not like, and reconnect without a
wait; what is overridden here says why.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import math
import os
import queue
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from typing import Any

import msgspec
import pymesos
from addict import Dict
from pymesos.process import Connection

from framework.edges.mesos import connection, wire
from framework.edges.mesos.access import Access
from framework.edges.mesos.addresses import Address
from framework.edges.mesos.connection import (
    MAX_ANSWER_BYTES,
    NOT_HTTP,
    ROOM_BELOW_BYTES,
    STREAM_ID,
    Answer,
)
from framework.edges.mesos.recordio import RecordReader
from framework.edges.mesos.subscription import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    MAX_PENDING_CALLS,
    PATH,
    NotMesosError,
    Sent,
    Subscription,
    not_subscribed,
    report_unread,
)
from framework.errors import MesosRefusedError, UnavailableError
from framework.log import get_logger, muted

log = get_logger(__name__)

MAX_RECORD_BYTES = 16 * 1024 * 1024
"""Some 13,000 offers. A quarter of what ``recordio`` takes: pymesos copies what it has of a record every 4 KiB."""

MAX_WAITING_EVENTS = 1000
"""Read, and not yet taken by the loop; beyond them no more is read."""

CLOSE_TIMEOUT_S = 5.0
"""For the calls made before ``close`` to be sent."""

_POLL_S = 1.0
_CLOSED = "the peer closed the connection"
_LENGTH_BYTES = len(str(MAX_RECORD_BYTES)) + 1
# pymesos' words, with an answer's body as Python would write it; in the next line is the call, with its secrets.
_REFUSED = re.compile(r"Failed to send request (\d{3}): (.*)")
_NOT_SUBSCRIBED = re.compile(r"Failed with HTTP \d{3}: (b'.*'|b\".*\")")

# It would print to stderr what it sent and got; what is worth telling is told here.
pymesos.logger.removeHandler(pymesos.handler)
muted(pymesos.logger.name)


class _Response(HTTPResponse):
    """An answer to a call."""

    def read(self, amt: int | None = None) -> bytes:
        return super().read(MAX_ANSWER_BYTES if amt is None else amt)


class _Stream(Connection):  # type: ignore[misc]
    """pymesos' connection that events come down."""

    @property
    def head(self) -> Answer | None:
        """What SUBSCRIBE was answered, with as much of the body as pymesos has left; None while it has not come."""
        if self._parser is None or not self._parser.is_headers_complete():
            return None
        headers = {name.lower(): value for name, value in self._parser.get_headers().items()}
        return Answer(self._parser.get_status_code(), headers, self._parser.recv_body())

    def check(self) -> None:
        """Raises RecordIOError where what has come of a record cannot be one, or one that is taken."""
        list(RecordReader(MAX_RECORD_BYTES).feed(self._response[:_LENGTH_BYTES]))


class _Client(pymesos.MesosSchedulerDriver):  # type: ignore[misc]
    """pymesos' driver for one connection: it neither reconnects, nor tears down, nor interrupts the program.

    ``on_record`` gets each event as an addict.Dict, ``on_over``, once, why there will be no more and what SUBSCRIBE was
    answered; both on pymesos' thread.
    """

    _wakeup_fds: Any  # pymesos' pipe, that ends the thread

    def __init__(
        self,
        master: Address,
        access: Access,
        subscribe: bytes,
        on_record: Callable[[Dict], None],
        on_over: Callable[[str, Answer | None], None],
    ) -> None:
        super().__init__(
            pymesos.Scheduler(),
            {},
            str(master),
            use_addict=True,
            implicit_acknowledgements=False,
            failover=True,
            timeout=ANSWER_TIMEOUT_S,
        )
        self._master = str(master)
        self._basic_credential = access.authorization
        self._subscribe = subscribe
        self._on_record = on_record
        self._on_over = on_over
        self.pieces_seen = 0
        """Received so far on the event stream, to tell whether the peer lives."""

    def gen_request(self) -> bytes:
        """As pymesos' own, which cannot tell that roles are suppressed and asks for GPUs unasked."""
        authorization = f"Authorization: {self._basic_credential}\r\n" if self._basic_credential else ""
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {self._master}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\n{authorization}Connection: close\r\nContent-Length: {len(self._subscribe)}"
        )
        return head.encode() + b"\r\n\r\n" + self._subscribe

    def change_master(self, new_master: str) -> None:
        """Whoever made us decides where a redirect leads to; pymesos would follow any, as often as there are."""

    def on_close(self) -> None:
        """pymesos would close the connection of calls, which the other thread uses."""

    def on_event(self, event: dict[str, Any]) -> None:
        """Before pymesos takes the event apart, which loses what it does not know and raises KeyError where a host or

        what else is optional is missing.
        """
        self._on_record(self._dict_cls(event))

    def _run(self) -> None:
        """The IO thread. pymesos' own tears the framework down and interrupts the main thread where an answer is not

        as it likes, connects again 900 times a second where that is 503, and cannot select() past 1024 descriptors.
        """
        stream: _Stream | None = None
        try:
            stream = _Stream(self._master, self)
            reason = self._read_on(stream)
        except Exception as error:  # noqa: BLE001 - pymesos raises what it likes, with RuntimeError the most
            reason = str(error) or type(error).__name__
        head = stream.head if stream is not None else None
        if stream is not None:
            stream.close()
        self._on_over(reason, head)
        self.stream_id = None
        with self._lock:
            for number in self._wakeup_fds:
                os.close(number)
            self._wakeup_fds = None

    def _read_on(self, stream: _Stream) -> str:
        """Why it ended."""
        poll, number, deadline = select.poll(), stream.fileno(), time.monotonic() + CONNECT_TIMEOUT_S
        poll.register(self._wakeup_fds[0], select.POLLIN)
        poll.register(number, select.POLLIN | select.POLLOUT)
        while self._started:
            happened = dict(poll.poll(_POLL_S * 1000)).get(number, 0)
            if happened and not stream.connected:
                trouble = stream.handle_connect_event()
                if trouble:
                    return f"it does not answer: {trouble}"
            if not stream.connected and time.monotonic() > deadline:
                return "it does not answer: time is up"
            if happened & select.POLLOUT:
                if not stream.write():
                    return _CLOSED
                if not stream.want_write():
                    poll.modify(number, select.POLLIN)
            if happened & ~select.POLLOUT:
                self.pieces_seen += 1
                if not self._read(stream):
                    return _CLOSED
        return "closed"

    def _read(self, stream: _Stream) -> bool:
        """Whether there may be more."""
        going_on = True
        try:
            going_on = stream.read()
        except UnicodeDecodeError as error:  # Mesos passes on what its flags and other people's programs gave it
            self.process_event(json.loads(wire.utf8(error.object)))
        except json.JSONDecodeError as error:
            log.warning("an event of Mesos cannot be read", error=str(error))
        stream.check()
        return going_on

    def _get_conn(self) -> Any:
        conn = super()._get_conn()
        if conn is not None:
            conn.response_class = _Response
        return conn

    def call(self, body: bytes) -> Answer:
        """Sends a call, or asks for the version where there is none, and waits for the answer.

        Raises OSError, HTTPException, and RuntimeError where no subscription stands.
        """
        # Headers of each call's own: pymesos' default is one dict for all its drivers, with the credentials of any.
        try:
            if body:
                self._send(json.loads(body), headers={})
            else:
                self._send("", path="/version", method="GET", headers={})
        except RuntimeError as error:
            refused = _REFUSED.match(str(error))
            if refused is None:
                raise
            return Answer(int(refused[1]), {}, ast.literal_eval(refused[2]))
        return Answer(202, {}, b"")

    def abort_call(self) -> None:
        """Has a call that waits for its answer fail at once; pymesos' own ways would wait for it."""
        conn = self._conn  # which the thread may set to None
        sock = conn.sock if conn is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):  # closed just now
                sock.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """To be called where calls are made, and when none is any more."""
        self.stop(failover=True)
        self._close()

    def join_within(self, seconds: float) -> None:
        self._io_thread.join(seconds)


class PymesosSession(Subscription):
    """A ``Subscription`` by pymesos. Calls are made one after the other, on a thread, as pymesos waits for answers."""

    def __init__(
        self,
        master: Address,
        access: Access,
        on_event: Callable[[wire.Event], None],
        on_refused: Callable[[Sent, int], None],
        on_lost: Callable[[str], None],
    ) -> None:
        super().__init__(master, access, on_event, on_refused, on_lost)
        self._loop = asyncio.get_running_loop()
        self._client: _Client | None = None
        self._worker = threading.Thread(target=self._work, name="pymesos-calls", daemon=True)
        self._calls: queue.SimpleQueue[tuple[Sent, bytes] | None] = queue.SimpleQueue()  # None: no more will come
        self._made = 0
        self._made_bytes = self._answered_bytes = 0
        self._finish_by = math.inf  # on time.monotonic's clock; calls not made by then are dropped
        self._events_room = threading.Semaphore(MAX_WAITING_EVENTS)
        self._draining = False
        self._drained = asyncio.Event()
        self._head: Answer | None = None

    async def open(self, subscribe: bytes) -> None:
        if ":" in self.master.host:
            raise NotMesosError(f"Mesos at {self.master.url} is not spoken to: pymesos knows no IPv6")
        self._client = _Client(self.master, self._access, subscribe, self._read, self._stream_over)
        self._client.start()
        self._worker.start()
        try:
            await self._before_loss(self._subscribed)
        except TimeoutError as error:
            raise UnavailableError(f"Mesos at {self.master.url} does not answer: {error}") from error
        finally:
            if not self.standing:
                self.close()

    def _untold(self, reason: str) -> UnavailableError | MesosRefusedError:
        if self._head is not None and (self._head.status != 200 or STREAM_ID not in self._head.headers):
            return not_subscribed(self.master, self._access, self._head)
        if reason.startswith("Failed to parse"):
            return NotMesosError(f"{self.master} is not Mesos: {NOT_HTTP}")
        return super()._untold(reason)

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        """From a thread to the loop."""
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop is closed, and so nobody wants to know
            self._finish_by = 0.0

    def _read(self, told: Dict) -> None:
        if told.type == "HEARTBEAT":
            return
        record = json.dumps(told).encode()
        try:
            event = wire.read_event(record)
        except msgspec.DecodeError as error:
            report_unread(record, error)
            return
        while not self._events_room.acquire(timeout=_POLL_S):
            if self._over:
                return
        self._tell(self._take_read, event)

    def _take_read(self, event: wire.Event) -> None:
        self._events_room.release()
        self._take(event)

    def _stream_over(self, reason: str, head: Answer | None) -> None:
        self._tell(self._take_over, reason, head)

    def _take_over(self, reason: str, head: Answer | None) -> None:
        told = _NOT_SUBSCRIBED.match(reason)
        self._head = head._replace(body=ast.literal_eval(told[1])) if head is not None and told else head
        self._stream_lost(reason)

    def send(self, sent: Sent, body: bytes) -> None:
        if not self.standing:
            return
        if self._unanswered_bytes() > connection.MAX_OUTGOING_BYTES:
            self.lose(f"more than {connection.MAX_OUTGOING_BYTES} bytes of calls wait to be taken")
        elif self._made - self._answers >= MAX_PENDING_CALLS:
            self._lose_for_room()
        else:
            self._put(sent, body)

    def _put(self, sent: Sent, body: bytes) -> None:
        self._made += 1
        self._made_bytes += len(body)
        self._calls.put((sent, body))

    def _unanswered_bytes(self) -> int:
        return self._made_bytes - self._answered_bytes

    def _work(self) -> None:
        """The thread that makes calls."""
        client = self._client
        assert client is not None  # noqa: S101 - the thread is started after that
        while (call := self._calls.get()) is not None:
            sent, body = call
            if time.monotonic() < self._finish_by:
                self._call(client, sent, body)
        client.end()

    def _call(self, client: _Client, sent: Sent, body: bytes) -> None:
        try:
            answer = client.call(body)
        except (OSError, HTTPException, RuntimeError) as error:
            self._finish_by = 0.0
            self._tell(self.lose, f"connection lost: {error if isinstance(error, OSError) else type(error).__name__}")
            return
        self._answers += 1
        self._answered_bytes += len(body)
        if sent.answered is not None or answer.status != 202:
            self._tell(self._take_answer, sent, answer)
        if self._draining and self._unanswered_bytes() <= ROOM_BELOW_BYTES:
            self._tell(self._drained.set)

    def _take_answer(self, sent: Sent, answer: Answer) -> None:
        if self._over:
            return
        if sent.answered is not None and not sent.answered.done():
            sent.answered.set_result(answer)
        else:
            self._refused(sent, answer)

    async def drain(self) -> None:
        self._draining = True
        while not self._over and self._unanswered_bytes() > ROOM_BELOW_BYTES:
            self._drained.clear()
            if self._unanswered_bytes() > ROOM_BELOW_BYTES:
                await self._drained.wait()

    def _heard(self) -> int:
        return self._client.pieces_seen if self._client is not None else 0

    def _waiting(self) -> bool:
        return self._made > self._answers

    def _probe(self) -> None:
        self._put(Sent("GET /version"), b"")

    def _begin(self) -> None:
        """pymesos has noted down the subscription's id before."""

    def close(self) -> None:
        if not self._over:
            self._finish_by = time.monotonic() + CLOSE_TIMEOUT_S
            self._end("closed")

    def lose(self, reason: str) -> None:
        if not self._over:
            self._finish_by = 0.0
            if self._client is not None:
                self._client.abort_call()
        super().lose(reason)

    def _end(self, reason: str) -> None:
        super()._end(reason)
        self._drained.set()
        self._calls.put(None)

    async def join(self) -> None:
        """Returns when the threads of an ended subscription have, after at most thrice ``CLOSE_TIMEOUT_S``."""
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        if self._client is not None:
            self._worker.join(CLOSE_TIMEOUT_S)
            self._client.abort_call()
            self._worker.join(CLOSE_TIMEOUT_S)
            self._client.join_within(CLOSE_TIMEOUT_S)
