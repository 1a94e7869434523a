"""The tree of groups: looked up and changed. Pure; a change shares with the tree before it all that it does not touch.

Groups that are missing on the way to what is put are made. Groups never vanish for being empty, as the real one's do
not; only an app that gets the id of a group without any app takes its place. Groups made here get the version of the
root they are put in: ``settling.settle`` gives every group the new one, as the real one does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from msgspec.structs import replace

from framework.local.marathon.definition import paths
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.faults import Detail, InvalidObjectError
from framework.local.marathon.definition.read import GroupUpdate
from framework.local.marathon.definition.rules import MAX_INSTANCES, TOO_MANY


class NoSuchGroupError(LookupError):
    """There is no group of that id."""


class Difference(NamedTuple):
    """One app of two trees that is not the very same in both; None: not there."""

    app_id: str
    old: App | None
    new: App | None


def top_of(path: str) -> str:
    """The group right below the root that an id is in, or is."""
    end = path.find("/", 1)
    return path if end < 0 else path[:end]


def is_top(path: str) -> bool:
    return path != "/" and path.find("/", 1) < 0


def app_of(root: Group, app_id: str) -> App | None:
    group = group_of(root, paths.parent(app_id))
    return group.apps.get(app_id) if group else None


def group_of(root: Group, group_id: str) -> Group | None:
    """``root`` may be any group that is above it."""
    group: Group | None = root
    for path in _way(root.id, group_id):
        group = group.groups.get(path) if group else None
    return group


def apps_of(group: Group) -> Iterator[App]:
    """All apps in it and below."""
    return chain.from_iterable(one.apps.values() for one in groups_of(group))


def groups_of(group: Group) -> Iterator[Group]:
    """The group itself, then all below it, those above before those below."""
    waiting = [group]
    while waiting:
        one = waiting.pop()
        yield one
        if one.groups:
            waiting.extend(reversed(one.groups.values()))


def groups_above(root: Group, path: str) -> Iterator[Group]:
    """The groups that are there on the way to an app or group, the root first."""
    group: Group | None = root
    while group is not None and group.id != path:
        yield group
        group = group.groups.get(next(_way(group.id, path), path))


def empty_group(group_id: str, version: str) -> Group:
    """Only groups right below the root say whether they enforce their role; they do not unless told."""
    return Group(id=group_id, apps={}, groups={}, version=version, enforce_role=False if is_top(group_id) else None)


def put_app(root: Group, app: App) -> Group:
    return with_apps(root, {app.id: app})


def remove_app(root: Group, app_id: str) -> Group:
    return with_apps(root, {app_id: None})


def with_apps(root: Group, changes: Mapping[str, App | None]) -> Group:
    """The tree with these apps put or, where None, removed. Costs a copy of each changed group's own apps."""
    by_group: dict[str, dict[str, App | None]] = {}
    for app_id, app in changes.items():
        by_group.setdefault(paths.parent(app_id), {})[app_id] = app
    for group_id, apps in by_group.items():
        group = group_of(root, group_id)
        if group is None:
            if all(app is None for app in apps.values()):
                continue
            group = empty_group(group_id, root.version)
        kept = dict(group.apps)
        groups = group.groups
        for app_id, app in apps.items():
            if app is None:
                kept.pop(app_id, None)
                continue
            kept[app_id] = app
            there = groups.get(app_id)
            if there is not None and not any(True for _ in apps_of(there)):
                groups = {path: one for path, one in groups.items() if path != app_id}
        root = put_group(root, replace(group, apps=kept, groups=groups))
    return root


def put_group(root: Group, group: Group) -> Group:
    """The group with all below it takes the place of the one of its id; so a group also goes back to what it was."""
    if group.id == "/":
        return group
    above = [root]
    way = list(_way("/", group.id))
    for path in way[:-1]:
        above.append(above[-1].groups.get(path) or empty_group(path, root.version))
    for parent in reversed(above):
        group = replace(parent, groups={**parent.groups, group.id: group})
    return group


def remove_group(root: Group, group_id: str) -> Group:
    """With all below it; nothing changes where it is not there. Of the root all is removed but the root itself."""
    if group_id == "/":
        return Group(id="/", apps={}, groups={}, version=root.version)
    parent = group_of(root, paths.parent(group_id))
    if parent is None or group_id not in parent.groups:
        return root
    return put_group(
        root, replace(parent, groups={path: one for path, one in parent.groups.items() if path != group_id})
    )


def scale_group(root: Group, group_id: str, factor: float) -> Group:
    """Every app in the group and below gets as many times the instances, rounded up.

    Raises InvalidObjectError where these are more than there may be.
    """
    group = group_of(root, group_id) or empty_group(group_id, root.version)

    def scaled(one: Group) -> Group:
        return replace(
            one,
            apps={path: replace(app, instances=math.ceil(app.instances * factor)) for path, app in one.apps.items()},
            groups={path: scaled(below) for path, below in one.groups.items()},
        )

    after = scaled(group)
    if any(app.instances > MAX_INSTANCES for app in apps_of(after)):
        raise InvalidObjectError([Detail("/scaleBy", [TOO_MANY])])
    return put_group(root, after)


def set_enforce_role(root: Group, group_id: str, enforce: bool | None) -> Group:
    """None: as if it had never been said. Raises NoSuchGroupError."""
    group = group_of(root, group_id)
    if group is None:
        raise NoSuchGroupError(group_id)
    return put_group(root, replace(group, enforce_role=bool(enforce) if is_top(group_id) else None))


def apply_group_update(root: Group, update: GroupUpdate) -> Group:
    """What PUT and POST of a group make of the tree.

    Apps, groups and dependencies that are given are all there are from then on; what is not given stays as it is. With
    ``scale_by`` nothing but the instances changes. To go back to a ``version``, put the group of then (``put_group``).
    """
    if update.scale_by is not None:
        return scale_group(root, update.id, update.scale_by)
    return put_group(root, _updated(root, update))


def with_version(group: Group, version: str) -> Group:
    """All groups get it, apps do not."""
    groups = group.groups and {path: with_version(one, version) for path, one in group.groups.items()}
    return replace(group, version=version, groups=groups)


def changed_groups(before: Group, after: Group) -> Iterator[tuple[Group | None, Group | None]]:
    """Each group of two trees that is not one and the same object, as it was and as it is; None: not there."""
    pairs: list[tuple[Group | None, Group | None]] = [(before, after)]
    while pairs:
        old, new = pairs.pop()
        if old is new:
            continue
        yield old, new
        old_groups = old.groups if old else {}
        new_groups = new.groups if new else {}
        if old_groups or new_groups:
            pairs.extend((old_groups.get(path), new_groups.get(path)) for path in {**new_groups, **old_groups})


def differences(groups: Iterable[tuple[Group | None, Group | None]]) -> list[Difference]:
    """Apps of ``changed_groups`` that are not one and the same object, those that are gone last."""
    changed: list[Difference] = []
    gone: list[Difference] = []
    for old, new in groups:
        old_apps = old.apps if old else {}
        new_apps = new.apps if new else {}
        if old_apps is new_apps:
            continue
        for app_id, app in new_apps.items():
            was = old_apps.get(app_id)
            if was is not app:
                changed.append(Difference(app_id, was, app))
        gone.extend(Difference(app_id, app, None) for app_id, app in old_apps.items() if app_id not in new_apps)
    return changed + gone


def _way(top: str, path: str) -> Iterator[str]:
    """Ids of the groups from below ``top`` to ``path`` itself."""
    at = len(top) if top != "/" else 0
    while at < len(path) and path != "/":
        end = path.find("/", at + 1)
        at = end if end >= 0 else len(path)
        yield path[:at]


def _updated(root: Group, update: GroupUpdate) -> Group:
    group = group_of(root, update.id) or empty_group(update.id, root.version)
    if update.apps is not None:
        group = replace(group, apps={app.id: app for app in update.apps})
    if update.groups is not None:
        group = replace(group, groups={one.id: _updated(root, one) for one in update.groups})
    if update.dependencies is not None:
        group = replace(group, dependencies=update.dependencies)
    if is_top(update.id) and update.enforce_role is not None:
        group = replace(group, enforce_role=update.enforce_role)
    return group
