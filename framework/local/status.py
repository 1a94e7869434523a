"""What is known of a one-machine cluster from outside: its status file, and who of it is alive."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from framework.errors import UnavailableError
from framework.local.cluster import get_json
from framework.local.credentials import Credential, Credentials
from framework.local.files import write_whole
from framework.local.processes import ProcessId

READ_TIMEOUT_S = 5.0
STATES = ("down", "starting", "up", "stopping", "failed", "crashed")
"""``crashed``: the supervisor is gone without having stopped what it runs; ``butlery local up`` takes it over."""


@dataclass
class Status:
    """The status file, ``DIRECTORY/status.json``. Only what an operator may show to anyone: no secrets."""

    state: str
    directory: str
    supervisor_pid: int | None = None
    mesos_pid: int | None = None
    mesos_url: str | None = None
    mesos_restarts: int = 0
    scheduler_pid: int | None = None
    scheduler_restarts: int = 0
    api_url: str | None = None
    marathon_pid: int | None = None
    marathon_restarts: int = 0
    marathon_url: str | None = None
    marathon_credentials: str | None = None  # the file with what its clients have to give
    ingress_pid: int | None = None
    ingress_restarts: int = 0
    ingress_url: str | None = None
    elasticsearch_pid: int | None = None
    elasticsearch_restarts: int = 0
    elasticsearch_url: str | None = None
    isolation: str | None = None
    isolation_reason: str | None = None
    started_at: str | None = None  # ISO 8601, UTC
    config: str | None = None  # the file the scheduler reads
    error: str | None = None
    faults: list[list[str]] = field(
        default_factory=list
    )  # where and message of each, where ``error`` is of the settings
    hosts: list[dict[str, Any]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)  # what the scheduler says that an operator should know

    def complete(self) -> bool:
        """Whether all that belongs to it runs."""
        servers = (
            (self.api_url, self.scheduler_pid),
            (self.marathon_url, self.marathon_pid),
            (self.ingress_url, self.ingress_pid),
            (self.elasticsearch_url, self.elasticsearch_pid),
        )
        return (
            self.mesos_pid is not None
            and all(url is None or pid is not None for url, pid in servers)
            and all(host.get("registered") for host in self.hosts)
        )

    def save(self) -> None:
        write_whole(status_file(Path(self.directory)), json.dumps(asdict(self), indent=2) + "\n")


class Paths:
    """Where a cluster's own files are; Mesos' are in framework.local.cluster."""

    def __init__(self, directory: Path) -> None:
        self.lock = directory / "lock"
        self.supervisor_pid = directory / "supervisor.pid"
        self.scheduler_pid = directory / "scheduler.pid"
        self.mesos_pid = directory / "mesos" / "mesos.pid"
        self.marathon_pid = directory / "marathon.pid"
        self.api_port = directory / "api.port"
        self.config = directory / "butlery.yaml"
        self.admin_token = directory / "admin.token"
        self.state = directory / "state.db"
        self.supervisor_log = directory / "log" / "supervisor.log"
        self.scheduler_log = directory / "log" / "scheduler.log"
        self.marathon = directory / "marathon"
        self.marathon_port = directory / "marathon.port"
        self.marathon_credentials = directory / "marathon.credentials"
        self.marathon_start = directory / "marathon.json"
        self.marathon_log = directory / "log" / "marathon.log"
        self.ingress_pid = directory / "ingress.pid"
        self.ingress_port = directory / "ingress.port"
        self.ingress_log = directory / "log" / "ingress.log"
        self.elasticsearch = directory / "elasticsearch"
        self.elasticsearch_pid = directory / "elasticsearch.pid"
        self.elasticsearch_port = directory / "elasticsearch.port"
        self.elasticsearch_log = directory / "log" / "elasticsearch.log"


def status_file(directory: Path) -> Path:
    return directory / "status.json"


def read(directory: Path) -> Status:
    """The status as it is now: pids of dead processes are left out, and hosts are asked of Mesos where it answers."""
    try:
        raw = json.loads(status_file(directory).read_text())
        status = Status(**raw)
    except (OSError, ValueError, TypeError):
        return Status("down", str(directory))
    paths = Paths(directory)
    status.supervisor_pid = _alive(paths.supervisor_pid)
    status.mesos_pid = _alive(paths.mesos_pid)
    status.scheduler_pid = _alive(paths.scheduler_pid)
    status.marathon_pid = _alive(paths.marathon_pid)
    status.ingress_pid = _alive(paths.ingress_pid)
    status.elasticsearch_pid = _alive(paths.elasticsearch_pid)
    if status.supervisor_pid is None and status.state not in ("down", "failed"):
        status.state = "crashed"
    operator = Credentials(directory).operator
    active = {} if status.mesos_pid is None else _registered(f"{status.mesos_url}/slaves", operator)
    for host in status.hosts:
        host["id"] = active.get(host["name"])
        host["registered"] = host["id"] is not None
    status.notices = [] if status.scheduler_pid is None else _notices(f"{status.api_url}/v1/status", paths.admin_token)
    return status


def _registered(url: str, operator: Credential) -> dict[str, str]:
    """Name to Mesos' id of the active hosts; empty where Mesos does not answer, or the secret is not ours to read."""
    try:
        told = get_json(url, READ_TIMEOUT_S, operator.authorization())["slaves"]
        return {host["hostname"]: host["id"] for host in told if host["active"]}
    except (UnavailableError, OSError, KeyError, TypeError):
        return {}


def _notices(url: str, token: Path) -> list[str]:
    """Empty where the scheduler does not answer, or the token is not ours to read."""
    try:
        told = get_json(url, READ_TIMEOUT_S, f"Bearer {token.read_text().strip()}")
        return [str(notice) for notice in told["notices"]]
    except (UnavailableError, OSError, ValueError, KeyError, TypeError):
        return []


def _alive(pid_file: Path) -> int | None:
    process = ProcessId.load(pid_file)
    return process.pid if process is not None and process.alive() else None
