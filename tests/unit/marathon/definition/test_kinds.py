"""Every limit that Marathon's RAML sets, and every kind of value, broken once."""

from __future__ import annotations

from typing import Any

import pytest

from framework.local.marathon.definition.documents import json_schema
from framework.local.marathon.definition.faults import InvalidJsonError, InvalidObjectError
from framework.local.marathon.definition.paths import MAX_LENGTH
from framework.local.marathon.definition.read import Defaults, new_app
from tests.unit.marathon.definition.reading import IMAGE, faults, made

NAME = "must fully match regular expression '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"
NETWORK = "must fully match regular expression '^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$'"
LONG_NAME = "x" * 64
LONG_PATH = "x" * 1025


def _docker(**fields: object) -> dict[str, Any]:
    return {"container": {"type": "DOCKER", "docker": {"image": "busybox", **fields}}}


def _mapping(**fields: object) -> dict[str, Any]:
    return {"container": {**IMAGE, "portMappings": [fields]}, "networks": [{"mode": "container/bridge"}]}


def _volume(**fields: object) -> dict[str, Any]:
    return {"container": {**IMAGE, "volumes": [{"containerPath": "data", "mode": "RW", **fields}]}}


def _health(**fields: object) -> dict[str, Any]:
    return {"healthChecks": [fields]}


def _check(**fields: object) -> dict[str, Any]:
    return {"check": {"tcp": {}, **fields}}


def _ready(**fields: object) -> dict[str, Any]:
    return {"portDefinitions": [{"name": "http-api"}], "readinessChecks": [fields]}


LIMITS: list[tuple[dict[str, Any], str, str]] = [
    ({"id": ""}, "/id", "error.minLength"),
    ({"id": "a" * (MAX_LENGTH + 1)}, "/id", f"must not be longer than {MAX_LENGTH} characters"),
    ({"acceptedResourceRoles": ["*", "*"]}, "/acceptedResourceRoles", "Elements must be unique."),
    ({"backoffFactor": 0.9}, "/backoffFactor", "is less than 1"),
    ({"backoffSeconds": -1}, "/backoffSeconds", "is less than 0"),
    ({"cmd": ""}, "/cmd", "error.minLength"),
    ({"cpus": 1e13}, "/cpus", "is greater than 1e+12"),
    ({"mem": 1e308}, "/mem", "is greater than 1e+12"),
    ({"ports": [0] * 1001}, "/ports", "error.maxLength"),
    ({"constraints": [["hostname"]]}, "/constraints(0)", "error.minLength"),
    ({"constraints": [["hostname", "IS", "a", "b"]]}, "/constraints(0)", "error.maxLength"),
    ({"constraints": [["a", "UNIQUE"], ["a", "UNIQUE"]]}, "/constraints", "Elements must be unique."),
    ({"cpus": 0.0009}, "/cpus", "is less than 0.001"),
    ({"dependencies": ["/a", "/a"]}, "/dependencies", "Elements must be unique."),
    ({"dependencies": [""]}, "/dependencies(0)", "error.minLength"),
    ({"disk": -1}, "/disk", "is less than 0"),
    ({"executor": "a//b"}, "/executor", "must fully match regular expression '^(//cmd)|(/?[^/]+(/[^/]+)*)|$'"),
    ({"executorResources": {"cpus": 0.05}}, "/executorResources/cpus", "is less than 0.1"),
    ({"executorResources": {"mem": 31}}, "/executorResources/mem", "is less than 32"),
    ({"executorResources": {"disk": 9}}, "/executorResources/disk", "is less than 10"),
    ({"fetch": [{"uri": ""}]}, "/fetch(0)/uri", "error.minLength"),
    ({"fetch": [{"uri": LONG_PATH}]}, "/fetch(0)/uri", "error.maxLength"),
    ({"fetch": [{"uri": "a", "destPath": ""}]}, "/fetch(0)/destPath", "error.minLength"),
    ({"fetch": [{"uri": "a", "destPath": LONG_PATH}]}, "/fetch(0)/destPath", "error.maxLength"),
    ({"healthChecks": [{}, {}]}, "/healthChecks", "Elements must be unique."),
    ({"instances": -1}, "/instances", "is less than 0"),
    ({"maxLaunchDelaySeconds": -1}, "/maxLaunchDelaySeconds", "is less than 0"),
    ({"mem": -1}, "/mem", "is less than 0"),
    ({"gpus": -1}, "/gpus", "is less than 0"),
    ({"ipAddress": {"groups": ["a", "a"]}}, "/ipAddress/groups", "Elements must be unique."),
    ({"ipAddress": {"networkName": ""}}, "/ipAddress/networkName", "error.minLength"),
    ({"ipAddress": {"discovery": {"ports": [{"name": "A"}]}}}, "/ipAddress/discovery/ports(0)/name", NAME),
    (
        {"ipAddress": {"discovery": {"ports": [{"name": "a", "number": 65536}]}}},
        "/ipAddress/discovery/ports(0)/number",
        "is greater than 65535",
    ),
    (
        {"ipAddress": {"discovery": {"ports": [{"name": "a", "protocol": "sctp"}]}}},
        "/ipAddress/discovery/ports(0)/protocol",
        "error.unknown.enum.literal",
    ),
    ({"networks": [{"name": "a."}]}, "/networks(0)/name", NETWORK),
    ({"networks": [{"name": ""}]}, "/networks(0)/name", "error.minLength"),
    ({"networks": [{"name": LONG_NAME}]}, "/networks(0)/name", "error.maxLength"),
    ({"networks": [{"mode": "none"}]}, "/networks(0)/mode", "error.unknown.enum.literal"),
    ({"ports": [65536]}, "/ports(0)", "is greater than 65535"),
    ({"ports": [-1]}, "/ports(0)", "is less than 0"),
    ({"portDefinitions": [{"port": 65536}]}, "/portDefinitions(0)/port", "is greater than 65535"),
    ({"portDefinitions": [{"port": -1}]}, "/portDefinitions(0)/port", "is less than 0"),
    ({"portDefinitions": [{"name": "A"}]}, "/portDefinitions(0)/name", NAME),
    ({"portDefinitions": [{"name": ""}]}, "/portDefinitions(0)/name", "error.minLength"),
    ({"portDefinitions": [{"protocol": "tcp,udp"}]}, "/portDefinitions(0)/protocol", "error.unknown.enum.literal"),
    (
        {"residency": {"relaunchEscalationTimeoutSeconds": -1}},
        "/residency/relaunchEscalationTimeoutSeconds",
        "is less than 0",
    ),
    ({"residency": {"taskLostBehavior": "WAIT"}}, "/residency/taskLostBehavior", "error.unknown.enum.literal"),
    ({"resourceLimits": {"cpus": "none"}}, "/resourceLimits/cpus", "error.unknown.enum.literal"),
    ({"secrets": {"a": {"source": ""}}}, "/secrets/a/source", "error.minLength"),
    ({"taskKillGracePeriodSeconds": -1}, "/taskKillGracePeriodSeconds", "is less than 0"),
    ({"uris": [""]}, "/uris(0)", "error.minLength"),
    ({"uris": [LONG_PATH]}, "/uris(0)", "error.maxLength"),
    ({"killSelection": "ANY"}, "/killSelection", "error.unknown.enum.literal"),
    ({"unreachableStrategy": "enabled"}, "/unreachableStrategy", "error.unknown.enum.literal"),
    (
        {"unreachableStrategy": {"inactiveAfterSeconds": -1}},
        "/unreachableStrategy/inactiveAfterSeconds",
        "is less than 0",
    ),
    (
        {"unreachableStrategy": {"expungeAfterSeconds": -1}},
        "/unreachableStrategy/expungeAfterSeconds",
        "is less than 0",
    ),
    ({"role": ""}, "/role", "error.minLength"),
    *(
        ({"upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1, name: given}}, path, error)
        for name in ("maximumOverCapacity", "minimumHealthCapacity")
        for path in (f"/upgradeStrategy/{name}",)
        for given, error in ((1.1, "is greater than 1"), (-0.1, "is less than 0"))
    ),
    ({"container": {"type": "APPC"}}, "/container/type", "error.unknown.enum.literal"),
    (_docker(image=""), "/container/docker/image", "error.minLength"),
    (_docker(network="CNI"), "/container/docker/network", "error.unknown.enum.literal"),
    (_docker(parameters=[{"key": "", "value": ""}]), "/container/docker/parameters(0)/key", "error.minLength"),
    (_docker(pullConfig={"secret": ""}), "/container/docker/pullConfig/secret", "error.minLength"),
    (
        _docker(portMappings=[{"containerPort": 65536}]),
        "/container/docker/portMappings(0)/containerPort",
        "is greater than 65535",
    ),
    *(
        (_mapping(**{name: given}), f"/container/portMappings(0)/{name}", error)
        for name in ("containerPort", "hostPort", "servicePort")
        for given, error in ((65536, "is greater than 65535"), (-1, "is less than 0"))
    ),
    (_mapping(name=""), "/container/portMappings(0)/name", "error.minLength"),
    (_mapping(name="-a"), "/container/portMappings(0)/name", NAME),
    (_mapping(protocol="icmp"), "/container/portMappings(0)/protocol", "error.unknown.enum.literal"),
    (_mapping(networkNames=[LONG_NAME]), "/container/portMappings(0)/networkNames(0)", "error.maxLength"),
    (_volume(containerPath="", hostPath="/a"), "/container/volumes(0)/containerPath", "error.minLength"),
    (_volume(hostPath=""), "/container/volumes(0)/hostPath", "error.minLength"),
    (_volume(hostPath="/a", mode="WO"), "/container/volumes(0)/mode", "error.unknown.enum.literal"),
    (_volume(secret=""), "/container/volumes(0)/secret", "error.minLength"),
    (_volume(persistent={"size": -1}), "/container/volumes(0)/persistent/size", "is less than 0"),
    (
        _volume(persistent={"size": 1, "type": "mount", "maxSize": -1}),
        "/container/volumes(0)/persistent/maxSize",
        "is less than 0",
    ),
    (
        _volume(persistent={"size": 1, "type": "disk"}),
        "/container/volumes(0)/persistent/type",
        "error.unknown.enum.literal",
    ),
    (
        _volume(persistent={"size": 1, "type": "path", "constraints": [["path"]]}),
        "/container/volumes(0)/persistent/constraints(0)",
        "error.minLength",
    ),
    (
        _volume(persistent={"size": 1, "type": "path", "constraints": [["path", "LIKE", "a"]] * 2}),
        "/container/volumes(0)/persistent/constraints",
        "Elements must be unique.",
    ),
    (_volume(external={"size": -1}), "/container/volumes(0)/external/size", "is less than 0"),
    (
        {"container": {**IMAGE, "linuxInfo": {"ipcInfo": {"mode": "HOST"}}}},
        "/container/linuxInfo/ipcInfo/mode",
        "error.unknown.enum.literal",
    ),
    *(
        (_health(**{name: -1}), f"/healthChecks(0)/{name}", "is less than 0")
        for name in (
            "delaySeconds", "gracePeriodSeconds", "intervalSeconds", "maxConsecutiveFailures", "timeoutSeconds",
            "port", "portIndex",
        )
    ),
    *(
        (_health(**{name: 65536}), f"/healthChecks(0)/{name}", "is greater than 65535")
        for name in ("port", "portIndex")
    ),
    (_health(protocol="UDP"), "/healthChecks(0)/protocol", "error.unknown.enum.literal"),
    (_health(ipProtocol="IPv5"), "/healthChecks(0)/ipProtocol", "error.unknown.enum.literal"),
    *(
        (_check(**{name: -1}), f"/check/{name}", "is less than 0")
        for name in ("intervalSeconds", "timeoutSeconds", "delaySeconds")
    ),
    (_check(tcp={"port": 65536}), "/check/tcp/port", "is greater than 65535"),
    (_check(tcp={"portIndex": -1}), "/check/tcp/portIndex", "is less than 0"),
    ({"check": {"http": {"path": ""}}}, "/check/http/path", "error.minLength"),
    ({"check": {"http": {"path": LONG_PATH}}}, "/check/http/path", "error.maxLength"),
    ({"check": {"http": {"scheme": "FTP"}}}, "/check/http/scheme", "error.unknown.enum.literal"),
    ({"check": {"exec": {"command": {"shell": ""}}}}, "/check/exec/command/shell", "error.minLength"),
    ({"check": {"exec": {"command": {"argv": []}}}}, "/check/exec/command/argv", "error.minLength"),
    (_ready(name=""), "/readinessChecks(0)/name", "error.minLength"),
    (_ready(protocol="TCP"), "/readinessChecks(0)/protocol", "error.unknown.enum.literal"),
    (_ready(path=""), "/readinessChecks(0)/path", "error.minLength"),
    (_ready(path=LONG_PATH), "/readinessChecks(0)/path", "error.maxLength"),
    (_ready(portName="A"), "/readinessChecks(0)/portName", NAME),
    (_ready(intervalSeconds=-1), "/readinessChecks(0)/intervalSeconds", "is less than 0"),
    (_ready(timeoutSeconds=0), "/readinessChecks(0)/timeoutSeconds", "is less than 1"),
    (_ready(httpStatusCodesForReady=[]), "/readinessChecks(0)/httpStatusCodesForReady", "error.minLength"),
    (_ready(httpStatusCodesForReady=[99]), "/readinessChecks(0)/httpStatusCodesForReady(0)", "is less than 100"),
    (_ready(httpStatusCodesForReady=[1000]), "/readinessChecks(0)/httpStatusCodesForReady(0)", "is greater than 999"),
    (
        _ready(httpStatusCodesForReady=[200, 200]),
        "/readinessChecks(0)/httpStatusCodesForReady",
        "Elements must be unique.",
    ),
]  # fmt: skip

KINDS: list[tuple[dict[str, Any], str, str]] = [
    ({"id": 5}, "/id", "error.expected.jsstring"),
    ({"id": None}, "/id", "error.path.missing"),
    ({"cmd": ["sleep"]}, "/cmd", "error.expected.jsstring"),
    ({"cpus": "1"}, "/cpus", "error.expected.jsnumber"),
    ({"cpus": True}, "/cpus", "error.expected.jsnumber"),
    ({"instances": 1.5}, "/instances", "error.expected.int"),
    ({"instances": 2**31}, "/instances", "error.expected.int"),
    ({"instances": 10**300}, "/instances", "error.expected.int"),
    ({"residency": {"relaunchEscalationTimeoutSeconds": 2**63}}, "/residency/relaunchEscalationTimeoutSeconds",
     "error.expected.long"),
    ({"requirePorts": "true"}, "/requirePorts", "error.expected.jsboolean"),
    ({"args": "sleep"}, "/args", "error.expected.jsarray"),
    ({"args": [1]}, "/args(0)", "error.expected.jsstring"),
    ({"container": []}, "/container", "error.expected.jsobject"),
    ({"container": {"docker": {}}}, "/container/docker/image", "error.path.missing"),
    ({"labels": {"a": 1}}, "/labels/a", "error.expected.jsstring"),
    ({"labels": []}, "/labels", "error.expected.jsobject"),
    ({"env": {"a": 1}}, "/env/a", "error.expected.jsobject"),
    ({"env": {"a": {}}}, "/env/a/secret", "error.path.missing"),
    ({"secrets": {"a": {}}}, "/secrets/a/source", "error.path.missing"),
    ({"fetch": [{}]}, "/fetch(0)/uri", "error.path.missing"),
    ({"upgradeStrategy": {"minimumHealthCapacity": 1}}, "/upgradeStrategy/maximumOverCapacity", "error.path.missing"),
    ({"version": "yesterday"}, "/version", "error.expected.date.isoformat"),
    ({"version": 1}, "/version", "error.expected.jsstring"),
    ({"unreachableStrategy": 1}, "/unreachableStrategy", "error.expected.jsobject"),
    ({"resourceLimits": {"mem": []}}, "/resourceLimits/mem", "error.expected.jsnumber"),
    ({"healthChecks": [{"protocol": "COMMAND", "command": {}}]}, "/healthChecks(0)/command/value",
     "error.path.missing"),
    ({"check": {"exec": {}}}, "/check/exec/command", "error.path.missing"),
    ({"ipAddress": {"discovery": {"ports": [{}]}}}, "/ipAddress/discovery/ports(0)/name", "error.path.missing"),
    (_docker(parameters=[{}]), "/container/docker/parameters(0)/key", "error.path.missing"),
    (_docker(pullConfig={}), "/container/docker/pullConfig/secret", "error.path.missing"),
    (_volume(), "/container/volumes(0)/hostPath", "error.path.missing"),
    (_volume(persistent=None), "/container/volumes(0)/hostPath", "error.path.missing"),
    (_volume(hostPath="/a", mode=None), "/container/volumes(0)/mode", "error.path.missing"),
    (_volume(persistent={}), "/container/volumes(0)/persistent/size", "error.path.missing"),
    ({"container": {**IMAGE, "linuxInfo": {"ipcInfo": {}}}}, "/container/linuxInfo/ipcInfo/mode",
     "error.path.missing"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "path", "error"), LIMITS)
def test_every_limit_is_told_with_its_path(fields: dict[str, Any], path: str, error: str) -> None:
    assert error in faults(**fields).get(path, [])
    with pytest.raises(InvalidObjectError):
        made(**fields)


@pytest.mark.parametrize(("fields", "path", "error"), KINDS)
def test_a_value_of_the_wrong_kind_is_told_with_its_path(fields: dict[str, Any], path: str, error: str) -> None:
    assert faults(**fields)[path] == [error]
    with pytest.raises(InvalidJsonError, match="Invalid JSON"):
        made(**fields)


@pytest.mark.parametrize("document", [[], "app", 5, None, True])
def test_a_document_is_an_object(document: object) -> None:
    with pytest.raises(InvalidJsonError) as caught:
        new_app(document, defaults=Defaults(), version="")
    assert caught.value.details is not None
    assert caught.value.details[0].path == "/"
    assert caught.value.details[0].errors == ["error.expected.jsobject"]


def test_all_faults_are_told_at_once() -> None:
    found = faults(
        id="/A", instances=-1, args=["sleep"], constraints=[["a", "NEAR"]], healthChecks=[{"portIndex": 7}], gpus=-1
    )
    assert found.keys() == {"/id", "/instances", "/", "/constraints(0)", "/healthChecks(0)", "/gpus"}


def test_names_of_values_are_taken_in_any_case() -> None:
    app = made(killSelection="oldest_first", healthChecks=[{"protocol": "mesos_tcp"}])
    assert app.kill_selection == "OLDEST_FIRST"
    assert app.health_checks[0].protocol == "MESOS_TCP"


def test_unknown_fields_and_nulls_count_for_nothing() -> None:
    assert made(colour="red", cpus=None, container=None, tasks=[{}]) == made()


def test_whole_numbers_may_be_written_with_a_point() -> None:
    assert made(instances=2.0).instances == 2


def test_schemas_tell_the_limits() -> None:
    app, group = json_schema("app"), json_schema("group")
    assert app is not None
    assert group is not None
    properties: Any = app["properties"]
    assert properties["cpus"] == {"type": "number", "minimum": 0.001, "maximum": 1e12, "default": 1}
    assert properties["killSelection"]["enum"] == ["YOUNGEST_FIRST", "OLDEST_FIRST"]
    assert app["required"] == ["id"]
    assert json_schema("pod") is None
