"""Deployments: the steps from one tree to another, and how one is taken back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.groups.dependencies import Dependencies
from framework.local.marathon.groups.settling import is_only_scale_change, is_upgrade
from framework.local.marathon.groups.tree import (
    changed_groups,
    differences,
    empty_group,
    group_of,
    put_group,
    remove_group,
    with_apps,
)
from framework.local.marathon.records import Action, ActionKind, AppChange, Deployment, GroupChange, Step


def plan(
    before: Group, after: Group, *, version: str, deployment_id: str, kill: Mapping[str, Sequence[str]] | None = None
) -> Deployment:
    """First what is gone is stopped, then what is new is started with no instance, then what changed is brought to

    its instances, layer by layer of the dependencies: apps that others wait for before those. Without steps nothing is
    to be done.

    ``after`` is settled (``settling.settle``), so that apps to be restarted are those whose versionInfo changed though
    nothing else did. ``kill``: by app the instances that scaling it down is to kill first.
    """
    groups = list(changed_groups(before, after))
    changes = [AppChange(app_id, old, new) for app_id, old, new in differences(groups) if old != new]
    stops = [Action(ActionKind.STOP, one.old) for one in changes if one.old and not one.new]
    starts = [Action(ActionKind.START, one.new) for one in changes if one.new and not one.old]
    moves: dict[str, Action] = {}
    for one in changes:
        action = _move(one.old, one.new, (kill or {}).get(one.app_id, ())) if one.new else None
        if action is not None:
            moves[one.app_id] = action
    layers = Dependencies(after).layers(moves)
    steps = [stops, starts, *([moves[app_id] for app_id in layer] for layer in layers)]
    return Deployment(
        id=deployment_id,
        version=version,
        steps=tuple(Step(tuple(actions)) for actions in steps if actions),
        apps=tuple(changes),
        groups=tuple(_group_changes(groups)),
    )


def revert(deployment: Deployment, root: Group) -> Group:
    """Undoes in ``root`` what the deployment changed, and only that; to be settled as any other change is.

    Apps become what they were: nobody else can have changed them meanwhile, as deployments lock them. Groups can have
    been changed: only dependencies that the deployment added go and those that it removed come back, and groups that
    it made stay where others have put something into them.
    """
    removed: dict[str, App | None] = {one.app_id: None for one in deployment.apps if one.old is None}
    back: dict[str, App | None] = {one.app_id: one.old for one in deployment.apps if one.old is not None}
    root = with_apps(with_apps(root, removed), back)
    for change in sorted(deployment.groups, key=lambda one: one.group_id.count("/"), reverse=True):
        root = _revert_group(root, change)
    return root


def _move(old: App | None, new: App, kill: Sequence[str]) -> Action | None:
    if old is None:
        return Action(ActionKind.SCALE, new, new.instances)
    if is_only_scale_change(old, new):
        return Action(ActionKind.SCALE, new, new.instances, tuple(kill))
    if is_upgrade(old, new) or old.version_info != new.version_info:
        return Action(ActionKind.RESTART, new, new.instances)
    return None


def _group_changes(groups: Iterable[tuple[Group | None, Group | None]]) -> Iterator[GroupChange]:
    for old, new in groups:
        if old is None or new is None or old.dependencies != new.dependencies or old.enforce_role != new.enforce_role:
            group = old or new
            if group is not None:
                yield GroupChange(group.id, _own(old) if old else None, _own(new) if new else None)


def _own(group: Group) -> tuple[tuple[str, ...], bool | None]:
    return group.dependencies, group.enforce_role


def _revert_group(root: Group, change: GroupChange) -> Group:
    group = group_of(root, change.group_id)
    if change.old is None:
        if group is None or change.new is None:
            return root
        if not group.apps and not group.groups and group.dependencies == change.new[0]:
            return remove_group(root, change.group_id)
        return put_group(root, _without(group, change.new[0]))
    was_dependencies, was_enforced = change.old
    if group is None:
        group = empty_group(change.group_id, root.version)
    if change.new is None:
        added: tuple[str, ...] = ()
        group = replace(group, enforce_role=was_enforced)
    else:
        added = change.new[0]
        if group.enforce_role == change.new[1]:
            group = replace(group, enforce_role=was_enforced)
    group = _without(group, [one for one in added if one not in was_dependencies])
    missing = tuple(one for one in was_dependencies if one not in added and one not in group.dependencies)
    return put_group(root, replace(group, dependencies=group.dependencies + missing))


def _without(group: Group, dependencies: Iterable[str]) -> Group:
    gone = frozenset(dependencies)
    return replace(group, dependencies=tuple(one for one in group.dependencies if one not in gone))
