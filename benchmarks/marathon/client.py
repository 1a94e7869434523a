"""The calls of Marathon's v2 API that the benchmark makes."""

from __future__ import annotations

import base64
import http.client
import json
import random
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from framework.errors import ButleryError, UnavailableError

CALL_TIMEOUT_S = 60.0
REFUSED_PAUSE_S = (0.1, 0.3)
"""Before a change is asked for again that had to wait for running deployments to end."""
REFUSED_PATIENCE_S = 600.0
ERROR_CHARACTERS = 300


class Client:
    """One connection, for one thread. ``refusals``: how often the server had too many deployments to take one more."""

    def __init__(self, url: str, credentials: str, stop: threading.Event | None = None) -> None:
        """``credentials``: USER:PASSWORD. ``stop``: when set, what the server has no room for is not waited for."""
        split = urlsplit(url)
        self.host, self.port = str(split.hostname), int(split.port or 80)
        self.authorization = "Basic " + base64.b64encode(credentials.encode()).decode()
        self.refusals = 0
        self._stop = stop or threading.Event()
        self._connection = http.client.HTTPConnection(self.host, self.port, timeout=CALL_TIMEOUT_S)

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str) -> Any:
        """Raises UnavailableError and ButleryError."""
        return json.loads(self._done("GET", path, None))

    def read(self, path: str) -> float:
        """Seconds until all of the answer is read. Raises as ``get``."""
        started = time.perf_counter()
        self._done("GET", path, None)
        return time.perf_counter() - started

    def change(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Repeated while too many deployments run (403). Raises as ``get``."""
        deadline = time.monotonic() + REFUSED_PATIENCE_S
        while True:
            status, answer = self._call(method, path, body)
            if status != http.HTTPStatus.FORBIDDEN or time.monotonic() > deadline or self._stop.is_set():
                return json.loads(_succeeded(method, path, status, answer))
            self.refusals += 1
            self._stop.wait(random.uniform(*REFUSED_PAUSE_S))

    def _done(self, method: str, path: str, body: Mapping[str, Any] | None) -> bytes:
        return _succeeded(method, path, *self._call(method, path, body))

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, bytes]:
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise UnavailableError(f"{method} {path}: {error or type(error).__name__}") from error


def _succeeded(method: str, path: str, status: int, answer: bytes) -> bytes:
    if status not in (http.HTTPStatus.OK, http.HTTPStatus.CREATED):
        raise ButleryError(f"{method} {path}: {status} {answer[:ERROR_CHARACTERS].decode(errors='replace')}")
    return answer
