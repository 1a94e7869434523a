"""The route by which a tenant's master tells of its queue and of the builds on our agents."""

from __future__ import annotations

import math
from typing import get_args

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from framework.api.auth import Authenticated, principal_of
from framework.api.body import read_body
from framework.api.context import Serving
from framework.api.problems import ProblemError, documented, invalid, problem_of
from framework.errors import Fault
from framework.jenkins_ports import DemandEvent, DemandRecord, RateLimitedError

PATH = "/v1/demand"
MEDIA_TYPE = "application/x-ndjson"
MAX_LINES = 2000
"""Of one body, four times what the init script sends; they are taken in one go, while nobody else is served."""

described = APIRouter(prefix="/v1", tags=["masters"])
"""For the OpenAPI document alone: ``Door`` answers."""


class ItemOut(BaseModel):
    """An item of a Jenkins' queue."""

    number: int
    since_ms: int = Field(description="Jenkins' `inQueueSince`.")


class UnservedOut(BaseModel):
    """An item that no agent will come for, as things are."""

    item: ItemOut
    task: str
    label: str
    reason: str = Field(description="For whoever waits for the build.")


class DemandOut(BaseModel):
    """What became of the lines that were sent."""

    taken: int = Field(description="Lines that were new.")
    unserved: list[UnservedOut] = Field(description="Items that the queue should show a reason for.")
    skipped: int = Field(description="Lines with an `event` that is not known here, as of a newer script.")


class _Kind(msgspec.Struct):
    event: str


_records = msgspec.json.Decoder(DemandRecord)
_kind = msgspec.json.Decoder(_Kind)
_KNOWN = frozenset(get_args(DemandEvent))


@described.post(
    "/demand",
    summary="Tell of a master's queue",
    response_model=DemandOut,
    responses=documented(400, 401, 403, 408, 413, 415, 422, 429, 503),
    openapi_extra={"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
)
async def demand(request: Request, principal: Authenticated, context: Serving) -> Response:
    """Lines of JSON, one event each, in order, from the init script of the tenant's master, with the tenant's token.

    Taken durably when this answers; where a line is wrong, none is. What came before changes nothing.
    """
    if principal.tenant is None:
        detail = "Events are a tenant's own: its master sends them with the tenant's token."
        raise ProblemError(403, "forbidden", detail)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != MEDIA_TYPE:
        detail = f"The body must be lines of JSON, sent with `Content-Type: {MEDIA_TYPE}`."
        raise ProblemError(415, "media-type", detail)
    body = await read_body(request, context.settings.max_body_bytes)
    records, skipped = _decoded(body)
    try:
        answer = await context.control.demand(principal.tenant, records)
    except RateLimitedError as error:
        headers = {"Retry-After": str(math.ceil(error.retry_after_s))}
        raise ProblemError(429, "rate-limited", f"{principal.name} sends {error}", headers=headers) from None
    return Response(
        msgspec.json.encode(msgspec.structs.replace(answer, skipped=skipped)), media_type="application/json"
    )


async def _answer(request: Request) -> Response:
    if request.method != "POST":
        raise HTTPException(405, headers={"Allow": "POST"})
    return await demand(request, principal_of(request), request.app.state.context)


class Door:
    """ASGI middleware before the routes: the way through FastAPI to one takes longer than to take in the events."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await _answer(request)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                raise
            answer = problem.response()
        await answer(scope, receive, send)


def _decoded(body: bytes) -> tuple[list[DemandRecord], int]:
    """Records in order, and how many lines were left out. Raises ProblemError: 400, 413, 422."""
    if body.count(b"\n") > MAX_LINES:
        raise ProblemError(413, "too-large", f"The body must have at most {MAX_LINES} lines; send the rest after it.")
    try:
        return _records.decode_lines(body), 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _line_by_line(body)


def _line_by_line(body: bytes) -> tuple[list[DemandRecord], int]:
    records: list[DemandRecord] = []
    skipped = 0
    faults: list[Fault] = []
    is_json = True
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            records.append(_records.decode(line))
        except msgspec.ValidationError as error:
            if _is_unknown(line):
                skipped += 1
            else:
                faults.append(Fault(f"line {number}", _told(error)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            is_json = False
            faults.append(Fault(f"line {number}", "is not JSON"))
    if not is_json:
        raise ProblemError(400, "json", "Not every line of the body is JSON; nothing was taken.", faults)
    if faults:
        raise invalid(faults)
    return records, skipped


def _is_unknown(line: bytes) -> bool:
    """Whether it is an event that a newer script may send."""
    try:
        return _kind.decode(line).event not in _KNOWN
    except msgspec.ValidationError:
        return False


def _told(error: msgspec.ValidationError) -> str:
    """What msgspec found, with the field in front; it never repeats a value but for an enumeration's."""
    message, _, where = str(error).partition(" - at `$.")
    return f"{where.rstrip('`')}: {message}" if where else message
