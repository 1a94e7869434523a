"""Documents that are fine, and what is wrong with others."""

from __future__ import annotations

from typing import Any

from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.faults import InvalidJsonError, InvalidObjectError
from framework.local.marathon.definition.read import EMPTY, Defaults, new_app, update_app

VERSION = "2024-05-06T07:08:09.010Z"
LATER = "2024-05-06T07:08:09.011Z"
SLEEP: dict[str, Any] = {"id": "/app", "cmd": "sleep 60"}
IMAGE: dict[str, Any] = {"type": "DOCKER", "docker": {"image": "busybox"}}
MESOS_IMAGE: dict[str, Any] = {"type": "MESOS", "docker": {"image": "busybox"}}
OF_TEAM: dict[str, Any] = {"id": "/team/app", "role": "team"}
"""Of an app that may have persistent volumes."""


def made(*, defaults: Defaults | None = None, root: Group = EMPTY, group: str = "/", **fields: object) -> App:
    """A sleeping app with these fields."""
    return new_app({**SLEEP, **fields}, group=group, defaults=defaults or Defaults(), version=VERSION, root=root)


def changed(existing: App | None, /, *, partial: bool = True, app_id: str = "/app", **fields: object) -> App:
    return update_app(existing, fields, app_id=app_id, partial=partial, defaults=Defaults(), version=LATER)


def faults(**fields: Any) -> dict[str, list[str]]:
    """What is wrong with a sleeping app with these fields, by path; empty: nothing."""
    try:
        made(**fields)
    except (InvalidJsonError, InvalidObjectError) as error:
        return {one.path: one.errors for one in error.details or []}
    return {}
