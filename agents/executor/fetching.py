"""Fetching a file by HTTP or HTTPS, within bounds of time and size, for as long as it is wanted."""

from __future__ import annotations

import socket
import time

from agents.executor.updates import Backoff
from agents.executor.wire import Interrupted, Response, WireError, connect, request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

CONNECT_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 15.0
MAX_REDIRECTS = 3
FIRST_PAUSE_S = 0.25
LAST_PAUSE_S = 4.0
SLICE_S = 0.1
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses of a server that may do better the next time


class FetchError(Exception):
    """The file cannot be had. ``passing``: another attempt may help."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


def fetch(url: str, target: BinaryIO, max_bytes: int, timeout_s: float, interrupted: Callable[[], bool]) -> None:
    """Writes what is at ``url`` to ``target``, with as many attempts as ``timeout_s`` has room for.

    Raises FetchError; OSError where ``target`` cannot be written; wire.Interrupted once ``interrupted`` says so.
    """
    deadline_s = time.monotonic() + timeout_s
    backoff = Backoff(FIRST_PAUSE_S, LAST_PAUSE_S)
    while True:
        try:
            _attempt(url, target, max_bytes, deadline_s, interrupted)
        except FetchError as error:
            pause_s = backoff.next_s()
            if not error.passing or time.monotonic() + pause_s > deadline_s:
                raise
            pause(pause_s, interrupted)
        else:
            return


def pause(pause_s: float, interrupted: Callable[[], bool]) -> None:
    """Raises wire.Interrupted."""
    until_s = time.monotonic() + pause_s
    while True:
        if interrupted():
            raise Interrupted
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(SLICE_S, left_s))


def _attempt(url: str, target: BinaryIO, max_bytes: int, deadline_s: float, interrupted: Callable[[], bool]) -> None:
    from urllib.parse import urljoin, urlsplit

    for _ in range(MAX_REDIRECTS + 1):
        target.seek(0)
        target.truncate()
        response = _get(url, target, max_bytes, deadline_s, interrupted)
        if response.status == 200:
            return
        location = response.headers.get("location")
        if response.status not in (301, 302, 303, 307, 308) or not location:
            raise FetchError("HTTP status %d" % response.status, passing=response.status in _PASSING)
        try:
            before, url = url, urljoin(url, location)
            elsewhere = urlsplit(url).hostname != urlsplit(before).hostname
        except ValueError as error:
            raise FetchError("it sends to what is no URL", passing=False) from error
        if elsewhere:  # this host may reach what the other side may not
            raise FetchError("it sends to another host", passing=False)
    raise FetchError("more than %d redirects" % MAX_REDIRECTS, passing=False)


def _get(url: str, target: BinaryIO, max_bytes: int, deadline_s: float, interrupted: Callable[[], bool]) -> Response:
    """The answer to one request; where that is 200, its body is in ``target``."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        address = parts.hostname or "", parts.port or (443 if secure else 80)
        path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        headers = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": "butlery", "Connection": "close"}
        asked = request("GET", path, headers)
    except ValueError as error:
        raise FetchError("not a URL to fetch from: %s" % error, passing=False) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError("neither http://HOST nor https://HOST", passing=False)
    try:
        made = connect(address, CONNECT_TIMEOUT_S)
    except WireError as error:
        raise FetchError("no connection: %s" % error.__cause__, passing=True) from error
    try:
        if secure:
            import ssl

            made = ssl.create_default_context().wrap_socket(made, server_hostname=parts.hostname)
        made.sendall(asked)
        made.settimeout(SLICE_S)
    except OSError as error:
        made.close()
        trusted = type(error).__name__ != "SSLCertVerificationError"
        raise FetchError("no connection: %s" % error, passing=trusted) from error
    with made:
        return _read(made, target, max_bytes, deadline_s, interrupted)


def _read(
    made: socket.socket, target: BinaryIO, max_bytes: int, deadline_s: float, interrupted: Callable[[], bool]
) -> Response:
    response, size = Response(), 0
    silent_by_s = time.monotonic() + SILENCE_TIMEOUT_S
    while not response.complete:
        if interrupted():
            raise Interrupted
        if time.monotonic() > min(deadline_s, silent_by_s):
            raise FetchError("no answer, or not the whole of it, in time", passing=True)
        try:
            data = made.recv(65536)
            if not data:
                break
            response.feed(data)
        except socket.timeout:
            continue
        except (OSError, WireError) as error:
            raise FetchError("the answer: %s" % error, passing=True) from error
        silent_by_s = time.monotonic() + SILENCE_TIMEOUT_S
        if response.status == 200:
            body = response.take()
            size += len(body)
            if size > max_bytes:
                raise FetchError("more than %d MiB" % (max_bytes >> 20), passing=False)
            target.write(body)
        elif response.status:
            return response
    if not response.complete and (
        not response.status or "content-length" in response.headers or "transfer-encoding" in response.headers
    ):
        raise FetchError("the connection was closed before the answer's end", passing=True)
    return response
