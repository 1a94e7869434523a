"""A subscriber of the event stream, in a thread of its own."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx

from tests.acceptance.marathon_server import MarathonApi
from tests.acceptance.scheduler_process import eventually

SECONDS = 60


class Listener:
    """``events``: what came so far, decoded. Attached while the body of ``with`` runs."""

    def __init__(self, api: MarathonApi, query: str = "") -> None:
        self.events: list[dict[str, Any]] = []
        self._api = api
        self._path = f"/v2/events{query}"
        self._attached = threading.Event()
        self._client = httpx.Client(
            base_url=api.proxy.url,
            auth=(api.server.user, api.server.password),
            timeout=httpx.Timeout(SECONDS),
            trust_env=False,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._leaving = threading.Event()
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._attached.wait(SECONDS), "the stream did not begin"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leaving.set()
        assert self._socket is not None
        with suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the stream was not left"
        self._client.close()

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [event for event in list(self.events) if event["eventType"] in kinds]

    def wait_for(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """All of that kind so far, when there are ``count``."""
        eventually(lambda: len(self.of(kind)) >= count, f"{count} {kind}")
        return self.of(kind)

    def _run(self) -> None:
        try:
            self._read()
        except httpx.TransportError:
            if not self._leaving.is_set():
                raise

    def _read(self) -> None:
        with self._client.stream("GET", self._path, headers={"Accept": "text/event-stream"}) as answer:
            assert answer.status_code == 200
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            self._socket = answer.extensions["network_stream"].get_extra_info("socket")
            self._attached.set()
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(":")
                if field == "event":
                    name = value.strip()
                elif field == "data":
                    event = json.loads(value)
                    assert event["eventType"] == name
                    self.events.append(event)
