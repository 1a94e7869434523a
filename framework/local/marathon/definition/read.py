"""From what operators send to apps and groups in their one form, or to all that is wrong with it at once.

Pure: versions and settings come in. Each document is read in three steps: its kinds (``documents``, else 400), the one
form (``normal``), the rules (``rules``, else 422).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from framework.local.marathon.definition import documents, normal, paths, rules
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.faults import Detail, Faults, InvalidObjectError
from framework.local.marathon.definition.normal import Doc
from framework.local.marathon.definition.parsing import parse
from framework.local.marathon.definition.schema import Object

__all__ = [
    "EMPTY",
    "Defaults",
    "GroupUpdate",
    "app_updates",
    "group_version_asked",
    "new_app",
    "parse",
    "read_enforce_role",
    "read_group",
    "shown",
    "update_app",
    "version_asked",
]

EMPTY = Group(id=paths.ROOT, apps={}, groups={}, version="1970-01-01T00:00:00.000Z")
_DEEPEST = 60  # levels of groups in one document; an id has room for more, no one for their maintenance


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


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a document is read: what all of its apps have in common."""

    defaults: Defaults
    version: str
    root: Group
    enforced: Mapping[str, bool] = {}  # of top-level groups, where the document itself says so

    def roles(self, app_id: str) -> tuple[str, ...]:
        """Those an app may have, the one it gets first."""
        group_id = paths.top(app_id)
        if group_id is None:
            return (self.defaults.role,)
        name = group_id[1:]
        group = self.root.groups.get(group_id)
        if self.enforced.get(group_id, group is not None and bool(group.enforce_role)):
            return (name,)
        return tuple(dict.fromkeys((self.defaults.role, name)))

    def existing(self, app_id: str) -> App | None:
        group: Group | None = self.root
        below = paths.segments(app_id)
        for depth in range(1, len(below)):
            group = group.groups.get(paths.ROOT + "/".join(below[:depth])) if group is not None else None
        return group.apps.get(app_id) if group is not None else None


def new_app(raw: object, *, group: str = paths.ROOT, defaults: Defaults, version: str, root: Group = EMPTY) -> App:
    """A whole app. ``group``: where relative ids start, its own and those it depends on.

    The groups of ``root`` say which roles it may have. Ports of 0 stay 0: ``settling`` gives them service ports. Raises
    InvalidJsonError, InvalidObjectError.
    """
    faults = Faults()
    given = documents.APP.given(raw, "", faults)
    documents.APP.fill(given, "", faults)
    faults.raise_kinds()
    place = _Place(defaults=defaults, version=version, root=root)
    app = _made(normal.modern(given, faults), paths.absolute(given["id"], group), group, place, faults)
    faults.raise_rules()
    return app


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

    Where there is none yet it is made. A version beside other fields is refused: alone it would ask to go back to that
    version, which is for who keeps them. Raises InvalidJsonError, InvalidObjectError.
    """
    faults = Faults()
    given = documents.APP.given(raw, "", faults)
    faults.raise_kinds()
    going_back = "version" not in given or given.keys() <= {"id", "version"}
    faults.unless(going_back, "/", "The 'version' field may only be combined with the 'id' field.")
    place = _Place(defaults=defaults, version=version, root=root)
    doc = normal.modern(given, faults)
    if existing is not None and partial:
        doc = {**msgspec.to_builtins(existing), **doc}
    app = _made(doc, app_id, paths.ROOT, place, faults, existing)
    faults.raise_rules()
    return app


def app_updates(raw: object) -> tuple[tuple[str, dict[str, object]], ...]:
    """The documents of PUT and PATCH /v2/apps with their absolute ids, each for ``update_app``."""
    faults = Faults()
    listed = documents.UPDATES.read(raw, "", faults)
    faults.raise_kinds()
    faults.raise_rules()
    return tuple((paths.absolute(one["id"]), one) for one in listed)


def version_asked(raw: object) -> str | None:
    """The version that an app's update wants back, where it says nothing else. Raises InvalidJsonError."""
    return _asked(documents.APP, raw, {"id", "version"})


def group_version_asked(raw: object) -> str | None:
    """The same of a group's; ``scaleBy`` beside it does not count. Raises InvalidJsonError."""
    return _asked(documents.GROUP, raw, {"id", "version", "scaleBy"})


def read_group(raw: object, *, group_id: str, defaults: Defaults, version: str, root: Group = EMPTY) -> GroupUpdate:
    """A group update with all below it. ``group_id``: absolute, where the update applies; a relative id of its own

    starts there, and ids of what a group and its apps depend on at that group. A version beside apps and groups is one
    that was shown, and wants nothing. Raises InvalidJsonError, InvalidObjectError.
    """
    _check_size(raw)
    faults = Faults()
    given = _groups(raw, faults)
    faults.raise_kinds()
    own = paths.absolute(given.get("id", "."), group_id)
    place = _Place(defaults=defaults, version=version, root=root, enforced=dict(_enforced(given, own)))
    update = _group(given, own, "", place, faults)
    faults.raise_rules()
    return update


def read_enforce_role(raw: object) -> bool | None:
    """The document of PATCH /v2/groups. Raises InvalidJsonError."""
    faults = Faults()
    given = documents.GROUP_PARTIAL.given(raw, "", faults)
    faults.raise_kinds()
    enforced: bool | None = given.get("enforceRole")
    return enforced


def shown(app: App) -> bytes:
    """As the API tells it, in JSON."""
    return msgspec.json.encode(app)


def _asked(kind: Object, raw: object, alone: set[str]) -> str | None:
    if not isinstance(raw, Mapping) or raw.get("version") is None:
        return None
    faults = Faults()
    given = kind.given(raw, "", faults)
    faults.raise_kinds()
    version: str = given["version"]
    return version if given.keys() <= alone else None


def _made(modern: Doc, app_id: str, group: str, place: _Place, faults: Faults, existing: App | None = None) -> App:
    """``modern``: of the right kinds, without legacy fields. ``group``: where what it depends on starts."""
    roles = place.roles(app_id)
    doc = normal.complete(
        {**documents.APP.defaults, **modern},
        role=roles[0],
        accepted=place.defaults.accepted_resource_roles,
        network=place.defaults.network,
    )
    doc["id"] = app_id
    doc["dependencies"] = _dependencies(doc.get("dependencies") or (), group)
    doc["version"] = place.version
    doc["versionInfo"] = {"lastScalingAt": place.version, "lastConfigChangeAt": place.version}
    app = msgspec.convert(doc, App)
    if existing is not None:
        app = msgspec.structs.replace(app, version_info=existing.version_info)
        roles = (*roles, existing.role)
    rules.check_app(app, faults, roles=tuple(dict.fromkeys(roles)))
    return app


def _dependencies(given: Sequence[str], group: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths.absolute(one, group) for one in given))


def _groups(raw: object, faults: Faults, at: str = "", depth: int = 0) -> Doc:
    """A group's document with its apps and groups read too, as far as kinds go."""
    given = documents.GROUP.given(raw, at, faults)
    if depth > _DEEPEST:
        faults.kind(at, "nested too deeply")
        return {}
    if "apps" in given:
        given["apps"] = [_whole(one, f"{at}/apps({n})", faults) for n, one in enumerate(given["apps"])]
    if "groups" in given:
        given["groups"] = [
            _groups(one, faults, f"{at}/groups({n})", depth + 1) for n, one in enumerate(given["groups"])
        ]
    if at and isinstance(raw, Mapping) and "id" not in given:
        faults.kind(f"{at}/id", "error.path.missing")
    return given


def _check_size(raw: object) -> None:
    """Raises InvalidObjectError where there are too many apps and groups in the document."""
    count, waiting = 0, [raw]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, Mapping):
            continue
        for below in (one.get("apps"), one.get("groups")):
            count += len(below) if isinstance(below, list) else 0
        if count > documents.MOST_AT_ONCE:
            words = f"more than {documents.MOST_AT_ONCE} apps and groups cannot be taken at once"
            raise InvalidObjectError([Detail("/", [words])])
        groups = one.get("groups")
        waiting += groups if isinstance(groups, list) else []


def _whole(raw: object, at: str, faults: Faults) -> Doc:
    given = documents.APP.given(raw, at, faults)
    documents.APP.fill(given, at, faults)
    return given


def _enforced(given: Doc, own: str) -> Iterator[tuple[str, bool]]:
    """Of the top-level groups that the document is or has."""
    if own != paths.ROOT:
        if paths.parent(own) == paths.ROOT and "enforceRole" in given:
            yield own, given["enforceRole"]
        return
    for one in given.get("groups", ()):
        if "enforceRole" in one:
            yield paths.absolute(one["id"]), one["enforceRole"]


def _group(given: Doc, own: str, at: str, place: _Place, faults: Faults) -> GroupUpdate:
    whole = "apps" in given or "groups" in given
    version = None if whole else given.get("version")
    others = given.keys() - {"id", "version", "scaleBy"}
    alone = "not allowed in conjunction with other properties."
    faults.unless(version is None or (not others and "scaleBy" not in given), f"{at}/version", alone)
    faults.unless("scaleBy" not in given or (not others and version is None), f"{at}/scaleBy", alone)
    if paths.parent(own) != paths.ROOT or own == paths.ROOT:
        top_only = f"enforceRole can only be set for top-level groups, and {own} is not top-level"
        faults.unless(not given.get("enforceRole"), f"{at}/enforceRole", top_only)
    for error in paths.faults_of(own, reserved=False):
        faults.rule(f"{at}/id", error)
    apps = _apps(given["apps"], own, at, place, faults) if "apps" in given else None
    groups = _below(given["groups"], own, at, place, faults) if "groups" in given else None
    dependencies = given.get("dependencies")
    return GroupUpdate(
        id=own,
        apps=apps,
        groups=groups,
        dependencies=None if dependencies is None else _dependencies(dependencies, own),
        scale_by=given.get("scaleBy"),
        version=version,
        enforce_role=given.get("enforceRole"),
    )


def _apps(given: list[Doc], own: str, at: str, place: _Place, faults: Faults) -> tuple[App, ...]:
    made = []
    for number, one in enumerate(given):
        app_id, here = paths.absolute(one["id"], own), f"{at}/apps({number})"
        faults.unless(paths.parent(app_id) == own, f"{here}/id", paths.not_child(own))
        below = Faults()
        made.append(_made(normal.modern(one, below), app_id, own, place, below, place.existing(app_id)))
        faults.take(below, here)
    faults.unless(len({one.id for one in made}) == len(made), f"{at}/apps", "Elements must be unique.")
    return tuple(made)


def _below(given: list[Doc], own: str, at: str, place: _Place, faults: Faults) -> tuple[GroupUpdate, ...]:
    made = []
    for number, one in enumerate(given):
        group_id, here = paths.absolute(one["id"], own), f"{at}/groups({number})"
        faults.unless(paths.parent(group_id) == own, f"{here}/id", paths.not_child(own))
        made.append(_group(one, group_id, here, place, faults))
    faults.unless(len({one.id for one in made}) == len(made), f"{at}/groups", "Elements must be unique.")
    return tuple(made)
