"""The documents of the API, field by field: names, kinds, limits and defaults are those of Marathon's RAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.local.marathon.definition.faults import Faults
from framework.local.marathon.definition.schema import (
    LONG,
    Either,
    Flag,
    List,
    Map,
    Number,
    Object,
    PathId,
    Text,
    Timestamp,
)

_NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
NAME = Text(min_length=1, max_length=63, pattern=_NAME)
LEGACY_NAME = Text(min_length=1, pattern=_NAME)
NETWORK_NAME = Text(min_length=1, max_length=63, pattern=r"[a-z0-9]([-a-z0-9_]*[a-z0-9])?")
LOCATION = Text(min_length=1, max_length=1024)  # a URI or a path
NOT_EMPTY = Text(min_length=1)
PORT = Number(minimum=0, maximum=65535)
COUNT = Number(minimum=0)
LONG_COUNT = Number(minimum=0, largest=LONG)
MOST = 1e12  # of any amount: no host has as much, and thousandths and bytes of it are still numbers
AMOUNT = Number(minimum=0, maximum=MOST, largest=None)
SIZE = Number(minimum=0, maximum=MOST, largest=LONG)
SHARE = Number(minimum=0, maximum=1, largest=None)
SEVERAL = 1000  # things of one app: none has as many, and checking more would keep all others waiting
MOST_AT_ONCE = 5000  # apps and groups of one document: to deploy as many holds all others up for half a second
LABELS = Map(Text())
PROTOCOL = Text(values=("tcp", "udp", "udp,tcp"))
SCHEME = Text(values=("HTTP", "HTTPS"))
READ_MODE = Text(values=("RO", "RW"))
SECRET_REF = Object({"secret": Text()}, required=("secret",))
CONSTRAINT = List(Text(), min_items=2, max_items=3)

PORT_MAPPING = Object(
    {
        "containerPort": PORT,
        "hostPort": PORT,
        "labels": LABELS,
        "name": LEGACY_NAME,
        "protocol": PROTOCOL,
        "servicePort": PORT,
        "networkNames": List(NAME, max_items=SEVERAL),
    },
    defaults={"containerPort": 0, "protocol": "tcp", "servicePort": 0, "labels": {}},
)
DOCKER = Object(
    {
        "credential": Object({"principal": Text(), "secret": Text()}, required=("principal",)),
        "pullConfig": Object({"secret": NOT_EMPTY}, required=("secret",)),
        "forcePullImage": Flag(),
        "image": NOT_EMPTY,
        "network": Text(values=("BRIDGE", "HOST", "NONE", "USER")),
        "parameters": List(Object({"key": NOT_EMPTY, "value": Text()}, required=("key", "value"))),
        "portMappings": List(PORT_MAPPING, max_items=SEVERAL),
        "privileged": Flag(),
    },
    required=("image",),
    defaults={"forcePullImage": False, "parameters": [], "privileged": False},
)
PERSISTENT = Object(
    {
        "type": Text(values=("root", "path", "mount")),
        "size": SIZE,
        "maxSize": SIZE,
        "profileName": Text(),
        "constraints": List(CONSTRAINT, unique=True, max_items=SEVERAL),
    },
    required=("size",),
)
EXTERNAL = Object(
    {"size": SIZE, "name": Text(), "provider": Text(), "options": LABELS, "shared": Flag()},
    defaults={"shared": False},
)
VOLUME = Object(
    {
        "containerPath": NOT_EMPTY,
        "mode": READ_MODE,
        "hostPath": NOT_EMPTY,
        "persistent": PERSISTENT,
        "external": EXTERNAL,
        "secret": NOT_EMPTY,
    },
    required=("containerPath",),
)


class _Volume:
    """A secret's has no mode; one that is neither persistent, external nor a secret's is a path of the host."""

    def read(self, value: object, at: str, faults: Faults) -> Any:
        if isinstance(value, Mapping) and _of_csi(value.get("external")):
            faults.unknown(f"{at}/external/provider", "CSI volumes cannot be had on this machine")
            return {"containerPath": ""}
        read = VOLUME.read(value, at, faults)
        if not read.keys() & {"persistent", "external", "secret", "hostPath"}:
            faults.kind(f"{at}/hostPath", "error.path.missing")
        if "secret" not in read and "mode" not in read:
            faults.kind(f"{at}/mode", "error.path.missing")
        return read

    def json_schema(self) -> dict[str, object]:
        return VOLUME.json_schema()


def _of_csi(external: object) -> bool:
    return isinstance(external, Mapping) and external.get("provider") == "csi"


LINUX_INFO = Object(
    {
        "seccomp": Object({"profileName": Text(), "unconfined": Flag()}, defaults={"unconfined": False}),
        "ipcInfo": Object({"mode": Text(values=("PRIVATE", "SHARE_PARENT")), "shmSize": Number()}, required=("mode",)),
    }
)
CONTAINER = Object(
    {
        "type": Text(values=("MESOS", "DOCKER")),
        "docker": DOCKER,
        "linuxInfo": LINUX_INFO,
        "volumes": List(_Volume(), max_items=SEVERAL),
        "portMappings": List(PORT_MAPPING, max_items=SEVERAL),
    },
    defaults={"type": "DOCKER", "volumes": []},
)

HEALTH_CHECK = Object(
    {
        "command": Object({"value": Text()}, required=("value",)),
        "gracePeriodSeconds": COUNT,
        "ignoreHttp1xx": Flag(),
        "intervalSeconds": COUNT,
        "maxConsecutiveFailures": COUNT,
        "path": Text(),
        "port": PORT,
        "portIndex": PORT,
        "protocol": Text(values=("HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_TCP", "MESOS_HTTP", "MESOS_HTTPS")),
        "ipProtocol": Text(values=("IPv4", "IPv6")),
        "timeoutSeconds": COUNT,
        "delaySeconds": COUNT,
    },
    defaults={
        "gracePeriodSeconds": 300,
        "intervalSeconds": 60,
        "maxConsecutiveFailures": 3,
        "protocol": "HTTP",
        "ipProtocol": "IPv4",
        "timeoutSeconds": 20,
        "delaySeconds": 15,
    },
)
CHECK = Object(
    {
        "http": Object(
            {"portIndex": PORT, "port": PORT, "path": LOCATION, "scheme": SCHEME}, defaults={"scheme": "HTTP"}
        ),
        "tcp": Object({"portIndex": PORT, "port": PORT}),
        "exec": Object(
            {"command": Object({"shell": NOT_EMPTY, "argv": List(Text(), min_items=1)})}, required=("command",)
        ),
        "intervalSeconds": COUNT,
        "timeoutSeconds": COUNT,
        "delaySeconds": COUNT,
    },
    defaults={"intervalSeconds": 60, "timeoutSeconds": 20, "delaySeconds": 15},
)
READINESS_CHECK = Object(
    {
        "name": NOT_EMPTY,
        "protocol": SCHEME,
        "path": LOCATION,
        "portName": LEGACY_NAME,
        "intervalSeconds": COUNT,
        "timeoutSeconds": Number(minimum=1),
        "httpStatusCodesForReady": List(Number(minimum=100, maximum=999), min_items=1, unique=True),
        "preserveLastResponse": Flag(),
    },
    defaults={
        "name": "readinessCheck",
        "protocol": "HTTP",
        "path": "/",
        "portName": "http-api",
        "intervalSeconds": 30,
        "timeoutSeconds": 10,
        "httpStatusCodesForReady": [200],
        "preserveLastResponse": False,
    },
)

NETWORK = Object(
    {
        "name": NETWORK_NAME,
        "mode": Text(values=("container", "container/bridge", "host")),
        "labels": LABELS,
    },
    defaults={"mode": "container"},
)
IP_ADDRESS = Object(
    {
        "discovery": Object(
            {
                "ports": List(
                    Object(
                        {"number": PORT, "name": LEGACY_NAME, "protocol": PROTOCOL, "labels": LABELS},
                        required=("name",),
                        defaults={"number": 0, "protocol": "tcp", "labels": {}},
                    )
                )
            }
        ),
        "groups": List(Text(), unique=True, max_items=SEVERAL),
        "labels": LABELS,
        "networkName": NOT_EMPTY,
    }
)
PORT_DEFINITION = Object(
    {"port": PORT, "labels": LABELS, "name": LEGACY_NAME, "protocol": PROTOCOL},
    defaults={"port": 0, "protocol": "tcp"},
)
ARTIFACT = Object(
    {"uri": LOCATION, "extract": Flag(), "executable": Flag(), "cache": Flag(), "destPath": LOCATION},
    required=("uri",),
    defaults={"extract": True, "executable": False, "cache": False},
)
UNREACHABLE = Either(
    Text(values=("disabled",)),
    Object(
        {"inactiveAfterSeconds": LONG_COUNT, "expungeAfterSeconds": LONG_COUNT},
        defaults={"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
    ),
)
RESOURCE_LIMIT = Either(Text(values=("unlimited",)), Number(maximum=MOST, largest=None))

APP = Object(
    {
        "id": PathId(reserved=True),
        "acceptedResourceRoles": List(Text(), unique=True, max_items=SEVERAL),
        "args": List(Text()),
        "backoffFactor": Number(minimum=1, largest=None),
        "backoffSeconds": COUNT,
        "cmd": NOT_EMPTY,
        "constraints": List(CONSTRAINT, unique=True, max_items=SEVERAL),
        "container": CONTAINER,
        "cpus": Number(minimum=0.001, maximum=MOST, largest=None),
        "dependencies": List(PathId(), unique=True, max_items=SEVERAL),
        "disk": AMOUNT,
        "env": Map(Either(Text(), SECRET_REF)),
        "executor": Text(pattern=r"(//cmd)|(/?[^/]+(/[^/]+)*)|"),
        "executorResources": Object(
            {
                "cpus": Number(minimum=0.1, maximum=MOST, largest=None),
                "mem": Number(minimum=32, maximum=MOST, largest=None),
                "disk": Number(minimum=10, maximum=MOST, largest=None),
            },
            defaults={"cpus": 0.1, "mem": 32, "disk": 10},
        ),
        "fetch": List(ARTIFACT, max_items=SEVERAL),
        "healthChecks": List(HEALTH_CHECK, unique=True, max_items=SEVERAL),
        "check": CHECK,
        "instances": COUNT,
        "labels": LABELS,
        "maxLaunchDelaySeconds": COUNT,
        "mem": AMOUNT,
        "gpus": COUNT,
        "ipAddress": IP_ADDRESS,
        "networks": List(NETWORK, max_items=SEVERAL),
        "ports": List(PORT, max_items=SEVERAL),
        "portDefinitions": List(PORT_DEFINITION, max_items=SEVERAL),
        "readinessChecks": List(READINESS_CHECK, max_items=SEVERAL),
        "residency": Object(
            {
                "relaunchEscalationTimeoutSeconds": LONG_COUNT,
                "taskLostBehavior": Text(values=("WAIT_FOREVER", "RELAUNCH_AFTER_TIMEOUT")),
            },
            defaults={"relaunchEscalationTimeoutSeconds": 3600, "taskLostBehavior": "WAIT_FOREVER"},
        ),
        "resourceLimits": Object({"cpus": RESOURCE_LIMIT, "mem": RESOURCE_LIMIT}),
        "requirePorts": Flag(),
        "secrets": Map(Object({"source": NOT_EMPTY}, required=("source",))),
        "taskKillGracePeriodSeconds": COUNT,
        "upgradeStrategy": Object(
            {"maximumOverCapacity": SHARE, "minimumHealthCapacity": SHARE},
            required=("maximumOverCapacity", "minimumHealthCapacity"),
        ),
        "uris": List(LOCATION, max_items=SEVERAL),
        "user": Text(),
        "version": Timestamp(),
        "versionInfo": Object(
            {"lastScalingAt": Timestamp(), "lastConfigChangeAt": Timestamp()},
            required=("lastScalingAt", "lastConfigChangeAt"),
        ),
        "killSelection": Text(values=("YOUNGEST_FIRST", "OLDEST_FIRST")),
        "unreachableStrategy": UNREACHABLE,
        "tty": Flag(),
        "role": NOT_EMPTY,
    },
    required=("id",),
    defaults={
        "backoffFactor": 1.15,
        "backoffSeconds": 1,
        "cpus": 1,
        "disk": 0,
        "executor": "",
        "instances": 1,
        "labels": {},
        "maxLaunchDelaySeconds": 300,
        "mem": 128,
        "gpus": 0,
        "requirePorts": False,
        "killSelection": "YOUNGEST_FIRST",
    },
)


UPDATES = List(  # without defaults
    Object({**APP.fields, "id": PathId(reserved=True)}, required=("id",)), max_items=MOST_AT_ONCE
)


class _Later:
    """A document of its own, which is read by itself."""

    def __init__(self, schema: dict[str, object]) -> None:
        self._schema = schema

    def read(self, value: object, at: str, faults: Faults) -> Any:
        if not isinstance(value, Mapping):
            faults.kind(at, "error.expected.jsobject")
        return value

    def json_schema(self) -> dict[str, object]:
        return self._schema


GROUP = Object(
    {
        "id": PathId(),
        "apps": List(_Later(APP.json_schema())),
        "groups": List(_Later({"$ref": "#"})),
        "dependencies": List(PathId(), unique=True, max_items=SEVERAL),
        "scaleBy": AMOUNT,
        "version": Timestamp(),
        "enforceRole": Flag(),
    }
)
GROUP_PARTIAL = Object({"enforceRole": Flag()})


def json_schema(name: str) -> dict[str, object] | None:
    """Of what may be sent as an ``app`` or a ``group``; None: there is none of the name."""
    kind = {"app": APP, "group": GROUP}.get(name)
    return None if kind is None else {"$schema": "http://json-schema.org/draft-07/schema#", **kind.json_schema()}
