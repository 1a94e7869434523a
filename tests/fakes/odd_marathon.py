"""A small Marathon, of apps that nothing runs, that answers as a test says: wrongly, in part, late or never."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

TRICKLE_S = 0.02
HTML = b"<html><body>Sign in to go on</body></html>"


class Asked(NamedTuple):
    method: str
    path: str  # without parameters
    parameters: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    document: Any


class Told(NamedTuple):
    """An answer; ``document`` as JSON."""

    status: int
    document: Any


Odd = Callable[["Handler", Asked], None]
"""In the place of the answer."""


class OddMarathon:
    """``odd``: what to do to the next requests that change something, or of any kind with ``odd_reads``, one after the

    other; then all goes well. A deployment ends when it was listed ``lasting`` times.
    """

    def __init__(self) -> None:
        self.apps: dict[str, dict[str, Any]] = {}
        self.asked: list[Asked] = []
        self.applied: list[tuple[str, str]] = []  # method and path of what changed something
        self.odd: deque[Odd] = deque()
        self.odd_reads: deque[Odd] = deque()
        self.lasting = 0
        self.running: dict[str, int] = {}  # deployments, with how often each is listed yet
        self.stream: Callable[[Handler], None] | None = None
        self.url = ""
        self._past: dict[str, list[dict[str, Any]]] = {}
        self._clock = 0
        self._lock = threading.RLock()

    def sent(self, method: str) -> list[Asked]:
        return [one for one in self.asked if one.method == method]

    def next_odd(self, asked: Asked) -> Odd | None:
        waiting = self.odd_reads if asked.method == "GET" else self.odd
        with self._lock:
            self.asked.append(asked)
            return waiting.popleft() if waiting else None

    def perform(self, asked: Asked) -> Told:
        """As a Marathon would, where nothing is in the way."""
        with self._lock:
            match asked.path.removeprefix("/v2/").partition("/"):
                case ("apps", _, rest):
                    return self._apps(asked, f"/{rest}" if rest else "")
                case ("groups", _, rest) if asked.method == "GET":
                    return self._group(f"/{rest}")
                case ("deployments", _, ""):
                    return Told(200, self._listed())
                case ("deployments", _, deployment):
                    self.running.pop(deployment, None)
                    return Told(202, None)
                case ("queue", _, _):
                    return Told(200, {"queue": []})
        return _missing(asked.path)

    def change(self, app_id: str, **fields: Any) -> str:
        """As somebody else does; the app's new version."""
        with self._lock:
            self._saved({**self.apps.get(app_id, {"id": app_id, "instances": 1, "labels": {}, "env": {}}), **fields})
            return str(self.apps[app_id]["version"])

    def _apps(self, asked: Asked, rest: str) -> Told:
        document = asked.document
        if asked.method == "POST" and not rest:
            if document["id"] in self.apps:
                return Told(409, {"message": f"An app with id [{document['id']}] already exists."})
            self.applied.append((asked.method, document["id"]))
            deployment = self._saved(document)
            return Told(201, {**self.apps[document["id"]], "deployments": [{"id": deployment}]})
        if asked.method == "POST":
            return self._change(asked, self.apps.get(rest.removesuffix("/restart")))
        app_id, _, version = rest.partition("/versions")
        app = self.apps.get(app_id)
        if asked.method == "GET" and version:
            found = next((one for one in self._past[app_id] if f"/{one['version']}" == version), None)
            return Told(200, found) if found else _missing(rest)
        if asked.method == "GET":
            return Told(200, {"app": self._embedded(app)}) if app else _missing(rest)
        if asked.method == "DELETE":
            if self.apps.pop(app_id, None) is None:
                return _missing(app_id)
            self.applied.append((asked.method, app_id))
            return Told(200, {"version": self._version(), "deploymentId": self._deployment()})
        if set(document) == {"version"}:
            then = next(one for one in self._past[app_id] if one["version"] == document["version"])
            return self._change(asked, then)
        return self._change(asked, document if "partialUpdate" in asked.parameters else {**(app or {}), **document})

    def _change(self, asked: Asked, wanted: dict[str, Any] | None) -> Told:
        if wanted is None:
            return _missing(asked.path)
        app_id = asked.path.removeprefix("/v2/apps").removesuffix("/restart")
        self.applied.append((asked.method, app_id))
        deployment = self._saved({**wanted, "id": app_id})
        return Told(200, {"version": self.apps[app_id]["version"], "deploymentId": deployment})

    def _saved(self, document: dict[str, Any]) -> str:
        app = {**document, "version": self._version()}
        self.apps[app["id"]] = app
        self._past.setdefault(app["id"], []).append(app)
        return self._deployment()

    def _version(self) -> str:
        self._clock += 1
        return f"2026-11-21T12:00:00.{self._clock:03d}Z"

    def _deployment(self) -> str:
        name = f"deployment-{self._clock}"
        if self.lasting:
            self.running[name] = self.lasting
        return name

    def _listed(self) -> list[dict[str, str]]:
        found = [{"id": one} for one in self.running]
        self.running = {one: left - 1 for one, left in self.running.items() if left > 1}
        return found

    def _embedded(self, app: dict[str, Any]) -> dict[str, Any]:
        return {**app, "tasks": [], "deployments": [], "tasksRunning": 0}

    def _group(self, group_id: str) -> Told:
        below = [one for one in self.apps if one.startswith(f"{group_id}/")]
        if not below:
            return _missing(group_id)
        groups = sorted({one[len(group_id) + 1 :].partition("/")[0] for one in below if one.count("/") > 3})
        return Told(
            200,
            {
                "id": group_id,
                "groups": [{"id": f"{group_id}/{one}"} for one in groups] if group_id.count("/") < 3 else [],
                "apps": [self._embedded(self.apps[one]) for one in below if one.rpartition("/")[0] == group_id],
            },
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def _serve(self) -> None:
        self.close_connection = False
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        path = "/" + "/".join(filter(None, unquote(parts.path).split("/")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, path, parse_qs(parts.query), headers, json.loads(body) if body else None)
        marathon = self.server.marathon
        odd = marathon.next_odd(asked)
        with suppress(OSError):  # the client has gone, as it may
            if odd is not None:
                odd(self, asked)
            elif path == "/v2/events" and marathon.stream is not None:
                marathon.stream(self)
            else:
                self.tell(marathon.perform(asked))

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 the base class's names

    def tell(self, told: Told) -> None:
        body = b"" if told.document is None else json.dumps(told.document).encode()
        self.send(told.status, "application/json", body)

    def send(
        self, status: int, kind: str, body: bytes, *, length: int | None = None, location: str | None = None
    ) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream;charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class's name
        pass


def answer(status: int, document: Any = None, *, location: str | None = None) -> Odd:
    """Instead of doing it."""
    body = b"" if document is None else json.dumps(document).encode()
    return lambda handler, _asked: handler.send(status, "application/json", body, location=location)


def html(status: int = 200) -> Odd:
    return lambda handler, _asked: handler.send(status, "text/html", HTML)


def done_but(odd: Odd) -> Odd:
    """What was asked is done, and answered so."""

    def do(handler: Handler, asked: Asked) -> None:
        handler.server.marathon.perform(asked)
        odd(handler, asked)

    return do


def later(delay_s: float) -> Odd:
    """503, and done all the same when that was read."""

    def do(handler: Handler, asked: Asked) -> None:
        answer(503, {"message": "no leader"})(handler, asked)
        handler.wfile.flush()
        time.sleep(delay_s)
        handler.server.marathon.perform(asked)

    return do


def cut(handler: Handler, _asked: Asked) -> None:
    """No answer, but the connection's end."""
    handler.cut()


def half(handler: Handler, asked: Asked) -> None:
    """It is done, and half of the answer comes."""
    body = json.dumps(handler.server.marathon.perform(asked).document).encode()
    handler.send(200, "application/json", body[: len(body) // 2], length=len(body))
    handler.cut()


def trickle(handler: Handler, _asked: Asked) -> None:
    """An answer that never ends, byte by byte."""
    handler.send(200, "application/json", b"", length=1 << 20)
    _drip(handler, b" ")


def trickle_headers(handler: Handler, _asked: Asked) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    _drip(handler, b"x")


def _drip(handler: Handler, piece: bytes) -> None:
    handler.close_connection = True
    while not handler.server.over.is_set():
        handler.wfile.write(piece)
        handler.wfile.flush()
        handler.server.over.wait(TRICKLE_S)


def locked(*deployments: str) -> Odd:
    return answer(
        409,
        {
            "message": "App is locked by one or more deployments. Override with the option '?force=true'.",
            "deployments": [{"id": one} for one in deployments],
        },
    )


CROWDED = answer(
    403,
    {"message": "Max number of running deployments (100) is achieved. Wait for existing deployments to complete."},
)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, marathon: OddMarathon, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.marathon = marathon
        self.over = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is none."""


def _missing(what: str) -> Told:
    return Told(404, {"message": f"'{what}' does not exist"})


@contextmanager
def odd_marathon(tls: ssl.SSLContext | None = None) -> Iterator[OddMarathon]:
    marathon = OddMarathon()
    server = Server(marathon, tls)
    marathon.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield marathon
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
