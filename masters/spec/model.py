"""The fields of a tenant's YAML. Every key has its unit in its name, and its default and reason here, from which the

published JSON Schema and docs/masters.rst are made.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from framework.documents import DocumentModel
from framework.setting_types import ConstraintParts, HostPath, Image, Name, PositiveSeconds, Role, Text

Percent = Annotated[int, Field(ge=1, le=95)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class JvmSpec(DocumentModel):
    """How a master's memory is shared out inside it (``masters.spec.jvm`` computes, and refuses what cannot fit)."""

    heap_percent: Percent = Field(
        default=50, description="Heap, as a share of ``mem_mib``. What is left must hold all of the following."
    )
    metaspace_mib: Annotated[int, Field(ge=32, le=8192)] = Field(
        default=256, description="Classes: a Jenkins with a hundred plugins needs about 200 MiB."
    )
    code_cache_mib: Annotated[int, Field(ge=16, le=1024)] = Field(default=64, description="Compiled code.")
    threads: Annotated[int, Field(ge=10, le=10_000)] = Field(
        default=128, description="Threads that memory is kept for, at ``stack_kib`` each."
    )
    stack_kib: Annotated[int, Field(ge=128, le=8192)] = Field(default=512, description="Stack of one thread (-Xss).")
    children_mib: Annotated[int, Field(ge=0, le=65_536)] = Field(
        default=64, description="Processes that the master starts itself, git for one."
    )
    options: list[Text] = Field(
        default_factory=list, description="More options of java, after those computed; none may set the heap again."
    )


class DockerVolume(DocumentModel):
    """A volume of a Docker volume driver."""

    driver: Name = Field(default="local", description="Such as ``local``, ``rexray/ebs`` as ``rexray``, ``glusterfs``.")
    name: Name | None = Field(default=None, description="Of the volume; by default ``jenkins-`` and the tenant's name.")
    options: dict[Text, Text] = Field(
        default_factory=dict, description="The driver's own, such as ``type: nfs``, ``o: addr=...``, ``device: ...``."
    )


class ExternalVolume(DocumentModel):
    """An external volume of Marathon."""

    provider: Text = Field(default="dvdi", description="Marathon's provider.")
    driver: Text = Field(default="rexray", description="The option ``dvdi/driver``.")
    name: Name | None = Field(default=None, description="Of the volume; by default ``jenkins-`` and the tenant's name.")
    options: dict[Text, Text] = Field(default_factory=dict, description="More options of the provider, by full name.")


class VolumeSpec(DocumentModel):
    """Where JENKINS_HOME is. Exactly one of ``host_path``, ``docker``, ``external`` and ``persistent``."""

    host_path: HostPath | None = Field(
        default=None, description="A directory of the hosts; ``{tenant}`` in it is the tenant's name."
    )
    shared: bool = Field(
        default=False,
        description="That ``host_path`` is the same directory on every host, such as an NFS mount. Where it is not, "
        "a constraint must hold the master to one host.",
    )
    docker: DockerVolume | None = None
    external: ExternalVolume | None = None
    persistent: bool = Field(default=False, description="A local persistent volume of Mesos, kept by its reservation.")
    size_mib: Annotated[int, Field(ge=16, le=64 << 20)] | None = Field(
        default=None,
        description="Required with ``persistent``; given to the driver of ``external``. It may grow, never shrink.",
    )


class SecretSpec(DocumentModel):
    """Where a secret is. Exactly one of the three; the first two are read by ``apply``, the last by Marathon."""

    file: str | None = Field(default=None, description="A file of the operator's, beside the YAML file or absolute.")
    env: Name | None = Field(default=None, description="A variable of the environment that ``apply`` runs in.")
    marathon: Text | None = Field(default=None, description="A source that Marathon's own secret store knows.")


class HealthSpec(DocumentModel):
    """When a master counts as healthy, and when it is restarted."""

    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=512)] = Field(
        default="/login", description="Asked by MESOS_HTTP, on the host, below the address' path."
    )
    grace_s: PositiveSeconds = Field(
        default=600,
        description="How long failures do not count after a start. Three times the last boot where that is longer: it "
        "is learned from each boot and told to Marathon when the master starts anew anyway.",
    )
    interval_s: Annotated[float, Field(ge=1, le=3600)] = Field(default=10, description="Between two checks.")
    timeout_s: Annotated[float, Field(ge=1, le=600)] = Field(default=10, description="Of one check.")
    failures: Annotated[int, Field(ge=1, le=100)] = Field(default=6, description="In a row, until it is restarted.")


class PortsSpec(DocumentModel):
    """Which ports the master listens on; 0 is one that Mesos chooses."""

    http: Annotated[int, Field(ge=0, le=65_535)] = Field(default=0, description="On the host.")
    agents: bool = Field(
        default=False,
        description="Whether inbound agents may also come by TCP; WebSocket needs no port of its own.",
    )


class AddressSpec(DocumentModel):
    """Where users find the master, at the ingress. Host name, path, or both; no two tenants share one."""

    host: Annotated[str, Field(max_length=253)] | None = Field(
        default=None,
        description="Host name; ``{tenant}`` in it is the tenant's name. By default, where neither it nor ``path`` is "
        "given, the tenant's name below ``masters.ingress.domain``.",
    )
    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._-]+$", max_length=101)] | None = Field(
        default=None, description="One segment, such as ``/payments``, at the ingress' own name."
    )


class BackupSpec(DocumentModel):
    """Copies of JENKINS_HOME."""

    to: HostPath = Field(description="A directory of the hosts, the same on each; the tenant's are in one of its name.")
    every_h: Annotated[float, Field(gt=0, le=24 * 366)] | None = Field(
        default=None, description="How often; unset: only when asked for."
    )
    keep: Annotated[int, Field(ge=1, le=1000)] = Field(default=7, description="How many; older ones go.")


class HibernateSpec(DocumentModel):
    """When a master that nobody uses is put to sleep; a request to its address wakes it."""

    after_idle_min: Annotated[float, Field(ge=0.05, le=60 * 24 * 366)] = Field(
        description="Minutes without a request, a running build or a queued one."
    )


class QuotaSpec(DocumentModel):
    """What the tenant's builds may use at once, over all of them; unset: no limit."""

    cpus: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    mem_mib: Annotated[int, Field(ge=1, le=1 << 40)] | None = None
    builds: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class TenantSpec(DocumentModel):
    """One tenant: its master, its place, its share."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")] = Field(
        description="Lower-case letters, digits and ``-``, at most 40: it is part of host names and of Marathon's ids."
    )
    image: Image | None = Field(default=None, description="Docker image of the master. Or ``war``, or ``command``.")
    war: Text | None = Field(
        default=None, description="URL or path of a jenkins.war, run on the host without Docker by our start script."
    )
    command: Annotated[str, Field(min_length=1, max_length=32_768)] | None = Field(
        default=None, description="A shell command that serves on ``$PORT0``, with its home in ``$JENKINS_HOME``."
    )
    version: Text | None = Field(
        default=None,
        description="Of Jenkins. With ``image`` the tag, where it has none; with ``war`` ``{version}`` in it.",
    )
    cpus: Annotated[float, Field(ge=0.01, le=1024)] = Field(default=0.5, description="CPUs; a weight, not a ceiling.")
    mem_mib: Annotated[int, Field(ge=64, le=16 << 20)] = Field(default=1024, description="Memory, a hard limit.")
    jvm: JvmSpec = Field(default_factory=JvmSpec)
    volume: VolumeSpec
    uid: Annotated[int, Field(ge=0, le=2**32 - 2)] | None = Field(
        default=None, description="Who the master runs as. By default 1000 with ``image``; 0 only where it says 0."
    )
    env: dict[Name, str] = Field(default_factory=dict, description="Variables; no secrets: Marathon shows them.")
    secrets: dict[Name, SecretSpec] = Field(default_factory=dict, description="Variables whose values are secret.")
    plugins: list[Text] = Field(default_factory=list, description="``ID`` or ``ID:VERSION`` each.")
    configuration: list[str] = Field(
        default_factory=list, description="Files of configuration-as-code, beside the YAML file; 64 KiB in all, packed."
    )
    constraints: list[ConstraintParts] = Field(default_factory=list, description="As Marathon has them.")
    labels: dict[Name, str] = Field(default_factory=dict, description="Of the app in Marathon.")
    role: Role | None = Field(default=None, description="Mesos role of the app; by default Marathon's own.")
    weight: Annotated[int, Field(ge=1, le=10_000)] = Field(default=100, description="Of its builds, against others'.")
    quota: QuotaSpec = Field(default_factory=QuotaSpec)
    health: HealthSpec = Field(default_factory=HealthSpec)
    ports: PortsSpec = Field(default_factory=PortsSpec)
    address: AddressSpec = Field(default_factory=AddressSpec)
    backup: BackupSpec | None = None
    hibernate: HibernateSpec | None = None
    stop_timeout_s: Annotated[float, Field(ge=1, le=3600)] = Field(
        default=60, description="From SIGTERM to SIGKILL: Jenkins saves its queue at SIGTERM."
    )
