"""Routes of what a build wrote: its log, also while it runs, and its artifacts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from framework.api.answers import ArtifactList, ArtifactOut
from framework.api.auth import Authenticated
from framework.api.context import Context, Serving
from framework.api.jobs import MAX_WAIT_S, owned
from framework.api.models import Name
from framework.api.problems import documented, not_found
from framework.core.ids import RequestId
from framework.core.tasks import Request, RequestState, TaskState
from framework.ports import FileChunk

LOG_FILE = "build.log"
CONTAINERS_FOLDER = "containers"
ARTIFACTS_FOLDER = "artifacts"
MAX_LENGTH = 1 << 20
"""Bytes of one answer, so that a slow reader costs a megabyte at most."""
POLL_FIRST_S = 0.1
POLL_LONGEST_S = 1.0
"""Between looks at a growing log: soon at first, since most of a build's output comes in bursts."""

router = APIRouter(prefix="/v1/jobs", tags=["logs and artifacts"])


class LogQuery(BaseModel):
    """Which part of a log."""

    model_config = ConfigDict(extra="forbid")

    offset: int = Field(0, ge=0, le=1 << 50, description="Bytes to leave out at the beginning.")
    length: int = Field(256 << 10, ge=1, le=MAX_LENGTH, description="Bytes at most.")
    attempt: int | None = Field(None, ge=1, le=1000, description="By default the newest.")
    container: Name | None = Field(None, description="One of the job's `containers`; by default the one that builds.")
    follow_s: float = Field(
        0,
        ge=0,
        le=MAX_WAIT_S,
        allow_inf_nan=False,
        description="Where there is nothing past `offset` yet, how long to wait for something.",
    )


class Part(BaseModel):
    """Part of the log of one attempt; attempt 0 is before the first. ``job_ended``: no other attempt follows."""

    attempt: int
    data: bytes
    next_offset: int
    attempt_ended: bool
    job_ended: bool


@router.get(
    "/{job_id}/log",
    summary="Read a job's output",
    response_class=Response,
    responses={
        200: {
            "description": "Part of stdout and stderr, as the build wrote them. Empty with `Butlery-Attempt-Ended: "
            "true` at the end of an attempt; another may follow unless `Butlery-Job-Ended: true`.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "headers": {
                "Butlery-Attempt": {"description": "Whose output it is.", "schema": {"type": "integer"}},
                "Butlery-Next-Offset": {"description": "Where to read on.", "schema": {"type": "integer"}},
                "Butlery-Attempt-Ended": {"description": "true or false.", "schema": {"type": "string"}},
                "Butlery-Job-Ended": {
                    "description": "true where no other attempt follows; or false.",
                    "schema": {"type": "string"},
                },
            },
        },
        **documented(401, 404, 422, 503),
    },
)
async def log(job_id: str, principal: Authenticated, context: Serving, query: Annotated[LogQuery, Query()]) -> Response:
    """Also while the build runs. Give `Butlery-Next-Offset` as `offset` to read on."""
    job = await owned(context, principal, job_id)
    if query.container is not None and query.container not in {one.name for one in job.template.containers}:
        raise not_found("container of this job")
    part = await _part(context, job, query)
    if not part.data and query.follow_s and not part.attempt_ended and not part.job_ended:
        with context.waiters.one(principal):
            part = await _followed(context, job.id, query, part)
    headers = {
        "Butlery-Attempt": str(part.attempt),
        "Butlery-Next-Offset": str(part.next_offset),
        "Butlery-Attempt-Ended": str(part.attempt_ended).lower(),
        "Butlery-Job-Ended": str(part.job_ended).lower(),
    }
    return Response(part.data, media_type="text/plain; charset=utf-8", headers=headers)


async def _followed(context: Context, job_id: RequestId, query: LogQuery, part: Part) -> Part:
    """Looks again until there is something, or ``follow_s`` is over."""
    loop = asyncio.get_running_loop()
    until = loop.time() + query.follow_s
    pause_s = POLL_FIRST_S
    while (left_s := until - loop.time()) > 0:
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, POLL_LONGEST_S)
        job = await context.control.request(job_id)
        if job is None:
            raise not_found("job")
        part = await _part(context, job, query)
        if part.data or part.attempt_ended or part.job_ended:
            break
    return part


async def _part(context: Context, job: Request, query: LogQuery) -> Part:
    """Raises ProblemError (404) where that attempt never was, or has ended and its log is not there."""
    ended = job.state is RequestState.ENDED
    attempt = query.attempt or job.attempt
    if attempt > job.attempt:
        raise not_found("attempt of this job")
    if attempt == 0:
        return Part(attempt=0, data=b"", next_offset=0, attempt_ended=False, job_ended=ended)
    path = LOG_FILE if query.container is None else f"{CONTAINERS_FOLDER}/{query.container}.log"
    try:
        chunk = await context.control.read_file(job.id, path, query.offset, query.length, attempt)
    except FileNotFoundError:
        attempts = await context.control.attempts(job.id)
        if ended or any(one.attempt == attempt and one.state is TaskState.ENDED for one in attempts):
            raise not_found("log: the attempt wrote none, or its host keeps it no longer") from None
        chunk = FileChunk(query.offset, b"", ended=False)
    return Part(
        attempt=attempt,
        data=chunk.data,
        next_offset=query.offset + len(chunk.data),
        attempt_ended=chunk.ended,
        job_ended=ended and attempt == job.attempt,
    )


@router.get("/{job_id}/artifacts", summary="List a job's artifacts", responses=documented(401, 404, 503))
async def artifacts(job_id: str, principal: Authenticated, context: Serving) -> ArtifactList:
    """Of the newest attempt."""
    job = await owned(context, principal, job_id)
    found = await _artifacts(context, job)
    return ArtifactList(artifacts=[ArtifactOut(path=path, size_bytes=size) for path, size in sorted(found.items())])


@router.get(
    "/{job_id}/artifacts/{path:path}",
    summary="Fetch an artifact",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The file.", "content": {"application/octet-stream": {"schema": {"type": "string"}}}},
        **documented(401, 404, 503),
    },
)
async def artifact(job_id: str, path: str, principal: Authenticated, context: Serving) -> Response:
    """As it was when the attempt ended. Only what the list names can be fetched."""
    job = await owned(context, principal, job_id)
    size = (await _artifacts(context, job)).get(path)
    if size is None:
        raise not_found("artifact")
    name = quote(path.rpartition("/")[2], safe="")
    headers = {"Content-Length": str(size), "Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return StreamingResponse(
        _content(context, job, f"{ARTIFACTS_FOLDER}/{path}", size),
        headers=headers,
        media_type="application/octet-stream",
    )


async def _artifacts(context: Context, job: Request) -> dict[str, int]:
    if job.attempt == 0:
        return {}
    try:
        return dict(await context.control.list_artifacts(job.id))
    except FileNotFoundError:
        return {}


async def _content(context: Context, job: Request, path: str, size: int) -> AsyncIterator[bytes]:
    """Exactly ``size`` bytes; what the file has more is left, and where it has less the connection is cut."""
    offset = 0
    while offset < size:
        chunk = await context.control.read_file(job.id, path, offset, min(MAX_LENGTH, size - offset), job.attempt)
        if not chunk.data:
            raise FileNotFoundError(f"an artifact of {job.id} ended at {offset} of {size} bytes")
        offset += len(chunk.data)
        yield chunk.data
