"""HTTP/1.1 and RecordIO over a bare socket: ``http.client`` alone takes longer to import than all of this to start."""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_HEAD_BYTES = 64 * 1024
MAX_RECORD_BYTES = 16 * 1024 * 1024  # a TaskInfo carries a script of 1 MiB at most, in base64, and its environment


class WireError(Exception):
    """The other side broke the protocol, refused the connection or closed it."""


class Interrupted(Exception):  # noqa: N818 - not an error: whoever waits changed their mind
    """A wait was given up on request."""


def connect(address: str | tuple[str, int], timeout_s: float) -> socket.socket:
    """A blocking socket to a UNIX path or a (host, port). Raises WireError."""
    try:
        if isinstance(address, tuple):
            made = socket.create_connection(address, timeout_s)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return made
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(timeout_s)
        try:
            made.connect(address)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise WireError("%s: %s" % (address, error)) from error
    return made


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The bytes of one request. Header values must hold no line break; they come from our own code and environment."""
    lines = ["%s %s HTTP/1.1" % (method, path)]
    lines += ["%s: %s" % item for item in headers.items()]
    lines.append("Content-Length: %d" % len(body))
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Response:
    """One HTTP response, parsed as its bytes come in: ``feed`` them, ``take`` the decoded body so far.

    What follows a complete response on the connection is left in ``rest``.
    """

    def __init__(self) -> None:
        self.status = 0  # 0 until the head is complete
        self.headers: dict[str, str] = {}
        self.complete = False
        self.rest = b""
        self._raw = b""
        self._body: list[bytes] = []
        self._chunked = False
        self._left: int | None = None  # bytes of body or chunk still to come; None: until the connection closes

    def feed(self, data: bytes) -> None:
        """Raises WireError where ``data`` is not HTTP."""
        self._raw += data
        if not self.status and not self._head():
            return
        if self._chunked:
            self._chunks()
        else:
            self._plain()

    def take(self) -> bytes:
        body = b"".join(self._body)
        self._body.clear()
        return body

    def raw_tail(self) -> bytes:
        """Bytes behind the head of a connection that stopped being HTTP (101 Switching Protocols)."""
        tail, self._raw = self._raw, b""
        return tail

    def _head(self) -> bool:
        head, found, tail = self._raw.partition(b"\r\n\r\n")
        if not found:
            if len(self._raw) > MAX_HEAD_BYTES:
                raise WireError("the head of the answer is too long")
            return False
        lines = head.decode("latin-1").split("\r\n")
        try:
            version, status = lines[0].split(" ", 2)[:2]
            self.status = int(status)
        except ValueError as error:
            raise WireError("not an HTTP answer: %.80r" % lines[0]) from error
        if not version.startswith("HTTP/1."):
            raise WireError("not an HTTP/1 answer: %.80r" % lines[0])
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self._raw = tail
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        if self.status in (101, 204, 304):
            self._left = None if self.status == 101 else 0
        elif self._chunked:
            self._left = 0
        elif "content-length" in self.headers:
            self._left = _size(self.headers["content-length"].encode(), 10)
        return True

    def _plain(self) -> None:
        if self.status == 101:
            return
        if self._left is None:
            self._body.append(self._raw)
            self._raw = b""
            return
        taken, self._raw = self._raw[: self._left], self._raw[self._left :]
        self._body.append(taken)
        self._left -= len(taken)
        if not self._left:
            self._end()

    def _chunks(self) -> None:
        while self._raw and not self.complete:
            if self._left:
                taken, self._raw = self._raw[: self._left], self._raw[self._left :]
                self._body.append(taken)
                self._left -= len(taken)
                continue
            line, found, tail = self._raw.lstrip(b"\r\n").partition(b"\r\n")
            if not found:
                if len(self._raw) > MAX_HEAD_BYTES:
                    raise WireError("a chunk without a size")
                return
            size = _size(line.split(b";")[0], 16)
            if size:
                self._left, self._raw = size, tail
            elif not tail.startswith(b"\r\n"):
                return  # the end of the last chunk is still on its way
            else:
                self._raw = tail[2:]
                self._end()

    def _end(self) -> None:
        self.complete = True
        self.rest, self._raw = self._raw, b""


class Records:
    """RecordIO: each record is its length in decimal, a line feed and that many bytes of JSON."""

    def __init__(self) -> None:
        self._raw = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The records completed by ``data``. Raises WireError where they are not JSON objects of a sane size."""
        self._raw += data
        records: list[dict[str, Any]] = []
        while True:
            line, found, tail = self._raw.partition(b"\n")
            if not found:
                if len(self._raw) > 20:
                    raise WireError("a record without a length")
                return records
            size = _size(line, 10)
            if size > MAX_RECORD_BYTES:
                raise WireError("a record of %d bytes" % size)
            if len(tail) < size:
                return records
            self._raw = tail[size:]
            records.append(json_object(tail[:size]))


def json_object(data: bytes) -> dict[str, Any]:
    """Raises WireError where ``data`` is not a JSON object."""
    try:
        raw = json.loads(data)
    except ValueError as error:
        raise WireError("not JSON: %s" % error) from error
    if not isinstance(raw, dict):
        raise WireError("not a JSON object: %.80r" % data)
    return raw


def _size(text: bytes, base: int) -> int:
    try:
        size = int(text, base)
    except ValueError as error:
        raise WireError("not a length: %.20r" % text) from error
    if size < 0:
        raise WireError("a negative length")
    return size
