"""A proxy on 127.0.0.1 in front of a real Elasticsearch, which may answer in its place, or spoil what it answers."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from types import MappingProxyType
from typing import NamedTuple

TIMEOUT_S = 30.0


class Asked(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    """By their names in small letters."""
    body: bytes


class Answer(NamedTuple):
    status: int
    body: bytes = b"{}"
    headers: Mapping[str, str] = MappingProxyType({})
    cut: bool = False
    """Only half of the body is sent, and the connection is closed."""


Script = Callable[[Asked, Callable[[], Answer]], Answer]
"""Told what is asked, and how to ask the server behind."""


def passing(_: Asked, ask: Callable[[], Answer]) -> Answer:
    return ask()


class OddProxy:
    def __init__(self, port: int) -> None:
        self.script: Script = passing
        self.asked: list[Asked] = []
        self.url = ""
        self._behind = port

    @contextmanager
    def running(self, tls: SSLContext | None = None) -> Iterator[OddProxy]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join(TIMEOUT_S)
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = TIMEOUT_S
            disable_nagle_algorithm = True  # else the body waits 40 ms for who asks to acknowledge the headers

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # a client that does not trust us, or has gone
                    self.close_connection = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, body)
                proxy.asked.append(asked)
                answer = proxy.script(asked, lambda: proxy.ask(asked))
                self.send_response_only(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
                self.close_connection = answer.cut

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - as http.server calls them

            def log_message(self, *_: object) -> None: ...

        return Handler

    def ask(self, asked: Asked) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._behind, timeout=TIMEOUT_S)
        try:
            headers = {name: value for name, value in asked.headers.items() if name not in ("host", "content-length")}
            connection.request(asked.method, asked.path, asked.body, headers)
            answer = connection.getresponse()
            kept = {name: answer.headers[name] or "" for name in ("Content-Type", "X-elastic-product")}
            return Answer(answer.status, answer.read(), kept)
        finally:
            connection.close()
