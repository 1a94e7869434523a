"""/v2/apps"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from framework.local.marathon.api.exchange import Answer, Call, deployed, encoded, listed
from framework.local.marathon.api.happened import Posted
from framework.local.marathon.api.problems import RefusedError, unknown_app
from framework.local.marathon.api.render import APP_EMBEDS, Embed, embeds
from framework.local.marathon.api.selectors import selector
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.read import app_updates, new_app, update_app, version_asked
from framework.local.marathon.definition.versions import meant
from framework.local.marathon.groups.tree import app_of, apps_of, group_of, put_app, remove_app
from framework.local.marathon.records import Condition, Instance

_LIST_EMBEDS = frozenset({Embed.COUNTS, Embed.DEPLOYMENTS})
"""Of /v2/apps, whatever is asked for, as Marathon has it; so the next, of /v2/apps/{id}."""
_SHOW_EMBEDS = frozenset({Embed.COUNTS, Embed.TASKS, Embed.LAST_FAILURE, Embed.DEPLOYMENTS})


async def index(call: Call) -> Answer:
    query = call.request.query_params
    wanted = selector(query.get("cmd"), query.get("id"), query.get("label"))
    apps = [app for app in apps_of(call.view.root) if wanted(app)]
    infos = await call.render.app_infos(call.view, apps, embeds(call.several("embed"), APP_EMBEDS) | _LIST_EMBEDS)
    return Answer(b'{"apps":' + listed(infos) + b"}")


async def show(call: Call) -> Answer:
    parts = embeds(call.several("embed"), APP_EMBEDS)
    below = call.group_below()
    if below is not None:
        infos = await call.render.app_infos(call.view, apps_of(below), parts | _SHOW_EMBEDS)
        return Answer(b'{"*":' + listed(infos) + b"}")
    info = call.render.app_info(call.view, call.app(), parts | _SHOW_EMBEDS)
    return Answer(b'{"app":' + info + b"}")


async def create(call: Call) -> Answer:
    raw, force = await call.document(), call.flag("force")
    made: list[str] = []

    def change(root: Group, version: str) -> Group:
        app = new_app(raw, defaults=call.settings.defaults, version=version, root=root)
        if app_of(root, app.id) is not None:
            raise RefusedError(409, f"An app with id [{app.id}] already exists.")
        _refuse_group(root, app.id)
        made.append(app.id)
        return put_app(root, app)

    started = await call.deploy(change, force=force)
    app = call.view.app(made[0])
    if app is None:  # somebody has taken it away again meanwhile
        raise unknown_app(made[0])
    call.hub.publish(Posted(call.client, call.request.url.path, app))
    running = msgspec.json.encode([{"id": started.deployment_id}])
    body = b"".join(
        (
            call.render.app(app)[:-1],
            b',"tasksStaged":0,"tasksRunning":0,"tasksHealthy":0,"tasksUnhealthy":0,"tasks":[],"deployments":',
            running,
            b"}",
        )
    )
    headers = {"Marathon-Deployment-Id": started.deployment_id, "Location": call.url(f"/v2/apps{app.id}")}
    return Answer(body, 201, headers=headers)


async def replace_one(call: Call) -> Answer:
    return await _update_one(call, partial=call.flag("partialUpdate", True), may_create=True)


async def patch_one(call: Call) -> Answer:
    return await _update_one(call, partial=True, may_create=False)


async def _update_one(call: Call, *, partial: bool, may_create: bool) -> Answer:
    raw, force = await call.document(), call.flag("force")
    app_id = call.id
    update = await _updating(call, [(app_id, raw)], partial=partial, may_create=may_create)
    was_there = True

    def change(root: Group, version: str) -> Group:
        nonlocal was_there
        was_there = app_of(root, app_id) is not None
        return update(root, version)

    started = await call.deploy(change, force=force)
    _tell_posted(call, [app_id])
    if was_there:
        return deployed(started)
    return deployed(started, 201, call.url(f"/v2/apps{app_id}"))


async def replace_several(call: Call) -> Answer:
    return await _update_several(call, partial=call.flag("partialUpdate", True), may_create=True)


async def patch_several(call: Call) -> Answer:
    return await _update_several(call, partial=True, may_create=False)


async def _update_several(call: Call, *, partial: bool, may_create: bool) -> Answer:
    updates, force = await call.beside(app_updates, await call.document()), call.flag("force")
    started = await call.deploy(await _updating(call, updates, partial=partial, may_create=may_create), force=force)
    _tell_posted(call, [app_id for app_id, _ in updates])
    return deployed(started)


async def _updating(
    call: Call, updates: Sequence[tuple[str, object]], *, partial: bool, may_create: bool
) -> Callable[[Group, str], Group]:
    """The change that one or several apps' documents ask for; which version some go back to is looked up before."""
    rolled_back = {app_id: await _version_asked(call, app_id, raw) for app_id, raw in updates}

    def change(root: Group, version: str) -> Group:
        for app_id, raw in updates:
            existing = app_of(root, app_id)
            back = rolled_back[app_id]
            if existing is None and (back is not None or not may_create):
                raise unknown_app(app_id)
            root = put_app(root, back or _updated(call, root, existing, raw, app_id, version, partial))
        return root

    return change


def _tell_posted(call: Call, app_ids: Iterable[str]) -> None:
    for app_id in app_ids:
        app = call.view.app(app_id)
        if app is not None:
            call.hub.publish(Posted(call.client, call.request.url.path, app))


async def delete(call: Call) -> Answer:
    """Unless ``force=false`` is said, deployments of the app are no hindrance, as with the real one."""
    app_id = call.id

    def change(root: Group, _version: str) -> Group:
        if app_of(root, app_id) is None:
            raise unknown_app(app_id)
        return remove_app(root, app_id)

    return deployed(await call.control.deploy(change, force=call.flag("force", True)))


async def restart(call: Call) -> Answer:
    app_id = call.id

    def change(root: Group, _version: str) -> Group:
        if app_of(root, app_id) is None:
            raise unknown_app(app_id)
        return root

    return deployed(await call.control.deploy(change, force=call.flag("force"), restart=(app_id,)))


async def versions(call: Call) -> Answer:
    return encoded({"versions": await call.control.versions(call.app().id)})


async def version(call: Call) -> Answer:
    app = await call.control.app_at(call.id, meant(call.path["version"]))
    if app is None:
        raise unknown_app(call.id, call.path["version"])
    return Answer(call.render.once(app))


async def scaled_down(call: Call, killed: Mapping[str, list[str]]) -> Answer:
    """Apps with as many instances fewer as are killed of them, those that are on their way out already not counted."""

    def change(root: Group, _version: str) -> Group:
        for app_id, instance_ids in killed.items():
            app = app_of(root, app_id)
            if app is None:
                raise unknown_app(app_id)
            found = (call.view.instance(one) for one in instance_ids)
            leaving = sum(1 for one in found if one is not None and _counts(one))
            root = put_app(root, replace(app, instances=max(0, app.instances - leaving)))
        return root

    return deployed(await call.control.deploy(change, force=call.flag("force"), kill=killed))


def _counts(instance: Instance) -> bool:
    """Whether it is one of the app's present instances, which is not on its way out already."""
    gone = instance.condition.terminal or instance.condition in (Condition.UNREACHABLE_INACTIVE, Condition.KILLING)
    return not gone and instance.kill_asked_at is None


def _updated(
    call: Call, root: Group, existing: App | None, raw: object, app_id: str, version: str, partial: bool
) -> App:
    if existing is None:
        _refuse_group(root, app_id)
    return update_app(
        existing, raw, app_id=app_id, partial=partial, defaults=call.settings.defaults, version=version, root=root
    )


async def _version_asked(call: Call, app_id: str, raw: object) -> App | None:
    """The app of then, where the document says nothing but the version to go back to."""
    asked = version_asked(raw)
    if asked is None:
        return None
    app = await call.control.app_at(app_id, meant(asked))
    if app is None:
        raise unknown_app(app_id, asked)
    return app


def _refuse_group(root: Group, app_id: str) -> None:
    """An app cannot have the id of a group that has something in it."""
    group = group_of(root, app_id)
    if group is not None and next(apps_of(group), None) is not None:
        raise RefusedError(409, f"Group {app_id} is already created. Use PUT to change this group.")
