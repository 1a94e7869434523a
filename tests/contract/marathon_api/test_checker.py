"""The schemas take what Marathon sends and answers, and turn away what breaks one of their rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.marathon_api.events import faults_of_event
from tests.contract.marathon_api.exchanges import Exchange, faults

VERSION = "2026-11-21T12:00:00.000Z"

APP: dict[str, Any] = {
    "id": "/team/web",
    "backoffFactor": 1.15,
    "backoffSeconds": 1,
    "cmd": "sleep 1",
    "constraints": [["hostname", "UNIQUE"]],
    "container": {
        "type": "DOCKER",
        "docker": {"image": "busybox", "forcePullImage": False, "privileged": False, "parameters": []},
        "volumes": [
            {"containerPath": "data", "mode": "RW", "persistent": {"size": 10, "constraints": []}},
            {"containerPath": "/etc/thing", "hostPath": "/etc/thing", "mode": "RO"},
        ],
        "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10000, "protocol": "tcp", "labels": {}}],
    },
    "cpus": 0.1,
    "disk": 0,
    "env": {"PLAIN": "text", "HIDDEN": {"secret": "one"}},
    "executor": "",
    "gpus": 0,
    "healthChecks": [{"protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "ignoreHttp1xx": False}],
    "instances": 2,
    "killSelection": "YOUNGEST_FIRST",
    "labels": {"team": "web"},
    "maxLaunchDelaySeconds": 300,
    "mem": 32,
    "networks": [{"mode": "container/bridge"}],
    "requirePorts": False,
    "role": "*",
    "secrets": {"one": {"source": "a/b"}},
    "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
    "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
    "version": VERSION,
    "versionInfo": {"lastScalingAt": VERSION, "lastConfigChangeAt": VERSION},
}
TASK = {
    "appId": "/team/web",
    "host": "host-1",
    "id": "team_web.instance-564bd685._app.1",
    "ports": [31000],
    "role": "*",
    "slaveId": "S1",
    "state": "TASK_RUNNING",
    "healthCheckResults": [
        {"alive": True, "consecutiveFailures": 0, "instanceId": "team_web.instance-564bd685", "firstSuccess": VERSION}
    ],
}
ERROR = {"message": "Object is not valid", "details": [{"path": "/cpus", "errors": ["got -1, expected 0.001 or more"]}]}
JSON = "application/json"


def exchange(method: str, path: str, status: int, answered: Any, sent: Any = None) -> Exchange:
    told = "" if sent is None else json.dumps(sent)
    return Exchange(method, path, told, status, JSON, "" if answered is None else json.dumps(answered))


@pytest.mark.parametrize(
    "good",
    [
        exchange("GET", "/v2/apps?embed=apps.tasks", 200, {"apps": [{**APP, "tasks": [TASK], "deployments": []}]}),
        exchange("GET", "/v2/apps//team/web", 200, {"app": APP}),
        exchange("GET", "/v2/apps/team/*", 200, {"*": [APP]}),
        exchange("POST", "/v2/apps", 201, APP, {"id": "web", "cmd": "sleep 1", "user": None, "uris": [], "mine": 1}),
        exchange("PUT", "/v2/apps/team/web", 200, {"deploymentId": "1", "version": VERSION}, {"instances": 3}),
        exchange("PUT", "/v2/apps", 200, {"deploymentId": "1", "version": VERSION}, [{"id": "web", "cpus": 3}]),
        exchange("DELETE", "/v2/apps/team/web/tasks/one?scale=true", 200, {"deploymentId": "1", "version": VERSION}),
        exchange("GET", "/v2/groups", 200, {"id": "/", "apps": [], "groups": [{"id": "/team", "apps": [APP]}]}),
        exchange("PUT", "/v2/groups/team", 200, {"deploymentId": "1", "version": VERSION}, {"scaleBy": 2}),
        exchange("GET", "/v2/groups/team/versions", 200, [VERSION]),
        exchange("DELETE", "/v2/deployments/1?force=true", 202, None),
        exchange("DELETE", "/v2/queue//team/web/delay", 204, None),
        exchange("POST", "/v2/apps", 422, ERROR, {"id": "web", "cpus": -1}),
    ],
)
def test_what_marathon_answers_is_taken(good: Exchange) -> None:
    assert faults(good) == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (exchange("GET", "/v2/apps", 200, {"apps": [{**APP, "uris": []}]}), "uris"),
        (exchange("GET", "/v2/apps", 200, {"apps": [{**APP, "user": None}]}), "/apps/0/user: null"),
        (exchange("GET", "/v2/apps/team/web", 200, {"app": {**APP, "instances": -1}}), "-1"),
        (exchange("GET", "/v2/apps/team/web", 200, APP), '"app" is a required'),
        (exchange("GET", "/v2/apps/x/versions/1", 200, {**APP, "id": "team/web"}), "/id"),
        (exchange("GET", "/v2/tasks", 200, {"tasks": [{**TASK, "state": "TASK_LOST"}]}), "TASK_LOST"),
        (exchange("GET", "/v2/tasks", 200, {"tasks": [{**TASK, "ports": [0]}]}), "/tasks/0/ports/0"),
        (exchange("PUT", "/v2/apps/web", 200, {"deploymentId": "1", "version": "today"}), "/version"),
        (exchange("POST", "/v2/apps", 201, APP, {"id": "web", "cpus": 0}), "request, /cpus"),
        (exchange("PUT", "/v2/apps", 200, {"deploymentId": "1", "version": VERSION}, [{"cpus": 1}]), '"id"'),
        (exchange("POST", "/v2/apps", 200, APP), "only 201"),
        (exchange("GET", "/v2/app", 200, {}), "no such resource"),
        (exchange("POST", "/v2/apps", 422, {"details": []}), '"message"'),
        (exchange("POST", "/v2/apps", 502, {"message": "Bad gateway"}), "no such answer"),
        (exchange("DELETE", "/v2/deployments/1?force=true", 202, {}), "a body"),
    ],
)
def test_what_breaks_a_rule_is_named_with_its_path_and_status(bad: Exchange, words: str) -> None:
    found = faults(bad)
    assert found
    assert any(words in fault for fault in found), found
    assert all(fault.startswith(f"{bad.method} {bad.path} {bad.status}: ") for fault in found)


def test_events_are_held_against_theirs() -> None:
    attached = {"eventType": "event_stream_attached", "timestamp": VERSION, "remoteAddress": "127.0.0.1"}
    assert faults_of_event("event_stream_attached", json.dumps(attached)) == []
    assert "remoteAddress" in faults_of_event("event_stream_attached", json.dumps({**attached, "remoteAddress": 1}))[0]
    assert "eventType" in faults_of_event("event_stream_detached", json.dumps(attached))[0]
    assert "none of that name" in faults_of_event("something", "{}")[0]
    assert "line 1" in faults_of_event("event_stream_attached", "{")[0]
