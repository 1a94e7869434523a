"""Every rule beyond the kinds of values, broken once, and what keeps to it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.faults import InvalidObjectError
from framework.local.marathon.definition.read import Defaults
from tests.unit.marathon.definition.reading import IMAGE, MESOS_IMAGE, OF_TEAM, VERSION, faults, made

BRIDGE: dict[str, Any] = {"networks": [{"mode": "container/bridge"}]}
NETS: dict[str, Any] = {"networks": [{"name": "a"}]}
INDEX = "Health check port indices must address an element of the ports array or container port mappings."
COMMAND = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."
ID = r"must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$'"  # noqa: E501
LABEL = "must fully match regular expression '^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$'"


def _volume(
    container: dict[str, Any] = IMAGE, mode: str = "RW", path: str = "data", **fields: object
) -> dict[str, Any]:
    return {"container": {**container, "volumes": [{"containerPath": path, "mode": mode, **fields}]}}


def _persistent(**fields: object) -> dict[str, Any]:
    return _volume(persistent={"size": 1, **fields})


def _external(container: dict[str, Any] = MESOS_IMAGE, **fields: object) -> dict[str, Any]:
    told = {"name": "a", "provider": "dvdi", "options": {"dvdi/driver": "rexray"}, **fields}
    return _volume(container, external={name: value for name, value in told.items() if value is not None})


def _mappings(*mappings: dict[str, Any]) -> dict[str, Any]:
    return {"container": {**IMAGE, "portMappings": list(mappings)}, **BRIDGE}


def _strategy(over: float, healthy: float) -> dict[str, Any]:
    return {"upgradeStrategy": {"maximumOverCapacity": over, "minimumHealthCapacity": healthy}}


BROKEN: list[tuple[dict[str, Any], str, str]] = [
    ({"id": "/"}, "/", "must not be root"),
    ({"id": "/A_b"}, "/id", ID),
    ({"id": "/a/tasks"}, "/id", "must not end with any of the following reserved keywords: restart, tasks, versions"),
    ({"instances": 10_001}, "/instances", "more than 10000 instances cannot be had on this machine"),
    ({"dependencies": ["/a", "/B"]}, "/dependencies(1)", ID),
    # Commands
    ({"cmd": None}, "/", COMMAND),
    ({"cmd": None, "container": {"type": "MESOS"}}, "/", COMMAND),
    ({"args": ["sleep"]}, "/", COMMAND),
    ({"args": ["sleep"], "container": {"type": "MESOS"}}, "/", COMMAND),
    ({"cmd": "a\0b"}, "/cmd", "must not contain a NUL character"),
    ({"cmd": None, "args": ["a", "\0"]}, "/args(1)", "must not contain a NUL character"),
    ({"executor": "/opt/mine"}, "/executor", "custom executors cannot be had on this machine"),
    # Constraints
    ({"constraints": [["", "UNIQUE"]]}, "/constraints(0)", "illegal constraint specification"),
    ({"constraints": [["a", "UNIQUE", "b"]]}, "/constraints(0)", "UNIQUE does not accept a value"),
    ({"constraints": [["a", "NEAR"]]}, "/constraints(0)",
     "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER or UNLIKE"),
    ({"constraints": [["a", "GROUP_BY", "x"]]}, "/constraints(0)",
     "GROUP BY must define an integer value or else no value at all"),
    ({"constraints": [["a", "MAX_PER"]]}, "/constraints(0)", "MAX_PER requires an integer value"),
    ({"constraints": [["a", "MAX_PER", "1.5"]]}, "/constraints(0)", "MAX_PER requires an integer value"),
    ({"constraints": [["a", "MAX_PER", "9" * 5000]]}, "/constraints(0)", "MAX_PER requires an integer value"),
    ({"constraints": [["a", "LIKE"]]}, "/constraints(0)",
     "LIKE and UNLIKE require a non-empty, regular expression value"),
    ({"constraints": [["a", "LIKE", "["]]}, "/constraints(0)", "is not a valid regular expression"),
    ({"constraints": [["a", "UNLIKE", "(?=a)"]]}, "/constraints(0)", "is not a valid regular expression"),
    ({"constraints": [["b", "UNIQUE"], ["a", "IS", "{a}"]]}, "/constraints(1)",
     "IS only supports Mesos text and float values"
     " (see http://mesos.apache.org/documentation/latest/attributes-resources/)"),
    # Ports
    ({"ports": [80, 80]}, "/", "ports must be unique"),
    ({"ports": [80], "portDefinitions": [{"port": 81}]}, "/", "cannot specify both ports and port definitions"),
    ({"portDefinitions": [{"name": "a"}, {"name": "a"}]}, "/portDefinitions", "Port names must be unique."),
    ({"portDefinitions": [{"port": 80}, {"port": 80}]}, "/portDefinitions", "Ports must be unique."),
    (_mappings({"name": "a"}, {"name": "a"}), "/container/portMappings", "Port names must be unique."),
    (_mappings({"hostPort": 80}, {"hostPort": 80}), "/container/portMappings", "Host ports must be unique."),
    (_mappings({"networkNames": ["b"]}), "/container/portMappings(0)/networkNames(0)", "is not one of ()"),
    # Networks
    ({"networks": [{"mode": "host", "name": "a"}]}, "/networks", "Host networks may not have names or labels"),
    ({"networks": [{"mode": "host", "labels": {"a": "b"}}]}, "/networks",
     "Host networks may not have names or labels"),
    ({"container": IMAGE, "networks": [{"mode": "container/bridge", "name": "a"}]}, "/networks",
     "Bridge networks may not have names"),
    ({"container": MESOS_IMAGE, "networks": [{"name": "a"}, {"name": "a"}]}, "/networks",
     "Duplicate networks are not allowed"),
    ({"networks": [{"mode": "host"}, {"mode": "host"}]}, "/networks",
     "May specify a single host network, single bridge network, or else 1-to-n container networks"),
    ({"container": IMAGE, "networks": [{"mode": "host"}, {"name": "a"}]}, "/networks",
     "May specify a single host network, single bridge network, or else 1-to-n container networks"),
    ({"container": IMAGE, "networks": [{}]}, "/networks",
     "Network name must be specified when container network is selected."),
    ({"container": IMAGE, "networks": [{"name": "a"}, {"name": "b"}]}, "/",
     "may only specify a single container network when using the Docker container engine"),
    ({"container": {**MESOS_IMAGE, "portMappings": [{"hostPort": 0}]}, "networks": [{"name": "a"}, {"name": "b"}]},
     "/container/portMappings(0)",
     "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined"),
    ({"container": MESOS_IMAGE, "networks": [{"name": "a"}, {"name": "b"}]}, "/networks",
     "more than one container network cannot be had on this machine"),
    (BRIDGE, "/networks", "networking other than the host's on this machine needs a Docker image: without one, an app"
     " runs as processes of the host"),
    ({"networks": [{"name": "a"}], "ipAddress": {}, "container": MESOS_IMAGE}, "/",
     "must not specify both networks and ipAddress"),
    ({"networks": [{"name": "a"}], "container": {"docker": {"image": "a", "network": "HOST"}}}, "/",
     "must not specify both container.docker.network and networks"),
    ({"container": {"docker": {"image": "a", "network": "NONE"}}}, "/container/docker/network",
     "unsupported docker network type NONE"),
    ({"ipAddress": {"networkName": "a"}, "ports": [0]}, "/", "cannot specify both an IP address and port"),
    ({"ipAddress": {}, "ports": [0], "container": {"docker": {"image": "a", "network": "BRIDGE"}}}, "/",
     "cannot specify both an IP address and port"),
    ({"ipAddress": {"discovery": {}}, "container": IMAGE}, "/ipAddress",
     "ipAddress/discovery is not allowed for Docker containers"),
    ({"ipAddress": {"networkName": "n", "discovery": {"ports": [{"name": "a"}]}},
      "container": {**MESOS_IMAGE, "portMappings": [{}]}}, "/",
     "container.portMappings and ipAddress.discovery.ports must not both be set"),
    # Containers
    ({"container": {}}, "/container/docker", "not defined"),
    ({"container": {"docker": {"image": "a", "credential": {"principal": "me"}}}}, "/container/docker/credential",
     "must be empty"),
    ({"container": {"type": "MESOS", "docker": {"image": "a", "parameters": [{"key": "a", "value": "b"}]}}},
     "/container/docker/parameters", "must be empty"),
    ({"container": {"type": "MESOS", "docker": {"image": "a", "network": "HOST"}}}, "/container/docker/network",
     "must be empty"),
    ({"container": {"type": "MESOS", "docker": {"image": "a", "portMappings": [{}]}}},
     "/container/docker/portMappings", "must be empty"),
    ({"container": {**IMAGE, "portMappings": [{}], "docker": {"image": "a", "portMappings": [{}]}}}, "/container",
     "cannot specify both portMappings and docker.portMappings"),
    ({"container": {"docker": {"image": "a", "parameters": [{"key": "speed", "value": "9"}]}}},
     "/container/docker/parameters(0)", "parameter 'speed' of docker run is not known"),
    ({"container": {"docker": {"image": "a", "parameters": [{"key": "rm", "value": "true"}]}}},
     "/container/docker/parameters(0)", "parameter 'rm' of docker run is the executor's own to decide"),
    ({"container": {"docker": {"image": "a", "pullConfig": {"secret": "s"}}}}, "/container/docker/pullConfig",
     "pullConfig is not supported with Docker containerizer"),
    ({"container": {"type": "MESOS", "docker": {"image": "a", "pullConfig": {"secret": "s"}}}},
     "/container/docker/pullConfig", "pullConfig.secret must refer to an existing secret"),
    ({"container": IMAGE, "gpus": 1}, "/", "GPU resources only work with the Mesos containerizer"),
    ({"container": {"type": "MESOS", "linuxInfo": {"seccomp": {"profileName": "p"}}}},
     "/container/linuxInfo/seccomp", "seccomp profiles cannot be had on this machine"),
    ({"container": {**IMAGE, "linuxInfo": {"seccomp": {"unconfined": True}}}}, "/container/linuxInfo/seccomp",
     "seccomp profiles cannot be had on this machine"),
    ({"container": {"type": "MESOS", "linuxInfo": {"ipcInfo": {"mode": "PRIVATE"}}}},
     "/container/linuxInfo/ipcInfo", "IPC namespaces cannot be had on this machine"),
    # Volumes
    (_volume(hostPath="/a", secret="s"), "/container/volumes(0)",
     "illegal combination of hostPath, persistent, external and secret volume fields"),
    (_volume(hostPath="/a", path=".."), "/container/volumes(0)/containerPath", "must not contain '..'"),
    (_volume(hostPath="/a", path="a/../b"), "/container/volumes(0)/containerPath", "must not contain '..'"),
    (_volume({"type": "MESOS"}, hostPath="/a", path="/data"), "/container/volumes(0)/containerPath",
     "an absolute path of a volume on this machine needs a Docker image: without one, an app runs as processes of the"
     " host"),
    (_volume(secret="s"), "/container/volumes(0)", "volume.secret must refer to an existing secret"),
    (_persistent(), "/role", "Resident apps cannot have the role *"),
    (_persistent(size=0), "/container/volumes(0)/persistent/size", "got 0, expected more than 0"),
    (_persistent(maxSize=2), "/container/volumes(0)/persistent", "Only mount volumes can have maxSize"),
    (_persistent(type="mount", maxSize=1), "/container/volumes(0)/persistent", "Max size must be larger than size"),
    (_persistent(constraints=[["path", "LIKE", "a"]]), "/container/volumes(0)/persistent",
     "Constraints on root volumes are not supported"),
    (_persistent(type="path", constraints=[["path", "LIKE", "["]]), "/container/volumes(0)/persistent/constraints(0)",
     "Invalid regular expression"),
    (_persistent(type="path", constraints=[["path", "IS", "a"]]), "/container/volumes(0)/persistent/constraints(0)",
     "Operator must be one of LIKE, UNLIKE"),
    (_persistent(type="path", constraints=[["path", "NEAR", "a"]]), "/container/volumes(0)/persistent/constraints(0)",
     "unknown constraint operator NEAR"),
    (_persistent(type="path", constraints=[["disk", "LIKE", "a"]]), "/container/volumes(0)/persistent/constraints(0)",
     "Unsupported constraint disk,LIKE,a"),
    (_volume(persistent={"size": 1}, path="/data"), "/container/volumes(0)/containerPath",
     'value must not contain "/"'),
    (_volume(persistent={"size": 1}, path=".."), "/container/volumes(0)/containerPath", "can not be one of (.,..)"),
    (_volume(persistent={"size": 1}, mode="RO"), "/container/volumes(0)/mode", "got RO, expected RW"),
    (_external(name=None), "/container/volumes(0)/external/name", "not defined"),
    (_external(provider=None), "/container/volumes(0)/external/provider", "not defined"),
    (_external(name="A"), "/container/volumes(0)/external/name", LABEL),
    (_external(provider="nfs"), "/container/volumes(0)/external/provider", "is unknown provider"),
    (_external(provider="csi"), "/container/volumes(0)/external/provider", "CSI volumes cannot be had on this machine"),
    (_external(options={}), '/container/volumes(0)/external/options("dvdi/driver")', "not defined"),
    (_external(options={"dvdi/driver": "A"}), '/container/volumes(0)/external/options("dvdi/driver")', LABEL),
    (_external(options={"dvdi/driver": "a", "b": "c"}), "/container/volumes(0)/external/options",
     "must fully match regular expression"
     r" '^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9\._:]*[A-Za-z0-9])?$'"),
    (_external(IMAGE, options={"dvdi/driver": "a", "dvdi/b": "c"}), "/container/volumes(0)/external/options",
     "must only contain dvdi/driver"),
    (_external(IMAGE, size=5), "/container/volumes(0)/external/size", "must be undefined for Docker containers"),
    ({**_external(), "instances": 2}, "/",
     "Number of instances is limited to 1 when declaring DVDI volumes in app [/app]"),
    ({**_external(), **_strategy(1, 1)}, "/upgradeStrategy/maximumOverCapacity", "got 1.0, expected 0.0"),
    (_external({"type": "MESOS"}), "/container/volumes(0)",
     "an external volume on this machine needs a Docker image: without one, an app runs as processes of the host"),
    # Health and readiness
    ({"healthChecks": [{"portIndex": 1}]}, "/healthChecks(0)", INDEX),
    ({"healthChecks": [{}], "ports": []}, "/healthChecks(0)", INDEX),
    ({"healthChecks": [{"port": 80}, {"protocol": "MESOS_TCP", "portIndex": 5}]}, "/healthChecks(1)", INDEX),
    ({"healthChecks": [{"protocol": "COMMAND"}]}, "/healthChecks(0)", "command health check missing command"),
    ({"healthChecks": [{"protocol": "MESOS_TCP"}, {"protocol": "MESOS_HTTP"}]}, "/",
     "AppDefinition can contain at most one Mesos health check"),
    ({"healthChecks": [{"ipProtocol": "IPv6"}]}, "/healthChecks(0)",
     "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks"),
    ({"check": {}}, "/check", "must specify a single type of check, http, tcp, or exec"),
    ({"check": {"http": {}, "tcp": {}}}, "/check", "must specify a single type of check, http, tcp, or exec"),
    ({"check": {"http": {"portIndex": 3}}}, "/check/http", INDEX),
    ({"check": {"exec": {"command": {}}}}, "/check/exec/command", "specify either `shell` or `argv`, never both"),
    ({"check": {"exec": {"command": {"shell": "a", "argv": ["a"]}}}}, "/check/exec/command",
     "specify either `shell` or `argv`, never both"),
    ({"readinessChecks": [{}]}, "/readinessChecks(0)/portName", "No port definition reference for portName http-api"),
    ({"portDefinitions": [{"name": "a"}], "readinessChecks": [{"portName": "a"}] * 2}, "/readinessChecks",
     "got 2, expected 1 or less"),
    ({"portDefinitions": [{"name": "a"}], "readinessChecks": [{"portName": "a", "timeoutSeconds": 30}]},
     "/readinessChecks(0)/timeoutSeconds", "got 30, expected less than 30"),
    # Artifacts, secrets, environment
    ({"fetch": [{"uri": "http://a/b c"}]}, "/fetch(0)/uri", "URI has invalid syntax."),
    ({"uris": ["http://a/%zz"]}, "/fetch(0)/uri", "URI has invalid syntax."),
    ({"uris": ["http://a"], "fetch": [{"uri": "http://b"}]}, "/uris", "may not be set in conjunction with fetch"),
    ({"fetch": [{"uri": "a", "destPath": "/etc/a"}]}, "/fetch(0)/destPath", "must be within the sandbox"),
    ({"fetch": [{"uri": "a", "destPath": "a/../../b"}]}, "/fetch(0)/destPath", "must be within the sandbox"),
    ({"secrets": {"": {"source": "a"}}}, "/secrets", "must not be empty"),
    ({"env": {"A": {"secret": "a"}}}, "/env/A/secret", "references an undefined secret"),
    ({"env": {"": "a"}}, "/env", "must not be empty"),
    ({"env": {"A=B": "a"}}, "/env/A=B", "must not contain '=' or a NUL character"),
    ({"env": {"A": "\0"}}, "/env/A", "must not contain a NUL character"),
    # Roles
    ({"role": "team"}, "/role", "got team, expected one of: [*]"),
    ({"acceptedResourceRoles": []}, "/acceptedResourceRoles", "must not be empty"),
    # How it is rolled, scaled and limited
    ({**_persistent(), "unreachableStrategy": {}}, "/", "unreachableStrategy must be disabled for resident tasks"),
    ({**_persistent(), **_strategy(0.5, 1)}, "/upgradeStrategy/maximumOverCapacity", "got 0.5, expected 0.0"),
    ({"unreachableStrategy": {"inactiveAfterSeconds": 9}}, "/unreachableStrategy/inactiveAfterSeconds",
     "inactiveAfterSeconds (9) must be less or equal to expungeAfterSeconds, which is 0"),
    ({"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}, "instances": 2, **_strategy(0, 0)}, "/",
     "Single instance app may only have one instance"),
    ({"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}}, "/upgradeStrategy/minimumHealthCapacity",
     "got 1.0, expected 0.0"),
    ({"labels": {"DCOS_MIGRATION_API_VERSION": "v1"}}, "/",
     "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using DCOS_MIGRATION_API_VERSION"),
    ({"resourceLimits": {"mem": 64}}, "/resourceLimits/mem",
     "must be greater than or equal to the mem requested, 128"),
]  # fmt: skip

FINE: list[dict[str, Any]] = [
    {"cmd": None, "args": ["sleep", "5"]},
    {"cmd": None, "container": IMAGE},
    {"cmd": "a"},
    {"executor": "//cmd"},
    {"constraints": [["hostname", "UNIQUE"], ["rack", "CLUSTER", "1"], ["rack", "GROUP_BY"]]},
    {"constraints": [["rack", "GROUP_BY", "3"], ["hostname", "IS", "a"]]},
    {"constraints": [["@zone", "MAX_PER", "2"], ["rack", "LIKE", "a|b"], ["rack", "unlike", "c.*"]]},
    {"constraints": [["rack", "CLUSTER"]]},
    {"portDefinitions": [{"port": 0}, {"port": 0}, {"port": 80, "protocol": "udp,tcp"}]},
    {"ports": [], "healthChecks": [{"port": 8080}]},
    _mappings({"hostPort": 0}, {"hostPort": 0}, {"hostPort": 80}, {"containerPort": 53, "protocol": "udp"}),
    {"container": {**IMAGE, "portMappings": [{"networkNames": ["a"]}]}, **NETS},
    {"container": {"type": "MESOS", "docker": {"image": "a", "pullConfig": {"secret": "s"}}},
     "secrets": {"s": {"source": "docker"}}},
    {"container": {"type": "MESOS", "linuxInfo": {"seccomp": {"unconfined": True}}}},
    {"gpus": 1},
    {"gpus": 1, "container": MESOS_IMAGE},
    {"container": {"docker": {"image": "a", "parameters": [{"key": "name", "value": "a"}]}}},
    _volume(hostPath="/srv/data", path="/data", mode="RO"),
    _volume({"type": "MESOS"}, hostPath="/srv/data"),
    {**_volume({"type": "MESOS"}, path="s.txt", secret="s", mode="RO"), "secrets": {"s": {"source": "a"}}},
    {**OF_TEAM, **_persistent(type="mount", maxSize=2, constraints=[["path", "LIKE", "/ssd.*"]])},
    {**OF_TEAM, **_persistent(), "unreachableStrategy": "disabled", **_strategy(0, 1), "acceptedResourceRoles": ["*"]},
    _external(size=10, options={"dvdi/driver": "rexray", "dvdi/iops": "100"}),
    _external(IMAGE),
    _volume(MESOS_IMAGE, path="/a/b", external={"name": "a", "provider": "dvdi", "options": {"dvdi/driver": "b"}}),
    {**_external(shared=True), "instances": 5},
    {"healthChecks": [{"protocol": "HTTPS"}, {"protocol": "TCP", "port": 1}, {"protocol": "MESOS_TCP"}]},
    {"healthChecks": [{"protocol": "COMMAND", "command": {"value": "true"}}, {"protocol": "MESOS_HTTP", "path": "/"}]},
    {"container": IMAGE, "healthChecks": [{"protocol": "MESOS_TCP", "ipProtocol": "IPv6"}]},
    {"check": {"exec": {"command": {"argv": ["true"]}}}},
    {"portDefinitions": [{"name": "http-api"}], "readinessChecks": [{}]},
    {"env": {"a.b-c": "odd names are taken", "A": ""}},
    {"fetch": [{"uri": "https://a/%20b?c=d#e"}, {"uri": "file:///opt/a.tgz"}, {"uri": "hdfs://a/ü"}]},
    {"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}, **_strategy(0, 0)},
    {"resourceLimits": {"mem": 128, "cpus": "unlimited"}},
    {"unreachableStrategy": {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 5}},
    {"instances": 0, "mem": 0, "taskKillGracePeriodSeconds": 0, "user": "nobody", "tty": True},
]  # fmt: skip


@pytest.mark.parametrize(("fields", "path", "error"), BROKEN)
def test_every_rule_is_told_with_its_path(fields: dict[str, Any], path: str, error: str) -> None:
    assert error in faults(**fields).get(path, [])
    with pytest.raises(InvalidObjectError):
        made(**fields)


@pytest.mark.parametrize("fields", FINE)
def test_what_keeps_to_the_rules_is_taken(fields: dict[str, Any]) -> None:
    assert faults(**fields) == {}


def _tree(*, enforce: bool | None) -> Group:
    team = Group(id="/team", apps={}, groups={}, version=VERSION, enforce_role=enforce)
    return Group(id="/", apps={}, groups={"/team": team}, version=VERSION)


@pytest.mark.parametrize(
    ("enforce", "asked", "got"),
    [
        (None, None, "*"),
        (False, "team", "team"),
        (False, "*", "*"),
        (True, None, "team"),
        (True, "team", "team"),
    ],
)
def test_groups_at_the_top_say_which_roles_their_apps_may_have(
    enforce: bool | None, asked: str | None, got: str
) -> None:
    app: App = made(id="/team/service/app", role=asked, root=_tree(enforce=enforce))
    assert app.role == got


@pytest.mark.parametrize(("enforce", "asked", "may"), [(True, "*", "team"), (False, "other", "*, team")])
def test_other_roles_are_refused(enforce: bool, asked: str, may: str) -> None:
    with pytest.raises(InvalidObjectError, match=re.escape(f"/role: got {asked}, expected one of: [{may}]")):
        made(id="/team/app", role=asked, root=_tree(enforce=enforce))


def test_outside_of_groups_there_is_the_servers_role() -> None:
    assert made(defaults=Defaults(role="public")).role == "public"


@pytest.mark.parametrize("role", ["", ".", "..", "-a", "a b", "a/b", "a\tb", "a\x7f"])
def test_names_that_no_role_may_have(role: str) -> None:
    root = Group(id="/", apps={}, groups={}, version=VERSION)
    with pytest.raises(InvalidObjectError, match="A role name must not"):
        made(root=root, acceptedResourceRoles=[role], defaults=Defaults(role=role))
