"""The way in and out of every request: who may come in, what an error looks like, and how answers are written."""

from __future__ import annotations

import asyncio
import base64
import binascii
import gzip
import hmac
import logging
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from framework.errors import ButleryError
from framework.local.marathon.api.events import EventStream, Hub, open_stream
from framework.local.marathon.api.exchange import JSON, Answer, Call
from framework.local.marathon.api.metrics import Metrics
from framework.local.marathon.api.problems import RefusedError, internal, refused_of
from framework.local.marathon.api.render import Renderer
from framework.local.marathon.api.routes import EVENTS, allow, find
from framework.local.marathon.api.settings import ApiSettings
from framework.local.marathon.control import Control

GZIP_MIN_BYTES = 2048
GZIP_LEVEL = 3
"""Of 5 MB of apps that takes a tenth of the time of level 9, for a fifth more bytes."""
PIECE_BYTES = 256 << 10
_UNCACHED = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache", "Expires": "0"}
_FREE = frozenset({"/ping", "/ping/"})
"""Asked by health checks that have no credentials."""
_NO_STREAM = b"""<html>
<head>
<meta http-equiv="Content-Type" content="text/html;charset=utf-8"/>
<title>Error 405 </title>
</head>
<body>
<h2>HTTP ERROR: 405</h2>
<p>Problem accessing /v2/events. Reason:
<pre>    HTTP method GET is not supported by this URL</pre></p>
</body>
</html>
"""

_log = logging.getLogger(__name__)
_packer = ThreadPoolExecutor(2, "packer")  # of its own: what is to be saved does not wait behind many long answers


class Door:
    """The ASGI application behind every path. ``hub.close()`` ends the event streams before the server stops."""

    def __init__(self, control: Control, settings: ApiSettings) -> None:
        self._control = control
        self._settings = settings
        self._render = Renderer()
        self._metrics = Metrics()
        self.hub = Hub(control, self._render)
        self._leader = f"http://{settings.host}:{settings.port}"
        self._credentials = ":".join(settings.credentials).encode() if settings.credentials else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await WebSocketClose()(scope, receive, send)
            return
        request = Request(scope, receive)
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        self._metrics.active += 1
        try:
            await self._serve(request, receive, send_on)
        except ClientDisconnect:
            return
        except Exception:
            if started:
                raise  # too late for an answer: the server cuts the connection, so that nobody takes the part for all
            reference = uuid.uuid4().urn
            _log.exception("internal error while serving %s %r: %s", request.method, scope["path"], reference)
            refused = internal(reference)
            await _write(request, Answer(refused.body, refused.status), refused.body, refused.headers, send)
        finally:
            self._metrics.active -= 1

    async def _serve(self, request: Request, receive: Receive, send: Send) -> None:
        begun = time.monotonic()
        try:
            answer = await self._served(request)
        except ButleryError as error:
            refused = refused_of(error)
            answer = Answer(refused.body, refused.status, headers=refused.headers)
        headers = {**answer.headers, **_UNCACHED, **self._cors(request), "X-Marathon-Leader": self._leader}
        if isinstance(answer, EventStream):
            answer.headers = headers
            await answer(receive, send)
            return
        body, gzipped = await _packed(request, answer, headers)
        self._metrics.answered(request.method, answer.status, time.monotonic() - begun, len(body), gzipped)
        await _write(request, answer, body, headers, send)
        if answer.after is not None:
            await answer.after()

    async def _served(self, request: Request) -> Answer | EventStream:
        path = request.scope["path"]
        if request.method == "OPTIONS":
            allowed = allow(path)
            if not allowed:
                raise RefusedError(404, "URI not found")
            return Answer(headers={"Allow": allowed})
        if path not in _FREE:
            self._authenticate(request)
        if path.rstrip("/") == EVENTS and request.method in ("GET", "HEAD"):
            stream = open_stream(request, self.hub)
            return stream or Answer(_NO_STREAM, 405, "text/html;charset=utf-8", {"Allow": allow(path)})
        handler, parts = find(path, request.method)
        call = Call(request, parts, self._control, self._settings, self._render, self.hub, self._metrics)
        return await handler(call)

    def _authenticate(self, request: Request) -> None:
        """Raises RefusedError (401). Takes as long whatever was given."""
        if self._credentials is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            decoded = base64.b64decode(given.strip(), validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        if not hmac.compare_digest(decoded, self._credentials) or scheme.lower() != "basic":
            challenge = {"WWW-Authenticate": 'Basic realm="Mesosphere"'}
            raise RefusedError(401, "Invalid username or password.", headers=challenge)

    def _cors(self, request: Request) -> dict[str, str]:
        origins = self._settings.allow_origin
        if not origins:
            return {}
        origin = request.headers.get("origin", "")
        return {
            "Access-Control-Allow-Origin": "*" if "*" in origins else origin if origin in origins else origins[0],
            "Access-Control-Allow-Headers": request.headers.get("access-control-request-headers", ""),
            "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
            "Access-Control-Max-Age": "86400",
            **({} if "*" in origins else {"Vary": "Origin"}),
        }


async def _packed(request: Request, answer: Answer, headers: dict[str, str]) -> tuple[bytes, bool]:
    """The body as it is sent, and whether it is packed; adds the headers that say so. Off the loop's thread."""
    if len(answer.body) < GZIP_MIN_BYTES or "gzip" not in _encodings(request.headers.get("accept-encoding", "")):
        return answer.body, False
    headers["Content-Encoding"] = "gzip"
    headers["Vary"] = ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_packer, partial(gzip.compress, answer.body, GZIP_LEVEL, mtime=0)), True


def _encodings(accepted: str) -> set[str]:
    """Those that a client takes."""
    found = set()
    for one in accepted.split(","):
        name, _, parameters = one.partition(";")
        if parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            found.add(name.strip().lower())
    return found


async def _write(request: Request, answer: Answer, body: bytes, headers: dict[str, str], send: Send) -> None:
    if answer.status != 204:
        headers = {"Content-Length": str(len(body)), **headers}
    if body or answer.media_type != JSON:
        headers = {"Content-Type": answer.media_type, **headers}
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    if request.method == "HEAD" or not body:
        await send({"type": "http.response.body", "body": b""})
        return
    for begin in range(0, len(body), PIECE_BYTES):
        more = begin + PIECE_BYTES < len(body)
        await send({"type": "http.response.body", "body": body[begin : begin + PIECE_BYTES], "more_body": more})
