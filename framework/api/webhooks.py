"""Webhooks of forges: a commit that was pushed becomes a job that runs its Jenkinsfile.

Whoever sends has no token; the signature is all that tells who it was. So until that is checked nothing is parsed, and
nothing told.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from framework.api import serverless
from framework.api.body import read_body
from framework.api.context import Context, Serving
from framework.api.hooks import Hook
from framework.api.models import submission, take_job
from framework.api.problems import documented, invalid, unavailable
from framework.api.strangers import address_of
from framework.catalog import repository
from framework.core.ids import RequestId, TenantName
from framework.core.origin import Origin
from framework.errors import ButleryError, Fault, InputError
from framework.forge_ports import Delivery, Pushed
from framework.log import get_logger
from framework.ports import Submission
from framework.serverless_settings import GIT_URLS, WebhookSettings

log = get_logger(__name__)

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

_SKIP = re.compile(r"\[(skip ci|ci skip)\]", re.IGNORECASE)
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_-]+")


class WebhookOut(BaseModel):
    """What became of a message."""

    jobs: list[str] = Field(description="Ids of the builds; of a message that came again, those of the first time.")
    ignored: list[str] = Field(description="Why there is nothing more to build.")


@router.post(
    "/{name}",
    status_code=202,
    summary="Take a forge's message",
    responses=documented(401, 408, 413, 422, 429, 503),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def arrive(name: str, request: Request, context: Serving) -> WebhookOut:
    """Of GitHub, GitLab or Bitbucket Cloud, signed with the webhook's secret. Builds are durably taken when it answers.

    The same message again answers with the same builds.
    """
    async with context.strangers.reading(address_of(request.client)):
        body = await read_body(request, context.settings.max_body_bytes)
    hook = context.hooks.sender(name, request.headers, body)
    context.hooks.count(hook)
    delivery = hook.forge.read(request.headers, body)
    key = f"webhook:{name}:{hashlib.sha256(body).hexdigest()[:40]}"
    return await _build_all(context, hook, delivery, key)


async def _build_all(context: Context, hook: Hook, delivery: Delivery, key: str) -> WebhookOut:
    told = WebhookOut(jobs=[], ignored=[delivery.ignored] if delivery.ignored else [])
    faults: list[Fault] = []
    for number, pushed in enumerate(delivery.pushed):
        if reason := why_not(hook.settings, pushed):
            told.ignored.append(reason)
            continue
        origin = Origin(hook.settings.name, pushed.repository, pushed.commit, pushed.branch, delivery.id)
        try:
            told.jobs.append(await _build(context, hook, pushed, origin, f"{key}:{number}"))
        except InputError as error:
            context.control.refused(origin, f"cannot be built: {error}")
            faults += error.faults
        except ButleryError as error:
            context.control.refused(origin, f"could not be taken: {error}; send the message again")
            raise unavailable(str(error)) from error
    if faults:
        raise invalid(faults)
    return told


async def _build(context: Context, hook: Hook, pushed: Pushed, origin: Origin, key: str) -> RequestId:
    """Raises InputError, and other ButleryErrors where the forge or the state cannot be had."""
    text = await hook.forge.file(pushed.repository, pushed.commit, repository.FILE, repository.MAX_BYTES)
    asked = repository.RepositoryFile() if text is None else repository.read(text)
    sent = _submission(context, hook.settings, pushed, asked, key)
    request = await context.control.submit(msgspec.structs.replace(sent, origin=origin))
    log.info("a push is built", webhook=origin.hook, commit=origin.commit, tenant=request.tenant, request=request.id)
    return request.id


def _submission(
    context: Context, hook: WebhookSettings, pushed: Pushed, asked: repository.RepositoryFile, key: str
) -> Submission:
    tenant = TenantName(hook.tenant)
    raw = {
        "name": _NOT_IN_NAME.sub("-", pushed.repository).strip("-_")[:100] or "build",
        "jenkinsfile_path": hook.jenkinsfile,
        "git": {"url": _git_url(hook, pushed.repository), "ref": pushed.commit},
        "label": hook.label,
        "overrides": asked.model_dump(exclude_defaults=True),
        "env": _variables(pushed),
        "secrets": {} if pushed.fork else {name: one.get_secret_value() for name, one in hook.secrets.items()},
    }
    job, chosen = take_job(
        serverless.unfolded(raw, context.serverless),
        context.templates.catalog,
        tenant,
        context.settings.allow_file_urls,
    )
    sent = submission(job, tenant, chosen, key, key)
    return serverless.with_jenkinsfile(sent, job, context.serverless)


def why_not(hook: WebhookSettings, pushed: Pushed) -> str:
    """Why a commit is not built; empty where it is."""
    if not _like(hook.repository, pushed.repository, "[^/]*"):
        return f"{pushed.repository} is none of this webhook's repositories"
    if pushed.fork and not hook.forks:
        return "pull requests of forks are not built"
    if pushed.fork and hook.kind == "bitbucket":
        return "Bitbucket gives a fork's commits out with the fork alone, and that is not this webhook's repository"
    if pushed.target and not pushed.fork and _built(hook, pushed.branch):
        return f"{pushed.branch} is built when it is pushed to"
    branch = pushed.target or pushed.branch
    if not _built(hook, branch):
        return f"{branch} is none of this webhook's branches"
    if _SKIP.search(pushed.message):
        return "the commit says that it is not to be built"
    return ""


def _built(hook: WebhookSettings, branch: str) -> bool:
    return any(_like(pattern, branch, ".*") for pattern in hook.branches)


def _like(pattern: str, text: str, any_characters: str) -> bool:
    """Whether a text is as a pattern says, in which ``*`` stands for ``any_characters``."""
    rule = any_characters.join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(rule, text, re.DOTALL) is not None


def _git_url(hook: WebhookSettings, name: str) -> str:
    """Of the settings alone, whatever the message says."""
    return (hook.git_url or GIT_URLS[hook.kind]).replace("{repository}", name)


def _variables(pushed: Pushed) -> dict[str, Any]:
    """As Jenkins' multibranch Pipelines name them."""
    found = {"GIT_COMMIT": pushed.commit, "GIT_BRANCH": pushed.branch, "BRANCH_NAME": pushed.branch}
    if pushed.pull_request is not None:
        found |= {
            "BRANCH_NAME": f"PR-{pushed.pull_request}",
            "CHANGE_ID": str(pushed.pull_request),
            "CHANGE_BRANCH": pushed.branch,
            "CHANGE_TARGET": pushed.target,
        }
    return found
