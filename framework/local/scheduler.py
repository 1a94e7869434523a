"""The scheduler as a child process on the one-machine cluster, and the settings file it is given."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from framework.documents import read_document
from framework.errors import UnavailableError
from framework.local.cluster import choose_port, end_process, get_json
from framework.local.credentials import Credentials, write_secret
from framework.local.logs import open_log, tail
from framework.local.processes import ProcessId
from framework.local.status import Paths
from framework.secret_files import ADMIN_TOKEN_VARIABLE, MESOS_SECRET_VARIABLE
from framework.settings import load_settings

API_PORT = 8080  # the usual one of the settings
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
HEALTH_TIMEOUT_S = 5.0
SECRET_VARIABLES = (ADMIN_TOKEN_VARIABLE, MESOS_SECRET_VARIABLE)


def write_config(directory: Path, given: Path | None, mesos_url: str, isolation: str) -> str:
    """Writes the scheduler's settings: what ``given`` says, and where it says nothing what this cluster is.

    Mesos' address, who we are to it, and the isolation are always the cluster's own. Makes the administrator's token.
    Returns the API's address. Raises InputError where ``given`` is faulty or the API's port is taken.
    """
    paths = Paths(directory)
    environment = {name: value for name, value in os.environ.items() if name != MESOS_SECRET_VARIABLE}
    settings = load_settings(given, environment)  # that secret is for another Mesos
    data: dict[str, Any] = dict(read_document(given).data) if given else {}
    sections = {name: dict(data.get(name) or {}) for name in ("mesos", "api", "state", "agents")}
    port = choose_port(sections["api"].get("port") or None, paths.api_port, API_PORT, "api.port")
    scheduler = Credentials(directory).scheduler
    for key in ("ca_file", "cert_file", "key_file", "zookeeper_auth_file"):  # of another Mesos
        sections["mesos"].pop(key, None)
    sections["mesos"].update(url=mesos_url, principal=scheduler.principal, secret_file=str(scheduler.secret_file))
    sections["api"].update(host=settings.api.host, port=port, admin_token_file=str(paths.admin_token))
    _write_token(paths.admin_token, settings.admin_token.get_secret_value() if settings.admin_token else None)
    sections["state"]["path"] = str(settings.state.path if "path" in sections["state"] else paths.state)
    sections["agents"]["isolation"] = isolation
    text = yaml.safe_dump({**data, **sections}, sort_keys=True, allow_unicode=True)
    temporary = paths.config.with_name(paths.config.name + ".new")
    temporary.write_text(
        f"# Written by `butlery local up` at every start; your own file is given with --config.\n{text}"
    )
    temporary.chmod(0o600)
    temporary.rename(paths.config)
    host = "127.0.0.1" if settings.api.host in ("0.0.0.0", "::") else settings.api.host  # noqa: S104 - compared only
    return f"http://{host}:{port}"


def _write_token(path: Path, token: str | None) -> None:
    """The given token, else the one of an earlier start, else a new one; where the commands on this machine find it."""
    if token is None:
        if path.exists():
            return
        token = secrets.token_urlsafe(32)
    write_secret(path, token)


class Scheduler:
    """The scheduler's process. ``command`` is the whole of it, its settings file included."""

    def __init__(self, directory: Path, command: Sequence[str], api_url: str) -> None:
        self._directory = directory
        self._paths = Paths(directory)
        self._command = list(command)
        self._api_url = api_url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Starts it, after ending one that an earlier supervisor of this directory left."""
        end_process(self._paths.scheduler_pid, STOP_TIMEOUT_S)
        with open_log(self._paths.scheduler_log) as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        identity = ProcessId.of(self._process.pid)
        if identity is not None:
            identity.save(self._paths.scheduler_pid)

    def exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else 0

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Waits until the API says that it is connected to Mesos. Raises UnavailableError with its last words."""
        deadline = time.monotonic() + timeout_s
        log = self._paths.scheduler_log
        while time.monotonic() < deadline:
            if self.exit_code() is not None:
                raise UnavailableError(f"the scheduler ended with {self.exit_code()}: {tail(log)} (see {log})")
            try:
                get_json(f"{self._api_url}/v1/health", HEALTH_TIMEOUT_S)
            except UnavailableError:
                time.sleep(0.1)
            else:
                return
        raise UnavailableError(f"the scheduler is not ready after {timeout_s:g} s: {tail(log)} (see {log})")

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
        end_process(self._paths.scheduler_pid, STOP_TIMEOUT_S)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The secrets are in files by now; out of the environment they cannot leak to what the scheduler starts."""
    return {name: value for name, value in environment.items() if name not in SECRET_VARIABLES}
