"""Routes of tenants, hosts and the scheduler itself."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

import framework
from framework.api import checks
from framework.api.answers import (
    HealthOut,
    HostList,
    HostOut,
    StatusOut,
    TenantList,
    TenantOut,
    TenantSetOut,
    VersionOut,
    role_of,
)
from framework.api.auth import Administrator, Authenticated
from framework.api.body import read_object
from framework.api.context import Serving
from framework.api.models import TenantIn, take
from framework.api.problems import documented, invalid
from framework.core.ids import TenantName
from framework.core.tasks import Quota, Tenant
from framework.errors import Fault, InputError, UnavailableError

router = APIRouter(prefix="/v1", tags=["operations"])


@router.get("/tenants", summary="List tenants", responses=documented(401))
async def tenants(principal: Authenticated, context: Serving) -> TenantList:
    """All of them for the administrator; a tenant sees itself."""
    seen = [use for use in context.control.tenants() if principal.may_see(use.tenant.name)]
    return TenantList(tenants=[TenantOut.of(use) for use in sorted(seen, key=lambda use: use.tenant.name)])


@router.put(
    "/tenants/{name}",
    summary="Create or change a tenant",
    responses=documented(400, 401, 403, 408, 413, 415, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/TenantIn"}}},
        }
    },
)
async def set_tenant(name: str, request: Request, _: Administrator, context: Serving) -> TenantSetOut:
    """The administrator's alone. A new tenant always gets a token, which is told this once."""
    raw = await read_object(request, context.settings.max_body_bytes)
    faults = []
    try:
        checks.name(name)
    except ValueError as error:
        faults.append(Fault("name", str(error)))
    try:
        given = take(TenantIn, raw)
    except InputError as error:
        raise invalid([*faults, *error.faults]) from error
    if faults:
        raise invalid(faults)
    quota = Quota(
        cpu_millis=None if given.quota.cpus is None else round(given.quota.cpus * 1000),
        mem_mib=given.quota.mem_mib,
        builds=given.quota.builds,
    )
    tenant = Tenant(TenantName(name), given.weight, quota, given.role)
    try:
        return TenantSetOut.of(tenant, await context.control.set_tenant(tenant, given.new_token))
    except InputError as error:
        raise invalid(error.faults) from error


@router.get("/hosts", summary="List hosts", responses=documented(401, 403))
async def hosts(_: Administrator, context: Serving) -> HostList:
    """The Mesos agent machines, for the administrator."""
    return HostList(
        hosts=[HostOut.of(use) for use in sorted(context.control.hosts(), key=lambda use: use.host.hostname)]
    )


@router.get("/status", summary="The scheduler in a few numbers", responses=documented(401, 403))
async def status(_: Administrator, context: Serving) -> StatusOut:
    """For the administrator."""
    notices = list(context.templates.notices)
    if context.telemetry is not None:
        try:
            notices += (await context.telemetry.health()).notices
        except UnavailableError as error:
            notices.append(str(error))
    return StatusOut.of(framework.__version__, context.seat, notices)


@router.get("/version", summary="The scheduler's version", responses=documented(401))
async def version(_: Authenticated) -> VersionOut:
    return VersionOut(version=framework.__version__)


@router.get("/health", summary="Is it well?", responses={503: {"description": "Not well.", "model": HealthOut}})
async def health(context: Serving, response: Response) -> HealthOut:
    """For load balancers: needs no token and tells no more than that."""
    seat = context.seat
    leader = seat.leader
    ok = seat.control.health().connected if seat.leads else leader is not None and leader.url != seat.url
    response.status_code = 200 if ok else 503
    return HealthOut(ok=ok, role=role_of(seat))
