"""What a changed tree still needs before it can be saved: service ports, versions, and the rules of the whole. Pure.

Only apps that are not the very same objects as before are looked at, so that one change among thousands stays cheap.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypeAlias

from msgspec.structs import fields, replace

from framework.local.marathon.definition.app import App, ExternalVolume, Group, VersionInfo, Volume
from framework.local.marathon.definition.faults import Detail, InvalidObjectError
from framework.local.marathon.groups.dependencies import Dependencies
from framework.local.marathon.groups.tree import (
    Difference,
    app_of,
    apps_of,
    changed_groups,
    differences,
    with_apps,
    with_version,
)

_Pair: TypeAlias = tuple[Group | None, Group | None]

FIRST_SERVICE_PORT = 10_000  # --local_port_min of Marathon
LAST_SERVICE_PORT = 20_000  # --local_port_max

# Of no concern to a running instance.
_NOT_CONFIGURATION = frozenset({"id", "instances", "version", "version_info", "residency"})
_CONFIGURATION = tuple(field.name for field in fields(App) if field.name not in _NOT_CONFIGURATION)
# Sets to Marathon: another order is no change.
_UNORDERED = frozenset({"constraints", "health_checks", "dependencies", "accepted_resource_roles"})


def settle(
    before: Group,
    after: Group,
    version: str,
    *,
    restart: Collection[str] = (),
    first_port: int = FIRST_SERVICE_PORT,
    last_port: int = LAST_SERVICE_PORT,
) -> Group:
    """``after`` as it is saved and planned: with service ports, the version on all groups and on changed apps.

    ``restart``: apps that are to be rolled though nothing of them changed. Raises InvalidObjectError.
    """
    after = assign_service_ports(before, after, first_port, last_port)
    check(before, after)
    return stamp_versions(before, after, version, restart=restart)


def is_upgrade(old: App, new: App) -> bool:
    """Whether running instances are to be replaced, as far as the definitions say."""
    if old is new:
        return False
    for name in _CONFIGURATION:
        was, now = getattr(old, name), getattr(new, name)
        if was != now and not (name in _UNORDERED and frozenset(was or ()) == frozenset(now or ())):
            return True
    return False


def is_only_scale_change(old: App, new: App) -> bool:
    """Whether nothing but the number of instances is another."""
    return old.instances != new.instances and not is_upgrade(old, new)


def assign_service_ports(
    before: Group, after: Group, first: int = FIRST_SERVICE_PORT, last: int = LAST_SERVICE_PORT
) -> Group:
    """Service ports of 0 become free ones, ``last`` counted in: first those that the app had and no longer asks for by

    number, in their order, then the lowest that no app has. The same port asked for by two apps is nobody's fault: so
    it is with Marathon since 1.0, whose load balancers tell them apart. Raises InvalidObjectError where none is left.
    """
    changed = [(old, new) for _, old, new in differences(changed_groups(before, after)) if new is not None]
    if not any(0 in new.service_ports for _, new in changed):
        return after
    free = _free_ports(before, [new for _, new in changed], first, last)
    changes: dict[str, App | None] = {}
    for old, new in changed:
        asked = new.service_ports
        if 0 not in asked:
            continue
        had = [port for port in old.service_ports if first <= port <= last and port not in asked] if old else []
        ports: list[int] = []
        for port in asked:
            given = port or (had.pop(0) if had else next(free, 0))
            if not given:
                words = f"All ports in the range [{first}-{last + 1}) are already in use"
                raise InvalidObjectError([Detail("/", [words])])
            ports.append(given)
        changes[new.id] = _with_service_ports(new, ports)
    return with_apps(after, changes)


def stamp_versions(before: Group, after: Group, version: str, *, restart: Collection[str] = ()) -> Group:
    """All groups get the version, and so do apps that are new, changed, scaled or to be restarted; the others are

    again what they were. A restart is told as a scaling is; that what ran before it is outdated, the version says.
    """
    changes: dict[str, App | None] = {}
    for app_id, old, new in differences(changed_groups(before, after)):
        if new is not None:
            changes[app_id] = _stamped(old, new, version, app_id in restart)
    for app_id in restart:
        app = app_of(after, app_id)
        if app is not None and app_id not in changes:
            changes[app_id] = _stamped(app, app, version, True)
    return with_version(with_apps(after, changes), version)


def check(before: Group, after: Group) -> None:
    """The rules of the whole tree, as far as the change can have broken them. Raises InvalidObjectError with all."""
    groups = list(changed_groups(before, after))
    apps = [one for one in differences(groups) if one.new is not None]
    details = [*_cycles(after, groups, apps), *_name_clashes(after, groups), *_volume_clashes(after, apps)]
    details += _resident_changes(apps)
    if details:
        raise InvalidObjectError(details)


def _free_ports(before: Group, changed: list[App], first: int, last: int) -> Iterator[int]:
    """Those of the tree before are not free even where they are given up: their app may take them up again."""
    apps = [*apps_of(before), *changed]
    used = {one.port for app in apps if app.port_definitions for one in app.port_definitions}
    containers = [app.container for app in apps if app.container is not None]
    used.update(one.service_port for container in containers for one in container.port_mappings or ())
    return (port for port in range(first, last + 1) if port not in used)


def _with_service_ports(app: App, ports: list[int]) -> App:
    if app.port_definitions is not None:
        pairs = zip(app.port_definitions, ports, strict=True)
        return replace(app, port_definitions=tuple(replace(one, port=port) for one, port in pairs))
    if app.container is None:
        return app
    mapped = zip(app.container.port_mappings or (), ports, strict=True)
    mappings = tuple(replace(one, service_port=port) for one, port in mapped)
    return replace(app, container=replace(app.container, port_mappings=mappings))


def _stamped(old: App | None, new: App, version: str, restart: bool) -> App:
    if old is None or is_upgrade(old, new):
        info = VersionInfo(last_scaling_at=version, last_config_change_at=version)
        return replace(new, version=version, version_info=info)
    if old.instances != new.instances:
        info = replace(old.version_info, last_scaling_at=version)
        return replace(old, instances=new.instances, residency=new.residency, version=version, version_info=info)
    if restart:
        info = replace(old.version_info, last_scaling_at=version)
        return replace(old, residency=new.residency, version=version, version_info=info)
    return old if old.residency == new.residency else replace(old, residency=new.residency)


def _cycles(after: Group, groups: list[_Pair], apps: list[Difference]) -> Iterator[Detail]:
    """A new circle goes through an app that is new or waits for something new."""
    starts = [
        one.app_id
        for one in apps
        if one.old is None or (one.new and one.new.dependencies and one.new.dependencies != one.old.dependencies)
    ]
    for old, new in groups:
        if new and new.dependencies and (old is None or old.dependencies != new.dependencies):
            starts.extend(app.id for app in apps_of(new))
    if starts and Dependencies(after).cycle(starts):
        yield Detail("/", ["Dependency graph has cyclic dependencies."])


def _name_clashes(after: Group, groups: list[_Pair]) -> Iterator[Detail]:
    clashing = [group for _, group in groups if group and not group.apps.keys().isdisjoint(group.groups.keys())]
    if not clashing:
        return
    places = {group_id: place for place, group_id in enumerate(_in_order(after))}
    for group in clashing:
        path = "/" if group is after else f"/groups({places[group.id]})"
        yield Detail(path, ["Groups and Applications may not have the same identifier."])


def _in_order(root: Group) -> Iterator[str]:
    """Ids of all groups below the root in Marathon's order: a group's own, then what is below each of them."""
    waiting = [root]
    while waiting:
        above = waiting.pop()
        yield from above.groups
        waiting.extend(reversed(above.groups.values()))


def _volume_clashes(after: Group, changed: list[Difference]) -> Iterator[Detail]:
    """A named external volume is one app's only, unless it is shared."""
    if not any(one.new and _external(one.new) for one in changed):
        return
    owners: dict[tuple[str | None, str | None], list[str]] = {}
    for app in apps_of(after):
        for volume in _external(app):
            if not volume.shared:
                owners.setdefault((volume.provider, volume.name), []).append(app.id)
    yield from _volume_clashes_of(after, "", owners)


def _volume_clashes_of(
    group: Group, path: str, owners: dict[tuple[str | None, str | None], list[str]]
) -> Iterator[Detail]:
    for place, app in enumerate(group.apps.values()):
        for index, volume in enumerate(_external(app)):
            others = owners.get((volume.provider, volume.name), ())
            named = ", ".join(dict.fromkeys(one for one in others if one != app.id))
            if named:
                words = (
                    f"Volume name '{volume.name}' in {app.id} conflicts with volume(s) of same name in app(s): {named}"
                )
                yield Detail(f"{path}/apps({place})/externalVolumes({index})", [words])
    for place, below in enumerate(group.groups.values()):
        yield from _volume_clashes_of(below, f"{path}/groups({place})", owners)


def _external(app: App) -> list[ExternalVolume]:
    return [one.external for one in app.container.volumes if one.external] if app.container else []


def _resident_changes(changed: list[Difference]) -> Iterator[Detail]:
    """What is reserved for an app with persistent volumes stays what it is."""
    for place, (_, old, new) in enumerate(changed):
        if old is None or new is None or not (old.resident or new.resident):
            continue
        errors = []
        if _persistent(old) != _persistent(new):
            errors.append("Persistent volumes can not be changed!")
        if _reserved(old) != _reserved(new):
            errors.append("Resident Tasks may not change resource requirements!")
        if errors:
            yield Detail(f"/app({place})", errors)


def _persistent(app: App) -> dict[str, Volume]:
    return {one.container_path: one for one in app.container.volumes if one.persistent} if app.container else {}


def _reserved(app: App) -> tuple[float, float, float, int, frozenset[int], bool]:
    mappings = app.container.port_mappings if app.container else None
    host_ports = app.service_ports if mappings is None else [one.host_port for one in mappings]
    ports = frozenset(port for port in host_ports if port is not None)
    return app.cpus, app.mem, app.disk, app.gpus, ports, app.require_ports
