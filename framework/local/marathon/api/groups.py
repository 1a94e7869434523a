"""/v2/groups"""

from __future__ import annotations

from framework.local.marathon.api.exchange import Answer, Call, absolute, deployed, encoded, listed
from framework.local.marathon.api.happened import steps_of
from framework.local.marathon.api.problems import RefusedError, unknown_group
from framework.local.marathon.api.render import GROUP_EMBEDS, embeds
from framework.local.marathon.definition.app import Group
from framework.local.marathon.definition.faults import Detail, InvalidObjectError
from framework.local.marathon.definition.read import GroupUpdate, group_version_asked, read_enforce_role, read_group
from framework.local.marathon.definition.versions import meant
from framework.local.marathon.groups import tree

_PARTS = {"group.apps": "apps", "group.groups": "groups", "group.pods": "pods"}
_ALL_PARTS = frozenset(_PARTS.values())


async def show(call: Call) -> Answer:
    wanted = embeds(call.several("embed"), GROUP_EMBEDS)
    return Answer(await call.render.group_info(call.view, call.group(), _parts(call), wanted))


async def apps(call: Call) -> Answer:
    wanted = embeds(call.several("embed"), GROUP_EMBEDS)
    return Answer(listed(await call.render.app_infos(call.view, tree.apps_of(call.group()), wanted)))


async def versions(call: Call) -> Answer:
    return encoded(await call.control.group_versions(call.group().id))


async def version(call: Call) -> Answer:
    group = await call.control.group_at(call.id, meant(call.path["version"]))
    if group is None:
        raise unknown_group(call.id, call.path["version"])
    return Answer(await call.render.past_group(group, _parts(call)))


async def create(call: Call) -> Answer:
    raw, group_id = await call.document(any_type=True), call.id
    made: list[str] = []

    def change(root: Group, new_version: str) -> Group:
        update = _read(call, raw, group_id, new_version, root)
        made.append(update.id)
        # As in Marathon, the root is always there already.
        if tree.group_of(root, update.id) is not None:
            raise RefusedError(409, f"Group {update.id} is already created. Use PUT to change this group.")
        if tree.app_of(root, update.id) is not None:
            raise RefusedError(409, f"An app with the path {update.id} already exists.")
        return tree.apply_group_update(root, update)

    started = await call.deploy(change, force=call.flag("force"))
    return deployed(started, 201, call.url(f"/v2/groups{made[0]}"))


async def update(call: Call) -> Answer:
    raw, group_id, force = await call.document(any_type=True), call.id, call.flag("force")
    then = await _of_version(call, raw, group_id)

    def change(root: Group, new_version: str) -> Group:
        if then is not None:
            return tree.put_group(root, then)
        return tree.apply_group_update(root, _read(call, raw, group_id, new_version, root))

    if call.flag("dryRun"):
        steps = call.control.plan(await call.changed(change))
        return encoded({"steps": steps_of(steps)})
    return deployed(await call.deploy(change, force=force))


async def patch(call: Call) -> Answer:
    """Only a top-level group says whether it enforces its role."""
    enforce, group_id = read_enforce_role(await call.document(any_type=True)), call.id
    if not tree.is_top(group_id):
        raise InvalidObjectError([Detail("/", ["Path needs to be top-level"])])

    def change(root: Group, _version: str) -> Group:
        if tree.group_of(root, group_id) is None:
            raise unknown_group(group_id)
        return tree.set_enforce_role(root, group_id, enforce)

    return deployed(await call.control.deploy(change, force=call.flag("force")))


async def delete(call: Call) -> Answer:
    group_id = call.id

    def change(root: Group, _version: str) -> Group:
        if tree.group_of(root, group_id) is None:
            raise unknown_group(group_id)
        return tree.remove_group(root, group_id)

    return deployed(await call.control.deploy(change, force=call.flag("force")))


def _parts(call: Call) -> frozenset[str]:
    """What of groups is to be shown."""
    given = call.several("embed")
    return frozenset(_PARTS[one] for one in given if one in _PARTS) if given else _ALL_PARTS


def _read(call: Call, raw: object, group_id: str, new_version: str, root: Group) -> GroupUpdate:
    return read_group(raw, group_id=group_id, defaults=call.settings.defaults, version=new_version, root=root)


async def _of_version(call: Call, raw: object, group_id: str) -> Group | None:
    """The group of then, where the document asks for a version; nothing else of it counts."""
    asked = group_version_asked(raw)
    if asked is None:
        return None
    given = raw.get("id") if isinstance(raw, dict) else None
    if isinstance(given, str):
        group_id = absolute(given if given.startswith("/") else f"{group_id}/{given}")
    group = await call.control.group_at(group_id, meant(asked))
    if group is None:
        raise RefusedError(422, f"Group {group_id} not available in version {asked}")
    return group
