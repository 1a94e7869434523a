"""Errors as the API tells them: problem+json (RFC 9457), with every fault of the request at once."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from framework.api.faults import MAX_FAULTS, faults_of
from framework.errors import ButleryError, Fault, IdempotencyConflictError, InputError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
"""Told with every 503: the runtime saves and reconnects within a second or two where it can at all."""

_log = logging.getLogger(__name__)


class FaultOut(BaseModel):
    """One thing wrong with a request."""

    where: str = Field(description="The field's path, such as `git.url`; empty for the request as a whole.")
    message: str = Field(description="What is wrong, and what would be right.")


class Problem(BaseModel):
    """Why a request was not served (RFC 9457)."""

    type: str = Field(description="`urn:butlery:problem:NAME`; the same for every problem of that kind.")
    title: str = Field(description="The kind of problem, for a person.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="This problem, for a person.")
    instance: str | None = Field(None, description="Reference of an internal error, found in the scheduler's log.")
    faults: list[FaultOut] = Field(default_factory=list, description="Every fault of the request, all at once.")


class ProblemError(ButleryError):
    """Ends a request with a problem. ``name`` is the last part of the problem's type."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.faults = list(faults)
        self.headers = dict(headers or {})

    def response(self, instance: str | None = None) -> JSONResponse:
        shown = self.faults[:MAX_FAULTS]
        if len(shown) < len(self.faults):
            shown.append(Fault("", f"and {len(self.faults) - len(shown)} more faults"))
        problem = Problem(
            type=f"urn:butlery:problem:{self.name}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            instance=instance,
            faults=[FaultOut(where=fault.where, message=fault.message) for fault in shown],
        )
        return JSONResponse(
            problem.model_dump(exclude_none=True), self.status, headers=self.headers, media_type=MEDIA_TYPE
        )


def not_found(what: str) -> ProblemError:
    return ProblemError(404, "not-found", f"There is no such {what}, or this token may not see it.")


def invalid(faults: Sequence[Fault]) -> ProblemError:
    """What was given cannot be taken (422)."""
    count = f"{len(faults)} faults" if len(faults) > 1 else "One fault"
    return ProblemError(422, "input", f"{count}; nothing was done.", faults)


def unavailable(detail: str) -> ProblemError:
    """A retry can help (503)."""
    return ProblemError(503, "unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def problem_of(error: Exception) -> ProblemError | None:
    """The problem that tells of an error raised on purpose; None for one that nobody foresaw."""
    match error:
        case ProblemError():
            return error
        case InputError():
            return invalid(error.faults)
        case RequestValidationError():
            return invalid(faults_of(error.errors(), skip=1))
        case IdempotencyConflictError():
            detail = "This idempotency key came before with another body; draw a new key for another job."
            return ProblemError(409, "idempotency-conflict", detail, [Fault("Idempotency-Key", detail)])
        case ButleryError() if error.retryable:
            return unavailable(str(error))
        case ClientDisconnect():
            return ProblemError(400, "disconnected", "The client went away before its request was whole.")
        case HTTPException():
            return _of_http(error)
        case _:
            return None


def _of_http(error: HTTPException) -> ProblemError:
    """Starlette's own refusals, which its router makes."""
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return ProblemError(404, "not-found", "There is nothing at this path; see /docs.", headers=headers)
        case 405:
            detail = f"This path takes {headers.get('Allow', headers.get('allow', 'another method'))}; see /docs."
            return ProblemError(405, "method", detail, headers=headers)
        case status:
            return ProblemError(status, "refused", str(error.detail), headers=headers)


async def _answer(_request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem is None:  # only an error that is a ButleryError but not retryable comes here
        raise error
    return problem.response()


def install(app: FastAPI) -> None:
    """Makes every error of the app's routes a problem."""
    for kind in (ButleryError, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(kind, _answer)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route can answer with, for its OpenAPI entry."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


class Guard:
    """ASGI middleware around the whole app: an unforeseen error becomes a 500 that says where to look and no more; what

    is still under way when the server has waited for it long enough, before it stops, a 503. Every answer carries
    headers that keep browsers from running what a build wrote.
    """

    HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
    )
    POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = list(message.get("headers", ()))
                given = {name.lower() for name, _ in headers}
                message["headers"] = headers + [pair for pair in (*self.HEADERS, self.POLICY) if pair[0] not in given]
            await send(message)

        try:
            await self._app(scope, receive, send_guarded)
        except asyncio.CancelledError:
            if not started:  # else the server cuts the connection, as below
                stopping = unavailable("This scheduler is stopping; ask another, or this one when it is back.")
                await stopping.response()(scope, receive, send_guarded)
        except Exception:
            if started:
                raise  # too late for an answer: the server cuts the connection, so that nobody takes the part for all
            reference = uuid.uuid4().urn
            _log.exception("internal error while serving %s %r: %s", scope["method"], scope["path"], reference)
            detail = "An internal error; the scheduler's log has it under this reference."
            await ProblemError(500, "internal", detail).response(reference)(scope, receive, send_guarded)
