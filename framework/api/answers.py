"""What the API answers: the core's values with units in their names, resources as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, Field

from agents.spec import BuildSpec
from framework.core.answers import HostUse, TenantUse, WhyNot
from framework.core.origin import Origin
from framework.core.pieces import ReservedUse
from framework.core.resources import Resources
from framework.core.tasks import FailureClass, Outcome, Quota, Request, RequestState, Task, Tenant
from framework.core.templates import Constraint, Template
from framework.ports import Seat

Role = Literal["leader", "standby"]

EPOCH = "Seconds since the epoch."


class ResourcesOut(BaseModel):
    cpus: float
    mem_mib: int
    disk_mib: int
    gpus: int
    ports: int = Field(description="How many.")

    @classmethod
    def of(cls, resources: Resources) -> ResourcesOut:
        return cls(
            cpus=resources.cpu_millis / 1000,
            mem_mib=resources.mem_mib,
            disk_mib=resources.disk_mib,
            gpus=resources.gpus,
            ports=resources.ports,
        )


class ResultOut(BaseModel):
    """How a build or one attempt at it ended; null where nobody measured."""

    result_class: FailureClass
    message: str
    exit_code: int | None
    signal: int | None
    wall_s: float | None
    cpu_s: float | None
    peak_mem_mib: float | None
    limit_mem_mib: int | None
    peak_disk_mib: float | None = Field(description="Of its workspace and temporary files.")
    isolation: str | None = Field(description="What held the build to its limits.")
    leftover_processes: int = Field(description="Still alive when the build's own process had ended; killed.")
    artifacts: list[str]

    @classmethod
    def of(cls, outcome: Outcome | None) -> ResultOut | None:
        return None if outcome is None else cls(**{name: getattr(outcome, name) for name in cls.model_fields})


class AttemptOut(BaseModel):
    """One Mesos task that served, or was to serve, the build."""

    attempt: int
    task_id: str
    host: str = Field(description="The Mesos agent machine's name.")
    state: str
    role: str = Field(description="Mesos role of the offers it was launched on.")
    ports: list[int] = Field(description="Of the host, the build's own.")
    launched_at: float = Field(description=EPOCH)
    running_at: float | None = Field(description=EPOCH)
    ended_at: float | None = Field(description=EPOCH)
    result: ResultOut | None

    @classmethod
    def of(cls, task: Task) -> AttemptOut:
        return cls(
            attempt=task.attempt,
            task_id=task.id,
            host=task.hostname,
            state=task.state.value,
            role=task.role,
            ports=task.ports,
            launched_at=task.launched_at,
            running_at=task.running_at,
            ended_at=task.ended_at,
            result=ResultOut.of(task.outcome),
        )


class NeighbourOut(BaseModel):
    labels: dict[str, str]
    field: str


class ContainerOut(BaseModel):
    """One more container of the agent."""

    name: str
    image: str | None
    resources: ResourcesOut


class JobOut(BaseModel):
    """A build that was asked for."""

    id: str
    tenant: str
    name: str
    state: RequestState
    priority: int
    retries: int
    attempt: int = Field(description="Number of the newest attempt; 0 before the first.")
    image: str | None
    resources: ResourcesOut = Field(description="Of all containers of its agent together.")
    attributes: dict[str, str]
    constraints: list[list[str]]
    labels: dict[str, str]
    near: list[NeighbourOut]
    apart: list[NeighbourOut]
    reserved: ReservedUse
    preemptible: bool
    preemptions: int = Field(description="Attempts that made room for another tenant's build.")
    mesos_executor: Literal["own", "shared"]
    containers: list[ContainerOut] = Field(description="Beside the one that builds.")
    timeout_s: float
    grace_s: float
    submitted_at: float = Field(description=EPOCH)
    launched_at: float | None = Field(description=f"{EPOCH} Of the newest attempt.")
    running_at: float | None = Field(description=f"{EPOCH} Of the newest attempt.")
    ended_at: float | None = Field(description=EPOCH)
    cancel_reason: str | None
    result: ResultOut | None = Field(description="Null until it has ended.")

    @classmethod
    def of(cls, request: Request) -> JobOut:
        return cls(**_job_fields(request))


class GitOut(BaseModel):
    url: str
    ref: str | None


class SpecOut(BaseModel):
    """What was submitted. Of secrets only the names, and only until the build has ended."""

    command: str
    git: GitOut | None
    env: dict[str, str]
    secrets: list[str]
    artifacts: list[str]

    @classmethod
    def of(cls, spec: BuildSpec) -> SpecOut:
        return cls(
            command=spec.command,
            git=GitOut(url=spec.git.url, ref=spec.git.ref) if spec.git else None,
            env=spec.env,
            secrets=sorted(spec.secrets),
            artifacts=spec.artifacts,
        )


class OriginOut(BaseModel):
    """The commit that a webhook brought."""

    webhook: str
    repository: str
    commit: str
    branch: str
    delivery: str = Field(description="The forge's own id of its message.")

    @classmethod
    def of(cls, origin: Origin | None) -> OriginOut | None:
        if origin is None:
            return None
        told = {name: getattr(origin, name) for name in cls.model_fields.keys() - {"webhook"}}
        return cls(webhook=origin.hook, **told)


class JobDetail(JobOut):
    """A build, what it was asked to do, and every attempt at it."""

    spec: SpecOut | None
    attempts: list[AttemptOut]
    origin: OriginOut | None = Field(description="Null but for builds of pushes.")

    @classmethod
    def with_attempts(cls, request: Request, spec: BuildSpec | None, tasks: list[Task]) -> JobDetail:
        attempts = [AttemptOut.of(task) for task in tasks]
        return cls(
            **_job_fields(request),
            spec=SpecOut.of(spec) if spec else None,
            attempts=attempts,
            origin=OriginOut.of(request.origin),
        )


class JobList(BaseModel):
    jobs: list[JobOut] = Field(description="Newest first.")
    next: str | None = Field(description="Give it as `before` to list on; null at the end.")


class RefusalOut(BaseModel):
    """What keeps hosts, and offers that are held of them, from a build."""

    group: str = Field(description="`resource`, `constraint`, `host`, `quota`, `breaker` or `other`.")
    reason: str
    hosts: int
    offers: int


class WhyOut(BaseModel):
    """Why a build waits. `turned_away` counts hosts by what turned it away there."""

    id: str
    state: RequestState
    waiting: bool
    summary: str = Field(description="All of it in one sentence.")
    waiting_s: float = 0.0
    ahead: int = Field(default=0, description="Builds that go before it in its own tenant.")
    hosts_looked_at: int = 0
    offers_looked_at: int = 0
    turned_away: dict[str, int] = Field(default_factory=dict)
    blockers: list[str] = Field(
        default_factory=list, description="What holds it before any host is looked at: quota, breaker, back-off."
    )
    refusals: list[RefusalOut] = Field(
        default_factory=list,
        description="Hosts and offers refused, by reason; one may have several. What holds the build refuses all.",
    )

    @classmethod
    def of(cls, request: Request, why: WhyNot | None) -> WhyOut:
        if why is None:
            return cls(id=request.id, state=request.state, waiting=False, summary=_not_waiting(request))
        return cls(
            id=request.id,
            state=request.state,
            waiting=True,
            summary=why.summary,
            waiting_s=why.waiting_s,
            ahead=why.ahead,
            hosts_looked_at=why.hosts_looked_at,
            offers_looked_at=why.offers_looked_at,
            turned_away=why.turned_away,
            blockers=why.blockers,
            refusals=[RefusalOut(**msgspec.structs.asdict(one)) for one in why.refusals],
        )


class ArtifactOut(BaseModel):
    path: str = Field(description="Below the build's workspace.")
    size_bytes: int


class ArtifactList(BaseModel):
    artifacts: list[ArtifactOut]


class QuotaOut(BaseModel):
    """Null where there is no limit."""

    cpus: float | None
    mem_mib: int | None
    builds: int | None

    @classmethod
    def of(cls, quota: Quota) -> QuotaOut:
        cpus = None if quota.cpu_millis is None else quota.cpu_millis / 1000
        return cls(cpus=cpus, mem_mib=quota.mem_mib, builds=quota.builds)


class TenantOut(BaseModel):
    """A tenant, what it uses now and what it waits for."""

    name: str
    weight: int
    quota: QuotaOut
    role: str | None = Field(description="The Mesos role whose offers its builds take; null: any of ours.")
    waiting: int
    launching: int
    running: int
    used: ResourcesOut
    dominant_share: float = Field(description="Of the whole cluster, 0 to 1.")
    fair_share: float = Field(description="What its weight entitles it to among tenants with demand, 0 to 1.")

    @classmethod
    def of(cls, use: TenantUse) -> TenantOut:
        return cls(
            name=use.tenant.name,
            weight=use.tenant.weight,
            quota=QuotaOut.of(use.tenant.quota),
            role=use.tenant.role,
            waiting=use.waiting,
            launching=use.launching,
            running=use.running,
            used=ResourcesOut.of(use.used),
            dominant_share=use.dominant_share,
            fair_share=use.fair_share,
        )


class TenantList(BaseModel):
    tenants: list[TenantOut]


class TenantSetOut(BaseModel):
    """A tenant as it now is."""

    name: str
    weight: int
    quota: QuotaOut
    role: str | None
    token: str | None = Field(description="Where one was drawn; told this once and kept nowhere.")

    @classmethod
    def of(cls, tenant: Tenant, token: str | None) -> TenantSetOut:
        quota = QuotaOut.of(tenant.quota)
        return cls(name=tenant.name, weight=tenant.weight, quota=quota, role=tenant.role, token=token)


class HostOut(BaseModel):
    """A Mesos agent machine, and what our builds take of it."""

    id: str
    hostname: str
    active: bool
    attributes: dict[str, str]
    maintenance_at: float | None = Field(description=f"{EPOCH} When it is to be taken out of service.")
    total: ResourcesOut
    used: ResourcesOut
    offered: ResourcesOut = Field(description="Held by the scheduler now.")
    tasks: int

    @classmethod
    def of(cls, use: HostUse) -> HostOut:
        return cls(
            id=use.host.id,
            hostname=use.host.hostname,
            active=use.host.active,
            attributes=use.host.attributes,
            maintenance_at=use.host.window.start_at if use.host.window is not None else None,
            total=ResourcesOut.of(use.host.total),
            used=ResourcesOut.of(use.used),
            offered=ResourcesOut.of(use.offered),
            tasks=use.tasks,
        )


class HostList(BaseModel):
    hosts: list[HostOut]


class StatusOut(BaseModel):
    """The scheduler in a few numbers."""

    version: str
    role: Role
    leader: str | None = Field(description="Where the scheduler that leads is reached; null where none leads.")
    connected: bool = Field(description="To Mesos; a standby is not.")
    framework_id: str | None
    tenants: int
    waiting: int
    launching: int
    running: int
    hosts: int = Field(description="Known to the leader alone; 0 of a standby.")
    offers_held: int
    suppressed: bool
    draining: bool = Field(description="Nothing new is launched, as the operator wants it.")
    breakers: dict[str, float] = Field(description="Image to seconds until it is tried again.")
    notices: list[str] = Field(description="What an operator should know.")

    @classmethod
    def of(cls, version: str, seat: Seat, notices: Sequence[str]) -> StatusOut:
        """``notices`` beside those of the runtime."""
        health, own = seat.control.health(), {"version", "role", "leader", "notices"}
        named = {name: getattr(health, name) for name in cls.model_fields if name not in own}
        leader = None if seat.leader is None else seat.leader.url
        told = [*health.notices, *notices]
        return cls(version=version, role=role_of(seat), leader=leader, notices=told, **named)


class HealthOut(BaseModel):
    ok: bool = Field(description="Of the leader: whether it is connected to Mesos. Of a standby: whether one leads.")
    role: Role


class VersionOut(BaseModel):
    version: str


def role_of(seat: Seat) -> Role:
    return "leader" if seat.leads else "standby"


def _job_fields(request: Request) -> dict[str, Any]:
    template = request.template
    return {
        "id": request.id,
        "tenant": request.tenant,
        "name": request.job,
        "state": request.state,
        "priority": request.priority,
        "retries": request.retries,
        "attempt": request.attempt,
        "image": template.image,
        "resources": ResourcesOut.of(template.resources),
        "attributes": template.attributes,
        "constraints": [_constraint(each) for each in template.constraints],
        "labels": template.labels,
        "near": _neighbours(template, near=True),
        "apart": _neighbours(template, near=False),
        "reserved": template.reserved,
        "preemptible": template.preemptible,
        "preemptions": request.preemptions,
        "mesos_executor": "shared" if template.shared else "own",
        "containers": [
            ContainerOut(name=one.name, image=one.image, resources=ResourcesOut.of(one.resources))
            for one in template.containers
        ],
        "timeout_s": template.timeout_s,
        "grace_s": template.grace_s,
        "submitted_at": request.submitted_at,
        "launched_at": request.launched_at,
        "running_at": request.running_at,
        "ended_at": request.ended_at,
        "cancel_reason": request.cancel_reason,
        "result": ResultOut.of(request.outcome),
    }


def _constraint(constraint: Constraint) -> list[str]:
    parts = [constraint.field, constraint.operator.value]
    return [*parts, constraint.value] if constraint.value else parts


def _neighbours(template: Template, *, near: bool) -> list[NeighbourOut]:
    return [NeighbourOut(labels=each.labels, field=each.field) for each in template.neighbours if each.near is near]


def _not_waiting(request: Request) -> str:
    match request.state:
        case RequestState.ENDED if request.outcome is not None:
            outcome = request.outcome
            return f"It does not wait: it ended as {outcome.result_class.value}" + (
                f" ({outcome.message})." if outcome.message else "."
            )
        case RequestState.WAITING:
            return "It waits, and has not been looked at yet."
        case state:
            return f"It does not wait: it is {state.value}."
