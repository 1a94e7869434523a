"""/v2/tasks and the tasks of an app."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence

from framework.local.marathon.api import text
from framework.local.marathon.api.apps import scaled_down
from framework.local.marathon.api.exchange import TEXT, Answer, Call, listed
from framework.local.marathon.api.problems import bad_request, unknown_task
from framework.local.marathon.api.render import SLICE, has_task
from framework.local.marathon.definition.app import App
from framework.local.marathon.definition.faults import Detail, InvalidJsonError
from framework.local.marathon.groups.tree import apps_of
from framework.local.marathon.records import Condition, Instance

_STATUSES = {"running": Condition.RUNNING, "staging": Condition.STAGING}
_ID = re.compile(r"([^.\s/]+\.(?:instance|marathon)-[^.\s/]+)(?:\._?[^.\s/]+\.\d+)?")
"""A task's or an instance's id; the first group is the instance's."""


async def index(call: Call) -> Answer:
    if call.prefers_text():
        return await _index_text(call, list(apps_of(call.view.root)))
    asked = [one.lower() for one in (*call.several("status"), *call.several("status[]"))]
    conditions = {_STATUSES[one] for one in asked if one in _STATUSES}
    instances = [one for one in call.view.all_instances() if not asked or one.condition in conditions]
    return await _listed(call, instances)


async def of_app(call: Call) -> Answer:
    below = call.group_below()
    if below is not None:
        return await _listed(call, [one for app in apps_of(below) for one in call.view.instances(app.id)])
    app = call.app()
    if call.prefers_text():
        return await _index_text(call, [app])
    return await _listed(call, call.view.instances(app.id))


async def kill_of_app(call: Call) -> Answer:
    host = call.request.query_params.get("host")
    app = call.app()
    return await _kill(call, [one for one in _killable(call, app) if host is None or _is_on(one, host)])


async def kill_one(call: Call) -> Answer:
    app, task_id = call.app(), call.path["task"]
    found = _ID.fullmatch(task_id)
    instances = [one for one in _killable(call, app) if found and one.id == found[1]]
    if not instances:
        raise unknown_task(task_id)
    task = call.render.task(call.view, instances[0], app)
    return await _kill(call, instances, b'{"task":' + task + b"}")


async def kill_several(call: Call) -> Answer:
    raw = await call.document()
    ids = raw.get("ids") if isinstance(raw, dict) else None
    if not isinstance(ids, list):
        raise InvalidJsonError("Invalid JSON", [Detail("/ids", ["error.path.missing"])])
    wrong = [
        Detail(f"/ids({at})", ["error.expected.jsstring"]) for at, one in enumerate(ids) if not isinstance(one, str)
    ]
    if wrong:
        raise InvalidJsonError("Invalid JSON", wrong)
    matches = {one: _ID.fullmatch(one) for one in ids}
    unknown = [one for one, match in matches.items() if match is None]
    if unknown:
        raise bad_request(f"Invalid task id {', '.join(unknown)}")
    found = (call.view.instance(match[1]) for match in matches.values() if match)
    return await _kill(call, list({one.id: one for one in found if one is not None and has_task(one)}.values()))


def _killable(call: Call, app: App) -> list[Instance]:
    """Those with a task and, where their volumes are to be destroyed, those that wait for one with theirs."""
    wipe = call.flag("wipe")
    return [one for one in call.view.instances(app.id) if has_task(one) or (wipe and one.reserved)]


def _is_on(instance: Instance, host: str) -> bool:
    return host == "*" or (instance.site is not None and instance.site.hostname == host)


async def _kill(call: Call, instances: Sequence[Instance], shown: bytes | None = None) -> Answer:
    """Kills them, or scales their apps down by them; ``shown``: the answer to the first, by default all their tasks."""
    scale, wipe = call.flag("scale"), call.flag("wipe")
    if scale and wipe:
        raise bad_request("You cannot use scale and wipe at the same time.")
    if scale:
        by_app: dict[str, list[str]] = {}
        for one in instances:
            by_app.setdefault(one.app_id, []).append(one.id)
        return await scaled_down(call, by_app)
    tasks = [call.render.task(call.view, one, call.view.app(one.app_id)) for one in instances if has_task(one)]
    if instances:
        await call.control.kill([one.id for one in instances], wipe=wipe)
    return Answer(shown or b'{"tasks":' + listed(tasks) + b"}")


async def _listed(call: Call, instances: Iterable[Instance]) -> Answer:
    tasks: list[bytes] = []
    for index, one in enumerate(instances, 1):
        if has_task(one):
            tasks.append(call.render.task(call.view, one, call.view.app(one.app_id)))
        if index % SLICE == 0:
            await asyncio.sleep(0)
    return Answer(b'{"tasks":' + listed(tasks) + b"}")


async def _index_text(call: Call, apps: Sequence[App]) -> Answer:
    networks = frozenset(call.request.query_params.get("containerNetworks", "").split(",")) - {""}
    lines: list[str] = []
    for index, app in enumerate(apps, 1):
        lines += text.endpoints(app, call.view.instances(app.id), networks)
        if index % SLICE == 0:
            await asyncio.sleep(0)
    return Answer("".join(lines).encode(), media_type=TEXT)
