"""A standby's way to the leader: what a scheduler cannot answer from its copy of the state it passes on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import aiohttp
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from framework.api.auth import Authenticator, bearer_token
from framework.api.body import read_body
from framework.api.jobs import MAX_WAIT_S
from framework.api.problems import ProblemError, unavailable
from framework.api.strangers import Strangers, address_of
from framework.core.ids import RequestId
from framework.ports import Seat

HOPS = "butlery-hops"
"""Header of what was passed on once, which goes no further: two schedulers that take each other for the leader."""
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = MAX_WAIT_S + 30.0
"""Between two pieces of the answer: the longest that the leader waits by itself, and a busy leader's own time."""
LOOK_S = 1.0
"""Between two looks at who leads, while an answer is waited for."""
HANDOVER_S = 3.0
"""For the answer of one that led when it was asked; one that hands over answers at once, one that hangs never does."""
MAX_PASSED = 2000
"""At once, as many as may wait."""

_HERE = re.compile(
    r"/v1/(?:health|version|status|leader|telemetry(?:/resend)?|tenants|templates(?::match|/[A-Za-z0-9._-]{1,100})?"
    r"|jobs|jobs/(?P<job>[A-Za-z0-9._-]{1,100})(?:/wait)?)\Z"
)
_RESEND = "/v1/telemetry/resend"
"""Of each scheduler's own spool, so whoever is asked does it; all else that is no GET is the leader's."""
_OF_HISTORY = re.compile(r"/v1/builds/(?:past|stats|sizes|noisy)\Z")
_OF_CONNECTION = frozenset(
    ("connection", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers of one connection (RFC 9110), which say nothing on the next."""
_NO_LEADER = "No scheduler leads now; one is about to take over."
_NO_ANSWER = "The scheduler that leads does not answer; another is about to take over."

_Result = TypeVar("_Result")


class Forwarder:
    """Decides who answers a request, and passes on what the leader shall."""

    def __init__(
        self,
        seat: Seat,
        authenticator: Authenticator,
        max_body_bytes: int,
        strangers: Strangers,
        *,
        history_here: bool = False,
    ) -> None:
        """``history_here``: a standby knows of past builds what the leader does."""
        self._history_here = history_here
        self._seat = seat
        self._authenticator = authenticator
        self._max_body_bytes = max_body_bytes
        self._strangers = strangers
        self._session: aiohttp.ClientSession | None = None
        self._passed = 0

    async def answers_here(self, request: Request) -> bool:
        """Whether this scheduler answers: the leader all; a standby what does not concern one tenant's rights, and what

        its copy holds. Whoever or whatever it does not know yet, the leader may.
        """
        if self._seat.leads:
            return True
        path = request.url.path
        if not path.startswith("/v1/") or path == "/v1/health":
            return True
        found = _HERE.match(path) or (_OF_HISTORY.match(path) if self._history_here else None)
        if not found or (request.method != "GET" and path != _RESEND):
            return False
        if self._leader_url() is None:
            return True
        token = bearer_token(request)
        if token is not None and self._authenticator.principal(token) is None:
            return False
        job = found.groupdict().get("job")
        return job is None or await self._seat.control.request(RequestId(job)) is not None

    def _leader_url(self) -> str | None:
        leader = self._seat.leader
        return None if leader is None or leader.url == self._seat.url else leader.url

    async def forward(self, request: Request, send: Send) -> None:
        """Has the leader answer. Raises ProblemError where it does not begin to, ClientError where it does not end."""
        url = self._leader_url()
        if url is None or HOPS in request.headers:
            raise unavailable(_NO_LEADER)
        if self._passed >= MAX_PASSED:
            raise unavailable("Too many calls are passed on to the leader now; ask it itself, or later.")
        self._passed += 1
        try:
            body = await self._body(request)
            await _unless(_gone(request), self._pass(request, body, url, send))
        finally:
            self._passed -= 1

    async def _body(self, request: Request) -> bytes:
        """Raises ProblemError."""
        token = bearer_token(request)
        if token is not None and self._authenticator.principal(token) is not None:
            return await read_body(request, self._max_body_bytes)
        async with self._strangers.reading(address_of(request.client)):
            return await read_body(request, self._max_body_bytes)

    async def _pass(self, request: Request, body: bytes, leader_url: str, send: Send) -> None:
        path, query = request.scope["raw_path"].decode("latin-1"), request.url.query
        url = URL(leader_url + path + (f"?{query}" if query else ""), encoded=True)
        asking = self._opened().request(
            request.method,
            url,
            data=body or None,
            headers=[*_end_to_end(request.headers), (HOPS, "1")],
            allow_redirects=False,  # so that the token goes to the leader and to nobody else
        )
        started = False
        try:
            begun = await _unless(self._superseded(leader_url), asking)
            if begun is None:
                raise unavailable(_NO_ANSWER)
            async with begun as answer:
                headers = [(name.encode(), text.encode("latin-1")) for name, text in _end_to_end(answer.headers)]
                await send({"type": "http.response.start", "status": answer.status, "headers": headers})
                started = True
                async for chunk in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientError, TimeoutError) as error:
            if started:
                raise  # the server cuts the connection, so that nobody takes the part for all
            raise unavailable(_NO_ANSWER) from error

    async def _superseded(self, leader_url: str) -> None:
        """Returns when another has led for ``HANDOVER_S``."""
        while (leader := self._seat.leader) is None or leader.url == leader_url:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(HANDOVER_S)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_PASSED),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class Forwarding:
    """ASGI middleware before the routes."""

    def __init__(self, app: ASGIApp, forwarder: Forwarder) -> None:
        self._app = app
        self._forwarder = forwarder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if await self._forwarder.answers_here(request):
            await self._app(scope, receive, send)
            return
        try:
            await self._forwarder.forward(request, send)
        except ProblemError as problem:
            await problem.response()(scope, receive, send)


def _end_to_end(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in headers.items() if name.lower() not in _OF_CONNECTION]


async def _unless(ended: Coroutine[Any, Any, None], work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """What the work comes to; None where it was broken off, as ``ended`` came first."""
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(ended)
    try:
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, ending):
            task.cancel()
        await asyncio.wait({working, ending})


async def _gone(request: Request) -> None:
    """Returns when the client has gone; its request has been read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
