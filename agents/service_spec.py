"""What a long-running service of the one-machine Marathon is, for the executor: travels in ``TaskInfo.data``.

Told from a build's document by its ``kind``. Like that one it may hold secrets. Plain classes: ``dataclasses`` and
what it imports would be a quarter of what an executor weighs that does nothing but watch over one service.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agents.spec import HostPolicy

VERSION = 1
KIND = "service"


class _Document:
    """Equal where all its fields are; shown without their values, some of which are secrets."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment] # its fields change

    def __repr__(self) -> str:
        return "<%s of %s>" % (type(self).__name__, ", ".join(vars(self)))


class ServiceCheck(_Document):
    """A health check that the executor makes (or, as ``ServiceSpec.check``, one whose result is only told).

    ``kind`` is http, https, tcp or command; ``port`` is where the service listens as seen from where the check is made.
    """

    def __init__(
        self,
        kind: str,
        port: int | None = None,
        path: str = "/",
        command: list[str] | None = None,  # one word: by /bin/sh; more: executed as they are
        grace_s: float = 300.0,  # failures do not count until the first success, so long
        interval_s: float = 60.0,
        timeout_s: float = 20.0,
        delay_s: float = 15.0,
        max_failures: int = 3,  # in a row, then the service is killed; 0: never
        ipv6: bool = False,
    ) -> None:
        self.kind = kind
        self.port = port
        self.path = path
        self.command = [] if command is None else command
        self.grace_s = grace_s
        self.interval_s = interval_s
        self.timeout_s = timeout_s
        self.delay_s = delay_s
        self.max_failures = max_failures
        self.ipv6 = ipv6


class ServiceMount(_Document):
    """``source``: a path of the host, a name of a Docker volume (with ``driver``), or, for a persistent volume, a path

    relative to the sandbox, where Mesos puts it. ``target``: in the container, or, without an image, relative to it.
    """

    def __init__(
        self,
        source: str,
        target: str,
        read_only: bool = False,
        driver: str | None = None,
        driver_options: dict[str, str] | None = None,
        content: str | None = None,  # of a secret's file, base64; ``source`` is then empty
    ) -> None:
        self.source = source
        self.target = target
        self.read_only = read_only
        self.driver = driver
        self.driver_options = {} if driver_options is None else driver_options
        self.content = content


class ServicePort(_Document):
    """A port of the container that Docker binds to one of the host's."""

    def __init__(self, container_port: int, host_port: int, protocol: str = "tcp") -> None:
        self.container_port = container_port
        self.host_port = host_port
        self.protocol = protocol


class ServiceHost(_Document):
    """Of agents.spec.HostPolicy what a service has use for; the executor makes it of that one's fields."""

    def __init__(
        self, isolation: str = "auto", docker_socket: str = "/var/run/docker.sock", log_mib: int = 64, **_: object
    ) -> None:
        self.isolation = isolation
        self.docker_socket = docker_socket
        self.log_mib = log_mib  # of what the service writes, half to each of its two streams: the newest is kept


class ServiceSpec(_Document):
    """One instance. Without ``image`` its command runs in the Mesos sandbox, as Mesos' own executor has it."""

    def __init__(
        self,
        task_id: str,
        cpu_millis: int,
        mem_mib: int,
        shell: str | None = None,  # by /bin/sh -c
        argv: list[str] | None = None,  # executed as they are; with an image, arguments of its entry point
        env: dict[str, str] | None = None,
        user: str | None = None,  # None: the one Mesos' agent runs as
        disk_mib: int = 0,
        gpus: int = 0,
        cpu_limit_millis: int | None = None,  # more than cpu_millis, or -1 for no limit; None: shares alone
        mem_limit_mib: int | None = None,  # more than mem_mib, or -1 for no limit; None: mem_mib
        grace_s: float = 3.0,  # between TERM and KILL
        tty: bool = False,
        image: str | None = None,
        force_pull: bool = False,
        privileged: bool = False,
        parameters: list[list[str]] | None = None,  # of docker run: name and value
        network: str = "host",  # host, bridge, none, or the name of a Docker network
        ports: list[ServicePort] | None = None,
        mounts: list[ServiceMount] | None = None,
        health: list[ServiceCheck] | None = None,
        check: ServiceCheck | None = None,
        registry_config: str | None = None,  # Docker's config.json
        pretend: bool = False,  # starts nothing, runs and is healthy until it is killed: for load tests
        host: HostPolicy | ServiceHost | None = None,
        kind: str = KIND,
        version: int = VERSION,
    ) -> None:
        self.task_id = task_id
        self.cpu_millis = cpu_millis
        self.mem_mib = mem_mib
        self.shell = shell
        self.argv = [] if argv is None else argv
        self.env = {} if env is None else env
        self.user = user
        self.disk_mib = disk_mib
        self.gpus = gpus
        self.cpu_limit_millis = cpu_limit_millis
        self.mem_limit_mib = mem_limit_mib
        self.grace_s = grace_s
        self.tty = tty
        self.image = image
        self.force_pull = force_pull
        self.privileged = privileged
        self.parameters = [] if parameters is None else parameters
        self.network = network
        self.ports = [] if ports is None else ports
        self.mounts = [] if mounts is None else mounts
        self.health = [] if health is None else health
        self.check = check
        self.registry_config = registry_config
        self.pretend = pretend
        self.host = ServiceHost() if host is None else ServiceHost(**vars(host))
        self.kind = kind
        self.version = version

    def to_json(self) -> bytes:
        return json.dumps(self, default=vars).encode()

    @staticmethod
    def from_json(data: bytes) -> ServiceSpec:
        """Raises ValueError where ``data`` is not a service of this version."""
        try:
            raw = json.loads(data)
        except ValueError as error:
            raise ValueError("ServiceSpec: not JSON: %s" % error) from error
        return ServiceSpec.of(raw)

    @staticmethod
    def of(raw: Any) -> ServiceSpec:
        """The same of the JSON's value. Raises ValueError."""
        if not isinstance(raw, dict) or raw.get("kind") != KIND or raw.get("version") != VERSION:
            raise ValueError("ServiceSpec: not a service of version %d" % VERSION)
        try:
            return _made(raw)
        except (TypeError, KeyError) as error:
            raise ValueError("ServiceSpec: %s" % error) from error


def _made(raw: dict[str, Any]) -> ServiceSpec:
    raw = dict(raw)
    raw["ports"] = [ServicePort(**one) for one in raw.get("ports") or []]
    raw["mounts"] = [ServiceMount(**one) for one in raw.get("mounts") or []]
    raw["health"] = [ServiceCheck(**one) for one in raw.get("health") or []]
    raw["check"] = ServiceCheck(**raw["check"]) if raw.get("check") else None
    raw["host"] = ServiceHost(**(raw.get("host") or {}))
    return ServiceSpec(**raw)
