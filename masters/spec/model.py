"""The fields of a tenant's YAML. Every key has its unit in its name, and its default and reason here, from which the

published JSON Schema and docs/masters.rst are made. What is given stays as it is given; what follows from it (a host
name with ``{tenant}`` in it, an image without a tag) the properties tell.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from framework.core.constraints import is_hostname
from framework.core.templates import Operator
from framework.documents import DocumentModel
from framework.setting_types import ConstraintParts, HostPath, Image, Matching, Name, PositiveSeconds, Role, Text
from masters.spec import jvm as sizing
from masters.spec import rules

Percent = Annotated[int, Field(ge=1, le=95)]
VariableName = Annotated[
    str,
    Matching(r"[A-Za-z_][A-Za-z0-9_]{0,99}", "the name of a variable: letters, digits and `_`, no digit first"),
    AfterValidator(rules.free_variable),
]
VariableValue = Annotated[str, AfterValidator(rules.variable_value)]
LabelName = Annotated[Name, AfterValidator(rules.free_label)]


TENANT = "{tenant}"
"""In a host path or host name it stands for the tenant's name."""


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
    stack_kib: Annotated[int, Field(ge=192, le=8192)] = Field(
        default=512, description="Stack of one thread (-Xss). Java 17 starts with no less than 136 on x86-64."
    )
    children_mib: Annotated[int, Field(ge=0, le=65_536)] = Field(
        default=64, description="Processes that the master starts itself, git for one."
    )
    options: list[Annotated[Text, AfterValidator(sizing.given_option)]] = Field(
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
        description="Required with ``persistent``; given to the driver of ``external``, in whole GiB, rounded up, "
        "where it may grow, never shrink.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> VolumeSpec:
        given = [name for name in ("host_path", "docker", "external") if getattr(self, name) is not None]
        if self.persistent:
            given.append("persistent")
        if len(given) != 1:
            raise ValueError(rules.one_of(given, ("host_path", "docker", "external", "persistent")))
        if self.persistent and self.size_mib is None:
            raise ValueError("size_mib is missing: a persistent volume has the size that is reserved for it")
        if self.size_mib is not None and given[0] in ("host_path", "docker"):
            raise ValueError(f"size_mib is of no use with {given[0]}, whose size nobody here can set")
        if self.host_path is not None and ".." in PurePosixPath(self.host_path).parts:
            raise ValueError("host_path must not hold `..`")
        if self.shared and self.host_path is None:
            raise ValueError("shared is of no use without host_path")
        return self


class SecretSpec(DocumentModel):
    """Where a secret is. Exactly one of the three; the first two are read by ``apply``, the last by Marathon."""

    file: Annotated[str, AfterValidator(rules.file_name)] | None = Field(
        default=None, description="A file of the operator's, beside the YAML file or absolute."
    )
    env: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="A variable of the environment that ``apply`` runs in."
    )
    marathon: Text | None = Field(default=None, description="A source that Marathon's own secret store knows.")

    @model_validator(mode="after")
    def _one_place(self) -> SecretSpec:
        names = ("file", "env", "marathon")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(rules.one_of(given, names))
        return self


class HealthSpec(DocumentModel):
    """When a master counts as healthy, and when it is restarted."""

    path: Annotated[str, Matching(r"/[!-~]{0,511}", "a path of a URL, such as /login, of visible ASCII")] = Field(
        default="/login", description="Asked by MESOS_HTTP, on the host, below the address' path."
    )
    grace_s: PositiveSeconds = Field(
        default=600,
        description="How long failures do not count after a start. Three times the last boot where that is longer: it "
        "is learned from each boot and told to Marathon when the master starts anew anyway.",
    )
    interval_s: Annotated[float, Field(ge=1, le=3600)] = Field(
        default=10,
        description="Between two checks; as all times here rounded up to whole seconds, which Marathon takes.",
    )
    timeout_s: Annotated[float, Field(ge=1, le=600)] = Field(default=10, description="Of one check.")
    failures: Annotated[int, Field(ge=1, le=100)] = Field(default=6, description="In a row, until it is restarted.")


class PortsSpec(DocumentModel):
    """Which ports the master listens on; 0 is one that Mesos chooses."""

    http: Annotated[int, Field(ge=0, le=65_535)] = Field(default=0, description="On the host.")
    agents: bool = Field(
        default=False,
        description="Whether inbound agents may also come by TCP; WebSocket needs no port of its own.",
    )

    @field_validator("agents")
    @classmethod
    def _all_or_none_fixed(cls, agents: bool, info: ValidationInfo) -> bool:
        if agents and info.data.get("http"):
            raise ValueError("takes `http: 0`: Marathon takes fixed ports only where all of an app's are fixed")
        return agents


class AddressSpec(DocumentModel):
    """Where users find the master, at the ingress. Host name, path, or both; no two tenants share one."""

    host: Annotated[str, AfterValidator(rules.host_template)] | None = Field(
        default=None,
        description="Host name; ``{tenant}`` in it is the tenant's name. By default, where neither it nor ``path`` is "
        "given, the tenant's name below ``masters.ingress.domain``.",
    )
    path: (
        Annotated[
            str,
            Matching(
                r"/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}",
                "`/` and one segment of letters, digits, `.`, `_`, `-`, no `.` first, such as /payments",
            ),
        ]
        | None
    ) = Field(default=None, description="One segment, such as ``/payments``, at the ingress' own name.")


class BackupSpec(DocumentModel):
    """Copies of JENKINS_HOME."""

    to: HostPath = Field(
        description="A directory of the hosts, the same on each; the tenant's are in one of its name, which no other "
        "user may enter. A master with an image has that one alone mounted, so it must be there and be its user's."
    )
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

    name: Annotated[
        str,
        Matching(
            r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
            "lower-case letters, digits and `-` within, 40 at most",
        ),
        AfterValidator(rules.tenant_name),
    ] = Field(
        description="Lower-case letters, digits and ``-``, at most 40: it is part of host names and of Marathon's ids."
    )
    image: Image | None = Field(default=None, description="Docker image of the master. Or ``war``, or ``command``.")
    war: Annotated[Text, AfterValidator(rules.war)] | None = Field(
        default=None, description="URL or path of a jenkins.war, run on the host without Docker by our start script."
    )
    command: Annotated[str, Field(min_length=1, max_length=32_768), AfterValidator(rules.no_nul)] | None = Field(
        default=None,
        validate_default=True,
        description="A shell command that serves on ``$PORT0``, with its home in ``$JENKINS_HOME``.",
    )
    version: Annotated[str, Matching(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", "a version, such as 2.463")] | None = Field(
        default=None,
        validate_default=True,
        description="Of Jenkins. With ``image`` the tag, where it has none; with ``war`` ``{version}`` in it.",
    )
    cpus: Annotated[float, Field(ge=0.01, le=1024)] = Field(default=0.5, description="CPUs; a weight, not a ceiling.")
    mem_mib: Annotated[int, Field(ge=64, le=16 << 20)] = Field(default=1024, description="Memory, a hard limit.")
    jvm: JvmSpec = Field(
        default_factory=JvmSpec,
        validate_default=True,
        description="With ``command`` it counts only where it is given: a command need not be a JVM.",
    )
    volume: VolumeSpec
    uid: Annotated[int, Field(ge=0, le=2**32 - 2)] | None = Field(
        default=None,
        description="Who the master runs as. By default 1000 with ``image``, else whom Marathon starts tasks as; a "
        "master of ``image`` or ``war`` that would be root does not start unless it says 0.",
    )
    env: dict[VariableName, VariableValue] = Field(
        default_factory=dict, description="Variables; no secrets: Marathon shows them."
    )
    secrets: dict[VariableName, SecretSpec] = Field(
        default_factory=dict, description="Variables whose values are secret."
    )
    plugins: Annotated[
        list[
            Annotated[
                str,
                Matching(
                    r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(:[A-Za-z0-9][A-Za-z0-9._-]{0,99})?",
                    "ID or ID:VERSION, such as git:5.2.2",
                ),
            ]
        ],
        Field(max_length=1000),
        AfterValidator(rules.plugins_once),
    ] = Field(default_factory=list, description="``ID`` or ``ID:VERSION`` each.")
    configuration: Annotated[
        list[Annotated[str, AfterValidator(rules.file_below)]], Field(max_length=1000), AfterValidator(rules.once)
    ] = Field(
        default_factory=list,
        description="Files of configuration-as-code, beside the YAML file; 64 KiB in all, packed. Marathon shows them: "
        "what is secret is ``${GIT_TOKEN}`` there, and a variable of ``secrets``.",
    )
    constraints: Annotated[list[ConstraintParts], Field(max_length=100)] = Field(
        default_factory=list, validate_default=True, description="As Marathon has them."
    )
    labels: dict[LabelName, Annotated[str, Field(max_length=4096)]] = Field(
        default_factory=dict, description="Of the app in Marathon."
    )
    role: Role | None = Field(
        default=None,
        description="Mesos role of the app; by default Marathon's own, with ``persistent`` the name of the group at "
        "the top of ``masters.group``.",
    )
    weight: Annotated[int, Field(ge=1, le=10_000)] = Field(default=100, description="Of its builds, against others'.")
    quota: QuotaSpec = Field(default_factory=QuotaSpec)
    health: HealthSpec = Field(default_factory=HealthSpec)
    ports: PortsSpec = Field(default_factory=PortsSpec)
    address: AddressSpec = Field(default_factory=AddressSpec)
    backup: BackupSpec | None = None
    hibernate: HibernateSpec | None = None
    stop_timeout_s: Annotated[float, Field(ge=1, le=3600)] = Field(
        default=60,
        description="From SIGTERM to SIGKILL, rounded up to whole seconds: Jenkins saves its queue at SIGTERM.",
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: Any) -> Any:
        """As of a section whose every line is commented out, or one that is to be as if it were not in the defaults."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}

    @field_validator("command")
    @classmethod
    def _one_way_to_run(cls, command: str | None, info: ValidationInfo) -> str | None:
        names = ("image", "war", "command")
        values = {**info.data, "command": command}
        given = [name for name in names if values.get(name) is not None]
        if len(given) != 1 and all(name in values for name in names):
            raise ValueError(rules.one_of(given, names))
        return command

    @field_validator("version")
    @classmethod
    def _fits_what_runs(cls, version: str | None, info: ValidationInfo) -> str | None:
        image, war, command = (info.data.get(name) for name in ("image", "war", "command"))
        if image is not None and war is None and version is not None:
            rules.check_image_version(image, version)
        if war is not None and image is None:
            rules.check_war_version(war, version)
        if command is not None and version is not None and image is None and war is None:
            raise ValueError("is of no use with command, which says itself what it runs")
        return version

    @field_validator("jvm")
    @classmethod
    def _fits_memory(cls, jvm: JvmSpec, info: ValidationInfo) -> JvmSpec:
        mem_mib = info.data.get("mem_mib")
        if mem_mib is not None and (info.data.get("image") or info.data.get("war")):
            sizing.memory_plan(mem_mib, jvm)
        return jvm

    @field_validator("volume")
    @classmethod
    def _had_without_docker(cls, volume: VolumeSpec, info: ValidationInfo) -> VolumeSpec:
        kind = "docker" if volume.docker is not None else "external" if volume.external is not None else None
        if kind is not None and (info.data.get("war") or info.data.get("command")):
            raise ValueError(f"{kind} takes an image: a war or a command runs without Docker")
        return volume

    @field_validator("secrets")
    @classmethod
    def _not_in_env(cls, secrets: dict[str, SecretSpec], info: ValidationInfo) -> dict[str, SecretSpec]:
        twice = sorted(set(secrets) & set(info.data.get("env", ())))
        if twice:
            raise ValueError(f"{', '.join(twice)} is in env too; a variable is either open or secret")
        return secrets

    @field_validator("constraints")
    @classmethod
    def _home_stays(cls, constraints: list[list[str]], info: ValidationInfo) -> list[list[str]]:
        volume: VolumeSpec | None = info.data.get("volume")
        if volume is None or any(map(_holds_to_one_host, constraints)):
            return constraints
        stay = "is on one host alone, and the master must stay there: add the constraint [hostname, IS, HOST], or"
        if volume.host_path is not None and not volume.shared:
            raise ValueError(f"a host_path that is not shared {stay} say `shared: true` of one that all hosts have")
        if volume.docker is not None and volume.docker.driver == "local" and not volume.docker.options:
            raise ValueError(f"a volume of Docker's driver `local` {stay} name a driver, or its options for NFS")
        return constraints

    @model_validator(mode="after")
    def _as_a_whole(self) -> TenantSpec:
        if self.command is not None and "jvm" in self.model_fields_set:
            sizing.memory_plan(self.mem_mib, self.jvm)
        if self.address.host is not None:
            rules.check_host_name(self.address.host.replace(TENANT, self.name))
        if self.backup is not None and self.host_path is not None:
            home, to = PurePosixPath(self.host_path), PurePosixPath(self.backup.to)
            if to.is_relative_to(home):
                raise ValueError(f"backup.to {to} is in the home that it is to keep copies of, {home}")
        return self

    @property
    def user_id(self) -> int | None:
        """None: who runs the host's Mesos agent, or the app's default user."""
        return 1000 if self.uid is None and self.image is not None else self.uid

    @property
    def full_image(self) -> str | None:
        """With ``version`` as its tag where it has none."""
        if self.image is None or self.version is None or rules.tag_of(self.image) or "@" in self.image:
            return self.image
        return f"{self.image}:{self.version}"

    @property
    def full_war(self) -> str | None:
        """With ``version`` in its place."""
        return self.war if self.war is None else self.war.replace("{version}", self.version or "")

    @property
    def host_path(self) -> str | None:
        """The volume's, with the tenant's name in its place."""
        path = self.volume.host_path
        return None if path is None else path.replace(TENANT, self.name)

    @property
    def volume_name(self) -> str | None:
        """Of a volume of Docker or of Marathon's external ones."""
        named = self.volume.docker or self.volume.external
        return None if named is None else named.name or f"jenkins-{self.name}"

    @property
    def jvm_plan(self) -> sizing.JvmPlan | None:
        """None with a ``command`` that no ``jvm`` is given for."""
        if self.command is not None and "jvm" not in self.model_fields_set:
            return None
        return sizing.memory_plan(self.mem_mib, self.jvm)

    def host_name(self, domain: str) -> str | None:
        """At the ingress, in lower case; None where it has a path alone. ``domain`` is the ingress' own."""
        if self.address.host is None and self.address.path is not None:
            return None
        return (self.address.host or f"{TENANT}.{domain}").replace(TENANT, self.name).lower()


def _holds_to_one_host(constraint: list[str]) -> bool:
    held = constraint[1] in (Operator.IS, Operator.CLUSTER) and len(constraint) == 3 and constraint[2] != ""
    return held and is_hostname(constraint[0])
