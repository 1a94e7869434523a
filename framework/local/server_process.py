"""One of the servers of a one-machine cluster, such as the scheduler, as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from framework.errors import UnavailableError
from framework.local.cluster import end_process
from framework.local.logs import open_log, tail
from framework.local.processes import ProcessId
from framework.secret_files import ADMIN_TOKEN_VARIABLE, MESOS_SECRET_VARIABLE
from framework.urls import found_at

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
SECRET_VARIABLES = (ADMIN_TOKEN_VARIABLE, MESOS_SECRET_VARIABLE)


def url_at(host: str, port: int) -> str:
    """Where commands on this machine find a server that listens there; ``host`` may stand for all addresses."""
    return f"http://{found_at(host)}:{port}"


class ServerProcess:
    """``name`` it in sentences; ``command`` is the whole of it; ``ask`` raises UnavailableError until it is ready."""

    def __init__(
        self,
        name: str,
        directory: Path,
        command: Sequence[str],
        pid_file: Path,
        log: Path,
        ask: Callable[[], object],
    ) -> None:
        self.name = name
        self._directory = directory
        self._command = list(command)
        self._pid_file = pid_file
        self.log = log
        self._ask = ask
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Starts it, after ending one that an earlier supervisor of this directory left."""
        end_process(self._pid_file, STOP_TIMEOUT_S)
        with open_log(self.log) as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                # The secrets are in files by now; out of the environment they cannot leak to what it starts.
                env={name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        identity = ProcessId.of(self._process.pid)
        if identity is not None:
            identity.save(self._pid_file)

    def exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else 0

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Waits until it says that it is connected to Mesos. Raises UnavailableError with its last words."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.exit_code() is not None:
                raise UnavailableError(f"{self.name} ended with {self.exit_code()}: {tail(self.log)} (see {self.log})")
            try:
                self._ask()
            except UnavailableError:
                time.sleep(0.1)
            else:
                return
        raise UnavailableError(f"{self.name} is not ready after {timeout_s:g} s: {tail(self.log)} (see {self.log})")

    def stop(self) -> None:
        """TERM, and KILL after STOP_TIMEOUT_S. Idempotent."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_TIMEOUT_S)
        end_process(self._pid_file, STOP_TIMEOUT_S)
