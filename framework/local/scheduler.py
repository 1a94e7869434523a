"""The scheduler as a child process on the one-machine cluster, and the settings file it is given."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from framework.documents import read_document
from framework.local.cluster import choose_port, get_json
from framework.local.credentials import Credentials, write_secret
from framework.local.files import PRIVATE, write_whole
from framework.local.server_process import ServerProcess, url_at
from framework.local.status import Paths
from framework.secret_files import MESOS_SECRET_VARIABLE
from framework.settings import load_settings

API_PORT = 8080  # the usual one of the settings
HEALTH_TIMEOUT_S = 5.0


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
    heading = "# Written by `butlery local up` at every start; your own file is given with --config.\n"
    write_whole(paths.config, heading + text, PRIVATE)
    return url_at(settings.api.host, port)


def _write_token(path: Path, token: str | None) -> None:
    """The given token, else the one of an earlier start, else a new one; where the commands on this machine find it."""
    if token is None:
        if path.exists():
            return
        token = secrets.token_urlsafe(32)
    write_secret(path, token)


def scheduler_process(directory: Path, command: Sequence[str], api_url: str) -> ServerProcess:
    """``command`` is the whole of it, its settings file included."""
    paths = Paths(directory)

    def healthy() -> None:
        get_json(f"{api_url}/v1/health", HEALTH_TIMEOUT_S)

    return ServerProcess("the scheduler", directory, command, paths.scheduler_pid, paths.scheduler_log, healthy)
