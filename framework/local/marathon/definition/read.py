"""From what operators send to apps and groups in their one form, or to all that is wrong with it at once.

Pure: versions and settings come in. The three steps of each: the document's kinds (``kinds``: 400), the one form
(``normal``), the rules (``rules``: 422).
"""

from __future__ import annotations

import msgspec

from framework.local.marathon.definition.app import App, Group

EMPTY = Group(id="/", apps={}, groups={}, version="1970-01-01T00:00:00.000Z")


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the server's settings fill in.

    ``role``: of apps that give none, below groups that do not enforce theirs. ``accepted_resource_roles``: of apps that
    give none; None: not filled in. ``network``: name of container networks that give none.
    """

    role: str = "*"
    accepted_resource_roles: tuple[str, ...] | None = None
    network: str | None = None


class GroupUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A group as sent; None: not given. All ids are absolute, and those of its apps and groups are below its own."""

    id: str
    apps: tuple[App, ...] | None = None
    groups: tuple[GroupUpdate, ...] | None = None
    dependencies: tuple[str, ...] | None = None
    scale_by: float | None = None
    version: str | None = None
    enforce_role: bool | None = None


def parse(body: bytes) -> object:
    """JSON. Raises InvalidJsonError for what is not, or has a key twice, or is nested too deeply."""
    raise NotImplementedError


def new_app(raw: object, *, group: str = "/", defaults: Defaults, version: str, root: Group = EMPTY) -> App:
    """A whole app. ``group``: where a relative id starts; ``root``: its groups say which roles the app may have.

    Ports of 0 stay 0: ``groups`` gives them service ports. Raises InvalidJsonError, InvalidObjectError.
    """
    raise NotImplementedError


def update_app(
    existing: App | None,
    raw: object,
    *,
    app_id: str,
    partial: bool = True,
    defaults: Defaults,
    version: str,
    root: Group = EMPTY,
) -> App:
    """PUT and PATCH: with ``partial`` what is given replaces that of ``existing``, else the app is all new.

    Where there is none yet it is made. Raises InvalidJsonError, InvalidObjectError.
    """
    raise NotImplementedError


def app_updates(raw: object) -> tuple[tuple[str, dict[str, object]], ...]:
    """The documents of PUT and PATCH /v2/apps with their absolute ids, each for ``update_app``."""
    raise NotImplementedError


def read_group(raw: object, *, group_id: str, defaults: Defaults, version: str, root: Group = EMPTY) -> GroupUpdate:
    """A group update with all below it. ``group_id``: absolute, where the update applies; a relative id of its own

    starts there. Raises InvalidJsonError, InvalidObjectError.
    """
    raise NotImplementedError


def read_enforce_role(raw: object) -> bool | None:
    """The document of PATCH /v2/groups. Raises InvalidJsonError."""
    raise NotImplementedError


def shown(app: App) -> bytes:
    """As the API tells it, in JSON."""
    return msgspec.json.encode(app)
