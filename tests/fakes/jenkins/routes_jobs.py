"""Jobs, builds and the queue."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

from tests.fakes.jenkins import kinds_jobs, kinds_nodes, pages
from tests.fakes.jenkins.definitions import DefinitionError
from tests.fakes.jenkins.http import Response
from tests.fakes.jenkins.kinds_jobs import last_build
from tests.fakes.jenkins.labels import atom
from tests.fakes.jenkins.model import Build, Job
from tests.fakes.jenkins.pages import jetty_error
from tests.fakes.jenkins.routing import Call, Routes

routes = Routes()

_UNSAFE = re.compile(r"[?*/\\%!@#$^&|<>\[\]:;]")
_DELAY = re.compile(r"(\d+)\s*(\w*)")
_LINKS: dict[str, Callable[[Job], Build | None]] = {
    "lastBuild": last_build,
    "lastSuccessfulBuild": lambda job: job.newest("SUCCESS", "UNSTABLE"),
}
_UNITS_S = {"": 1, "s": 1, "sec": 1, "secs": 1, "m": 60, "min": 60, "mins": 60, "h": 3600, "hour": 3600, "hours": 3600}


def unsafe(name: str) -> str | None:
    """What is wrong with a name of a job or a node."""
    found = _UNSAFE.search(name)
    if found is not None:
        return f"{found[0]}  is an unsafe character"
    return "No name is specified" if not name.strip() or name in (".", "..") else None


def _job(call: Call, name: str) -> Job | None:
    return call.master.jobs.get(name)


def _build(call: Call, name: str, number: str) -> Build | None:
    job = _job(call, name)
    if job is None:
        return None
    if number in _LINKS:
        return _LINKS[number](job)
    return job.builds.get(int(number)) if number.isdecimal() else None


@routes.post("/createItem")
def create(call: Call) -> Response:
    name = call.request.query.get("name", "")
    fault = unsafe(name)
    if fault is None and name in call.master.jobs:
        fault = f"A job already exists with the name  {name} "
    if fault is not None:
        return call.pages.error(400, fault, told=True)
    return _put(call, name)


def _put(call: Call, name: str) -> Response:
    try:
        call.master.put_job(name, call.request.body.decode("utf-8"))
    except (DefinitionError, UnicodeDecodeError) as error:
        return call.pages.error(500, str(error))
    return pages.nothing()


@routes.any("/job/{name}")
def shown(call: Call, name: str) -> Response:
    job = _job(call, name)
    if job is None:
        return call.not_found()
    builds = "".join(f'<li><a href="{one.number}/consoleText">#{one.number}</a> {one.result or "running"}</li>'
                     for one in reversed(job.builds.values()))  # fmt: skip
    return call.pages.page(name, f"<h1>{html.escape(name)}</h1><ul>{builds}</ul>")


@routes.any("/job/{name}/api/json")
def job_json(call: Call, name: str) -> Response:
    job = _job(call, name)
    return call.shown(kinds_jobs.job_kind(job), job) if job is not None else call.not_found()


@routes.any("/job/{name}/config.xml")
def config(call: Call, name: str) -> Response:
    job = _job(call, name)
    if job is None:
        return call.not_found()
    if call.request.method == "POST":
        return _put(call, name)
    return pages.text('<?xml version="1.1" encoding="UTF-8"?>' + job.config, "application/xml")


@routes.post("/job/{name}/doDelete")
async def delete(call: Call, name: str) -> Response:
    job = _job(call, name)
    if job is None:
        return call.not_found()
    await call.master.delete_job(job)
    return pages.redirect(call.address)


@routes.post("/job/{name}/build")
def build(call: Call, name: str) -> Response:
    job = _job(call, name)
    if job is None:
        return call.not_found()
    if job.definition.parameters:
        return jetty_error(400, "Nothing is submitted", call.request.path)
    return _schedule(call, job, {})


@routes.post("/job/{name}/buildWithParameters")
def build_with(call: Call, name: str) -> Response:
    job = _job(call, name)
    if job is None:
        return call.not_found()
    if not job.definition.parameters:
        return call.pages.error(500, f"{name} is not parameterized")
    form = call.request.form()
    known = {one.name: form.get(one.name, one.default) for one in job.definition.parameters}
    return _schedule(call, job, known)


def _schedule(call: Call, job: Job, parameters: dict[str, str]) -> Response:
    if job.definition.disabled:
        return jetty_error(409, f"{job.name} is not buildable", call.request.path)
    delay = call.request.form().get("delay")
    quiet_s: float | None = None
    if delay is not None:
        found = _DELAY.fullmatch(delay.strip())
        if found is None or found[2] not in _UNITS_S:
            return jetty_error(400, f"Invalid delay: {delay}", call.request.path)
        quiet_s = int(found[1]) * _UNITS_S[found[2]]
    item = call.master.schedule(job, quiet_s, call.caller.user, parameters)
    return pages.redirect(f"{call.address}queue/item/{item.id}/", 201)


@routes.any("/job/{name}/{number}/api/json")
def build_json(call: Call, name: str, number: str) -> Response:
    found = _build(call, name, number)
    return call.shown(kinds_jobs.build_kind(found), found) if found is not None else call.not_found()


@routes.post("/job/{name}/{number}/stop")
def stop(call: Call, name: str, number: str) -> Response:
    found = _build(call, name, number)
    if found is None:
        return call.not_found()
    call.master.stop_build(found, call.caller.user)
    return pages.redirect(call.address + found.job.url)


@routes.any("/job/{name}/{number}/consoleText")
def console_text(call: Call, name: str, number: str) -> Response:
    found = _build(call, name, number)
    return pages.text(_log(call, found, 0)) if found is not None else call.not_found()


@routes.any("/job/{name}/{number}/logText/progressiveText")
def progressive_text(call: Call, name: str, number: str) -> Response:
    found = _build(call, name, number)
    if found is None:
        return call.not_found()
    start = call.request.query.get("start", "0")
    running = found.result is None
    data = _log(call, found, int(start) if start.isdecimal() else 0)
    size = _log_path(call, found).stat().st_size if _log_path(call, found).exists() else 0
    more = [("X-More-Data", "true")] if running else []
    return pages.text(data, headers=[("X-Text-Size", str(size)), *more])


def _log_path(call: Call, found: Build) -> Path:
    return call.master.home.build_directory(found.job.name, found.number) / "log"


def _log(call: Call, found: Build, start: int) -> bytes:
    try:
        with _log_path(call, found).open("rb") as file:
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return b""


@routes.any("/queue/api/json")
def queue(call: Call) -> Response:
    return call.shown(kinds_jobs.QUEUE)


@routes.any("/queue/item/{number}/api/json")
def queue_item(call: Call, number: str) -> Response:
    item = call.master.queue.find(int(number)) if number.isdecimal() else None
    return call.shown(kinds_jobs.item_kind(item), item) if item is not None else call.not_found()


@routes.post("/queue/cancelItem")
def cancel(call: Call) -> Response:
    number = call.request.form().get("id", "")
    gone = number.isdecimal() and call.master.queue.cancel(int(number))
    return Response(204) if gone else call.not_found()


@routes.any("/label/{name}/api/json")
def label(call: Call, name: str) -> Response:
    return call.shown(kinds_nodes.LABEL, atom(name))
