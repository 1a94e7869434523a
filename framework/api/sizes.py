"""Routes of what past builds say of sizes and of neighbours."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from framework.api.auth import Authenticated, Principal
from framework.api.context import Context, Serving
from framework.api.models import Name
from framework.api.past import AS_CSV, CSV, JSON, Format, csv_of, wants_csv
from framework.api.problems import documented, invalid, not_found
from framework.api.questions import MOMENT, own_tenant, past, whole_span_ms
from framework.core.ids import TenantName
from framework.setting_types import DAY_S
from framework.telemetry import neighbours, sizing
from framework.telemetry.neighbours import begun
from framework.telemetry.records import BuildRecord
from framework.telemetry_ports import BuildQuery, Dimension, RunsQuery, Stats, StatsQuery

SIZES_MOST = 200
"""Jobs in one answer: each takes a question of its own, of some 10 ms."""
USUAL_D = 30
USUAL_BUILDS = 200
NEIGHBOURS_LOOKED_AT = 5000
NOISY_S = 7 * DAY_S
NOISY_RUNS = 20_000
_HOUR_MS = 3_600_000

router = APIRouter(prefix="/v1/builds", tags=["past builds"])


class Asked(BaseModel):
    """Of what time."""

    model_config = ConfigDict(extra="forbid")

    tenant: Name | None = Field(None, description="By default the token's own, or all for the administrator.")
    since: str | None = Field(None, max_length=64, description=f"Only builds that ended then or later. {MOMENT}")
    until: str | None = Field(None, max_length=64, description="Only builds that ended before; as `since`.")


class SizesQuery(Asked):
    """Of which jobs; without a begin, of the time of `telemetry.sizing.history_d`."""

    job: str | None = Field(None, max_length=256, description="Only this job, named as past builds are.")
    template: str | None = Field(None, max_length=256)
    limit: int = Field(50, ge=1, le=SIZES_MOST, description="Jobs, those with the most builds.")
    format: Format = None


class NoisyQuery(Asked):
    """Without a begin, of the last 7 days."""

    limit: int = Field(20, ge=1, le=1000, description="Jobs.")
    format: Format = None


class SizeOut(BaseModel):
    """What the container that builds should have, for one job with one template."""

    tenant: str
    job: str
    template: str = Field(description="Empty of jobs of the API that name none.")
    builds: int = Field(description="Measured ones that it is made of, at most 300, the newest.")
    ooms: int = Field(description="Of them, those that were killed for want of memory.")
    asked_mem_mib: int = Field(description="By the newest build.")
    asked_cpu_millis: int
    mem_mib: int | None = Field(description="Recommended; null where it cannot be told.")
    cpu_millis: int | None = Field(description="Recommended, as a share; null where it cannot be told.")
    coverage: float = Field(description="Part of the job's builds that it is enough for.")
    confidence: float = Field(description="That it is, of the memory; 0 where it cannot be told.")
    missing: int = Field(description="Measured builds that it takes yet.")
    reason: str
    saves_mem_gib_h: float | None = Field(
        description="GiB times hours that builds of this time would not have held; below 0 where more is needed."
    )
    saves_cpu_h: float | None


class SizeList(BaseModel):
    jobs: list[SizeOut] = Field(description="Those that would save the most memory first.")
    more: bool = Field(description="There are jobs with fewer builds.")
    applied: bool = Field(description="Agents of Jenkins get these sizes, within bounds (`telemetry.sizing.apply`).")


class BesideOut(BaseModel):
    """A build beside another; of other tenants' without names, but for the administrator."""

    build: str
    tenant: str
    job: str
    together_ms: int
    asked_cpu_millis: int
    used_cpu_millis: int | None = Field(description="On average, while it ran; null where nobody measured.")
    above_cpu_millis: int | None = Field(description="Of it, beyond what it asked for.")


class NeighboursOut(BaseModel):
    """Who ran beside a build, of those that have ended, and whether it took longer than its job's builds do."""

    build: str
    host: str
    neighbours: list[BesideOut] = Field(description="First those that used most beyond what they asked for.")
    more: int = Field(description="That are not listed.")
    run_ms: int | None
    usual_ms: float | None = Field(description="Median of its job's other builds; null where there are too few.")
    usual_builds: int
    slower: float | None = Field(description="`run_ms`, of `usual_ms`.")


class NoisyJobOut(BaseModel):
    """A job beside which builds of others take longer, or less long; jobs are compared with themselves."""

    tenant: str
    job: str
    slower: float = Field(description="Times as long.")
    least: float = Field(description="As `slower`, with a confidence of 95 %.")
    most: float
    beside: int = Field(description="Builds that ran beside it.")
    without: int = Field(description="Builds of the same jobs that did not.")
    jobs: int = Field(description="Those jobs.")
    above_cpu_millis: float | None = Field(description="That its builds used beyond what they asked for, on average.")


class NoisyOut(BaseModel):
    """All other tenants' jobs stand as one, without a name, but for the administrator."""

    jobs: list[NoisyJobOut] = Field(description="First those that surely slow others down most.")
    builds: int = Field(description="That were compared.")
    too_few: int = Field(description="Jobs of which nothing can be told: builds ran beside them too seldom, or always.")
    since_ms: int = Field(description="Milliseconds since the epoch. From when on builds were looked at.")
    cut_short: bool = Field(description="There were more builds than can be looked at; the newest were.")


@router.get(
    "/sizes", summary="What size jobs need", response_model=SizeList, responses=documented(401, 403, 422, 503) | AS_CSV
)
async def sizes(
    request: Request, principal: Authenticated, context: Serving, query: Annotated[SizesQuery, Query()]
) -> Response:
    """Memory and CPUs per job from what its builds used, with the confidence that they are enough.

    In JSON or CSV. Agents of Jenkins get them where `telemetry.sizing.apply` is set; jobs name their sizes themselves.
    """
    since_ms, until_ms = _span(query, context.sizing.history_d * DAY_S)
    tenant = own_tenant(principal, query.tenant)
    asked = StatsQuery(
        since_ms=since_ms,
        until_ms=until_ms,
        by=(Dimension.TENANT, Dimension.JOB, Dimension.TEMPLATE),
        tenant=tenant,
        job=query.job,
        template=query.template,
        limit=query.limit,
    )
    as_csv = wants_csv(request, query.format)

    def answered() -> bytes:
        found, more = _sizes(context, asked)
        if as_csv:
            return csv_of([SizeOut.model_fields], (one.values() for one in found))
        return msgspec.json.encode({"jobs": found, "more": more, "applied": context.sizing.apply})

    body = await context.questions.ask(principal, answered)
    return Response(body, media_type=CSV if as_csv else JSON)


@router.get(
    "/noisy",
    summary="Beside which jobs builds take longer",
    response_model=NoisyOut,
    responses=documented(401, 403, 422, 503) | AS_CSV,
)
async def noisy(
    request: Request, principal: Authenticated, context: Serving, query: Annotated[NoisyQuery, Query()]
) -> NoisyOut | Response:
    """Compares how long builds of a job take beside each other job, and without it, in JSON or CSV.

    That they take longer does not say that it is that job's doing.
    """
    since_ms, until_ms = _span(query, NOISY_S)
    sees = own_tenant(principal, query.tenant)
    asked = RunsQuery(since_ms=since_ms, until_ms=until_ms, limit=NOISY_RUNS)

    def answered() -> NoisyOut:
        runs = past(context).runs(asked)
        found = neighbours.noisy(runs, sees)
        cut_short = found.cut_short or len(runs) == NOISY_RUNS
        return NoisyOut(
            jobs=[NoisyJobOut(**msgspec.structs.asdict(one)) for one in found.jobs[: query.limit]],
            builds=found.builds,
            too_few=found.too_few,
            since_ms=max(since_ms, min((run.ended_at_ms for run in runs), default=since_ms)) if cut_short else since_ms,
            cut_short=cut_short,
        )

    found = await context.questions.ask(principal, answered)
    if wants_csv(request, query.format):
        rows = (one.model_dump().values() for one in found.jobs)
        return Response(csv_of([NoisyJobOut.model_fields], rows), media_type=CSV)
    return found


@router.get("/{build_id}/neighbours", summary="Who ran beside a build", responses=documented(401, 404, 503))
async def beside(build_id: str, principal: Authenticated, context: Serving) -> NeighboursOut:
    """Of a build that has ended: which others ran on its host at its time, and whether it took longer than usual."""
    return await context.questions.ask(principal, lambda: _beside(context, principal, build_id))


def _span(query: Asked, default_s: float) -> tuple[int, int]:
    """Raises ProblemError (422)."""
    since_ms, until_ms, faults = whole_span_ms(query.since, query.until, default_s)
    if faults:
        raise invalid(faults)
    return since_ms, until_ms


def _sizes(context: Context, asked: StatsQuery) -> tuple[list[dict[str, Any]], bool]:
    history, aim = past(context), context.sizing.aim
    stats = history.stats(asked)
    found = []
    for group in stats.groups:
        key = group.key
        query = BuildQuery(
            tenant=key["tenant"],
            job=key["job"],
            template=key["template"],
            result_classes=sizing.TELLING,
            since_ms=asked.since_ms,
            until_ms=asked.until_ms,
            limit=sizing.MAX_BUILDS,
        )
        recommended = sizing.recommend(history.builds(query).builds, aim)
        if recommended is not None:
            found.append(msgspec.structs.asdict(recommended) | _savings(recommended, group))
    found.sort(key=lambda one: (-(one["saves_mem_gib_h"] or 0), one["tenant"], one["job"], one["template"]))
    return found, stats.more


def _savings(one: sizing.Recommendation, group: Stats) -> dict[str, float | None]:
    """Of what all builds of the group asked for."""
    mem, cpu = one.mem_mib, one.cpu_millis
    mem_gib_h = group.asked_mem_mib_s / 1024 / 3600
    return {
        "saves_mem_gib_h": None if mem is None else round(mem_gib_h * (1 - mem / max(1, one.asked_mem_mib)), 3),
        "saves_cpu_h": None
        if cpu is None
        else round(group.asked_cpu_ms / _HOUR_MS * (1 - cpu / max(1, one.asked_cpu_millis)), 3),
    }


def _beside(context: Context, principal: Principal, build_id: str) -> NeighboursOut:
    """Raises ProblemError (404)."""
    history = past(context)
    build = history.build(build_id)
    if build is None or not principal.may_see(TenantName(build.tenant)):
        raise not_found("past build")
    begun_ms = begun(build)
    others: list[BuildRecord] = []
    if build.host and begun_ms is not None and begun_ms < build.ended_at_ms:
        asked = RunsQuery(begun_ms, build.ended_at_ms, host=build.host, limit=NEIGHBOURS_LOOKED_AT)
        others = history.runs(asked)
    usual = BuildQuery(
        tenant=build.tenant,
        job=build.job,
        template=build.template,
        result_classes=("passed",),
        since_ms=build.ended_at_ms - USUAL_D * DAY_S * 1000,
        limit=USUAL_BUILDS,
    )
    found = neighbours.beside(build, others, history.builds(usual).builds)
    told = []
    for one in found.neighbours:
        fields = msgspec.structs.asdict(one)
        if not principal.may_see(TenantName(one.tenant)):
            fields |= {"build": "", "tenant": "", "job": ""}
        told.append(BesideOut(**fields))
    return NeighboursOut(
        build=build.id,
        host=build.host,
        neighbours=told,
        more=found.more,
        run_ms=found.run_ms,
        usual_ms=found.usual_ms,
        usual_builds=found.usual_builds,
        slower=found.slower,
    )
