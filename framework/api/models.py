"""What the API takes: each field checked by itself, every fault told at once."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, WithJsonSchema

from agents.spec import GitSource
from framework.api import checks
from framework.api.faults import faults_of
from framework.catalog.matching import Catalog, Chosen, NoTemplate
from framework.catalog.model import ContainerSettings, TemplateSettings
from framework.catalog.parts import build_spec, core_template
from framework.catalog.repository import RepositoryFile
from framework.core import labels
from framework.core.ids import TenantName
from framework.core.pieces import ReservedUse
from framework.core.resources import Resources
from framework.core.templates import Neighbour, Template
from framework.errors import Fault, InputError
from framework.ports import Submission
from framework.setting_types import ConstraintParts, Role

DEFAULT_GRACE_S = 10.0
DEFAULT_RETRIES = 2
MAX_GRACE_S = 600.0
"""A build that needs longer to end holds its host's resources from others; Docker's own default is 10 s."""
JENKINSFILE_VARIABLES = ("JENKINSFILE", "JENKINSFILE_PARAMETERS")
"""Tell the command that runs a Jenkinsfile where it and its parameters are."""
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
Jenkinsfile = Annotated[str, *_text(checks.jenkinsfile, None, checks.COMMAND_MAX_BYTES)]
JenkinsfilePath = Annotated[str, *_text(checks.repository_path, None, 1000)]
ParameterName = Annotated[str, *_text(checks.parameter_name, None, checks.ENV_NAME_MAX_CHARS)]
ParameterValue = Annotated[str, *_text(checks.parameter_value)]
Image = Annotated[str, *_text(checks.image, checks.IMAGE_PATTERN)]
AttributeValue = Annotated[str, *_text(checks.attribute_value, None, 255)]
Artifact = Annotated[str, *_text(checks.artifact, None, 1000)]
Label = Annotated[str, Field(min_length=1, max_length=labels.MAX_CHARS)]
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
    """A build to run. Exactly one of `command`, `script`, `jenkinsfile` and `jenkinsfile_path` is given."""

    tenant: Name | None = Field(None, description="For whom; a tenant's own token implies it.")
    name: Name = Field(description="The job's name; several builds may have the same.")
    command: Command | None = Field(None, description="One line for /bin/sh.")
    script: Script | None = Field(None, description="Lines for /bin/sh, or for the interpreter its `#!` line names.")
    jenkinsfile: Jenkinsfile | None = Field(
        None, description="A Jenkinsfile, which the command of the settings (`serverless.command`) runs."
    )
    jenkinsfile_path: JenkinsfilePath | None = Field(
        None, description="Path of a Jenkinsfile in the repository of `git`, which is run as `jenkinsfile` is."
    )
    parameters: dict[ParameterName, ParameterValue] = Field(
        default_factory=dict, max_length=MAX_ENTRIES, repr=False, description="Of the Jenkinsfile."
    )
    overrides: RepositoryFile | None = Field(
        None, description="What the repository's `.butlery.yaml` asks for, within the bounds of the label's template."
    )
    image: Image | None = Field(None, description="Docker image; by default the label's, else the host's file system.")
    label: Label | None = Field(
        None,
        description="Label expression, as of Jenkins, that a template serves; what the job says itself goes before it.",
    )
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


def take_job(
    raw: Mapping[str, Any], catalog: Catalog, tenant: TenantName | None, allow_file_urls: bool
) -> tuple[JobIn, Chosen | None]:
    """A job as it was sent, and the template of its label. ``tenant``: whose token it came with, if that says so.

    Raises InputError with every fault, of single fields and of what contradicts itself.
    """
    job, faults = _taken(JobIn, raw, {"allow_file_urls": allow_file_urls})
    faults += _faults_of_what(raw) + _faults_of_containers(raw.get("containers"))
    env, secrets = raw.get("env"), raw.get("secrets")
    if isinstance(env, dict) and isinstance(secrets, dict):
        both = sorted(set(env) & set(secrets))
        faults.extend(
            Fault(f"secrets.{key}", "stands in `env` too; give it once") for key in both if key.isidentifier()
        )
    faults += _faults_of_their_env(raw.get("containers"), secrets)
    chosen = _chosen(raw, catalog, tenant)
    if isinstance(chosen, NoTemplate):
        faults.append(Fault("label", f"cannot be served: {chosen.reason}"))
        raise InputError(faults)
    if job is None or faults:
        raise InputError(faults)
    return job, chosen


def _chosen(raw: Mapping[str, Any], catalog: Catalog, tenant: TenantName | None) -> Chosen | NoTemplate | None:
    label, named = raw.get("label"), raw.get("tenant")
    if not isinstance(label, str) or not 0 < len(label) <= labels.MAX_CHARS:
        return None
    return catalog.match(label, tenant or (TenantName(named) if isinstance(named, str) else None))


def _faults_of_what(raw: Mapping[str, Any]) -> list[Fault]:
    """Of what there is to run."""
    given = [key for key in ("jenkinsfile", "jenkinsfile_path") if raw.get(key) is not None]
    faults = []
    if not given:
        faults += _faults_of_command(raw, "")
        if raw.get("parameters"):
            faults.append(Fault("parameters", "are those of a Jenkinsfile; give one"))
    elif len(given) == 2 or raw.get("command") is not None or raw.get("script") is not None:
        faults.append(Fault(given[0], "give exactly one of `command`, `script`, `jenkinsfile` and `jenkinsfile_path`"))
    for field, name in itertools.product(("env", "secrets"), JENKINSFILE_VARIABLES if given else ()):
        if isinstance(raw.get(field), dict) and name in raw[field]:
            faults.append(Fault(f"{field}.{name}", "is set for the command that runs the Jenkinsfile; drop it"))
    if raw.get("jenkinsfile_path") is not None and raw.get("git") is None:
        faults.append(Fault("jenkinsfile_path", "is a path in the repository of `git`, which is missing"))
    return faults


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
    sound |= {"name": "stand-in", "command": "true", "script": None, "jenkinsfile": None, "jenkinsfile_path": None}
    if wrong_constraints and "constraints" in sound:
        given = enumerate(sound["constraints"])
        sound["constraints"] = [_ANY_HOST if index in wrong_constraints else one for index, one in given]
    return _taken(JobIn, sound, {"allow_file_urls": allow_file_urls})[0]


_ANY_HOST = ["hostname", "LIKE", ".*"]


def template_of(job: JobIn, chosen: Chosen | None) -> Template:
    """What the job asks for, with its template's values where it gave none of its own."""
    made = core_template(
        _settings(job, chosen), "" if chosen is None else chosen.template.name, "" if chosen is None else chosen.version
    )
    return msgspec.structs.replace(
        made,
        resources=made.resources + Resources(ports=job.ports),
        grace_s=job.grace_s,
        labels=job.labels,
        neighbours=(*_neighbours(job.near, near=True), *_neighbours(job.apart, near=False)),
    )


def _settings(job: JobIn, chosen: Chosen | None) -> TemplateSettings:
    """The job as a template: its own, or that of its label with what the job says itself."""
    base = TemplateSettings() if chosen is None else chosen.settings
    given = {name: value for name in _OF_TEMPLATES if (value := getattr(job, name)) is not None}
    names = {one.name for one in job.containers}
    beside = [one for one in base.containers if one.name not in names]
    return base.model_copy(
        update={
            **given,
            "command": job.command or job.script,  # exactly one is given, and not empty
            "attributes": {**base.attributes, **job.attributes},
            "constraints": [*base.constraints, *job.constraints],
            "env": _without(base.env, job.secrets) | job.env,
            "containers": [
                *(one.model_copy(update={"env": _without(one.env, job.secrets)}) for one in beside),
                *map(_container, job.containers),
            ],
        }
    )


_OF_TEMPLATES = (
    "image",
    "cpus",
    "mem_mib",
    "disk_mib",
    "gpus",
    "timeout_s",
    "reserved",
    "preemptible",
    "mesos_executor",
)


def _without(env: Mapping[str, str], secrets: Collection[str]) -> dict[str, str]:
    """What a template says of a name that the job has a secret of is not said."""
    return {name: value for name, value in env.items() if name not in secrets}


def _container(given: ContainerIn) -> ContainerSettings:
    """Checked already."""
    return ContainerSettings.model_construct(
        name=given.name,
        image=given.image,
        command=given.command or given.script,
        cpus=given.cpus,
        mem_mib=given.mem_mib,
        disk_mib=given.disk_mib,
        gpus=given.gpus,
        env=dict(given.env),
    )


def _neighbours(given: list[NeighbourIn], *, near: bool) -> Iterator[Neighbour]:
    return (Neighbour(each.labels, near, each.field) for each in given)


def submission(job: JobIn, tenant: TenantName, chosen: Chosen | None, key: str | None, digest: str) -> Submission:
    """The job as the runtime takes it."""
    spec = build_spec(_settings(job, chosen), tenant, job.name)
    spec.git = GitSource(job.git.url, job.git.ref) if job.git is not None else None
    spec.secrets = dict(job.secrets)
    spec.grace_s = job.grace_s
    spec.artifacts = list(job.artifacts)
    return Submission(
        tenant=tenant,
        job=job.name,
        template=template_of(job, chosen),
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
