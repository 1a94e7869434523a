"""The program against a real server on 127.0.0.1, with a runtime in memory behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import uvicorn

from framework.api.app import create_app
from framework.cli import client
from framework.cli.program import run
from framework.edges.sqlite_history import SqliteHistory
from framework.settings import ApiSettings
from framework.telemetry.records import Kind
from framework.tokens import token_sha256
from tests.fakes.control import FakeControl
from tests.fakes.seats import FakeSeat
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.templates import fixed_templates

ADMIN_TOKEN = "the-administrator-s-own-token"
STOP_TIMEOUT_S = 10

T = TypeVar("T")


class Serving:
    """A server on a free port, in a thread with a loop of its own; ``history`` has its past builds."""

    def __init__(self, history: SqliteHistory) -> None:
        self.history = history
        self.control = FakeControl("red", "blue")
        self.seat = FakeSeat(self.control)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.templates = fixed_templates(small={"cpus": 0.5, "mem_mib": 256})
        self.telemetry = FakeTelemetry(history)
        app = create_app(self.seat, ApiSettings(), self.templates, token_sha256(ADMIN_TOKEN), telemetry=self.telemetry)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
            )
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._server.serve(sockets=[self._listener]))

    def do(self, call: Callable[..., T], *arguments: Any) -> T:
        """Does something to the control on the server's own thread, as the runtime would."""

        async def called() -> T:
            return call(*arguments)

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(STOP_TIMEOUT_S)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_TIMEOUT_S)
        assert not self._thread.is_alive()
        self._listener.close()


@pytest.fixture(scope="session")
def _serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    history = SqliteHistory(tmp_path_factory.mktemp("history") / "history.db", dict.fromkeys(Kind, 4000))
    started = Serving(history)
    try:
        yield started
    finally:
        started.stop()
        history.close()


@pytest.fixture
def serving(_serving: Serving) -> Serving:
    """The one server, with nothing in it but the tenants red and blue, and what tests put into its history."""
    _serving.do(_serving.control.reset, "red", "blue")
    return _serving


class Ended(NamedTuple):
    """How a run of the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """All of stdout, which must be one JSON object."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Butlery = Callable[..., Ended]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Butlery:
    """Runs the program as nobody's, with a home of its own and no server told."""
    for name in ("BUTLERY_SERVER", "BUTLERY_TOKEN", "BUTLERY_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(client, "RETRY_BASE_S", 0.001)

    def butlery(*arguments: str) -> Ended:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Ended(code, out, err)

    return butlery


@pytest.fixture
def as_admin(alone: Butlery, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> Butlery:
    monkeypatch.setenv("BUTLERY_SERVER", serving.url)
    monkeypatch.setenv("BUTLERY_TOKEN", ADMIN_TOKEN)
    return alone


@pytest.fixture
def as_red(alone: Butlery, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> Butlery:
    monkeypatch.setenv("BUTLERY_SERVER", serving.url)
    monkeypatch.setenv("BUTLERY_TOKEN", serving.control.token_of("red"))
    return alone
