"""Holds requests whose master sleeps, starts or moves, and passes them on once it serves.

HAProxy sends here what its map says is to be held, and what it could not connect to. A body that is short enough is
taken at once, so that it reaches the master though its sender has gone: GitHub waits ten seconds for its webhooks.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Literal, Protocol

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from framework.log import get_logger
from framework.ports import Chance, jittered
from masters.ingress.config import BUFFER_BYTES, CHECK_HEADER, SERVER_TIMEOUT_S, TENANT_HEADER
from masters.ingress.routes import Endpoint

log = get_logger(__name__)

BODY_BYTES = 32 << 20
"""Of one request taken at once; GitHub's webhooks are at most 25 MB. Longer ones are passed on piece by piece."""
BODIES_BYTES = 256 << 20
"""Of all together."""
PATIENCE_S = 1800.0
"""How long what changes something is kept for its master once its sender has gone."""
LEAST_EACH = 2
"""Requests of each tenant that are held however many are of others, so that its master wakes all the same."""
BODY_TIMEOUT_S = 600.0
"""Until it is whole; that something of it comes at least each minute is HAProxy's to see to."""
LINGER_S = 10.0
"""How long the rest of a body is read that nobody takes: closed before, the connection would lose the answer."""
CONNECT_TIMEOUT_S = 3.0
STOP_TIMEOUT_S = 1.0
"""Held requests are not waited for at the end: HAProxy gives them to the next service, or ends with this one."""
CHUNK_BYTES = 1 << 16
RETRY_AFTER_S = 5
READS = ("GET", "HEAD", "OPTIONS")
SENDS = 3
"""How often what only reads is sent to masters that end over it: it may be what ends them."""

_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "expect", TENANT_HEADER.lower()),
    }
)

Standing = Literal["serves", "comes", "asleep", "off"]
"""Of a master: ``comes`` while it starts, moves or fails."""


class Masters(Protocol):
    """What the holder asks of those who know masters. Called on the loop."""

    def standing(self, tenant: str) -> tuple[Standing, Endpoint | None]:
        """``serves`` alone has an endpoint. What nobody knows yet ``comes``."""
        ...

    def moved(self) -> asyncio.Event:
        """Set when any standing changes; each call is of the next change."""
        ...

    def wake(self, tenant: str) -> None:
        """Asks once for as long as it sleeps, however often it is called."""
        ...


class Holder:
    def __init__(self, masters: Masters, *, hold_s: float, held_requests: int, chance: Chance) -> None:
        self._masters = masters
        self._hold_s = hold_s
        self._most = held_requests
        self._most_each = max(1, held_requests // 10)
        self._chance = chance
        self._bytes = 0
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None
        self.held: Counter[str] = Counter()

    async def start(self, port: int) -> int:
        """Listens on ``port`` of 127.0.0.1 (0: a free one); which it is. Raises OSError."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SERVER_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_line_size=BUFFER_BYTES,
            max_field_size=BUFFER_BYTES,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        self._session._retry_connection = False  # no other way: it would send PUT and DELETE twice
        server = web.Server(
            self._handle,
            access_log=None,
            max_line_size=BUFFER_BYTES,
            max_field_size=BUFFER_BYTES,
            max_headers=256,
            auto_decompress=False,
            lingering_time=LINGER_S,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=STOP_TIMEOUT_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, backlog=1024, reuse_address=True)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        tenant = request.headers.get(TENANT_HEADER, "")
        if "upgrade" in request.headers.get("Connection", "").lower():
            return _later("It starts, or sleeps. Agents try again by themselves.")  # and wake nobody
        if CHECK_HEADER in request.headers:
            return _later("Its route is verified while it stops.")  # and wakes nobody either
        standing, _ = self._masters.standing(tenant)
        if standing == "off":
            return _later("It is switched off. Its operator can switch it on.", after_s=300)
        if self.held[tenant] >= (self._most_each if self.held.total() < self._most else LEAST_EACH):
            return _later("It is being started, and too many wait for it.", after_s=RETRY_AFTER_S * 2)
        self.held[tenant] += 1
        if standing == "asleep":
            self._masters.wake(tenant)  # before the body, which may be long in coming
        try:
            return await self._hold(tenant, request)
        finally:
            self.held[tenant] -= 1
            if not self.held[tenant]:
                del self.held[tenant]

    async def _hold(self, tenant: str, request: web.BaseRequest) -> web.StreamResponse:
        size = request.content_length
        if not request.body_exists:
            return await self._pass_on(tenant, request, b"")
        if size is None or size > BODY_BYTES or self._bytes + size > BODIES_BYTES:
            return await self._pass_on(tenant, request, None)
        self._bytes += size
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                await _ask_for_body(request)
                body = await request.content.read(-1)
            return await self._pass_on(tenant, request, body)
        except (TimeoutError, ConnectionError, aiohttp.ClientPayloadError):
            return _plain(408, "The request did not come to its end.")
        finally:
            self._bytes -= size

    async def _pass_on(self, tenant: str, request: web.BaseRequest, body: bytes | None) -> web.StreamResponse:
        """``body`` None: it is read from the request as it is sent."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        attempt = sends = 0
        while True:
            moved = self._masters.moved()
            standing, endpoint = self._masters.standing(tenant)
            waited_s = loop.time() - started
            if standing == "off":
                return _later("It was switched off.", after_s=300)
            if _gone(request) and (body is None or request.method in READS):
                return _plain(499, "")  # nobody reads it
            if waited_s >= (self._hold_s if not _gone(request) else PATIENCE_S):
                return _later("It is being started, which takes longer than a request can wait.")
            if endpoint is not None:
                try:
                    return await self._send(endpoint, request, body)
                except aiohttp.ClientConnectorError:
                    pass  # nothing was sent: it moves, and Marathon has not told yet
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    sends += 1
                    if request.method not in READS or body is None or sends >= SENDS:
                        if not _gone(request):  # else it is the sender who went away in the middle
                            log.warning("a master ended over a held request", tenant=tenant, error=str(error))
                        return _plain(502, "The service ended before it answered.")
            elif standing == "asleep":
                self._masters.wake(tenant)
            pause_s = jittered(self._chance, attempt, 0.1, 1.0) if endpoint is not None else 1.0
            attempt += 1
            await _either(moved.wait(), pause_s)

    async def _send(self, endpoint: Endpoint, request: web.BaseRequest, body: bytes | None) -> web.StreamResponse:
        assert self._session is not None  # noqa: S101 - for the type checker; start() makes it
        data: io.BytesIO | AsyncIterator[bytes] | None = io.BytesIO(body) if body else None
        if body is None:
            data = _pieces(request)
        async with self._session.request(
            request.method,
            URL(endpoint.url() + request.raw_path, encoded=True),
            headers=_kept(request.headers),
            data=data,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_kept(answer.headers))
            if _gone(request):
                await answer.release()
                return response
            await response.prepare(request)
            try:
                if request.method != "HEAD":
                    async for piece in answer.content.iter_chunked(CHUNK_BYTES):
                        await response.write(piece)
                await response.write_eof()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                # No other answer may follow what is out already, and its reader must see that it is not whole.
                if request.transport is not None and not _gone(request):
                    log.warning("the answer to a held request has no end", master=endpoint.url(), error=str(error))
                    request.transport.abort()
            return response


async def _ask_for_body(request: web.BaseRequest) -> None:
    """Of a client that waits to be asked."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Begun only once there is a connection that they are sent over."""
    await _ask_for_body(request)
    async for piece in request.content.iter_chunked(CHUNK_BYTES):
        yield piece


async def _either(wait: Awaitable[object], most_s: float) -> None:
    try:
        async with asyncio.timeout(most_s):
            await wait
    except TimeoutError:
        pass


def _gone(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()


def _kept(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Without those that are of one connection only."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP | named)


def _later(text: str, after_s: int = RETRY_AFTER_S) -> web.Response:
    response = _plain(503, text)
    response.headers["Retry-After"] = str(after_s)
    return response


def _plain(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers={"Cache-Control": "no-store"})
