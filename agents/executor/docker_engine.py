"""The HTTP API of a Docker engine, as far as a build needs it."""

from __future__ import annotations

import json
import select
import time

from agents.executor.wire import Interrupted, Response, WireError, connect, request

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

CONNECT_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 60.0
MAX_BODY_BYTES = 16 * 1024 * 1024
_SLICE_S = 0.1


class EngineError(Exception):
    """The engine refused a call. ``status``: of HTTP, 200 where an error came inside a stream."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """The engine behind the UNIX socket at ``path``. ``interrupted`` is asked while it is waited for."""

    def __init__(self, path: str, interrupted: Callable[[], bool] | None = None) -> None:
        self._path = path
        self._interrupted = interrupted

    def ping(self, timeout_s: float) -> str:
        """The version of its API. Raises EngineError, WireError."""
        made, response = self._exchange("GET", "/_ping", b"", timeout_s, {})
        made.close()
        if response.status != 200:
            raise EngineError(response.status, "HTTP status %d" % response.status)
        return response.headers.get("api-version", "unknown")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        timeout_s: float = CALL_TIMEOUT_S,
        raw: bytes | None = None,
        auth: str | None = None,
    ) -> Any:
        """The engine's JSON answer. A stream of objects comes back as a list of them. ``auth``: for a registry.

        Raises EngineError where the engine refuses, WireError where it cannot be talked to, Interrupted.
        """
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json" if raw is None else "application/x-tar"}
        if auth is not None:
            headers["X-Registry-Auth"] = auth
        made, response = self._exchange(method, path, data, timeout_s, headers)
        made.close()
        text = response.take().decode("utf-8", "replace")
        if response.status >= 400:
            raise EngineError(response.status, _message(text) or "HTTP status %d" % response.status)
        try:
            if path.startswith("/images/create"):
                return [json.loads(line) for line in text.splitlines() if line.strip()]
            return json.loads(text) if text.strip() else None
        except ValueError as error:
            raise WireError("the engine's answer is not JSON: %s" % error) from error

    def pull(self, path: str, raw: bytes | None, timeout_s: float, auth: str | None = None) -> None:
        """An image made or fetched by ``/images/create``. Errors may come inside the stream. Raises as ``call``."""
        for progress in self.call("POST", path, timeout_s=timeout_s, raw=raw, auth=auth):
            if "error" in progress:
                raise EngineError(200, str(progress["error"]))

    def read_file(self, container: str, path: str) -> bytes:
        """A regular file of a container, which need not run. Raises as ``call``."""
        made, response = self._exchange(
            "GET", "/containers/%s/archive?path=%s" % (container, path), b"", CALL_TIMEOUT_S, {}
        )
        made.close()
        data = response.take()
        if response.status >= 400:
            raise EngineError(response.status, _message(data.decode("utf-8", "replace")))
        size = int(data[124:136].strip(b"\0 ") or b"0", 8)  # a tar archive: its first header, and then the file
        return data[512 : 512 + size]

    def attach(self, container: str) -> tuple[socket.socket, bytes]:
        """A socket with the container's output in frames, and what of it has already come."""
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        path = "/containers/%s/attach?stream=1&stdout=1&stderr=1" % container
        made, response = self._exchange("POST", path, b"", CALL_TIMEOUT_S, headers)
        if response.status != 101:
            made.close()
            raise EngineError(response.status, "no attachment: HTTP status %d" % response.status)
        return made, response.raw_tail()

    def wait_exit(self, container: str, timeout_s: float = CALL_TIMEOUT_S) -> tuple[socket.socket, Response]:
        """A connection by which the container's end will be told, in a JSON object with its StatusCode."""
        path = "/containers/%s/wait?condition=next-exit" % container
        made, response = self._exchange("POST", path, b"", timeout_s, {}, head_only=True)
        if response.status != 200:
            made.close()
            raise EngineError(response.status, "no waiting: HTTP status %d" % response.status)
        return made, response

    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes,
        timeout_s: float,
        headers: dict[str, str],
        head_only: bool = False,
    ) -> tuple[socket.socket, Response]:
        made = connect(self._path, min(timeout_s, CONNECT_TIMEOUT_S))
        try:
            made.sendall(request(method, path, {"Host": "docker", "Connection": "close", **headers}, body))
            return made, self._response(made, timeout_s, head_only)
        except OSError as error:
            made.close()
            raise WireError("the engine: %s" % error) from error
        except (WireError, Interrupted):
            made.close()
            raise

    def _response(self, made: socket.socket, timeout_s: float, head_only: bool) -> Response:
        deadline_s = time.monotonic() + timeout_s
        response = Response()
        poll = select.poll()
        poll.register(made, select.POLLIN)
        size = 0
        while not (response.complete or response.status == 101 or (head_only and response.status)):
            if self._interrupted is not None and self._interrupted():
                raise Interrupted
            if time.monotonic() > deadline_s:
                raise WireError("no answer from the engine within %g s" % timeout_s)
            if not poll.poll(_SLICE_S * 1000):
                continue
            data = made.recv(65536)
            size += len(data)
            if size > MAX_BODY_BYTES:
                raise WireError("the engine's answer is too long")
            if not data:
                if response.status and "content-length" not in response.headers:
                    break
                raise WireError("the engine closed the connection")
            response.feed(data)
        return response


def _message(text: str) -> str:
    try:
        raw = json.loads(text)
    except ValueError:
        return text.strip()[:300]
    return str(raw.get("message", ""))[:300] if isinstance(raw, dict) else ""
