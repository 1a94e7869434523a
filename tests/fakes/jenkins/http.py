"""A small HTTP/1.1 server that sends the headers it is told to and no other, as the recorded ones must be matched."""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

LOG = logging.getLogger("jenkins")

_IDLE_S = 65.0
_BODY_S = 60.0
_MAX_BODY = 64 << 20
_CHUNK = 32 << 10
_MAX_CONNECTIONS = 4096

Upgraded = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Request:
    """``path`` is decoded; ``headers`` have lower-case names; of a name given twice the first value counts.

    ``takes_chunks``: it is of HTTP/1.1.
    """

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    takes_chunks: bool = True

    def form(self) -> dict[str, str]:
        """The query's fields, and those of the body where it is a form."""
        fields = dict(self.query)
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            for name, value in parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True):
                fields.setdefault(name, value)
        return fields

    def cookies(self) -> dict[str, str]:
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name: value for name, _, value in pairs}


@dataclass(slots=True)
class Response:
    """``upgraded`` takes the connection over after a 101. ``chunked``: its length is not told before, as of pages."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    upgraded: Upgraded | None = None
    chunked: bool = False


Handler = Callable[[Request], Awaitable[Response]]


class BadRequestError(Exception):
    """What came is no HTTP request; the connection is closed."""


class Server:
    """Listens on one address; ``close`` cuts what is open."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, address: str, port: int) -> int:
        """The port that it got. Raises OSError where it is taken."""
        self._server = await asyncio.start_server(self._connected, address, port, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= _MAX_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, TimeoutError, BadRequestError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # the client went away, spoke nonsense or waited too long, or the server ends
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_IDLE_S):
                request = _parse(await reader.readuntil(b"\r\n\r\n"))
            async with asyncio.timeout(_BODY_S):
                request.body = await _read_body(request, reader, writer)
            response = await self._handler(request)
            keep = request.headers.get("connection", "").lower() != "close"
            writer.write(_serialised(request, response, keep))
            await writer.drain()
            if response.upgraded is not None:
                await response.upgraded(reader, writer)
                return
            if not keep:
                return


def _parse(head: bytes) -> Request:
    lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = lines[0].split(" ")
    except ValueError as error:
        raise BadRequestError(lines[0][:80]) from error
    if not version.startswith("HTTP/1."):
        raise BadRequestError(version[:20])
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    path, _, query = target.partition("?")
    fields: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        fields.setdefault(name, value)
    return Request(method, target, unquote(path), fields, headers, takes_chunks=version != "HTTP/1.0")


async def _read_body(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    chunked = "chunked" in request.headers.get("transfer-encoding", "").lower()
    length = request.headers.get("content-length", "0")
    if not chunked and not length.isdecimal():
        raise BadRequestError("Content-Length")
    if request.headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if not chunked:
        if int(length) > _MAX_BODY:
            raise BadRequestError("body")
        return await reader.readexactly(int(length))
    parts: list[bytes] = []
    while size := _chunk_size(await reader.readuntil(b"\r\n")):
        if size + sum(map(len, parts)) > _MAX_BODY:
            raise BadRequestError("body")
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)


def _chunk_size(line: bytes) -> int:
    digits = line.split(b";")[0].strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", digits):
        raise BadRequestError("chunk")
    return int(digits, 16)


def _serialised(request: Request, response: Response, keep: bool) -> bytes:
    reason = "Server Error" if response.status == 500 else http.HTTPStatus(response.status).phrase
    lines = [f"HTTP/1.1 {response.status} {reason}", *(f"{name}: {value}" for name, value in response.headers)]
    body = response.body
    if response.chunked and request.takes_chunks and body:
        lines.append("Transfer-Encoding: chunked")
        parts = [body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])
    elif response.status not in (101, 204):
        lines.append(f"Content-Length: {len(body)}")
    if not keep and response.status != 101:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
    return head if request.method == "HEAD" else head + body
