"""What the API takes: each field checked by itself, every fault told at once."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, WithJsonSchema

from agents.shared import RUNNER_MEM_MIB
from agents.spec import BuildSpec, ContainerSpec, GitSource
from framework.api import checks
from framework.api.faults import faults_of
from framework.core import constraints
from framework.core.ids import TenantName
from framework.core.pieces import ReservedUse
from framework.core.resources import GROUP_DISK_MIB, Resources
from framework.core.templates import Container, Neighbour, Template
from framework.errors import Fault, InputError
from framework.ports import Submission
from framework.setting_types import ConstraintParts, Role
from framework.settings import TemplateSettings

DEFAULT_GRACE_S = 10.0
DEFAULT_RETRIES = 2
MAX_GRACE_S = 600.0
"""A build that needs longer to end holds its host's resources from others; Docker's own default is 10 s."""
MAX_ENTRIES = 1000
"""Of env, and of secrets."""

Taken = TypeVar("Taken", bound=BaseModel)


def _text(check: Any, pattern: str | None = None, max_length: int | None = None) -> Any:
    """A text that ``check`` takes; pattern and length go into the OpenAPI document."""
    schema: dict[str, Any] = {"type": "string"}
    if pattern is not None:
        schema["pattern"] = pattern
    if max_length is not None:
        schema |= {"minLength": 1, "maxLength": max_length}
    return (AfterValidator(check), WithJsonSchema(schema))


Name = Annotated[str, *_text(checks.name, checks.NAME_PATTERN, checks.NAME_MAX_CHARS)]
ContainerName = Annotated[str, *_text(checks.container_name, checks.NAME_PATTERN, checks.NAME_MAX_CHARS)]
EnvName = Annotated[str, *_text(checks.env_name, checks.ENV_NAME_PATTERN, checks.ENV_NAME_MAX_CHARS)]
EnvValue = Annotated[str, *_text(checks.env_value)]
SecretValue = Annotated[str, *_text(checks.secret_value)]
Command = Annotated[str, *_text(checks.command, r"^[^\r\n\x00]*$", checks.COMMAND_MAX_BYTES)]
Script = Annotated[str, *_text(checks.script, None, checks.COMMAND_MAX_BYTES)]
Image = Annotated[str, *_text(checks.image, checks.IMAGE_PATTERN)]
AttributeValue = Annotated[str, *_text(checks.attribute_value, None, 255)]
Artifact = Annotated[str, *_text(checks.artifact, None, 1000)]
GitRef = Annotated[str, *_text(checks.git_ref, None, checks.REF_MAX_CHARS)]


def _git_url(text: str, info: ValidationInfo) -> str:
    return checks.git_url(text, allow_file_urls=bool((info.context or {}).get("allow_file_urls")))


GitUrl = Annotated[str, *_text(_git_url, None, checks.URL_MAX_CHARS)]


class Input(BaseModel):
    """Base of what is taken: no unknown fields, no text for numbers, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class GitIn(Input):
    """What to check out into the workspace before the command runs."""

    url: GitUrl = Field(description="https, http, ssh, git or `USER@HOST:PATH`; without credentials.")
    ref: GitRef | None = Field(None, description="Branch, tag or commit; by default the repository's own default.")


class NeighbourIn(Input):
    """Live builds of the same tenant that have all of these labels, and where they are looked for."""

    labels: dict[Name, AttributeValue] = Field(min_length=1, max_length=32)
    field: AttributeValue = Field(
        "hostname", description="On the same host, or on hosts with the same value of another attribute."
    )


class ContainerIn(Input):
    """One more container of the agent. Exactly one of `command` and `script` is given."""

    name: ContainerName = Field(description="By which its log is read.")
    command: Command | None = Field(None, description="One line for /bin/sh.")
    script: Script | None = Field(None, description="Lines for /bin/sh, or for the interpreter its `#!` line names.")
    image: Image | None = Field(None, description="Docker image; by default the host's file system.")
    cpus: Annotated[float, Field(ge=0.01, le=1024)] = Field(0.1, description="CPUs, to a thousandth.")
    mem_mib: Annotated[int, Field(ge=16, le=16 << 20)] = Field(128, description="Memory in MiB; no swap.")
    disk_mib: Annotated[int, Field(ge=0, le=64 << 20)] = Field(0, description="Disk in MiB; 0: no limit.")
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    env: dict[EnvName, EnvValue] = Field(
        default_factory=dict, max_length=MAX_ENTRIES, repr=False, description="Its environment, beside the secrets."
    )


class JobIn(Input):
    """A build to run. Exactly one of `command` and `script` is given."""

    tenant: Name | None = Field(None, description="For whom; a tenant's own token implies it.")
    name: Name = Field(description="The job's name; several builds may have the same.")
    command: Command | None = Field(None, description="One line for /bin/sh.")
    script: Script | None = Field(None, description="Lines for /bin/sh, or for the interpreter its `#!` line names.")
    image: Image | None = Field(None, description="Docker image; by default the label's, else the host's file system.")
    label: Name | None = Field(None, description="Template from the settings; what the job says itself goes before it.")
    git: GitIn | None = Field(None, description="What to check out first.")
    cpus: Annotated[float, Field(ge=0.01, le=1024)] | None = Field(None, description="CPUs, to a thousandth.")
    mem_mib: Annotated[int, Field(ge=16, le=16 << 20)] | None = Field(None, description="Memory in MiB; no swap.")
    disk_mib: Annotated[int, Field(ge=0, le=64 << 20)] | None = Field(None, description="Disk in MiB; 0: no limit.")
    env: dict[EnvName, EnvValue] = Field(
        default_factory=dict, max_length=MAX_ENTRIES, repr=False, description="Environment of the build."
    )
    secrets: dict[EnvName, SecretValue] = Field(
        default_factory=dict,
        max_length=MAX_ENTRIES,
        repr=False,
        description="Environment of the build too, masked in its output and never told again.",
    )
    priority: int = Field(0, ge=-100, le=100, description="Higher goes first among the tenant's own.")
    timeout_s: Annotated[float, Field(ge=1, le=30 * 86_400)] | None = Field(
        None, description="Longest run in seconds; then it ends with class `timeout`."
    )
    grace_s: float = Field(
        DEFAULT_GRACE_S, ge=0, le=MAX_GRACE_S, description="Seconds between TERM and KILL when it is ended."
    )
    artifacts: list[Artifact] = Field(
        default_factory=list, max_length=100, description="Globs below the workspace of files to keep."
    )
    retries: int = Field(
        DEFAULT_RETRIES, ge=0, le=5, description="Attempts more after losses that were none of the build's doing."
    )
    attributes: dict[Name, AttributeValue] = Field(
        default_factory=dict, max_length=32, description="Attributes that the host must have, with these values."
    )
    gpus: Annotated[int, Field(ge=0, le=64)] | None = Field(None, description="GPUs of the host, whole ones.")
    ports: Annotated[int, Field(ge=0, le=100)] = Field(
        0, description="How many ports of the host the build gets for its own, told it as PORT0, PORT1, ..."
    )
    constraints: list[ConstraintParts] = Field(
        default_factory=list,
        max_length=32,
        description="`[FIELD, OPERATOR, VALUE]` each, as Marathon has them: CLUSTER, UNIQUE, GROUP_BY, MAX_PER, LIKE, "
        "UNLIKE, IS; counted among live builds of the same tenant and name.",
    )
    labels: dict[Name, AttributeValue] = Field(
        default_factory=dict, max_length=32, description="By which `near` and `apart` of other builds name this one."
    )
    near: list[NeighbourIn] = Field(
        default_factory=list, max_length=8, description="Only where a build with these labels runs."
    )
    apart: list[NeighbourIn] = Field(
        default_factory=list, max_length=8, description="Only where no build with these labels runs."
    )
    reserved: ReservedUse | None = Field(
        None, description="How what is reserved for the Mesos role is used, beside what is free to all.", strict=False
    )
    preemptible: bool | None = Field(
        None, description="May be ended, and tried again, to make room for a tenant below its fair share."
    )
    mesos_executor: Literal["own", "shared"] | None = Field(
        None,
        description="`shared` starts short builds faster: in one Mesos executor a host. Limits hold either way. "
        "An agent with `containers` always has one of its own.",
    )
    containers: list[ContainerIn] = Field(
        default_factory=list,
        max_length=8,
        description="More containers of the agent, such as a database: placed on one host with the build, all or none; "
        "they start before it and end with it.",
    )


class QuotaIn(Input):
    """The most a tenant may use at once; what is left out has no limit."""

    cpus: Annotated[float, Field(ge=0.01, le=1_000_000)] | None = None
    mem_mib: Annotated[int, Field(ge=1, le=1 << 40)] | None = None
    builds: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class TenantIn(Input):
    """A tenant's settings, all of them: what is left out takes its default."""

    weight: int = Field(100, ge=1, le=10_000, description="Share relative to other tenants with demand.")
    quota: QuotaIn = Field(default_factory=lambda: QuotaIn(cpus=None, mem_mib=None, builds=None))
    role: Role | None = Field(None, description="The Mesos role whose offers its builds take; by default any of ours.")
    new_token: bool = Field(False, description="Draw a new token; the old one ends at once.")


def take(model: type[Taken], raw: Mapping[str, Any], context: Mapping[str, Any] | None = None) -> Taken:
    """``raw`` as ``model``. Raises InputError with every fault."""
    taken, faults = _taken(model, raw, context or {})
    if taken is None or faults:
        raise InputError(faults)
    return taken


def _taken(model: type[Taken], raw: Mapping[str, Any], context: Mapping[str, Any]) -> tuple[Taken | None, list[Fault]]:
    try:
        return model.model_validate(raw, context=dict(context)), []
    except ValidationError as error:
        return None, faults_of(error.errors(include_url=False), known=list(model.model_fields))


def take_job(raw: Mapping[str, Any], templates: Mapping[str, TemplateSettings], allow_file_urls: bool) -> JobIn:
    """A job as it was sent. Raises InputError with every fault, of single fields and of what contradicts itself."""
    job, faults = _taken(JobIn, raw, {"allow_file_urls": allow_file_urls})
    faults += _faults_of_command(raw, "") + _faults_of_containers(raw.get("containers"))
    env, secrets = raw.get("env"), raw.get("secrets")
    if isinstance(env, dict) and isinstance(secrets, dict):
        both = sorted(set(env) & set(secrets))
        faults.extend(
            Fault(f"secrets.{key}", "stands in `env` too; give it once") for key in both if key.isidentifier()
        )
    faults += _faults_of_their_env(raw.get("containers"), secrets)
    label = raw.get("label")
    if isinstance(label, str) and label not in templates:
        faults.append(Fault("label", f"is not known; {_known_labels(templates)}"))
    if job is None or faults:
        raise InputError(faults)
    return job


def _faults_of_command(raw: Mapping[str, Any], under: str) -> list[Fault]:
    given = [key for key in ("command", "script") if raw.get(key) is not None]
    if len(given) == 1:
        return []
    return [Fault(f"{under}command", "give exactly one of `command` (one line) and `script` (several)")]


def _faults_of_containers(raw: Any) -> list[Fault]:
    """Of what several fields of them say together."""
    found: list[Fault] = []
    names: set[Any] = set()
    for index, one in enumerate(raw if isinstance(raw, list) else ()):
        if isinstance(one, dict):
            found += _faults_of_command(one, f"containers[{index}].")
            name = one.get("name")
            if isinstance(name, str) and name in names:
                found.append(Fault(f"containers[{index}].name", "another container has this name; give each its own"))
            names.add(name if isinstance(name, str) else None)
    return found


def _faults_of_their_env(containers: Any, secrets: Any) -> list[Fault]:
    """Of containers' environments, in which the job's secrets are too."""
    found: list[Fault] = []
    for index, one in enumerate(containers if isinstance(containers, list) else ()):
        env = one.get("env") if isinstance(one, dict) else None
        if isinstance(env, dict) and isinstance(secrets, dict):
            found += [
                Fault(f"containers[{index}].env.{key}", "is one of the job's `secrets`, which it has anyway; drop it")
                for key in sorted(set(env) & set(secrets))
                if key.isidentifier()
            ]
    return found


def sound_part(
    raw: Mapping[str, Any], wrong: Collection[str], wrong_constraints: Collection[int], allow_file_urls: bool
) -> JobIn | None:
    """A job of the fields of ``raw`` that are not ``wrong``, with stand-ins for those that no job is without,

    and for the constraints that are wrong by themselves.
    """
    sound = {key: value for key, value in raw.items() if key in JobIn.model_fields.keys() - wrong}
    sound |= {"name": "stand-in", "command": "true", "script": None}
    if wrong_constraints and "constraints" in sound:
        given = enumerate(sound["constraints"])
        sound["constraints"] = [_ANY_HOST if index in wrong_constraints else one for index, one in given]
    return _taken(JobIn, sound, {"allow_file_urls": allow_file_urls})[0]


_ANY_HOST = ["hostname", "LIKE", ".*"]


def _known_labels(templates: Mapping[str, TemplateSettings]) -> str:
    return f"known are {', '.join(sorted(templates))}" if templates else "the settings have no templates"


def template_of(job: JobIn, templates: Mapping[str, TemplateSettings]) -> Template:
    """What the job asks for, with its label's values where it gave none of its own."""
    base = templates[job.label] if job.label is not None else TemplateSettings()
    own = Resources(
        cpu_millis=round(job.cpus * 1000) if job.cpus is not None else base.cpu_millis,
        mem_mib=job.mem_mib if job.mem_mib is not None else base.mem_mib,
        disk_mib=job.disk_mib if job.disk_mib is not None else base.disk_mib,
        gpus=job.gpus if job.gpus is not None else base.gpus,
        ports=job.ports,
    )
    containers = tuple(_container(one) for one in job.containers)
    shared = (job.mesos_executor or base.mesos_executor) == "shared" and not containers
    return Template(
        resources=sum((one.resources for one in containers), own + _watching(len(containers), shared)),
        image=job.image if job.image is not None else base.image,
        attributes={**base.attributes, **job.attributes},
        timeout_s=job.timeout_s if job.timeout_s is not None else base.timeout_s,
        grace_s=job.grace_s,
        constraints=tuple(constraints.parse(parts) for parts in (*base.constraints, *job.constraints)),
        labels=job.labels,
        neighbours=(*_neighbours(job.near, near=True), *_neighbours(job.apart, near=False)),
        reserved=job.reserved if job.reserved is not None else ReservedUse(base.reserved),
        preemptible=job.preemptible if job.preemptible is not None else base.preemptible,
        shared=shared,
        containers=containers,
    )


def _watching(containers: int, shared: bool) -> Resources:
    """What an agent asks for on top of its containers: memory to watch over them, a group's disk.

    Mesos may hold an executor to the sum of its tasks. Watching over one container is in the executor's own overhead.
    """
    return Resources(mem_mib=RUNNER_MEM_MIB * (containers + shared), disk_mib=GROUP_DISK_MIB if containers else 0)


def _neighbours(given: list[NeighbourIn], *, near: bool) -> Iterator[Neighbour]:
    return (Neighbour(each.labels, near, each.field) for each in given)


def _container(given: ContainerIn) -> Container:
    resources = Resources(round(given.cpus * 1000), given.mem_mib, given.disk_mib, given.gpus)
    return Container(given.name, resources, given.image)


def _container_spec(given: ContainerIn) -> ContainerSpec:
    resources = _container(given).resources
    return ContainerSpec(
        name=given.name,
        command=given.command or given.script or "",
        cpu_millis=resources.cpu_millis,
        mem_mib=resources.mem_mib,
        disk_mib=resources.disk_mib,
        gpus=resources.gpus,
        image=given.image,
        env=dict(given.env),
    )


def submission(
    job: JobIn, tenant: TenantName, templates: Mapping[str, TemplateSettings], key: str | None, digest: str
) -> Submission:
    """The job as the runtime takes it."""
    template = template_of(job, templates)
    resources = template.own_resources - _watching(len(template.containers), template.shared)
    spec = BuildSpec(
        task_id="",
        tenant=tenant,
        job=job.name,
        command=job.command or job.script or "",  # exactly one is given, and not empty
        cpu_millis=resources.cpu_millis,
        mem_mib=resources.mem_mib,
        disk_mib=resources.disk_mib,
        image=template.image,
        git=GitSource(job.git.url, job.git.ref) if job.git is not None else None,
        env=dict(job.env),
        secrets=dict(job.secrets),
        timeout_s=template.timeout_s,
        grace_s=template.grace_s,
        artifacts=list(job.artifacts),
        gpus=resources.gpus,
        containers=[_container_spec(one) for one in job.containers],
    )
    return Submission(
        tenant=tenant,
        job=job.name,
        template=template,
        spec=spec,
        priority=job.priority,
        retries=job.retries,
        idempotency_key=key,
        digest=digest,
    )


def digest(job: JobIn, tenant: TenantName, salt: str) -> str:
    """Tells a repeat from another job under the same key. Salted, since secrets that a person chose go into it."""
    sent = json.dumps([tenant, job.model_dump(mode="json", exclude_unset=True)], sort_keys=True)
    return hmac.new(salt.encode(), sent.encode(), hashlib.sha256).hexdigest()
