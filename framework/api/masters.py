"""Routes of one tenant, and of how its Jenkins master is spoken to."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema
from starlette.responses import Response

from framework.api.answers import TenantOut
from framework.api.auth import Administrator, Authenticated, Principal
from framework.api.body import read_object
from framework.api.context import Context, Serving
from framework.api.models import Input, take
from framework.api.problems import documented, invalid, not_found
from framework.core.ids import TenantName
from framework.errors import InputError
from framework.jenkins_ports import MasterRecord

URL_MAX_CHARS = 2048

router = APIRouter(prefix="/v1", tags=["operations"])


def _url(text: str) -> str:
    """The messages never repeat the text, as it may hold a password."""
    if len(text) > URL_MAX_CHARS or not re.fullmatch(r"[!-~]+", text):
        raise ValueError(f"must be a URL of at most {URL_MAX_CHARS} visible ASCII characters")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # reading the port checks it
    except ValueError:
        raise ValueError("is no URL that can be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user name or password; they have fields of their own")
    if parts.query or parts.fragment:
        raise ValueError("must have no `?` or `#` in it")
    return text.rstrip("/")


_Url = Annotated[str, AfterValidator(_url), WithJsonSchema({"type": "string", "maxLength": URL_MAX_CHARS})]
_Word = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[!-9;-~]+$")]
"""Without ``:``, which ends the user name in HTTP Basic (RFC 7617)."""


class MasterIn(Input):
    """How a tenant's master is to be spoken to; it tells this itself when it has started."""

    url: _Url = Field(description="Of the master as it is reached, with its path prefix.")
    direct_url: _Url | None = Field(
        None, description="Of the process itself, for calls that are to wake and keep awake nobody."
    )
    user: _Word = Field(description="A user of it, who may make nodes and read its queue.")
    api_token: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")] = Field(
        repr=False, description="An API token of that user; told to the administrator alone."
    )
    version: _Word = Field(description="Of its Jenkins.")
    session: _Word = Field(description="Of its process: another one with each start.")


class MasterOut(BaseModel):
    """How a tenant's master is spoken to."""

    url: str
    direct_url: str | None
    user: str
    api_token: str | None = Field(repr=False, description="Null for a tenant; the administrator is told it.")
    version: str
    session: str

    @classmethod
    def of(cls, master: MasterRecord, principal: Principal) -> MasterOut:
        token = master.api_token if principal.tenant is None else None
        return cls(
            url=master.url,
            direct_url=master.direct_url or None,
            user=master.user,
            api_token=token,
            version=master.version,
            session=master.session,
        )


@router.get("/tenants/{name}", summary="Show a tenant", responses=documented(401, 404))
async def tenant(name: str, principal: Authenticated, context: Serving) -> TenantOut:
    """What it uses now and what it waits for; for the tenant itself and the administrator."""
    known = known_tenant(name, principal, context)
    return next(TenantOut.of(use) for use in context.control.tenants() if use.tenant.name == known)


@router.get("/tenants/{name}/master", summary="How a tenant's master is spoken to", responses=documented(401, 404, 503))
async def master(name: str, principal: Authenticated, context: Serving) -> MasterOut:
    """As it told when it last started; for the administrator with its API token."""
    found = await context.control.master(known_tenant(name, principal, context))
    if found is None:
        raise not_found("master")
    return MasterOut.of(found, principal)


@router.put(
    "/tenants/{name}/master",
    summary="Tell how a tenant's master is spoken to",
    status_code=204,
    responses=documented(400, 401, 404, 408, 413, 415, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/MasterIn"}}},
        }
    },
)
async def set_master(name: str, request: Request, principal: Authenticated, context: Serving) -> Response:
    """The master itself does so when it has started, with its tenant's token; a repeat changes nothing."""
    known = known_tenant(name, principal, context)
    raw = await read_object(request, context.settings.max_body_bytes)
    try:
        given = take(MasterIn, raw)
    except InputError as error:
        raise invalid(error.faults) from error
    record = MasterRecord(given.url, given.user, given.api_token, given.version, given.session, given.direct_url or "")
    await context.control.set_master(known, record)
    return Response(status_code=204)


@router.delete(
    "/tenants/{name}/master",
    summary="Forget how a tenant's master is spoken to",
    status_code=204,
    responses=documented(401, 403, 404, 503),
)
async def forget_master(name: str, principal: Administrator, context: Serving) -> Response:
    """For a master that is gone: its agents end, and nothing waits for it any more. The tenant stays."""
    await context.control.set_master(known_tenant(name, principal, context), None)
    return Response(status_code=204)


def known_tenant(name: str, principal: Principal, context: Context) -> TenantName:
    """Raises ProblemError (404) where there is no such tenant, or it is none of theirs."""
    tenant = TenantName(name)
    if not principal.may_see(tenant) or context.control.token_sha256(tenant) is None:  # each has one from its beginning
        raise not_found("tenant")
    return tenant
