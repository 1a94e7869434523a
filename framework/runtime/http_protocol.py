"""HTTP connections that do not wait for ever for their clients, as those of uvicorn alone do."""

from __future__ import annotations

import asyncio

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from framework.log import get_logger

HEAD_TIMEOUT_S = 30.0
"""For the head of a request, and for what is left of its body once it was answered."""
MAX_HEAD_BYTES = 64 << 10
WRITE_TIMEOUT_S = 60.0
"""In which a client has to take what was written to it, which is a piece of an answer at a time."""

CUT = "butlery.cut"
"""In the extensions of a request's ASGI scope: its ``now`` ends the connection, whatever is still to be written."""

log = get_logger(__name__)


def cut(scope: Scope) -> bool:
    """Ends the connection that a request came on; False where it is not one of this protocol."""
    now = scope.get("extensions", {}).get(CUT, {}).get("now")
    if now is None:
        return False
    now()
    return True


class HttpProtocol(HttpToolsProtocol):
    """Leaves clients that send a head too slowly or without end, and those that do not read."""

    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._late, self._stuck):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"now": self.transport.abort}}

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._late is not None:
            self._late.cancel()
            self._late = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The head of the request is too long.")
                return
        if self._in_head or self.cycle is None or self.cycle.response_complete:
            self._expect()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._expect()
        self._expect_end()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._expect_end()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck is not None and not self.transport.is_closing():
            self._stuck.cancel()
            self._stuck = None

    def _expect(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)

    def _expect_end(self) -> None:
        """A connection that is closed stays open until the client has taken all that was written."""
        if self.transport.is_closing():
            self._expect_reading()

    def _expect_reading(self) -> None:
        if self._stuck is None:
            self._stuck = self.loop.call_later(WRITE_TIMEOUT_S, self._leave)

    def _leave(self) -> None:
        client = self.client[0] if self.client else ""
        log.warning("a connection was cut: its client did not read", client=client, waited_s=WRITE_TIMEOUT_S)
        self.transport.abort()
