"""Routes of jobs: submit, list, show, why, wait, cancel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from framework.api import serverless
from framework.api.answers import JobDetail, JobList, JobOut, WhyOut
from framework.api.auth import Authenticated, Principal
from framework.api.body import read_object
from framework.api.context import Context, Serving
from framework.api.models import Name, digest, sound_part, submission, take_job, template_of
from framework.api.problems import ProblemError, documented, invalid, not_found
from framework.catalog.matching import Chosen
from framework.core import tasks
from framework.core.ids import RequestId, TenantName
from framework.core.tasks import RequestState
from framework.errors import Fault, InputError
from framework.ports import JobQuery

MAX_WAIT_S = 60.0
"""Of one call that waits; under the idle limit of common proxies, and whoever waits longer asks again."""

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_JOB_ID = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_ONE_CONSTRAINT = re.compile(r"constraints\[(\d+)\]")
_NO_TENANT = Fault("tenant", "is missing: the administrator's token does not imply one")


class ListQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    tenant: Name | None = Field(None, description="By default the token's own, or all for the administrator.")
    state: list[RequestState] = Field(default_factory=list, max_length=10)
    job: Name | None = Field(None, description="Only jobs of this name.")
    before: str | None = Field(None, max_length=100, description="Only older ones than this id.")
    limit: int = Field(100, ge=1, le=500)


async def owned(context: Context, principal: Principal, job_id: str) -> tasks.Request:
    """The job, if there is one that this principal may see. Raises ProblemError (404) without telling which it is."""
    found = await context.control.request(RequestId(job_id)) if _JOB_ID.match(job_id) else None
    if found is None or not principal.may_see(found.tenant):
        raise not_found("job")
    return found


@router.post(
    "",
    status_code=201,
    summary="Submit a job",
    responses=documented(400, 401, 403, 408, 409, 413, 415, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobIn"}}},
        }
    },
)
async def submit(
    request: Request,
    principal: Authenticated,
    context: Serving,
    idempotency_key: Annotated[
        str | None,
        Header(description="1 to 255 visible ASCII characters; a repeat answers with the first one's job."),
    ] = None,
) -> JobOut:
    """Taken durably when this answers. Nothing is done where anything is wrong with it."""
    raw = serverless.unfolded(await read_object(request, context.settings.max_body_bytes), context.serverless)
    if idempotency_key is not None and not _KEY.match(idempotency_key):
        raise invalid([Fault("Idempotency-Key", "must be 1 to 255 visible ASCII characters")])
    catalog = context.templates.catalog
    try:
        job, chosen = take_job(raw, catalog, principal.tenant, context.settings.allow_file_urls)
    except InputError as error:
        raise invalid([*error.faults, *_refusals_beside(error.faults, raw, principal, context)]) from error
    tenant = _tenant_of(principal, job.tenant)
    sent = submission(job, tenant, chosen, idempotency_key, digest(job, tenant, context.digest_salt))
    sent = serverless.with_jenkinsfile(sent, job, context.serverless)
    try:
        return JobOut.of(await context.control.submit(sent))
    except InputError as error:
        raise invalid([_in_words_of_the_api(fault) for fault in error.faults]) from error


def _refusals_beside(
    faults: Sequence[Fault], raw: Mapping[str, Any], principal: Principal, context: Context
) -> list[Fault]:
    """What the runtime would refuse in the fields without fault, so that these faults are told in one go too."""
    single = {int(one[1]) for fault in faults if (one := _ONE_CONSTRAINT.match(fault.where))}
    wrong = {_field(fault) for fault in faults if not _ONE_CONSTRAINT.match(fault.where)}
    job = sound_part(raw, wrong, single, context.settings.allow_file_urls)
    if job is None:
        return []
    tenant = principal.tenant or (TenantName(job.tenant) if job.tenant is not None else None)
    found = []
    if tenant is None and "tenant" not in wrong:
        found.append(_NO_TENANT)
    label = context.templates.catalog.match(job.label, tenant) if job.label is not None else None
    template = template_of(job, label if isinstance(label, Chosen) else None)
    found += [_in_words_of_the_api(fault) for fault in context.control.refusals(tenant, template)]
    return [fault for fault in found if fault.where == "tenant" or _field(fault) in raw.keys() - wrong]


def _field(fault: Fault) -> str:
    """The job's own field that the fault is in."""
    return re.split(r"[.\[]", fault.where, maxsplit=1)[0]


def _in_words_of_the_api(fault: Fault) -> Fault:
    """The core names the field in which it counts thousandths of a CPU, the API takes CPUs."""
    return Fault("cpus", fault.message) if fault.where == "cpu_millis" else fault


def _tenant_of(principal: Principal, asked: str | None) -> TenantName:
    if principal.tenant is None:
        if asked is None:
            raise invalid([_NO_TENANT])
        return TenantName(asked)
    if asked is not None and asked != principal.tenant:
        raise ProblemError(403, "forbidden", f"This token is {principal.name}'s and can act for no other tenant.")
    return principal.tenant


def asked(principal: Principal, query: ListQuery) -> JobQuery:
    """A tenant's token asks for its own. Raises ProblemError (403) where it names another."""
    tenant = TenantName(query.tenant) if query.tenant is not None else None
    if principal.tenant is not None:
        tenant = _tenant_of(principal, tenant)
    return JobQuery(
        tenant=tenant,
        states=tuple(state.value for state in query.state),
        job=query.job,
        before=RequestId(query.before) if query.before is not None else None,
        limit=query.limit,
    )


@router.get("", summary="List jobs", responses=documented(401, 403, 422, 503))
async def listing(principal: Authenticated, context: Serving, query: Annotated[ListQuery, Query()]) -> JobList:
    """Newest first."""
    found = await context.control.requests(asked(principal, query))
    last = found[-1].id if len(found) == query.limit else None
    return JobList(jobs=[JobOut.of(one) for one in found], next=last)


@router.get("/{job_id}", summary="Show a job", responses=documented(401, 404, 503))
async def show(job_id: str, principal: Authenticated, context: Serving) -> JobDetail:
    """With what it was asked to do and every attempt at it."""
    found = await owned(context, principal, job_id)
    return JobDetail.with_attempts(
        found, await context.control.spec(found.id), await context.control.attempts(found.id)
    )


@router.get("/{job_id}/why", summary="Why does it wait?", responses=documented(401, 404, 503))
async def why(job_id: str, principal: Authenticated, context: Serving) -> WhyOut:
    """Counts hosts by what turned the job away there."""
    found = await owned(context, principal, job_id)
    return WhyOut.of(found, context.control.why(found.id))


@router.get("/{job_id}/wait", summary="Wait for a job to end", responses=documented(401, 404, 422, 503))
async def wait(
    job_id: str,
    principal: Authenticated,
    context: Serving,
    timeout_s: Annotated[float, Query(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] = 30.0,
) -> JobOut:
    """Answers when it has ended, or as it is after `timeout_s`."""
    found = await owned(context, principal, job_id)
    with context.waiters.one(principal):
        ended = await context.control.wait(found.id, timeout_s)
    if ended is None:
        raise not_found("job")
    return JobOut.of(ended)


async def cancel(job_id: str, principal: Authenticated, context: Serving) -> JobOut:
    """The build gets TERM and, after its grace, KILL. One that has ended is left as it was."""
    found = await owned(context, principal, job_id)
    cancelled = await context.control.cancel(found.id, f"cancelled by {principal.name}")
    if cancelled is None:
        raise not_found("job")
    return JobOut.of(cancelled)


_CANCEL: dict[str, Any] = {"summary": "Cancel a job", "responses": documented(401, 404, 503), "status_code": 202}
router.post("/{job_id}/cancel", name="cancel", **_CANCEL)(cancel)
router.delete("/{job_id}", name="delete", **_CANCEL)(cancel)
