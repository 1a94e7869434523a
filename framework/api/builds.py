"""Routes of builds, those from masters' queues and jobs alike: how each stands, why, and what it waits for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from framework.api.answers import EPOCH, JobDetail, ResultOut, WhyOut
from framework.api.auth import Authenticated, Principal
from framework.api.context import Context, Serving
from framework.api.files import LOG_FILE
from framework.api.jobs import ListQuery, asked
from framework.api.masters import known_tenant
from framework.api.past import ChangeOut, PastBuild, StepOut, steps_of_record, steps_of_request
from framework.api.problems import documented, not_found
from framework.api.questions import past
from framework.catalog.parts import watching
from framework.core.answers import Standing
from framework.core.ids import RequestId, TenantName
from framework.core.jenkins import JenkinsSide
from framework.core.stories import Stage, ending, stage, waited_s
from framework.core.tasks import FailureClass, Request
from framework.core.templates import Template
from framework.errors import ButleryError, UnavailableError
from framework.jenkins_ports import MasterRecord, Unserved
from framework.ports import JobQuery
from framework.telemetry.records import BuildRecord, ChangeRecord

LAST_LINES = 10
LAST_BYTES = 4096
"""Of a log, in which its last lines are looked for."""
ENDED_LOOKED_AT = 500
"""Of a tenant's newest builds, where an item is asked for that waits no more."""
QUEUE_MOST = 500

router = APIRouter(prefix="/v1", tags=["builds"])

_ID = re.compile(r"[A-Za-z0-9._-]{1,100}(\+[1-9]\d{0,8})?\Z")
"""A request's, or that of a build which an agent of a pool served."""


class JenkinsOut(BaseModel):
    """What became of a queue item, its agent and its build in the tenant's Jenkins."""

    item: int | None = Field(description="Number of the queue item; null once its agent has none.")
    task: str = Field(description="As Jenkins calls what is built.")
    label: str
    node: str = Field(description="Of the newest attempt; empty before there is one.")
    buildable_at: float = Field(description=EPOCH)
    online_at: float | None = Field(description=f"{EPOCH} Of the newest attempt's agent.")
    accepted_at: float | None = Field(description=f"{EPOCH} When Jenkins gave its agent a build.")
    served_at: float | None = Field(description=EPOCH)
    builds: int = Field(description="Served by its agent.")
    result: str | None = Field(description="Of the newest build on its agent, as Jenkins spells it.")
    url: str | None = Field(description="Of that build, else of what waits; null where the master is not known.")

    @classmethod
    def of(cls, side: JenkinsSide, master: MasterRecord | None) -> JenkinsOut:
        below = side.build_url or side.task_url
        own = {"item", "url"}
        return cls(
            item=None if side.item is None else side.item.number,
            url=None if master is None else f"{master.url.rstrip('/')}/{below.lstrip('/')}",
            **{name: getattr(side, name) for name in cls.model_fields if name not in own},
        )


class SizedOut(BaseModel):
    """That an agent has the size that its job's history says (`telemetry.sizing`), of the container that builds."""

    cpus: float
    mem_mib: int
    template_cpus: float = Field(description="What its template gives.")
    template_mem_mib: int

    @classmethod
    def of(cls, template: Template) -> SizedOut | None:
        sized = template.sized
        if sized is None:
            return None
        own = template.own_resources - watching(len(template.containers), shared=template.shared)
        return cls(
            cpus=own.cpu_millis / 1000,
            mem_mib=own.mem_mib,
            template_cpus=sized.cpu_millis / 1000,
            template_mem_mib=sized.mem_mib,
        )


class BuildOut(BaseModel):
    """A build, wherever it was asked for."""

    id: str
    tenant: str
    name: str
    stage: Stage
    template: str = Field(description="NAME@VERSION in the catalogue; empty where it is of none.")
    sized: SizedOut | None = Field(description="Null of one that has what its template gives, or names its size.")
    host: str = Field(description="The Mesos agent machine of the newest attempt; empty before there is one.")
    attempt: int
    submitted_at: float = Field(description=EPOCH)
    waited_s: float | None = Field(
        description="From when it could be built until its agent was online, or its job ran."
    )
    ended_at: float | None = Field(description=EPOCH)
    jenkins: JenkinsOut | None = Field(description="Null of jobs.")
    result: ResultOut | None = Field(description="Of its agent; null until that has ended.")


class BuildList(BaseModel):
    builds: list[BuildOut] = Field(description="Newest first.")
    next: str | None = Field(description="Give it as `before` to list on; null at the end.")


class BuildDetail(BaseModel):
    """A build: as it stands, where the state has it yet, and as it is told among past builds once it has ended."""

    build: BuildOut | None = Field(description="Null of one that the state has forgotten.")
    job: JobDetail | None = Field(description="What it asks for, and every attempt; null as `build`.")
    steps: list[StepOut] = Field(description="What its newest attempt came to, and how long each step took.")
    past: PastBuild | None = Field(description="Its cost and use among it; null until a second or two after its end.")
    changes: list[ChangeOut] = Field(description="Of its state, of one that has ended, for as long as they are kept.")
    trouble: str = Field(description="Why past builds cannot be asked for now; empty where they were.")


class BuildWhy(BaseModel):
    """Why a build stands as it does, or ended as it did."""

    id: str | None = Field(description="Null of an item that no agent will come for.")
    stage: Stage | None = Field(description="Null of such an item.")
    summary: str = Field(description="All of it in one sentence.")
    for_s: float | None = Field(description="That it is at this stage.")
    why: WhyOut | None = Field(description="Of one that waits for a place.")
    host: str
    sized: SizedOut | None = Field(description="Null of one that has what its template gives, or names its size.")
    attempts: list[str] = Field(description="How each ended that did, the first first.")
    steps: list[StepOut] = Field(description="What its newest attempt came to, and how long each step took.")
    past: PastBuild | None = Field(description="What it waited for most, used and cost; null until after its end.")
    last_lines: list[str] = Field(description="Of the log of one that did not pass, where its host keeps it.")


class QueuedOut(BaseModel):
    """An item of the queue of a tenant's master that has no agent yet."""

    item: int | None
    task: str
    label: str
    id: str | None = Field(description="Of its build; null where no agent will come for it.")
    stage: Stage | None
    for_s: float | None
    why: str


class QueueOut(BaseModel):
    items: list[QueuedOut] = Field(description="First those that no agent will come for; then the oldest.")


class ItemQuery(BaseModel):
    """Which item of a queue."""

    model_config = ConfigDict(extra="forbid")

    item: int = Field(ge=0, le=1 << 53, description="Its number in Jenkins.")


@router.get("/builds", summary="List builds", responses=documented(401, 403, 422, 503))
async def listing(principal: Authenticated, context: Serving, query: Annotated[ListQuery, Query()]) -> BuildList:
    """Of masters' queues and jobs, newest first."""
    found = await context.control.requests(asked(principal, query))
    last = found[-1].id if len(found) == query.limit else None
    return BuildList(builds=await _outs(context, found), next=last)


@router.get("/builds/{build_id}", summary="Show a build", responses=documented(401, 404, 503))
async def show(build_id: str, principal: Authenticated, context: Serving) -> BuildDetail:
    """With what it asks for and every attempt at it."""
    found = await _live(context, principal, build_id)
    history = await _history(context, principal, build_id, found)
    build = job = None
    if found is not None:
        control = context.control
        job = JobDetail.with_attempts(found, await control.spec(found.id), await control.attempts(found.id))
        [build] = await _outs(context, [found])
    return BuildDetail(
        build=build,
        job=job,
        steps=_steps(found, history.record),
        past=PastBuild.of(history.record),
        changes=[ChangeOut.of(one) for one in history.changes],
        trouble=history.trouble,
    )


@router.get("/builds/{build_id}/why", summary="Why does it stand so?", responses=documented(401, 404, 503))
async def why(build_id: str, principal: Authenticated, context: Serving) -> BuildWhy:
    """What it waits for, or how it ended and what its log ends with."""
    found = await _live(context, principal, build_id)
    history = await _history(context, principal, build_id, found)
    return _past_why(history) if found is None else await _why(context, found, history.record)


@router.get("/tenants/{name}/queue", summary="What waits in a master's queue", responses=documented(401, 404, 503))
async def queue(name: str, principal: Authenticated, context: Serving) -> QueueOut:
    """Items that have no agent yet, and why; at most 500 of each kind."""
    tenant = known_tenant(name, principal, context)
    hopeless = [_hopeless(one) for one in list(context.control.unserved(tenant))[:QUEUE_MOST]]
    waiting = [_queued(request, one) for request, one in context.control.queue(tenant, QUEUE_MOST)]
    return QueueOut(items=[*hopeless, *waiting])


@router.get(
    "/tenants/{name}/queue/why",
    summary="Why does an item wait, or did it end so?",
    responses=documented(401, 404, 422, 503),
)
async def why_item(
    name: str, principal: Authenticated, context: Serving, query: Annotated[ItemQuery, Query()]
) -> BuildWhy:
    """Of an item of the master's queue by its number, also where no agent will come for it."""
    tenant = known_tenant(name, principal, context)
    unserved = next((one for one in context.control.unserved(tenant) if one.item.number == query.item), None)
    if unserved is not None:
        return BuildWhy(
            id=None,
            stage=None,
            summary=unserved.reason,
            for_s=None,
            why=None,
            host="",
            sized=None,
            attempts=[],
            steps=[],
            past=None,
            last_lines=[],
        )
    found = context.control.of_item(tenant, query.item) or await _of_past(context, tenant, query.item)
    if found is None:
        raise not_found("item of this queue")
    history = await _history(context, principal, found.id, found)
    return await _why(context, found, history.record)


async def _of_past(context: Context, tenant: TenantName, number: int) -> Request | None:
    for request in await context.control.requests(JobQuery(tenant=tenant, limit=ENDED_LOOKED_AT)):
        side = request.jenkins
        if side is not None and side.item is not None and side.item.number == number:
            return request
    return None


async def _outs(context: Context, requests: Iterable[Request]) -> list[BuildOut]:
    requests = list(requests)
    masters: dict[TenantName, MasterRecord | None] = {}
    for tenant in {request.tenant for request in requests if request.jenkins is not None}:
        masters[tenant] = await context.control.master(tenant)
    return [_out(request, masters.get(request.tenant)) for request in requests]


def _out(request: Request, master: MasterRecord | None) -> BuildOut:
    side = request.jenkins
    return BuildOut(
        id=request.id,
        tenant=request.tenant,
        name=request.job,
        stage=stage(request),
        template=request.template.kind,
        sized=SizedOut.of(request.template),
        host=request.hostname,
        attempt=request.attempt,
        submitted_at=request.submitted_at,
        waited_s=waited_s(request),
        ended_at=request.ended_at,
        jenkins=None if side is None else JenkinsOut.of(side, master),
        result=ResultOut.of(request.outcome),
    )


class _History(NamedTuple):
    """What is told of a build among past ones. ``trouble``: why nothing can be asked now."""

    record: BuildRecord | None = None
    changes: Sequence[ChangeRecord] = ()
    trouble: str = ""


async def _live(context: Context, principal: Principal, build_id: str) -> Request | None:
    """The request that the state has, where this principal may see it."""
    if _ID.match(build_id) is None:
        raise not_found("build")
    found = await context.control.request(RequestId(build_id))
    if found is not None and not principal.may_see(found.tenant):
        raise not_found("build")
    return found


async def _history(context: Context, principal: Principal, build_id: str, found: Request | None) -> _History:
    """Raises ProblemError where the state has not got the build, and there is none, or past ones cannot be asked."""
    if found is not None and (found.outcome is None or context.telemetry is None):
        return _History()
    if context.telemetry is None:
        raise not_found("build")

    def asked() -> _History:
        history = past(context)
        record = history.build(build_id)
        return _History(record, () if record is None else history.changes(build_id.partition("+")[0]))

    try:
        history = await context.questions.ask(principal, asked)
    except ButleryError as error:
        if found is None:
            raise
        return _History(trouble=str(error))
    if found is None and (history.record is None or not principal.may_see(TenantName(history.record.tenant))):
        raise not_found("build")
    return history


def _steps(request: Request | None, record: BuildRecord | None) -> list[StepOut]:
    if request is not None:
        return steps_of_request(request)
    return [] if record is None else steps_of_record(record)


def _past_why(history: _History) -> BuildWhy:
    """Of a build that the state has forgotten."""
    record = history.record
    assert record is not None, "else there is no such build"  # noqa: S101
    ended = [
        f"attempt {one.attempt} on host {one.host or 'none'}: {one.result_class}: {one.message}".removesuffix(": ")
        for one in history.changes
        if one.result_class
    ]
    return BuildWhy(
        id=record.id,
        stage=Stage.ENDED,
        summary=f"{record.result_class}: {record.message}".removesuffix(": "),
        for_s=None,
        why=None,
        host=record.host,
        sized=None,
        attempts=ended,
        steps=steps_of_record(record),
        past=PastBuild.of(record),
        last_lines=[],
    )


async def _why(context: Context, request: Request, record: BuildRecord | None) -> BuildWhy:
    found = context.control.standing(request.id)
    tasks = await context.control.attempts(request.id)
    ended = [
        f"attempt {task.attempt} on host {task.hostname}: {ending(request, task.outcome)}"
        for task in tasks
        if task.outcome is not None
    ]
    return BuildWhy(
        id=request.id,
        stage=stage(request) if found is None else found.stage,
        summary=_summary(request) if found is None else found.summary,
        for_s=None if found is None else found.for_s,
        why=None if found is None or found.why is None else WhyOut.of(request, found.why),
        host=request.hostname,
        sized=SizedOut.of(request.template),
        attempts=ended,
        steps=steps_of_request(request),
        past=PastBuild.of(record),
        last_lines=await _last_lines(context, request),
    )


def _summary(request: Request) -> str:
    return "it is to be looked at" if request.outcome is None else ending(request, request.outcome, request.hostname)


async def _last_lines(context: Context, request: Request) -> list[str]:
    """None of one that passed, or whose host is away or keeps nothing of it any more."""
    outcome = request.outcome
    if outcome is None or outcome.result_class is FailureClass.PASSED or request.attempt == 0:
        return []
    try:
        size = (await context.control.read_file(request.id, LOG_FILE, -1, 0)).offset
        begin = max(0, size - LAST_BYTES)
        chunk = await context.control.read_file(request.id, LOG_FILE, begin, LAST_BYTES)
    except (FileNotFoundError, UnavailableError):
        return []
    lines = chunk.data.decode(errors="replace").splitlines()
    return (lines[1:] if begin and len(lines) > 1 else lines)[-LAST_LINES:]


def _hopeless(one: Unserved) -> QueuedOut:
    return QueuedOut(
        item=one.item.number, task=one.task, label=one.label, id=None, stage=None, for_s=None, why=one.reason
    )


def _queued(request: Request, found: Standing) -> QueuedOut:
    side = request.jenkins
    return QueuedOut(
        item=None if side is None or side.item is None else side.item.number,
        task=request.job if side is None else side.task,
        label="" if side is None else side.label,
        id=request.id,
        stage=found.stage,
        for_s=found.for_s,
        why=found.summary,
    )
