"""Routes of past builds: lists, statistics, and what builds wait for now."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from framework.api.answers import EPOCH
from framework.api.auth import Authenticated, Principal
from framework.api.context import Context, Serving
from framework.api.models import Name
from framework.api.past import (
    AS_CSV,
    CSV,
    JSON,
    Format,
    PastList,
    StatsList,
    builds_csv,
    builds_json,
    csv_of,
    stats_csv,
    stats_json,
    wants_csv,
)
from framework.api.problems import documented, invalid, unavailable
from framework.api.questions import MOMENT, own_tenant, past, span_ms, whole_span_ms
from framework.core.tasks import FailureClass
from framework.errors import ButleryError, Fault
from framework.setting_types import DAY_S
from framework.telemetry_ports import BuildPage, BuildQuery, Dimension, Order, StatsQuery

JSON_MOST = 1000
"""Builds in one answer: some 1 MB."""
CSV_MOST = 1_000_000
CSV_PAGE = 1000
PAGE_TRIES = 5
PAGE_BACK_OFF_S = 1.0
"""Doubled each time: some 12 s in all, while others ask much, or Elasticsearch is busy."""
STATS_S = 7 * DAY_S
HOURS_MS = 31 * DAY_S * 1000
"""By hour no longer span is told."""
MOST_DIMENSIONS = 3

router = APIRouter(prefix="/v1/builds", tags=["past builds"])


class Filter(BaseModel):
    """Which past builds."""

    model_config = ConfigDict(extra="forbid")

    tenant: Name | None = Field(None, description="By default the token's own, or all for the administrator.")
    job: str | None = Field(None, max_length=256, description="Only builds of this job, named as past builds are.")
    label: str | None = Field(None, max_length=256, description="Only builds that asked for it, as it was written.")
    template: str | None = Field(None, max_length=256)
    since: str | None = Field(None, max_length=64, description=f"Only those that ended then or later. {MOMENT}")
    until: str | None = Field(None, max_length=64, description="Only those that ended before; as `since`.")
    format: Format = None


class PastQuery(Filter):
    host: str | None = Field(None, max_length=256, description="Only builds whose newest attempt was there.")
    result_class: list[FailureClass] = Field(default_factory=list, max_length=20)
    after: str | None = Field(None, max_length=200, description="The `next` of the page before.")
    limit: int | None = Field(
        None,
        ge=1,
        le=CSV_MOST,
        description=f"So many at most. Of JSON 100 by default, and {JSON_MOST} at most; of CSV all, and the answer "
        f"breaks off where there are more than {CSV_MOST}.",
    )


class PastStatsQuery(Filter):
    """Of which builds, by what; without a begin, of the last 7 days."""

    by: list[str] = Field(
        default_factory=list,
        max_length=10,
        description=f"Up to {MOST_DIMENSIONS} of {', '.join(Dimension)}; repeated, or with commas. Hours are told of "
        "31 days at most.",
    )
    order: Order = Field(Order.BUILDS, description="`key` ascends, the others descend; `wait` is the 99th percentile.")
    limit: int = Field(100, ge=1, le=1000, description="Groups.")


class WaitingTenant(BaseModel):
    tenant: str
    waiting: int
    reasons: dict[str, int] = Field(description="Builds, by what they wait for.")


class WaitingOut(BaseModel):
    """What builds wait for, as last sampled."""

    at: float = Field(description=f"{EPOCH} When that was.")
    waiting: int
    reasons: dict[str, int] = Field(description="Builds of all that are told, by what they wait for.")
    tenants: list[WaitingTenant] = Field(description="Those of which any waits, the most first.")


class WaitingQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tenant: Name | None = Field(None, description="By default the token's own, or all for the administrator.")
    format: Format = None


@router.get(
    "/past",
    summary="List past builds",
    response_model=PastList,
    responses=documented(401, 403, 422, 503) | AS_CSV,
)
async def listing(
    request: Request, principal: Authenticated, context: Serving, query: Annotated[PastQuery, Query()]
) -> Response:
    """Builds that have ended, those that ended last first, for as long as they are kept. In JSON or CSV.

    A build is told a second or two after its end. In CSV texts that a spreadsheet would take for a formula begin with
    an apostrophe; an answer that breaks off is not whole.
    """
    as_csv = wants_csv(request, query.format)
    since_ms, until_ms, faults = span_ms(query.since, query.until)
    if not as_csv and query.limit is not None and query.limit > JSON_MOST:
        faults.append(Fault("limit", f"must be at most {JSON_MOST}; CSV has more"))
    if faults:
        raise invalid(faults)
    asked = BuildQuery(
        tenant=own_tenant(principal, query.tenant),
        job=query.job,
        label=query.label,
        template=query.template,
        host=query.host,
        result_classes=tuple(one.value for one in query.result_class),
        since_ms=since_ms,
        until_ms=until_ms,
        after=query.after,
        limit=query.limit or 100,
    )
    if not as_csv:
        return Response(await context.questions.ask(principal, lambda: _page_json(context, asked)), media_type=JSON)
    first = msgspec.structs.replace(asked, limit=min(CSV_PAGE, query.limit or CSV_PAGE))
    page = await context.questions.ask(principal, partial(past(context).builds, first))
    return StreamingResponse(_pages(context, principal, first, page, query.limit), media_type=CSV)


@router.get(
    "/stats",
    summary="Statistics of past builds",
    response_model=StatsList,
    responses=documented(401, 403, 422, 503) | AS_CSV,
)
async def stats(
    request: Request, principal: Authenticated, context: Serving, query: Annotated[PastStatsQuery, Query()]
) -> Response:
    """Waits, runs, results, cost and use of builds that ended in a span of time, by up to three dimensions."""
    since_ms, until_ms, faults = whole_span_ms(query.since, query.until, STATS_S)
    by, more = _dimensions(query.by)
    faults += more
    if Dimension.HOUR in by and until_ms - since_ms > HOURS_MS:
        faults.append(Fault("by", "takes `hour` of 31 days at most; ask by `day`, or for a shorter time"))
    if faults:
        raise invalid(faults)
    asked = StatsQuery(
        since_ms=since_ms,
        until_ms=until_ms,
        by=by,
        tenant=own_tenant(principal, query.tenant),
        job=query.job,
        label=query.label,
        template=query.template,
        order=query.order,
        limit=query.limit,
    )
    as_csv = wants_csv(request, query.format)

    def answered() -> bytes:
        answer = past(context).stats(asked)
        return stats_csv(answer, by) if as_csv else stats_json(answer, since_ms, until_ms)

    return Response(await context.questions.ask(principal, answered), media_type=CSV if as_csv else JSON)


@router.get(
    "/waiting",
    summary="What builds wait for",
    response_model=WaitingOut,
    responses=documented(401, 403, 422, 503) | AS_CSV,
)
async def waiting(
    request: Request, principal: Authenticated, context: Serving, query: Annotated[WaitingQuery, Query()]
) -> WaitingOut | Response:
    """How many builds wait for what, by tenant, as last sampled (``telemetry.sample_every_s``), in JSON or CSV."""
    only = own_tenant(principal, query.tenant)
    use = None if context.telemetry is None else context.telemetry.use
    if use is None:
        raise unavailable("Nothing was sampled yet; ask again later.")
    tenants = [
        WaitingTenant(tenant=one.tenant.name, waiting=one.waiting, reasons=use.reasons.get(one.tenant.name, {}))
        for one in use.tenants
        if one.waiting and only in (None, one.tenant.name)
    ]
    tenants.sort(key=lambda one: (-one.waiting, one.tenant))
    if wants_csv(request, query.format):
        rows = ((one.tenant, reason, count) for one in tenants for reason, count in one.reasons.items())
        return Response(csv_of([("tenant", "reason", "builds")], rows), media_type=CSV)
    together: dict[str, int] = {}
    for one in tenants:
        for reason, count in one.reasons.items():
            together[reason] = together.get(reason, 0) + count
    return WaitingOut(at=use.at, waiting=sum(one.waiting for one in tenants), reasons=together, tenants=tenants)


def _dimensions(asked: list[str]) -> tuple[tuple[Dimension, ...], list[Fault]]:
    names = dict.fromkeys(name.strip() for text in asked for name in text.split(","))
    unknown = [name for name in names if name not in set(Dimension)]
    if unknown:
        return (), [Fault("by", f"must be of {', '.join(Dimension)}, not {unknown[0][:40]!r}")]
    if len(names) > MOST_DIMENSIONS:
        return (), [Fault("by", f"must name at most {MOST_DIMENSIONS} dimensions")]
    return tuple(Dimension(name) for name in names), []


def _page_json(context: Context, asked: BuildQuery) -> bytes:
    page = past(context).builds(asked)
    return builds_json(page.builds, page.next)


async def _pages(
    context: Context, principal: Principal, asked: BuildQuery, page: BuildPage, limit: int | None
) -> AsyncIterator[bytes]:
    """Whatever ends it before its end cuts the connection, so that nobody takes the part for all."""
    yield builds_csv(page.builds, heading=True)
    told = len(page.builds)
    while page.next is not None and (limit is None or told < limit):
        if told >= CSV_MOST:
            raise unavailable(f"There are more than {CSV_MOST} builds; ask for a shorter time.")
        left = CSV_PAGE if limit is None else min(CSV_PAGE, limit - told)
        following = msgspec.structs.replace(asked, after=page.next, limit=left)
        page = await _patiently(context, principal, following)
        yield builds_csv(page.builds, heading=False)
        told += len(page.builds)


async def _patiently(context: Context, principal: Principal, asked: BuildQuery) -> BuildPage:
    """A page that is worth waiting for, as those before it are told already. Raises as ``Questions.ask``."""
    question = partial(past(context).builds, asked)
    for attempt in range(PAGE_TRIES - 1):
        with suppress(ButleryError):  # each may pass: busy, away, too much asked at once
            return await context.questions.ask(principal, question)
        ceiling = PAGE_BACK_OFF_S * 2**attempt
        await asyncio.sleep(random.uniform(ceiling / 2, ceiling))  # noqa: S311 jitter, no secret
    return await context.questions.ask(principal, question)
