"""A Jenkins that the tests start and end themselves."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import requests

from framework.local.cluster import free_port
from masters.names import SCHEDULER_USER, Variable
from tests.contract.jenkins.client import PATIENCE_S, Jenkins, java

REPOSITORY = Path(__file__).parents[3]
STAND_IN = f"{shlex.quote(sys.executable)} -m tests.fakes.jenkins"


class StartedJenkins:
    """One home and one port; started anew as often as one likes."""

    def __init__(self, home: Path, command: str = STAND_IN, variables: Mapping[str, str] | None = None) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        self.port = free_port()
        self.log = home.with_name(f"{home.name}.log")
        self.url = f"http://127.0.0.1:{self.port}{(variables or {}).get(Variable.PATH, '')}/"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BUTLERY_")}
        own = {Variable.HOME: str(home), Variable.HTTP_PORT: str(self.port), Variable.TENANT: "contract"}
        self._environment = {**kept, "PYTHONPATH": str(REPOSITORY), **own, **(variables or {})}
        self._command = shlex.split(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Jenkins] = []

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        return self._process

    def start(self, *options: str, ready: bool = True) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, *options], env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.status() not in (200, 403):
            assert self.process.poll() is None, f"it ended: {self.log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"not ready: {self.log.read_text()[-2000:]}"
            time.sleep(0.02)

    def status(self) -> int | None:
        """Of /api/json; None where nobody listens."""
        with requests.Session() as session:
            session.trust_env = False
            try:
                return session.get(f"{self.url}api/json", timeout=PATIENCE_S).status_code
            except requests.ConnectionError:
                return None

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code, as a shell tells it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """Ends it, and the agents of its clients."""
        for client in self._clients:
            client.end_agents()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def client(self) -> Jenkins:
        token = self.home / "secrets" / "butlery-api-token"
        auth = (SCHEDULER_USER, token.read_text()) if token.exists() else None
        self._clients.append(Jenkins(self.url, auth, java()))
        return self._clients[-1]


def given_command() -> str:
    return os.environ.get("JENKINS_COMMAND", STAND_IN)
