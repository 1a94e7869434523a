"""Apps, tasks and groups in the API's JSON. What has not changed is not encoded again.

Records are frozen, so that what was encoded of one holds as long as it is the same object. Long answers are made of the
encoded parts, and the event loop goes on between slices of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any

import msgspec

from framework.local.marathon.api.statistics import TaskCounts, task_stats
from framework.local.marathon.control import View
from framework.local.marathon.definition import versions
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.read import shown
from framework.local.marathon.groups.tree import apps_of
from framework.local.marathon.records import Condition, HealthResult, Instance, ReadinessResult, TaskFailure

SLICE = 100
"""Apps that are put together before the loop goes on: some 5 ms, with their tasks."""
MAX_KEPT = 16384
"""Encoded apps, and as many tasks; 2000 of each take 4 MB."""


class Embed(StrEnum):
    TASKS = "tasks"
    COUNTS = "counts"
    DEPLOYMENTS = "deployments"
    READINESS = "readiness"
    LAST_FAILURE = "lastTaskFailure"
    STATS = "taskStats"


APP_EMBEDS = ("group.apps.", "apps.", "app.", "")
"""Marathon takes any of them for the others, and names without one."""
GROUP_EMBEDS = ("group.apps.",)
_EMBEDS: dict[str, tuple[Embed, ...]] = {
    "tasks": (Embed.TASKS, Embed.DEPLOYMENTS),  # deployments for compatibility, as Marathon has it
    "failures": (Embed.TASKS, Embed.LAST_FAILURE, Embed.COUNTS, Embed.DEPLOYMENTS),
    "counts": (Embed.COUNTS,),
    "count": (Embed.COUNTS,),
    "deployments": (Embed.DEPLOYMENTS,),
    "readiness": (Embed.READINESS,),
    "lastTaskFailure": (Embed.LAST_FAILURE,),
    "taskStats": (Embed.STATS,),
}


def embeds(given: Iterable[str], prefixes: tuple[str, ...]) -> frozenset[Embed]:
    """Of the query parameter ``embed``; what is unknown is left out, as Marathon does."""
    found: set[Embed] = set()
    for one in given:
        prefix = next((prefix for prefix in prefixes if one.startswith(prefix)), None)
        if prefix is not None:
            found.update(_EMBEDS.get(one.removeprefix(prefix), ()))
    return frozenset(found)


_STATES = {
    Condition.SCHEDULED: "TASK_STAGING",
    Condition.PROVISIONED: "TASK_STAGING",
    Condition.STAGING: "TASK_STAGING",
    Condition.STARTING: "TASK_STARTING",
    Condition.RUNNING: "TASK_RUNNING",
    Condition.KILLING: "TASK_KILLING",
    Condition.UNREACHABLE: "TASK_UNREACHABLE",
    Condition.UNREACHABLE_INACTIVE: "TASK_UNREACHABLE",
    Condition.FINISHED: "TASK_FINISHED",
    Condition.FAILED: "TASK_FAILED",
    Condition.KILLED: "TASK_KILLED",
    Condition.ERROR: "TASK_ERROR",
    Condition.GONE: "TASK_GONE",
    Condition.DROPPED: "TASK_DROPPED",
    Condition.UNKNOWN: "TASK_UNKNOWN",
}


def stamp(seconds: float) -> str:
    """Such as "2015-09-25T15:13:48.343Z"."""
    return versions.stamp(round(seconds * 1e6) // 1000)


def has_task(instance: Instance) -> bool:
    return instance.condition is not Condition.SCHEDULED


def ip_addresses(instance: Instance) -> list[dict[str, str]]:
    return [{"ipAddress": one, "protocol": "IPv6" if ":" in one else "IPv4"} for one in instance.addresses]


class Renderer:
    def __init__(self) -> None:
        self._apps: dict[str, tuple[App, bytes]] = {}
        self._tasks: dict[str, tuple[Instance, Sequence[HealthResult], object, tuple[int, ...], bytes]] = {}

    def app(self, app: App) -> bytes:
        kept = self._apps.get(app.id)
        if kept is not None and kept[0] is app:
            return kept[1]
        if len(self._apps) >= MAX_KEPT:
            self._apps.clear()
        rendered = shown(app)
        self._apps[app.id] = (app, rendered)
        return rendered

    @staticmethod
    def once(app: App) -> bytes:
        """Of an app of the past, which does not take the place of the present one among what is kept."""
        return shown(app)

    def task(self, view: View, instance: Instance, app: App | None) -> bytes:
        """``app``: as wanted now; None where it is being stopped."""
        health, check = view.health(instance.id), view.check_result(instance.id)
        service_ports = app.service_ports if app is not None else ()
        kept = self._tasks.get(instance.id)
        if (
            kept is not None
            and kept[0] is instance
            and kept[1] == health
            and kept[2] == check
            and kept[3] == service_ports
        ):
            return kept[4]
        if len(self._tasks) >= MAX_KEPT:
            self._tasks.clear()
        rendered = msgspec.json.encode(_task(instance, health, check, service_ports))
        self._tasks[instance.id] = (instance, health, check, service_ports, rendered)
        return rendered

    def tasks(self, view: View, app: App) -> list[bytes]:
        return [self.task(view, one, app) for one in view.instances(app.id) if has_task(one)]

    def app_info(self, view: View, app: App, wanted: frozenset[Embed]) -> bytes:
        """The app with what is embedded."""
        if not wanted:
            return self.app(app)
        parts = [self.app(app)[:-1]]
        instances = view.instances(app.id) if wanted & {Embed.TASKS, Embed.COUNTS, Embed.STATS} else ()
        if Embed.COUNTS in wanted:
            counts = TaskCounts.of(instances)
            parts.append(
                b',"tasksStaged":%d,"tasksRunning":%d,"tasksHealthy":%d,"tasksUnhealthy":%d'
                % (counts.staged, counts.running, counts.healthy, counts.unhealthy)
            )
        if Embed.DEPLOYMENTS in wanted:
            running = [{"id": one} for one in view.deployments_of(app.id)]
            parts += b',"deployments":', msgspec.json.encode(running)
        if Embed.READINESS in wanted:
            results = [readiness_result(one) for one in view.readiness(app.id)]
            parts += b',"readinessCheckResults":', msgspec.json.encode(results)
        if Embed.TASKS in wanted:
            tasks = (self.task(view, one, app) for one in instances if has_task(one))
            parts += b',"tasks":[', b",".join(tasks), b"]"
        if Embed.LAST_FAILURE in wanted and (failure := view.last_failure(app.id)) is not None:
            parts += b',"lastTaskFailure":', msgspec.json.encode(_failure(failure))
        if Embed.STATS in wanted:
            parts += b',"tasksStats":', msgspec.json.encode(task_stats(app.version_info, instances, time.time()))
        parts.append(b"}")
        return b"".join(parts)

    async def app_infos(self, view: View, apps: Iterable[App], wanted: frozenset[Embed]) -> list[bytes]:
        return await _sliced(apps, lambda app: self.app_info(view, app, wanted))

    async def group_info(self, view: View, group: Group, parts: Collection[str], wanted: frozenset[Embed]) -> bytes:
        """``parts``: which of apps, groups and pods are embedded."""
        infos = await self.app_infos(view, _embedded(group, parts), wanted)
        return _group_with(group, parts, iter(infos))

    async def past_group(self, group: Group, parts: Collection[str]) -> bytes:
        """A group of an earlier version, the apps as they were."""
        return _group_with(group, parts, iter(await _sliced(_embedded(group, parts), self.once)))

    def group(self, group: Group) -> bytes:
        """The group with all below it, in one go."""
        apps = b",".join(self.app(one) for one in group.apps.values())
        groups = b",".join(self.group(one) for one in group.groups.values())
        return b"".join((_group_head(group), b',"apps":[', apps, b'],"groups":[', groups, b'],"pods":[]}'))


async def _sliced(apps: Iterable[App], render: Callable[[App], bytes]) -> list[bytes]:
    rendered: list[bytes] = []
    for index, app in enumerate(apps, 1):
        rendered.append(render(app))
        if index % SLICE == 0:
            await asyncio.sleep(0)
    return rendered


def _embedded(group: Group, parts: Collection[str]) -> Iterable[App]:
    """The apps that are shown with the group, in the order of ``_group_with``."""
    if "apps" not in parts:
        return ()
    return apps_of(group) if "groups" in parts else group.apps.values()


def _group_with(group: Group, parts: Collection[str], infos: Iterator[bytes]) -> bytes:
    """``infos``: of the group's own apps first, then of those below."""
    rendered = [_group_head(group)]
    if "apps" in parts:
        rendered += b',"apps":[', b",".join(islice(infos, len(group.apps))), b"]"
    if "groups" in parts:
        rendered += b',"groups":[', b",".join(_group_with(one, parts, infos) for one in group.groups.values()), b"]"
    if "pods" in parts:
        rendered.append(b',"pods":[]')
    rendered.append(b"}")
    return b"".join(rendered)


def readiness_result(result: ReadinessResult) -> dict[str, object]:
    shown_result: dict[str, object] = {"name": result.name, "taskId": result.instance_id, "ready": result.ready}
    if result.status is not None:
        shown_result["lastResponse"] = {
            "status": result.status,
            "contentType": result.content_type or "",
            "body": result.body or "",
        }
    return shown_result


def health_result(result: HealthResult) -> dict[str, object]:
    shown_result: dict[str, object] = {
        "alive": result.alive,
        "consecutiveFailures": result.consecutive_failures,
        "instanceId": result.instance_id,
    }
    for name, at in (
        ("firstSuccess", result.first_success_at),
        ("lastSuccess", result.last_success_at),
        ("lastFailure", result.last_failure_at),
    ):
        if at is not None:
            shown_result[name] = stamp(at)
    if result.last_failure_cause is not None:
        shown_result["lastFailureCause"] = result.last_failure_cause
    return shown_result


def _group_head(group: Group) -> bytes:
    head: dict[str, object] = {"id": group.id, "dependencies": group.dependencies, "version": group.version}
    if group.enforce_role is not None:
        head["enforceRole"] = group.enforce_role
    return msgspec.json.encode(head)[:-1]


def _task(
    instance: Instance, health: Sequence[HealthResult], check: Mapping[str, Any] | None, service_ports: tuple[int, ...]
) -> dict[str, object]:
    task: dict[str, object] = {
        "appId": instance.app_id,
        "host": instance.site.hostname if instance.site else "",
        "id": instance.task_id,
        "ipAddresses": ip_addresses(instance),
        "state": _STATES[instance.condition],
        "role": instance.role,
    }
    if not instance.condition.terminal and instance.condition is not Condition.UNREACHABLE_INACTIVE:
        task["ports"] = [one for one in instance.ports if one]
        task["version"] = instance.version
        if instance.staged_at is not None:
            task["stagedAt"] = stamp(instance.staged_at)
        if instance.started_at is not None:
            task["startedAt"] = stamp(instance.started_at)
    if service_ports:
        task["servicePorts"] = service_ports
    if health:
        task["healthCheckResults"] = [health_result(one) for one in health]
    if check:
        task["checkResult"] = check
    if instance.site:
        task["slaveId"] = instance.site.host_id
        if instance.site.region is not None:
            task["region"] = instance.site.region
        if instance.site.zone is not None:
            task["zone"] = instance.site.zone
    task["localVolumes"] = [
        {
            "runSpecId": instance.app_id,
            "containerPath": one.container_path,
            "uuid": one.uuid,
            "persistenceId": one.persistence_id,
        }
        for one in instance.volumes
    ]
    return task


def _failure(failure: TaskFailure) -> dict[str, object]:
    shown_failure: dict[str, object] = {
        "appId": failure.app_id,
        "host": failure.host,
        "message": failure.message,
        "state": failure.state,
        "taskId": failure.task_id,
        "timestamp": stamp(failure.timestamp),
        "version": failure.version,
    }
    if failure.slave_id is not None:
        shown_failure["slaveId"] = failure.slave_id
    return shown_failure
