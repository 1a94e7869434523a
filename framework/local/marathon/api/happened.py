"""What happened, in the words of Marathon's event stream."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from framework.local.marathon.api.render import Renderer, ip_addresses, stamp
from framework.local.marathon.control import View
from framework.local.marathon.definition.app import App
from framework.local.marathon.happenings import (
    AppTerminated,
    DeploymentTold,
    GroupChanged,
    Happening,
    HealthChanged,
    HealthCheckFailed,
    HealthCheckSet,
    InstanceChanged,
    Registered,
    StatusUpdate,
    UnhealthyKill,
    UnknownTerminated,
)
from framework.local.marathon.records import Instance, Step


class Attached(msgspec.Struct, frozen=True):
    """event_stream_attached or, with ``attached`` false, event_stream_detached."""

    remote_address: str
    attached: bool


class Posted(msgspec.Struct, frozen=True):
    """api_post_event."""

    client_ip: str
    uri: str
    app: App


Told: TypeAlias = Happening | Attached | Posted


def names(told: Told) -> tuple[str, ...]:
    """Of the events that tell of it."""
    match told:
        case DeploymentTold():
            return (told.kind,)
        case HealthChanged():
            return ("health_status_changed_event", "instance_health_changed_event")
        case HealthCheckSet():
            return ("add_health_check_event" if told.added else "remove_health_check_event",)
        case GroupChanged():
            return ("group_change_failed" if told.reason else "group_change_success",)
        case Registered():
            return ("scheduler_reregistered_event" if told.again else "scheduler_registered_event",)
        case Attached():
            return ("event_stream_attached" if told.attached else "event_stream_detached",)
        case _:
            return _NAMES[type(told)]


_NAMES: dict[type, tuple[str, ...]] = {
    StatusUpdate: ("status_update_event",),
    InstanceChanged: ("instance_changed_event",),
    HealthCheckFailed: ("failed_health_check_event",),
    UnhealthyKill: ("unhealthy_instance_kill_event",),
    UnknownTerminated: ("unknown_instance_terminated_event",),
    AppTerminated: ("app_terminated_event",),
    Posted: ("api_post_event",),
}


def data_of(name: str, told: Told, at: float, view: View, render: Renderer, light: bool) -> bytes:
    """The event's data, one line of JSON. ``light``: plans come without the groups before and after."""
    fields = {**_fields(name, told, view, render, light), "eventType": name, "timestamp": stamp(at)}
    return msgspec.json.encode(fields)


def actions_of(step: Step) -> list[dict[str, str]]:
    return [{"action": action.kind, "app": action.app.id} for action in step.actions]


def steps_of(steps: tuple[Step, ...]) -> list[dict[str, object]]:
    return [{"actions": actions_of(step)} for step in steps]


def _fields(name: str, told: Told, view: View, render: Renderer, light: bool) -> dict[str, object]:
    match told:
        case DeploymentTold():
            return _deployment(told, render, light)
        case Posted():
            definition = msgspec.Raw(render.app(told.app))
            return {"clientIp": told.client_ip, "uri": told.uri, "appDefinition": definition}
        case HealthChanged() | HealthCheckFailed() | UnhealthyKill() | HealthCheckSet():
            return _health(name, told, view)
        case StatusUpdate():
            return _status(told.instance) | {"taskStatus": told.task_status, "message": told.message}
        case InstanceChanged():
            return _run_spec(told.instance) | _where(told.instance) | {"condition": told.condition, "goal": told.goal}
        case UnknownTerminated():
            return {"instanceId": told.instance_id, "runSpecId": told.app_id, "condition": told.condition}
        case AppTerminated():
            return {"appId": told.app_id}
        case GroupChanged():
            reason = {"reason": told.reason} if told.reason else {}
            return {"groupId": told.group_id, "version": told.version, **reason}
        case Registered():
            framework = {} if told.again else {"frameworkId": told.framework_id}
            return {"master": told.master, **framework}
        case Attached():
            return {"remoteAddress": told.remote_address}


def _health(
    name: str, told: HealthChanged | HealthCheckFailed | UnhealthyKill | HealthCheckSet, view: View
) -> dict[str, object]:
    match told:
        case HealthChanged() if name == "health_status_changed_event":
            return _checked(told.instance) | {"version": told.instance.version, "alive": told.healthy}
        case HealthChanged():
            return _run_spec(told.instance) | {"healthy": told.healthy}
        case HealthCheckFailed():
            app = view.app(told.instance.app_id)
            return _checked(told.instance) | {"healthCheck": _health_check(app, told.index)}
        case UnhealthyKill():
            return _killed(told.instance) | {"reason": told.reason}
        case HealthCheckSet() if told.added:
            check = _health_check(view.app(told.app_id), told.index)
            return {"appId": told.app_id, "version": told.version, "healthCheck": check}
        case HealthCheckSet():
            return {"appId": told.app_id}


def _run_spec(instance: Instance) -> dict[str, object]:
    return {"instanceId": instance.id, "runSpecId": instance.app_id, "runSpecVersion": instance.version}


def _where(instance: Instance) -> dict[str, object]:
    return {"agentId": instance.site.host_id, "host": instance.site.hostname} if instance.site else {}


def _checked(instance: Instance) -> dict[str, object]:
    return {"appId": instance.app_id, "instanceId": instance.id, "taskId": instance.task_id}


def _killed(instance: Instance) -> dict[str, object]:
    hostname = instance.site.hostname if instance.site else ""
    host_id = {"slaveId": instance.site.host_id} if instance.site else {}
    return _checked(instance) | {"version": instance.version, "host": hostname} | host_id


def _status(instance: Instance) -> dict[str, object]:
    return {
        "slaveId": instance.site.host_id if instance.site else "",
        "taskId": instance.task_id,
        "appId": instance.app_id,
        "host": instance.site.hostname if instance.site else "",
        "ipAddresses": ip_addresses(instance),
        "ports": [one for one in instance.ports if one],
        "version": instance.version,
    }


def _health_check(app: App | None, index: int) -> object:
    """The check as the app has it now; an empty one where the app has changed since."""
    return app.health_checks[index] if app is not None and index < len(app.health_checks) else {}


def _deployment(told: DeploymentTold, render: Renderer, light: bool) -> dict[str, object]:
    plan: dict[str, object] = {
        "id": told.deployment.id,
        "version": told.deployment.version,
        "steps": steps_of(told.deployment.steps),
    }
    if not light:
        plan["original"] = msgspec.Raw(render.group(told.before))
        plan["target"] = msgspec.Raw(render.group(told.after))
    if told.kind in ("deployment_success", "deployment_failed"):
        reason = {"reason": told.reason} if told.reason else {}
        return {"id": told.deployment.id, "plan": plan, **reason}
    steps = told.deployment.steps
    current = actions_of(steps[told.step]) if told.step < len(steps) else []
    return {"plan": plan, "currentStep": {"actions": current}}
