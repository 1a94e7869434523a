"""What the server's process is told when it starts: one JSON file, made by ``butlery local up``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agents.spec import HostPolicy
from framework.errors import ButleryError


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. It holds no secrets, only the files they are in. The settings are those of ``local.marathon``."""

    directory: str  # of the server's own files
    mesos_url: str
    mesos_principal: str
    mesos_secret_file: str
    host: str
    port: int
    credentials_file: str
    role: str
    default_accepted_roles: tuple[str, ...]
    default_network: str | None
    service_ports: tuple[int, int]  # first and last
    max_running_deployments: int
    env_vars_prefix: str | None
    allow_origin: tuple[str, ...]
    pretend: bool
    mesos_executor: str | None  # path or URL of the .pyz; None: it is made in ``directory``
    python: str  # on the hosts
    overhead_cpu_millis: int  # of each task's Mesos executor
    overhead_mem_mib: int
    policy: dict[str, Any]  # agents.spec.HostPolicy
    log_level: str
    log_format: str

    def host_policy(self) -> HostPolicy:
        return HostPolicy(**self.policy)

    @staticmethod
    def load(path: Path) -> Start:
        """Raises ButleryError where the file cannot serve."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=Start)
        except (OSError, msgspec.DecodeError) as error:
            raise ButleryError(f"{path}: cannot be read: {error}") from error
