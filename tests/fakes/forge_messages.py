"""Forges' webhook messages by their public documentation, with the fields around those that matter, and signed.

GitHub: docs.github.com/webhooks/webhook-events-and-payloads; GitLab: docs.gitlab.com/user/project/integrations/
webhook_events; Bitbucket Cloud: support.atlassian.com/bitbucket-cloud/docs/event-payloads.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, NamedTuple

from framework.serverless_settings import Kind

COMMIT = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
BEFORE = "4d2a7b1c0f6e5d4c3b2a190817f6e5d4c3b2a190"
ZEROS = "0" * 40
REPOSITORY = "acme/shop"
FORK = "mallory/shop"
SECRET = "0123456789abcdef-webhook"
FORGES: tuple[Kind, ...] = ("github", "gitlab", "bitbucket")


class Message(NamedTuple):
    """As it is sent."""

    headers: dict[str, str]
    body: bytes


def signed(kind: Kind, event: str, payload: Any, secret: str = SECRET, delivery: str = "d-1") -> Message:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    digest = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    of_kind: dict[Kind, dict[str, str]] = {
        "github": {"x-github-event": event, "x-github-delivery": delivery, "x-hub-signature-256": digest},
        "gitlab": {"x-gitlab-event": event, "x-gitlab-event-uuid": delivery, "x-gitlab-token": secret},
        "bitbucket": {"x-event-key": event, "x-request-uuid": delivery, "x-hub-signature": digest},
    }
    return Message({"content-type": "application/json", **of_kind[kind]}, body)


def push(kind: Kind, branch: str = "main", message: str = "Cheaper shoes", **changes: Any) -> Message:
    """One commit to a branch. ``repository``, ``commit``, ``secret`` as by default, or changed."""
    repository, commit = changes.get("repository", REPOSITORY), changes.get("commit", COMMIT)
    event, payload = _PUSHES[kind](repository, commit, branch, message)
    return signed(kind, event, payload, changes.get("secret", SECRET), changes.get("delivery", "d-1"))


def pull_request(kind: Kind, source: str = REPOSITORY, branch: str = "cheaper", target: str = "main") -> Message:
    event, payload = _PULL_REQUESTS[kind](source, branch, target)
    return signed(kind, event, payload)


def deleted(kind: Kind) -> Message:
    event, payload = _PUSHES[kind](REPOSITORY, ZEROS, "old", "")
    if kind == "github":
        payload |= {"deleted": True, "head_commit": None}
    elif kind == "bitbucket":
        payload["push"]["changes"][0] |= {"new": None, "closed": True}
    else:
        payload |= {"checkout_sha": None, "commits": []}
    return signed(kind, event, payload)


def tag(kind: Kind) -> Message:
    event, payload = _PUSHES[kind](REPOSITORY, COMMIT, "v1", "")
    if kind == "bitbucket":
        payload["push"]["changes"][0]["new"]["type"] = "tag"
    else:
        payload["ref"] = "refs/tags/v1"
    return signed(kind, "Tag Push Hook" if kind == "gitlab" else event, payload)


def _github_push(repository: str, commit: str, branch: str, message: str) -> tuple[str, dict[str, Any]]:
    head = {
        "id": commit,
        "tree_id": "f9d2a07e9488b91af2641b26b9407fe22a451433",
        "distinct": True,
        "message": message,
        "timestamp": "2026-03-01T10:00:00+01:00",
        "url": f"https://github.com/{repository}/commit/{commit}",
        "author": {"name": "Anna", "email": "anna@example.org", "username": "anna"},
        "committer": {"name": "Anna", "email": "anna@example.org", "username": "anna"},
        "added": [],
        "removed": [],
        "modified": ["shoes.txt"],
    }
    return "push", {
        "ref": f"refs/heads/{branch}",
        "before": BEFORE,
        "after": commit,
        "repository": {
            "id": 186853002,
            "node_id": "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=",
            "name": repository.split("/")[-1],
            "full_name": repository,
            "private": True,
            "owner": {"name": "acme", "login": "acme", "id": 1, "type": "Organization"},
            "html_url": f"https://github.com/{repository}",
            "clone_url": "https://evil.example.org/elsewhere.git",
            "default_branch": "main",
        },
        "pusher": {"name": "anna", "email": "anna@example.org"},
        "sender": {"login": "anna", "id": 2, "type": "User"},
        "created": False,
        "deleted": False,
        "forced": False,
        "base_ref": None,
        "compare": f"https://github.com/{repository}/compare/{BEFORE[:12]}...{commit[:12]}",
        "commits": [head],
        "head_commit": head,
    }


def _github_pull_request(source: str, branch: str, target: str) -> tuple[str, dict[str, Any]]:
    def end(repository: str, ref: str, sha: str) -> dict[str, Any]:
        return {
            "label": f"{repository.split('/')[0]}:{ref}",
            "ref": ref,
            "sha": sha,
            "repo": {"id": 1, "full_name": repository, "fork": repository != REPOSITORY},
        }

    return "pull_request", {
        "action": "synchronize",
        "number": 12,
        "before": BEFORE,
        "after": COMMIT,
        "pull_request": {
            "url": f"https://api.github.com/repos/{REPOSITORY}/pulls/12",
            "id": 279147437,
            "number": 12,
            "state": "open",
            "title": "Cheaper shoes",
            "user": {"login": "anna", "id": 2, "type": "User"},
            "head": end(source, branch, COMMIT),
            "base": end(REPOSITORY, target, BEFORE),
            "draft": False,
            "merged": False,
        },
        "repository": {"id": 1, "full_name": REPOSITORY, "private": True},
        "sender": {"login": "anna", "id": 2, "type": "User"},
    }


def _gitlab_push(repository: str, commit: str, branch: str, message: str) -> tuple[str, dict[str, Any]]:
    return "Push Hook", {
        "object_kind": "push",
        "event_name": "push",
        "before": BEFORE,
        "after": commit,
        "ref": f"refs/heads/{branch}",
        "ref_protected": True,
        "checkout_sha": commit,
        "user_id": 4,
        "user_name": "Anna",
        "user_username": "anna",
        "project_id": 15,
        "project": {
            "id": 15,
            "name": "Shop",
            "web_url": f"https://gitlab.com/{repository}",
            "git_http_url": "https://evil.example.org/elsewhere.git",
            "path_with_namespace": repository,
            "default_branch": "main",
        },
        "commits": [
            {
                "id": commit,
                "message": message,
                "title": message,
                "timestamp": "2026-03-01T10:00:00+01:00",
                "url": f"https://gitlab.com/{repository}/-/commit/{commit}",
                "author": {"name": "Anna", "email": "anna@example.org"},
                "added": [],
                "modified": ["shoes.txt"],
                "removed": [],
            }
        ],
        "total_commits_count": 1,
    }


def _gitlab_merge_request(source: str, branch: str, target: str) -> tuple[str, dict[str, Any]]:
    def project(repository: str) -> dict[str, Any]:
        return {"id": 1, "name": "Shop", "path_with_namespace": repository, "default_branch": "main"}

    return "Merge Request Hook", {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": {"id": 1, "name": "Anna", "username": "anna"},
        "project": project(REPOSITORY),
        "object_attributes": {
            "id": 99,
            "iid": 12,
            "target_branch": target,
            "source_branch": branch,
            "source_project_id": 14,
            "target_project_id": 1,
            "title": "Cheaper shoes",
            "state": "opened",
            "action": "update",
            "oldrev": BEFORE,
            "source": project(source),
            "target": project(REPOSITORY),
            "last_commit": {"id": COMMIT, "message": "Cheaper shoes", "author": {"name": "Anna"}},
            "work_in_progress": False,
        },
        "changes": {},
    }


def _bitbucket_push(repository: str, commit: str, branch: str, message: str) -> tuple[str, dict[str, Any]]:
    return "repo:push", {
        "push": {
            "changes": [
                {
                    "forced": False,
                    "old": {"type": "branch", "name": branch, "target": {"type": "commit", "hash": BEFORE}},
                    "new": {
                        "type": "branch",
                        "name": branch,
                        "target": {
                            "type": "commit",
                            "hash": commit,
                            "message": message,
                            "date": "2026-03-01T10:00:00+00:00",
                            "parents": [{"type": "commit", "hash": BEFORE}],
                        },
                    },
                    "created": False,
                    "closed": False,
                    "truncated": False,
                    "commits": [{"hash": commit, "message": message}],
                }
            ]
        },
        "repository": {"type": "repository", "full_name": repository, "name": "shop", "is_private": True},
        "actor": {"type": "user", "display_name": "Anna"},
    }


def _bitbucket_pull_request(source: str, branch: str, target: str) -> tuple[str, dict[str, Any]]:
    def end(repository: str, name: str, commit: str) -> dict[str, Any]:
        return {
            "branch": {"name": name},
            "commit": {"type": "commit", "hash": commit[:12]},
            "repository": {"type": "repository", "full_name": repository},
        }

    return "pullrequest:updated", {
        "pullrequest": {
            "id": 12,
            "title": "Cheaper shoes",
            "state": "OPEN",
            "source": end(source, branch, COMMIT),
            "destination": end(REPOSITORY, target, BEFORE),
        },
        "repository": {"type": "repository", "full_name": REPOSITORY},
        "actor": {"type": "user", "display_name": "Anna"},
    }


_PUSHES = {"github": _github_push, "gitlab": _gitlab_push, "bitbucket": _bitbucket_push}
_PULL_REQUESTS = {
    "github": _github_pull_request,
    "gitlab": _gitlab_merge_request,
    "bitbucket": _bitbucket_pull_request,
}
