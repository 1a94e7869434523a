"""What forges' messages say, by their public documentation: which commits were pushed or proposed.

GitHub: https://docs.github.com/webhooks/webhook-events-and-payloads (push, pull_request). GitLab:
https://docs.gitlab.com/user/project/integrations/webhook_events (push, merge request). Bitbucket Cloud:
https://support.atlassian.com/bitbucket-cloud/docs/event-payloads (repo:push, pullrequest:created, :updated).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct, field

from framework.errors import Fault, InputError
from framework.forge_ports import Delivery, Pushed
from framework.serverless_settings import Kind

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_REPOSITORY = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){1,20}")
_BRANCH = re.compile(r"(?![-/.])[^\s\x00-\x1f\x7f~^:?*\[\\]{1,255}")
_HEADS = "refs/heads/"
_MAX_MESSAGE_CHARS = 10_000

Taken = TypeVar("Taken")
Reader = Callable[[bytes], tuple[Pushed, ...] | str]
"""The commits, or why there are none to build."""


def read(kind: Kind, headers: Mapping[str, str], body: bytes) -> Delivery:
    """Raises InputError where it is not as documented."""
    event, delivery, readers = _KINDS[kind]
    name = headers.get(event, "")
    reader = readers.get(name)
    if reader is None:
        told = _unknown(name, event, readers)
        return Delivery(headers.get(delivery, "")[:100], ignored=told)
    found = reader(_json(headers, body))
    if isinstance(found, str):
        return Delivery(headers.get(delivery, "")[:100], ignored=found)
    for pushed in found:
        _check(pushed)
    return Delivery(headers.get(delivery, "")[:100], found)


def _json(headers: Mapping[str, str], body: bytes) -> bytes:
    """GitHub can send it as the one field of a form, and does by default."""
    if not headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        return body
    try:
        fields = parse_qs(body.decode("latin-1"), max_num_fields=4)
    except ValueError as error:
        raise InputError([Fault("", "is a form of more fields than a forge sends")]) from error
    return fields.get("payload", [""])[0].encode("utf-8", "replace")


def _unknown(name: str, header: str, readers: Mapping[str, Reader]) -> str:
    if name in _PINGS:
        return "a ping: the webhook works"
    shown = "".join(char for char in name[:60] if char.isprintable() and char.isascii())
    return f"{header}: {shown or 'missing'} is not built; {', '.join(readers)} are"


def _check(pushed: Pushed) -> None:
    faults = [
        Fault(where, message)
        for where, value, rule, message in (
            ("repository", pushed.repository, _REPOSITORY, "is no name of a repository"),
            ("commit", pushed.commit, _COMMIT, "is no commit's hash"),
            ("branch", pushed.branch, _BRANCH, "is no branch's name"),
            ("target", pushed.target or "none", _BRANCH, "is no branch's name"),
        )
        if not rule.fullmatch(value)
    ]
    if {"", ".", ".."} & set(pushed.repository.split("/")):
        faults.append(Fault("repository", "is no name of a repository"))
    if faults:
        raise InputError(faults)


def _taken(kind: type[Taken], body: bytes) -> Taken:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # What msgspec says names the path and the kinds, and repeats nothing of the body.
        raise InputError([Fault("", f"is not as the forge documents it: {str(error)[:300]}")]) from error


def _branch(ref: str) -> str | None:
    return ref.removeprefix(_HEADS) if ref.startswith(_HEADS) else None


class _HubRepository(Struct):
    full_name: str


class _HubCommit(Struct):
    message: str = ""


class _HubPush(Struct):
    ref: str
    after: str
    repository: _HubRepository
    deleted: bool = False
    head_commit: _HubCommit | None = None


class _HubEnd(Struct):
    ref: str
    sha: str
    repo: _HubRepository | None  # None: the fork is gone


class _HubPullRequest(Struct):
    head: _HubEnd
    base: _HubEnd
    title: str = ""


class _HubPullRequestEvent(Struct):
    action: str
    number: int
    pull_request: _HubPullRequest
    repository: _HubRepository


def _github_push(body: bytes) -> tuple[Pushed, ...] | str:
    event = _taken(_HubPush, body)
    branch = _branch(event.ref)
    if event.deleted:
        return "a branch or tag was deleted"
    if branch is None:
        return "a tag was pushed; branches are built"
    message = event.head_commit.message if event.head_commit is not None else ""
    return (Pushed(event.repository.full_name, event.after, branch, message[:_MAX_MESSAGE_CHARS]),)


def _github_pull_request(body: bytes) -> tuple[Pushed, ...] | str:
    event = _taken(_HubPullRequestEvent, body)
    if event.action not in ("opened", "reopened", "synchronize"):
        return "the pull request has no new commits"
    head, repository = event.pull_request.head, event.repository.full_name
    fork = head.repo is None or head.repo.full_name != repository
    return (
        Pushed(
            repository, head.sha, head.ref, event.pull_request.title[:_MAX_MESSAGE_CHARS],
            event.number, event.pull_request.base.ref, fork,
        ),
    )  # fmt: skip


class _LabProject(Struct):
    path_with_namespace: str


class _LabCommit(Struct):
    id: str
    message: str = ""


class _LabPush(Struct):
    ref: str
    after: str
    project: _LabProject
    commits: list[_LabCommit] = []


class _LabRequest(Struct):
    iid: int
    source_branch: str
    target_branch: str
    last_commit: _LabCommit
    source: _LabProject | None
    target: _LabProject
    action: str = ""
    oldrev: str | None = None  # of an update that brought commits


class _LabRequestEvent(Struct):
    object_attributes: _LabRequest


def _gitlab_push(body: bytes) -> tuple[Pushed, ...] | str:
    event = _taken(_LabPush, body)
    branch = _branch(event.ref)
    if set(event.after) == {"0"}:
        return "a branch was deleted"
    if branch is None:
        return "a tag was pushed; branches are built"
    message = next((commit.message for commit in event.commits if commit.id == event.after), "")
    return (Pushed(event.project.path_with_namespace, event.after, branch, message[:_MAX_MESSAGE_CHARS]),)


def _gitlab_merge_request(body: bytes) -> tuple[Pushed, ...] | str:
    request = _taken(_LabRequestEvent, body).object_attributes
    if request.action not in ("open", "reopen") and not (request.action == "update" and request.oldrev):
        return "the merge request has no new commits"
    repository = request.target.path_with_namespace
    fork = request.source is None or request.source.path_with_namespace != repository
    return (
        Pushed(
            repository, request.last_commit.id, request.source_branch, request.last_commit.message[:_MAX_MESSAGE_CHARS],
            request.iid, request.target_branch, fork,
        ),
    )  # fmt: skip


class _BucketCommit(Struct):
    hash: str
    message: str = ""


class _BucketRef(Struct):
    type: str
    name: str
    target: _BucketCommit


class _BucketChange(Struct):
    new: _BucketRef | None = None  # None: it was deleted


class _BucketChanges(Struct):
    changes: list[_BucketChange]


class _BucketPush(Struct):
    push: _BucketChanges
    repository: _HubRepository


class _BucketBranch(Struct):
    name: str


class _BucketEnd(Struct):
    branch: _BucketBranch
    commit: _BucketCommit | None
    repository: _HubRepository | None


class _BucketPullRequest(Struct):
    id: int
    source: _BucketEnd
    destination: _BucketEnd
    title: str = ""


class _BucketPullRequestEvent(Struct):
    pull_request: _BucketPullRequest = field(name="pullrequest")
    repository: _HubRepository = field()


def _bitbucket_push(body: bytes) -> tuple[Pushed, ...] | str:
    event = _taken(_BucketPush, body)
    found = tuple(
        Pushed(event.repository.full_name, new.target.hash, new.name, new.target.message[:_MAX_MESSAGE_CHARS])
        for change in event.push.changes
        if (new := change.new) is not None and new.type == "branch"
    )
    return found or "no branch was pushed; tags and deleted branches are not built"


def _bitbucket_pull_request(body: bytes) -> tuple[Pushed, ...] | str:
    event = _taken(_BucketPullRequestEvent, body)
    request = event.pull_request
    if request.source.commit is None:
        return "the pull request's commit is gone"
    repository = event.repository.full_name
    fork = request.source.repository is None or request.source.repository.full_name != repository
    return (
        Pushed(
            repository, request.source.commit.hash, request.source.branch.name, request.title[:_MAX_MESSAGE_CHARS],
            request.id, request.destination.branch.name, fork,
        ),
    )  # fmt: skip


_PINGS = ("ping", "diagnostics:ping")
_KINDS: dict[Kind, tuple[str, str, dict[str, Reader]]] = {
    "github": (
        "x-github-event",
        "x-github-delivery",
        {"push": _github_push, "pull_request": _github_pull_request},
    ),
    "gitlab": (
        "x-gitlab-event",
        "x-gitlab-event-uuid",
        {"Push Hook": _gitlab_push, "Merge Request Hook": _gitlab_merge_request},
    ),
    "bitbucket": (
        "x-event-key",
        "x-request-uuid",
        {
            "repo:push": _bitbucket_push,
            "pullrequest:created": _bitbucket_pull_request,
            "pullrequest:updated": _bitbucket_pull_request,
        },
    ),
}
"""Headers of the event's name and of the message's id, and what reads which event."""
