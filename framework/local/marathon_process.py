"""The Marathon-compatible server as a child process on the one-machine cluster, and what it is told."""

from __future__ import annotations

import base64
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from framework.errors import Fault, InputError, UnavailableError
from framework.local.cluster import choose_port, get_json
from framework.local.credentials import Credentials, write_secret
from framework.local.files import PRIVATE, write_whole
from framework.local.marathon.settings import MarathonSettings
from framework.local.marathon.start import Start
from framework.local.server_process import ServerProcess, url_at
from framework.local.status import Paths
from framework.secret_files import MESOS_SECRET_VARIABLE, read_secret
from framework.settings import load_settings

MARATHON_PORT = 8081
INFO_TIMEOUT_S = 5.0
USER = "marathon"


def write_start(
    directory: Path, given: Path | None, settings: MarathonSettings, mesos_url: str, isolation: str
) -> Start:
    """Writes what the server is to know to ``marathon.json``; makes the credentials of its clients.

    Raises InputError where a setting is faulty or its port is taken.
    """
    paths = Paths(directory)
    environment = {name: value for name, value in os.environ.items() if name != MESOS_SECRET_VARIABLE}
    whole = load_settings(given, environment)
    agents, log = whole.agents, whole.log
    mesos = Credentials(directory).marathon
    start = Start(
        directory=str(paths.marathon),
        mesos_url=mesos_url,
        mesos_principal=mesos.principal,
        mesos_secret_file=str(mesos.secret_file),
        host=settings.host,
        port=choose_port(settings.port, paths.marathon_port, MARATHON_PORT, "local.marathon.port"),
        credentials_file=str(_credentials(settings, paths)),
        role=settings.role,
        default_accepted_roles=tuple(settings.default_accepted_roles),
        default_network=settings.default_network,
        service_ports=(settings.service_port_first, settings.service_port_last),
        max_running_deployments=settings.max_running_deployments,
        env_vars_prefix=settings.env_vars_prefix,
        allow_origin=tuple(settings.access_control_allow_origin),
        pretend=settings.pretend,
        mesos_executor=agents.executor,
        python=agents.python,
        overhead_cpu_millis=agents.overhead_cpu_millis,
        overhead_mem_mib=agents.overhead_mem_mib,
        policy=asdict(agents.policy(isolation)),
        log_level=log.level,
        log_format=log.format,
    )
    write_whole(paths.marathon_start, msgspec.json.format(msgspec.json.encode(start)).decode() + "\n", PRIVATE)
    return start


def url_of(start: Start) -> str:
    """Where commands on this machine find it."""
    return url_at(start.host, start.port)


def marathon_process(directory: Path, command: Sequence[str], start: Start) -> ServerProcess:
    """``command`` is the whole of it, the file of ``write_start`` included."""
    paths = Paths(directory)
    pair = read_secret(Path(start.credentials_file))
    authorization = "Basic " + base64.b64encode(pair.encode()).decode()

    def connected() -> None:
        if get_json(f"{url_of(start)}/v2/info", INFO_TIMEOUT_S, authorization).get("frameworkId") is None:
            raise UnavailableError("it has not subscribed to Mesos")

    name = "the Marathon-compatible server"
    return ServerProcess(name, directory, command, paths.marathon_pid, paths.marathon_log, connected)


def _credentials(settings: MarathonSettings, paths: Paths) -> Path:
    """The file that is given, checked, else the one of an earlier start, else a new one. Raises InputError."""
    path = settings.credentials_file or paths.marathon_credentials
    if settings.credentials_file is None and not path.exists():
        write_secret(path, f"{USER}:{secrets.token_urlsafe(32)}")
    try:
        pair = read_secret(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError([Fault("local.marathon.credentials_file", f"{path} cannot be read: {reason}")]) from error
    if not re.fullmatch(r"[!-9;-~]+:[!-~]+", pair):
        message = f"{path} must hold USER:PASSWORD, both of visible ASCII characters"
        raise InputError([Fault("local.marathon.credentials_file", message)])
    return Path(os.path.abspath(path))  # noqa: PTH100 - links are kept as given
