"""JSON Schemas of the events of ``/v2/events``, as Marathon 1.9 writes them; the RAML has examples of three."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs

from tests.contract.marathon_api.directions import as_answer
from tests.contract.marathon_api.exchanges import nearest
from tests.contract.marathon_api.kinds import (
    ACTION,
    APP_SHOWN,
    BOOLEAN,
    CONDITION,
    DEPLOYMENT_PLAN,
    GOAL,
    GROUP_INFO,
    HEALTH_CHECK,
    INSTANCE_ID,
    IP_PROTOCOL,
    PATH_ID,
    PORT,
    STRING,
    TASK_STATE,
    TIME,
)
from tests.contract.marathon_api.notation import Schema, either, extended, record, several

# A plan as events have it is that of /v2/deployments with, unless plan-format=light was asked for, both root groups.
PLAN = extended(DEPLOYMENT_PLAN, original_=GROUP_INFO, target_=GROUP_INFO)
CURRENT_STEP = record(actions=several(ACTION))

EVENTS: dict[str, Schema] = {
    "event_stream_attached": record(remoteAddress=STRING),
    "event_stream_detached": record(remoteAddress=STRING),
    "api_post_event": record(clientIp=STRING, uri=STRING, appDefinition=APP_SHOWN),
    "status_update_event": record(
        slaveId=STRING,
        taskId=STRING,
        taskStatus=TASK_STATE,
        message=STRING,
        appId=PATH_ID,
        host=STRING,
        ipAddresses_=several(record(ipAddress=STRING, protocol=IP_PROTOCOL)),
        ports=several(PORT),
        version=TIME,
    ),
    "instance_changed_event": record(
        instanceId=INSTANCE_ID,
        condition=either(CONDITION, {"enum": ["Scheduled", "Provisioned"]}),
        goal=GOAL,
        runSpecId=PATH_ID,
        agentId_=STRING,
        host_=STRING,
        runSpecVersion=TIME,
    ),
    "unknown_instance_terminated_event": record(instanceId=STRING, runSpecId=PATH_ID, condition=CONDITION),
    "instance_health_changed_event": record(
        instanceId=INSTANCE_ID, runSpecId=PATH_ID, runSpecVersion=TIME, healthy_=BOOLEAN
    ),
    "health_status_changed_event": record(
        appId=PATH_ID, instanceId=INSTANCE_ID, taskId_=STRING, version=TIME, alive=BOOLEAN
    ),
    "failed_health_check_event": record(
        appId=PATH_ID, instanceId=INSTANCE_ID, taskId_=STRING, healthCheck=HEALTH_CHECK
    ),
    "unhealthy_instance_kill_event": record(
        appId=PATH_ID,
        taskId=STRING,
        instanceId=INSTANCE_ID,
        version=TIME,
        reason=STRING,
        host=STRING,
        slaveId_=STRING,
    ),
    "add_health_check_event": record(appId=PATH_ID, version=TIME, healthCheck=HEALTH_CHECK),
    "remove_health_check_event": record(appId=PATH_ID),
    "app_terminated_event": record(appId=PATH_ID),
    "group_change_success": record(groupId=PATH_ID, version=TIME),
    "group_change_failed": record(groupId=PATH_ID, version=TIME, reason=STRING),
    "deployment_info": record(plan=PLAN, currentStep=CURRENT_STEP),
    "deployment_step_success": record(plan=PLAN, currentStep=CURRENT_STEP),
    "deployment_step_failure": record(plan=PLAN, currentStep=CURRENT_STEP),
    "deployment_success": record(id=STRING, plan=PLAN),
    "deployment_failed": record(id=STRING, plan=PLAN, reason_=STRING),
    "scheduler_registered_event": record(frameworkId=STRING, master=STRING),
    "scheduler_reregistered_event": record(master=STRING, frameworkId_=STRING),
    "scheduler_disconnected_event": record(),
}

_VALIDATORS = {
    name: jsonschema_rs.validator_for(as_answer(extended(kind, eventType={"const": name}, timestamp=TIME)))
    for name, kind in EVENTS.items()
}


def faults_of_event(name: str, data: str) -> list[str]:
    """What is wrong with one event of the stream; empty where nothing is."""
    validator = _VALIDATORS.get(name)
    if validator is None:
        return [f"event {name!r}: there is none of that name"]
    try:
        told: Any = json.loads(data)
    except ValueError as error:
        return [f"event {name}: {error}: {data[:200]!r}"]
    return [
        f"event {name}, /{'/'.join(map(str, error.instance_path))}: {error.message[:400]}"
        for found in validator.iter_errors(told)
        for error in nearest(found)
    ]
