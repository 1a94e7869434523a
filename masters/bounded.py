"""Connections whose answers are read within bounds: a deadline over all of an answer, or a limit of silence for one

that never ends; and so many bytes. requests has a timeout for each read alone, which a server that sends a byte now and
then never reaches, headers included.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.wait import wait_for_read

from framework.errors import UnavailableError

STOP_CHECK_S = 0.25
"""How soon a stream that is silent notices that it is to stop."""


class Bounds(Protocol):
    """Of one answer. What is raised ends the reading."""

    def before_read(self, connection: socket.socket) -> None: ...

    def late(self) -> UnavailableError: ...

    def after_read(self, count: int) -> None: ...


class CallBounds:
    """Of an answer that is to be there by a deadline."""

    def __init__(self, who: str, timeout_s: float, most_bytes: int) -> None:
        """``who`` answers, for the words of errors; the deadline counts from now."""
        self._who = who
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._most_bytes = self._left_bytes = most_bytes

    def before_read(self, connection: socket.socket) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise self.late()
        connection.settimeout(left_s)

    def late(self) -> UnavailableError:
        return UnavailableError(f"{self._who} did not answer in full within {self._timeout_s:g} s")

    def after_read(self, count: int) -> None:
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise UnavailableError(f"{self._who} answered with more than {self._most_bytes >> 20} MiB")


class StoppedError(Exception):
    """The reader of a stream wants no more; not a fault."""


class StreamBounds:
    """Of an answer that goes on until ``stop()``, never silent for longer than ``idle_s``."""

    def __init__(self, who: str, idle_s: float, stop: Callable[[], bool]) -> None:
        self._who = who
        self._idle_s = idle_s
        self._stop = stop

    def before_read(self, connection: socket.socket) -> None:
        until = time.monotonic() + self._idle_s
        connection.settimeout(self._idle_s)
        while True:
            if self._stop():
                raise StoppedError
            if isinstance(connection, ssl.SSLSocket) and connection.pending():
                return
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise self.late()
            if wait_for_read(connection, min(left_s, STOP_CHECK_S)):
                return

    def late(self) -> UnavailableError:
        return UnavailableError(f"{self._who} was silent for {self._idle_s:g} s")

    def after_read(self, count: int) -> None:
        pass


_bounds: ContextVar[Bounds] = ContextVar("bounds")


@contextmanager
def within(bounds: Bounds) -> Iterator[None]:
    """Answers that begin in this context, in sessions with the adapter below, are read within ``bounds``."""
    token = _bounds.set(bounds)
    try:
        yield
    finally:
        _bounds.reset(token)


class BoundedAdapter(HTTPAdapter):
    """For requests' sessions that only call ``within`` bounds."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Raw(io.RawIOBase):
    """What is read of a connection, piece by piece."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, bounds: Bounds) -> None:
        self._raw = raw
        self._connection = connection
        self._bounds = bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._bounds.before_read(self._connection)
        try:
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError as error:
            raise self._bounds.late() from error
        self._bounds.after_read(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Raw(self.fp.detach(), sock, _bounds.get()))


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}
