"""``/metrics``, for Prometheus. Every scheduler tells its own, standbys too; nothing is passed on."""

from __future__ import annotations

import hmac

from fastapi import APIRouter, Request
from starlette.responses import Response

from framework.api.auth import NO_ONE_SHA256, bearer_token, principal_of
from framework.api.context import Serving
from framework.api.problems import ProblemError, not_found
from framework.telemetry_settings import MetricsSettings
from framework.tokens import token_sha256

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, context: Serving) -> Response:
    """Text for Prometheus, or OpenMetrics where it takes that."""
    scraped = context.metrics
    if scraped is None:
        raise not_found("page")
    _admit(request, scraped.settings)
    body, media_type = await scraped.source.page(request.headers.get("accept", ""))
    return Response(body, media_type=media_type)


def _admit(request: Request, settings: MetricsSettings) -> None:
    """Raises ProblemError: 401, and 403 for a tenant, who may see its own alone."""
    if settings.open:
        return
    own = NO_ONE_SHA256 if settings.token is None else token_sha256(settings.token.get_secret_value())
    if hmac.compare_digest(token_sha256(bearer_token(request) or ""), own):
        return
    if principal_of(request).tenant is not None:
        raise ProblemError(403, "forbidden", "Only the token of telemetry.metrics and the administrator's see metrics.")
