"""A proxy between a client and the server under test that holds every exchange and event against the schemas."""

from __future__ import annotations

import gzip
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.contract.marathon_api.events import faults_of_event
from tests.contract.marathon_api.exchanges import Exchange, faults

TIMEOUT_S = 60.0
NOT_PASSED_ON = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})


class CheckingProxy(ThreadingHTTPServer):
    """``faults``: what was wrong so far. ``exchanges``: method, path and status of each; ``events``: names of each.

    ``authorization`` goes with requests that have none, for clients that know only other ways.
    """

    daemon_threads = True

    def __init__(self, upstream: str, authorization: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        split = urlsplit(upstream)
        assert split.hostname is not None
        assert split.port is not None
        self.upstream = (split.hostname, split.port)
        self.authorization = authorization
        self.faults: list[str] = []
        self.exchanges: list[tuple[str, str, int]] = []
        self.events: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is no fault of the server's."""


@contextmanager
def checking_proxy(upstream: str, authorization: str | None = None) -> Iterator[CheckingProxy]:
    """Up while the body runs. AssertionError at its end where anything was not as the schemas have it."""
    with CheckingProxy(upstream, authorization) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join(TIMEOUT_S)
    told = "\n".join(dict.fromkeys(proxy.faults))
    assert not proxy.faults, f"{len(proxy.faults)} faults:\n{told[:10_000]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CheckingProxy
    timeout = TIMEOUT_S

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the base class's
        """Nothing."""

    def _pass_on(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPConnection(*self.server.upstream, timeout=TIMEOUT_S)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in NOT_PASSED_ON}
            if self.server.authorization is not None and "Authorization" not in self.headers:
                headers["Authorization"] = self.server.authorization
            upstream.request(self.command, self.path, body=sent or None, headers=headers)
            answer = upstream.getresponse()
            if (answer.getheader("Content-Type") or "").startswith("text/event-stream"):
                self._stream(answer)
            else:
                self._answer(sent, answer)
        finally:
            upstream.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _pass_on  # noqa: N815

    def _head(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in NOT_PASSED_ON:
                self.send_header(name, value)

    def _answer(self, sent: bytes, answer: http.client.HTTPResponse) -> None:
        body = answer.read()
        plain = gzip.decompress(body) if answer.getheader("Content-Encoding") == "gzip" and body else body
        if self.command != "OPTIONS":
            self.server.exchanges.append((self.command, self.path, answer.status))
            self.server.faults += faults(
                Exchange(
                    self.command,
                    self.path,
                    sent.decode(errors="replace"),
                    answer.status,
                    answer.getheader("Content-Type") or "",
                    plain.decode(errors="replace"),
                )
            )
        self._head(answer)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, answer: http.client.HTTPResponse) -> None:
        self._head(answer)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        name = ""
        data: list[str] = []
        while line := answer.readline():
            self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            field, _, value = line.decode().rstrip("\r\n").partition(":")
            if field == "event":
                name = value.strip()
            elif field == "data":
                data.append(value.strip())
            elif not field and data:
                self.server.events.append(name)
                self.server.faults += faults_of_event(name, "\n".join(data))
                name, data = "", []
        self.wfile.write(b"0\r\n\r\n")
