"""A template as people write it. Every key has its unit in its name, and its default and reason here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from framework.core.resources import Resources
from framework.documents import DocumentModel
from framework.setting_types import (
    DAY_S,
    ConstraintParts,
    Image,
    Matching,
    Name,
    Text,
    different,
)

OVERRIDES = ("cpus", "mem_mib", "disk_mib", "timeout_s", "image")
"""What a job may change by an atom ``NAME=VALUE`` of its label, where its template says so."""

MAX_ENTRIES = 1000
"""Of env, as of a job's."""

Cpus = Annotated[float, Field(ge=0.01, le=1024)]
MemMib = Annotated[int, Field(ge=16, le=16 << 20)]
DiskMib = Annotated[int, Field(ge=0, le=64 << 20)]
TimeoutS = Annotated[float, Field(ge=1, le=30 * DAY_S)]
Gpus = Annotated[int, Field(ge=0, le=64)]

Atom = Annotated[
    str,
    Matching(
        r"(?!(cpus|mem_mib|disk_mib|timeout_s|image)=)[A-Za-z0-9_.][A-Za-z0-9_.+/@:=-]{0,99}",
        "a label: up to 100 letters, digits and `_.+/@:=-`, and none that names an override, such as cpus=2",
    ),
]
Command = Annotated[str, Field(max_length=64 << 10), Matching(r"[^\x00]*[^\s\x00][^\x00]*", "a command for /bin/sh")]
EnvName = Annotated[
    str,
    Matching(
        r"(?!MESOS_|BUTLERY_)[A-Za-z_][A-Za-z0-9_]{0,254}",
        "letters, digits and `_`, not beginning with a digit, nor with MESOS_ or BUTLERY_, which the cluster sets",
    ),
]
EnvValue = Annotated[str, Field(max_length=64 << 10), Matching(r"[^\x00]*", "text without NUL")]
Argument = Annotated[str, Matching(r"[^\x00-\x1f\x7f]{1,4096}", "1 to 4096 characters of one line")]
Path = Annotated[
    str,
    Matching(
        r"(?!(.*/)?\.\.(/|$))[^\x00-\x1f\x7f:]{1,4095}", "a path without `..` and colons, as the container sees it"
    ),
]
Source = Annotated[
    str,
    Matching(
        r"/[^\x00-\x1f\x7f:]{0,4094}|[A-Za-z0-9][A-Za-z0-9_.-]{0,99}",
        "an absolute path of the hosts, or the name of a volume of their Docker engine",
    ),
]
User = Annotated[
    str,
    Matching(
        r"(?!(root|0+)(:|$))[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,62})?",
        "USER, UID or UID:GID, and not root",
    ),
]
Tunnel = Annotated[
    str, Matching(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])?:[0-9]{0,5}", "HOST:PORT, HOST: or :PORT")
]
ContainerName = Annotated[str, Matching(r"(?!.*\.log$)(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "a name such as db")]
Pattern = Annotated[
    str,
    Matching(
        r"[A-Za-z0-9*][A-Za-z0-9._:/@*-]{0,254}",
        "an image's name with * for any characters but `/`, and ** for any, such as maven:*",
    ),
]
Labels = Annotated[list[Atom], Field(max_length=100), AfterValidator(different)]


class VolumeSettings(DocumentModel):
    """What of a host a container sees."""

    path: Path = Field(
        description="Where the container sees it; a relative one is below the workspace, as all are without an image."
    )
    source: Source | None = Field(
        default=None, description="Directory of the host, or the name of a volume of its Docker engine."
    )
    read_only: bool = Field(default=False, description="Whether it may only be read.")
    remove: bool = Field(default=False, description="Takes away what was inherited under this path.")

    @model_validator(mode="after")
    def _whole(self) -> VolumeSettings:
        if self.source is None:
            raise ValueError("source is missing: a directory of the host, or a volume of its Docker engine")
        return self


class ReadySettings(DocumentModel):
    """When a container counts as started: one of ``command`` and ``port``."""

    command: Command | None = Field(default=None, description="Run in it by its /bin/sh; ready with exit code 0.")
    port: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        default=None, description="Ready once it takes connections there."
    )
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=60, description="Then the agent ends, and says that this container did not get ready."
    )

    @model_validator(mode="after")
    def _one(self) -> ReadySettings:
        if (self.command is None) is (self.port is None):
            raise ValueError("give exactly one of command and port")
        return self


class ContainerSettings(DocumentModel):
    """One more container of an agent, such as a database: starts before it, ends with it, on the same host."""

    name: ContainerName = Field(description="By which its log is read.")
    image: Image | None = Field(default=None, description="Docker image; ``null``: on the host's own file system.")
    command: Command | None = Field(default=None, description="For its /bin/sh; by default what the image starts.")
    cpus: Cpus = Field(default=0.1, description="CPUs, to a thousandth.")
    mem_mib: MemMib = Field(default=128, description="Memory; there is no swap beyond it.")
    disk_mib: DiskMib = Field(default=0, description="Disk; 0 asks for none and limits none.")
    gpus: Gpus = Field(default=0, description="GPUs of the host, whole ones.")
    env: dict[EnvName, EnvValue] = Field(default_factory=dict, max_length=MAX_ENTRIES, description="Its environment.")
    volumes: list[VolumeSettings] = Field(
        default_factory=list, max_length=64, description="As the template's own; inherited by ``path``."
    )
    ready: ReadySettings | None = Field(
        default=None, description="Waited for before the agent starts; by default it need only have been started."
    )
    remove: bool = Field(default=False, description="Takes away what was inherited under this name.")

    @model_validator(mode="after")
    def _whole(self) -> ContainerSettings:
        if self.image is None and self.command is None:
            raise ValueError("give image, command, or both")
        return self

    @property
    def resources(self) -> Resources:
        return Resources(round(self.cpus * 1000), self.mem_mib, self.disk_mib, self.gpus)


class OverrideSettings(DocumentModel):
    """What a job may change of its agent, and how far. What is not here may not be changed."""

    images: list[Pattern] = Field(
        default_factory=list,
        max_length=200,
        description="Images that may be named; ``*`` stands for any characters but ``/``, ``**`` for any.",
    )
    cpus_max: Cpus | None = Field(default=None, description="Most CPUs.")
    mem_mib_max: MemMib | None = Field(default=None, description="Most memory.")
    disk_mib_max: DiskMib | None = Field(default=None, description="Most disk.")
    timeout_s_max: TimeoutS | None = Field(default=None, description="Longest run.")


class TemplateSettings(DocumentModel):
    """What an agent of a label is made of, where the job does not say."""

    inherit_from: Annotated[list[Name], Field(max_length=20), AfterValidator(different)] = Field(
        default_factory=list,
        description="Template, or list of templates, whose keys it has where it gives none of its own.",
    )
    abstract: bool = Field(default=False, description="Only to inherit from: serves no label. Not inherited.")
    labels: Labels | None = Field(
        default=None, description="Labels of its agents; by default the template's name. Not inherited."
    )
    default: bool = Field(
        default=False, description="Whether it serves builds that name no label; of one template. Not inherited."
    )
    tenants: Annotated[list[Name], Field(max_length=10_000), AfterValidator(different)] | None = Field(
        default=None, description="Whom it serves; by default all tenants."
    )
    image: Image | None = Field(default=None, description="Docker image; ``null`` runs on the host's own file system.")
    command: Command | None = Field(
        default=None, description="What is run in place of Jenkins' agent.jar, and is to start an agent."
    )
    java: Argument = Field(default="java", description="The program that agent.jar is run with.")
    jvm_options: list[Argument] = Field(
        default_factory=list, max_length=100, description="Options of that Java, such as ``-Xmx512m``."
    )
    cpus: Cpus = Field(default=1.0, description="CPUs, to a thousandth.")
    mem_mib: MemMib = Field(default=1024, description="Memory; there is no swap beyond it.")
    disk_mib: DiskMib = Field(default=0, description="Disk; 0 asks for none and limits none.")
    gpus: Gpus = Field(default=0, description="GPUs of the host, whole ones.")
    env: dict[EnvName, EnvValue] = Field(
        default_factory=dict, max_length=MAX_ENTRIES, description="Environment of its builds; seen by all tenants."
    )
    volumes: list[VolumeSettings] = Field(
        default_factory=list, max_length=64, description="What of the host its builds see; inherited by ``path``."
    )
    user: User | None = Field(
        default=None, description="User in the image; by default one of ``agents.uids``, another for each build."
    )
    network: Text | None = Field(default=None, description="Docker network; by default ``agents.docker_network``.")
    containers: list[ContainerSettings] = Field(
        default_factory=list, max_length=8, description="More containers of an agent; inherited by ``name``."
    )
    attributes: dict[Name, Text] = Field(
        default_factory=dict, description="Attributes a host must have, with these values."
    )
    constraints: list[ConstraintParts] = Field(
        default_factory=list,
        description="Which hosts may be taken, ``[FIELD, OPERATOR, VALUE]`` each as Marathon has them; a job's own "
        "come on top.",
    )
    reserved: Literal["last", "first", "only", "never"] = Field(
        default="last",
        description="How what is reserved for the Mesos role is used beside what is free to all. ``last`` keeps what "
        "is guaranteed for as long as there is something else; ``first`` leaves to others what they can use.",
    )
    preemptible: bool = Field(
        default=False,
        description="Whether builds may be ended, and tried again, to make room for a tenant below its fair share.",
    )
    mesos_executor: Literal["own", "shared"] = Field(
        default="own",
        description="``shared``: builds run in one Mesos executor a host, which saves short ones its start. Limits "
        "hold for each build either way.",
    )
    timeout_s: TimeoutS = Field(
        default=3600, description="Longest run; then the build is ended with class ``timeout``."
    )
    connect_timeout_s: Annotated[float, Field(ge=1, le=3600)] = Field(
        default=120, description="Longest that an agent may take from its start until it is online in Jenkins."
    )
    lifetime: Literal["one_shot", "pooled"] = Field(
        default="one_shot",
        description="``one_shot``: an agent serves one build. ``pooled``: builds of one tenant, one after the other.",
    )
    idle_min: Annotated[float, Field(ge=0, le=7 * 24 * 60)] = Field(
        default=5, description="Minutes without a build after which a pooled agent ends."
    )
    spares: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="Agents kept ready beside those in use, for whichever tenant is next. Not inherited."
    )
    max_agents: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Most agents at once; by default as many as the hosts hold."
    )
    max_agents_per_tenant: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Most agents of one tenant at once; by default its quota alone says."
    )
    overrides: OverrideSettings = Field(
        default_factory=OverrideSettings, description="What a job may change; by default nothing."
    )
    web_socket: bool = Field(
        default=True, description="Whether agents come by WebSocket, at the master's own address; else by TCP."
    )
    tunnel: Tunnel | None = Field(default=None, description="Where agents by TCP go in place of what Jenkins tells.")
    retries: Annotated[int, Field(ge=0, le=5)] = Field(
        default=2, description="Agents more after losses that were none of the build's doing."
    )
    resubmit: bool = Field(
        default=True, description="Whether a build that lost its agent is built again, where Jenkins does not itself."
    )
    keep_failed_h: Annotated[float, Field(ge=0, le=24 * 30)] = Field(
        default=24, description="Hours that the sandbox of an agent that failed is kept."
    )

    @field_validator("inherit_from", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole(self) -> TemplateSettings:
        if self.web_socket and self.tunnel is not None:
            raise ValueError("tunnel is of agents that come by TCP: set web_socket: false too")
        if self.abstract and (self.labels or self.default or self.spares):
            raise ValueError("abstract serves nobody: labels, default and spares are of no use, and not inherited")
        if self.spares and self.lifetime == "pooled":
            raise ValueError("spares serve any tenant, pooled agents one: give one of spares and lifetime: pooled")
        if (self.user or self.network) and self.image is None and not self.overrides.images:
            raise ValueError("user and network are of an image's container: give image too")
        for name in ("cpus", "mem_mib", "disk_mib", "timeout_s"):
            most = getattr(self.overrides, f"{name}_max")
            if most is not None and most < getattr(self, name):
                raise ValueError(f"overrides.{name}_max is less than the template's own {name}")
        return self

    @property
    def resources(self) -> Resources:
        """Of the container that builds."""
        return Resources(round(self.cpus * 1000), self.mem_mib, self.disk_mib, self.gpus)
