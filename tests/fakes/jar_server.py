"""A master of which nothing is asked but its agent.jar, and which gives that as it is told to."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

JAR = b"PK\x03\x04" + 4096 * b"jar"


class JarServer:
    """``asked`` are the paths of its requests; ``statuses`` those of its next answers; ``hold`` is called first."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.statuses: list[int] = []
        self.content = JAR
        self.promised = 0  # bytes that it tells of beyond those that it gives
        self.location = ""
        self.hold: Callable[[], object] = bool
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.hold()
                with contextlib.suppress(OSError):  # whoever asked has gone
                    self._answer()

            def _answer(self) -> None:
                status = outer.statuses.pop(0) if outer.statuses else 200
                self.send_response(status)
                if outer.location and status == 302:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", str(len(outer.content) + outer.promised))
                self.end_headers()
                self.wfile.write(outer.content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
