"""What a long-running service of the one-machine Marathon is, for the executor: travels in ``TaskInfo.data``.

Told from a build's document by its ``kind``. Like that one it may hold secrets.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional

from agents.spec import HostPolicy

VERSION = 1
KIND = "service"


@dataclass
class ServiceCheck:
    """A health check that the executor makes (or, as ``ServiceSpec.check``, one whose result is only told).

    ``kind`` is http, https, tcp or command; ``port`` is where the service listens as seen from where the check is made.
    """

    kind: str
    port: Optional[int] = None
    path: str = "/"
    command: List[str] = field(default_factory=list)  # one word: by /bin/sh; more: executed as they are
    grace_s: float = 300.0  # failures do not count until the first success, so long
    interval_s: float = 60.0
    timeout_s: float = 20.0
    delay_s: float = 15.0
    max_failures: int = 3  # in a row, then the service is killed; 0: never
    ipv6: bool = False


@dataclass
class ServiceMount:
    """``source``: a path of the host, a name of a Docker volume (with ``driver``), or, for a persistent volume, a path

    relative to the sandbox, where Mesos puts it. ``target``: in the container, or, without an image, relative to it.
    """

    source: str
    target: str
    read_only: bool = False
    driver: Optional[str] = None
    driver_options: Dict[str, str] = field(default_factory=dict)
    content: Optional[str] = None  # of a secret's file, base64; ``source`` is then empty


@dataclass
class ServicePort:
    """A port of the container that Docker binds to one of the host's."""

    container_port: int
    host_port: int
    protocol: str = "tcp"


@dataclass
class ServiceSpec:
    """One instance. Without ``image`` its command runs in the Mesos sandbox, as Mesos' own executor has it."""

    task_id: str
    cpu_millis: int
    mem_mib: int
    shell: Optional[str] = None  # by /bin/sh -c
    argv: List[str] = field(default_factory=list)  # executed as they are; with an image, arguments of its entry point
    env: Dict[str, str] = field(default_factory=dict)
    user: Optional[str] = None  # None: the one Mesos' agent runs as
    disk_mib: int = 0
    gpus: int = 0
    cpu_limit_millis: Optional[int] = None  # more than cpu_millis, or -1 for no limit; None: shares alone
    mem_limit_mib: Optional[int] = None  # more than mem_mib, or -1 for no limit; None: mem_mib
    grace_s: float = 3.0  # between TERM and KILL
    tty: bool = False
    image: Optional[str] = None
    force_pull: bool = False
    privileged: bool = False
    parameters: List[List[str]] = field(default_factory=list)  # of docker run: name and value
    network: str = "host"  # host, bridge, none, or the name of a Docker network
    ports: List[ServicePort] = field(default_factory=list)
    mounts: List[ServiceMount] = field(default_factory=list)
    health: List[ServiceCheck] = field(default_factory=list)
    check: Optional[ServiceCheck] = None
    registry_config: Optional[str] = None  # Docker's config.json
    pretend: bool = False  # starts nothing, runs and is healthy until it is killed: for load tests
    host: HostPolicy = field(default_factory=HostPolicy)
    kind: str = KIND
    version: int = VERSION

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_json(data: bytes) -> "ServiceSpec":
        """Raises ValueError where ``data`` is not a service of this version."""
        try:
            raw = json.loads(data)
        except ValueError as error:
            raise ValueError("ServiceSpec: not JSON: %s" % error) from error
        if not isinstance(raw, dict) or raw.get("kind") != KIND or raw.get("version") != VERSION:
            raise ValueError("ServiceSpec: not a service of version %d" % VERSION)
        try:
            return _made(raw)
        except (TypeError, KeyError) as error:
            raise ValueError("ServiceSpec: %s" % error) from error


def _made(raw: Dict[str, Any]) -> ServiceSpec:
    raw = dict(raw)
    raw["ports"] = [ServicePort(**one) for one in raw.get("ports") or []]
    raw["mounts"] = [ServiceMount(**one) for one in raw.get("mounts") or []]
    raw["health"] = [ServiceCheck(**one) for one in raw.get("health") or []]
    raw["check"] = ServiceCheck(**raw["check"]) if raw.get("check") else None
    raw["host"] = HostPolicy(**(raw.get("host") or {}))
    return ServiceSpec(**raw)
