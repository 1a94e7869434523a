"""An app in its one form: legacy fields are translated and defaults filled in.

``uris`` have become ``fetch``, ``ports`` ``portDefinitions``, ``ipAddress`` and Docker's own network ``networks`` and
``container.portMappings``. Encoded with ``msgspec.json`` it is what Marathon 1.9 answers: fields without a default are
always there, others where they say something. Names, units and defaults are those of Marathon's RAML (docs/v2/types):
``mem`` and ``disk`` in MiB, times in whole seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias, TypeVar

import msgspec

Value = TypeVar("Value")


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """One JSON object of the API. Frozen, it can be in no circle: the garbage collector need not walk thousands."""


def _always(value: Value) -> Value:
    """A default that is shown none the less."""
    return msgspec.field(default_factory=lambda: value)


class NetworkMode(StrEnum):
    HOST = "host"
    BRIDGE = "container/bridge"
    CONTAINER = "container"


class Network(Document, frozen=True, kw_only=True):
    mode: NetworkMode
    name: str | None = None  # of a container network
    labels: dict[str, str] = {}


class PortDefinition(Document, frozen=True, kw_only=True):
    """A port of the host, with host networking. ``port`` 0 was replaced by a service port when the app was taken."""

    port: int
    protocol: str = _always("tcp")  # tcp, udp or "udp,tcp"
    name: str | None = None
    labels: dict[str, str] = {}


class PortMapping(Document, frozen=True, kw_only=True):
    """A port of the container. ``host_port`` 0: any of the offer; None: none of the host's."""

    container_port: int  # 0: the same as the host's
    host_port: int | None = None
    service_port: int
    protocol: str = _always("tcp")
    name: str | None = None
    labels: dict[str, str] = _always({})
    network_names: tuple[str, ...] = ()


class DockerParameter(Document, frozen=True, kw_only=True):
    key: str
    value: str


class PullConfig(Document, frozen=True, kw_only=True):
    secret: str


class Credential(Document, frozen=True, kw_only=True):
    principal: str
    secret: str | None = None


class DockerImage(Document, frozen=True, kw_only=True):
    image: str
    force_pull_image: bool
    privileged: bool
    parameters: tuple[DockerParameter, ...]
    pull_config: PullConfig | None = None
    credential: Credential | None = None


class PersistentVolume(Document, frozen=True, kw_only=True):
    """``size`` in MiB."""

    size: int
    type: str = _always("root")  # root, path or mount
    max_size: int | None = None
    profile_name: str | None = None
    constraints: tuple[tuple[str, ...], ...] = _always(())


class ExternalVolume(Document, frozen=True, kw_only=True):
    """A volume of a Docker volume driver: ``provider`` dvdi names the driver in ``options["dvdi/driver"]``."""

    size: int | None = None  # GiB
    name: str | None = None
    provider: str | None = None
    options: dict[str, str] = {}
    shared: bool = _always(False)


class Volume(Document, frozen=True, kw_only=True):
    """One of host_path, persistent, external and secret is given."""

    container_path: str
    mode: str | None = None  # RO or RW; none for secrets
    host_path: str | None = None
    persistent: PersistentVolume | None = None
    external: ExternalVolume | None = None
    secret: str | None = None


class Container(Document, frozen=True, kw_only=True):
    type: str  # MESOS or DOCKER
    docker: DockerImage | None = None
    volumes: tuple[Volume, ...]
    port_mappings: tuple[PortMapping, ...] | None = None  # None with host networking
    linux_info: dict[str, object] | None = None


class CommandCheck(Document, frozen=True, kw_only=True):
    value: str


class HealthCheck(Document, frozen=True, kw_only=True):
    protocol: str  # HTTP, HTTPS, TCP, COMMAND, MESOS_HTTP, MESOS_HTTPS or MESOS_TCP
    grace_period_seconds: int
    interval_seconds: int
    timeout_seconds: int
    max_consecutive_failures: int  # 0: never killed
    delay_seconds: int
    path: str | None = None
    port: int | None = None
    port_index: int | None = None
    command: CommandCheck | None = None
    ignore_http1xx: bool | None = msgspec.field(default=None, name="ignoreHttp1xx")
    ip_protocol: str = _always("IPv4")  # or IPv6

    @property
    def by_executor(self) -> bool:
        """Whether the task's Mesos executor makes it, rather than this server."""
        return self.protocol == "COMMAND" or self.protocol.startswith("MESOS_")


class ReadinessCheck(Document, frozen=True, kw_only=True):
    name: str
    protocol: str  # HTTP or HTTPS
    path: str
    port_name: str
    interval_seconds: int
    timeout_seconds: int
    http_status_codes_for_ready: tuple[int, ...]
    preserve_last_response: bool


class Artifact(Document, frozen=True, kw_only=True):
    uri: str
    extract: bool
    executable: bool
    cache: bool
    dest_path: str | None = None


class SecretRef(Document, frozen=True, kw_only=True):
    """The name of one of the app's ``secrets``."""

    secret: str


class SecretSource(Document, frozen=True, kw_only=True):
    source: str


class UpgradeStrategy(Document, frozen=True, kw_only=True):
    maximum_over_capacity: float
    minimum_health_capacity: float


class Unreachable(Document, frozen=True, kw_only=True):
    inactive_after_seconds: int
    expunge_after_seconds: int


class VersionInfo(Document, frozen=True, kw_only=True):
    last_scaling_at: str
    last_config_change_at: str


class ExecutorResources(Document, frozen=True, kw_only=True):
    cpus: float
    mem: float
    disk: float


EnvValue: TypeAlias = str | SecretRef

DEFAULT_KILL_GRACE_S = 3.0
"""As long as Mesos' own executor gives."""


class App(Document, frozen=True, kw_only=True):
    id: str  # absolute
    accepted_resource_roles: tuple[str, ...] | None = None
    args: tuple[str, ...] = ()
    backoff_factor: float
    backoff_seconds: int
    cmd: str | None = None
    constraints: tuple[tuple[str, ...], ...] = ()
    container: Container | None = None
    cpus: float
    dependencies: tuple[str, ...] = ()  # absolute
    disk: float
    env: dict[str, EnvValue] = {}
    executor: str
    executor_resources: ExecutorResources | None = None
    fetch: tuple[Artifact, ...] = ()
    health_checks: tuple[HealthCheck, ...] = ()
    check: dict[str, object] | None = None
    instances: int
    labels: dict[str, str]
    max_launch_delay_seconds: int
    mem: float
    gpus: int
    networks: tuple[Network, ...]
    port_definitions: tuple[PortDefinition, ...] | None = None  # None without host networking
    readiness_checks: tuple[ReadinessCheck, ...] = ()
    residency: dict[str, object] | None = None  # shown as given; it has no effect, as the real one's
    resource_limits: dict[str, object] | None = None
    require_ports: bool
    secrets: dict[str, SecretSource] = {}
    task_kill_grace_period_seconds: int | None = None
    upgrade_strategy: UpgradeStrategy
    user: str | None = None
    version: str  # "2015-09-25T15:13:48.343Z"
    version_info: VersionInfo
    kill_selection: str  # YOUNGEST_FIRST or OLDEST_FIRST
    unreachable_strategy: Unreachable | str  # str: "disabled"
    tty: bool | None = None
    role: str

    @property
    def resident(self) -> bool:
        """Whether its instances have persistent volumes, and so stay on their hosts."""
        return self.container is not None and any(one.persistent for one in self.container.volumes)

    @property
    def kill_grace_s(self) -> float:
        """Between TERM and KILL of its tasks."""
        given = self.task_kill_grace_period_seconds
        return DEFAULT_KILL_GRACE_S if given is None else float(given)

    @property
    def service_ports(self) -> tuple[int, ...]:
        if self.port_definitions is not None:
            return tuple(one.port for one in self.port_definitions)
        mappings = (self.container.port_mappings if self.container else None) or ()
        return tuple(one.service_port for one in mappings)


class Group(Document, frozen=True, kw_only=True):
    """A group with all that is below it; the root's id is ``/``."""

    id: str  # absolute
    apps: dict[str, App]  # by absolute id
    groups: dict[str, Group]  # by absolute id
    dependencies: tuple[str, ...] = ()  # absolute ids of apps and groups
    version: str
    enforce_role: bool | None = None
