"""The API as one ASGI application."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.responses import HTMLResponse, JSONResponse

import framework
from framework.api import (
    builds,
    demand,
    files,
    history,
    jobs,
    leadership,
    masters,
    metrics,
    operations,
    problems,
    sizes,
    webhooks,
)
from framework.api import telemetry as telemetry_routes
from framework.api import templates as template_routes
from framework.api.auth import Authenticator
from framework.api.context import Context, Scraped, Waiters
from framework.api.forwarding import Forwarder, Forwarding
from framework.api.hooks import Hooks
from framework.api.masters import MasterIn
from framework.api.models import JobIn, TenantIn
from framework.api.page import STYLE_SHA256, page
from framework.api.questions import Questions
from framework.api.strangers import Strangers
from framework.catalog.matching import Templates
from framework.ports import Seat
from framework.serverless_settings import ServerlessSettings
from framework.settings import ApiSettings
from framework.telemetry_ports import Telemetry
from framework.telemetry_settings import SizingSettings

DESCRIPTION = """\
Builds on Mesos: submit jobs, follow them, ask why they wait.

Every call but /v1/health needs `Authorization: Bearer TOKEN`: a tenant's token sees that tenant's own, the
administrator's sees all. Times are seconds since the epoch, memory and disk MiB. Every error is an
application/problem+json object (RFC 9457) with all faults of the request in `faults`; a 503 can be tried again.
"""


def create_app(
    seat: Seat,
    settings_api: ApiSettings,
    templates: Templates,
    admin_token_sha256: str,
    serverless: ServerlessSettings | None = None,
    hooks: Hooks | None = None,
    telemetry: Telemetry | None = None,
    scraped: Scraped | None = None,
    sizing: SizingSettings | None = None,
) -> FastAPI:
    """The application, ready for a server.

    ``admin_token_sha256`` is the SHA-256 of the administrator's token in hex.
    ``app.state.forwarder`` is to be closed when the server has ended.
    """
    app = FastAPI(
        title="Butlery",
        version=framework.__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # whose settings it would look up in every call
    )
    strangers = Strangers()
    authenticator = app.state.authenticator = Authenticator(seat, admin_token_sha256)
    app.state.context = Context(
        seat,
        settings_api,
        templates,
        admin_token_sha256,
        Waiters(),
        serverless or ServerlessSettings(),
        hooks or Hooks(),
        strangers,
        Questions(),
        telemetry,
        scraped,
        sizing or SizingSettings(),
    )
    app.state.forwarder = Forwarder(
        seat,
        authenticator,
        settings_api.max_body_bytes,
        strangers,
        history_here=telemetry is not None and telemetry.shared,
    )
    problems.install(app)
    for routes in (
        jobs,
        history,
        sizes,
        builds,
        files,
        operations,
        leadership,
        masters,
        metrics,
        telemetry_routes,
        template_routes,
        webhooks,
    ):
        app.include_router(routes.router)
    policy = {
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{STYLE_SHA256}'; frame-ancestors 'none'"
    }

    @cache
    def document() -> dict[str, Any]:
        return _openapi(app)

    @cache
    def rendered() -> str:
        return page(document())

    async def openapi() -> JSONResponse:
        return JSONResponse(document())

    async def docs() -> HTMLResponse:
        return HTMLResponse(rendered(), headers=policy)

    app.add_api_route("/openapi.json", openapi, include_in_schema=False)
    app.add_api_route("/docs", docs, include_in_schema=False)
    app.add_middleware(demand.Door)
    app.add_middleware(Forwarding, forwarder=app.state.forwarder)
    app.add_middleware(problems.Guard)
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the models that routes read themselves (after the token), and so FastAPI does not know of."""
    routes = [*app.routes, *demand.described.routes]
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=routes)
    _, taken = models_json_schema(
        [
            (JobIn, "validation"),
            (MasterIn, "validation"),
            (TenantIn, "validation"),
            (problems.Problem, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(taken["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path in document["paths"].values():
        for operation in path.values():
            # FastAPI's own, put where a route names no 422: then its parameters are texts, and none is refused so.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    return document
