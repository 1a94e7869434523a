"""Any app that is taken is shown as Marathon's schema has it, and means the same app; nothing ends in a traceback."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from framework.local.marathon.definition.faults import InvalidJsonError, InvalidObjectError
from framework.local.marathon.definition.read import Defaults, new_app, parse, read_group, shown, update_app
from tests.contract.marathon_api import kinds
from tests.contract.marathon_api.directions import as_answer

answered = jsonschema_rs.validator_for(as_answer(kinds.APP_SHOWN))
VERSION = "2024-05-06T07:08:09.010Z"
LATER = "2024-05-06T07:08:09.011Z"

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
labels = st.dictionaries(texts, texts, max_size=3)
ports = st.integers(0, 65535)
few = st.integers(0, 5)
protocols = st.sampled_from(["tcp", "udp", "udp,tcp"])


def fields(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=optional)


definitions = st.lists(fields({}, port=ports, name=names, protocol=protocols, labels=labels), max_size=3)
mappings = st.lists(
    fields(
        {}, containerPort=ports, hostPort=st.just(0), servicePort=ports, name=names, protocol=protocols, labels=labels
    ),
    max_size=3,
)
volumes = st.lists(
    st.one_of(
        fields({"containerPath": names, "hostPath": names, "mode": st.sampled_from(["RO", "RW"])}),
        fields({"containerPath": names, "mode": st.just("RW"), "persistent": fields({"size": st.integers(1, 9)})}),
        fields({"containerPath": names, "secret": st.just("password")}),
    ),
    max_size=2,
)
docker = fields(
    {"image": names},
    network=st.sampled_from(["HOST", "BRIDGE"]),
    forcePullImage=st.booleans(),
    parameters=st.lists(fields({"key": st.just("env"), "value": texts}), max_size=2),
    portMappings=mappings,
)
containers = st.one_of(
    fields({"type": st.just("DOCKER"), "docker": docker}, volumes=volumes),
    fields({"type": st.just("MESOS"), "docker": fields({"image": names})}, volumes=volumes, portMappings=mappings),
    fields({"type": st.just("MESOS")}, volumes=volumes),
)
health_checks = st.lists(
    st.one_of(
        fields({"protocol": st.sampled_from(["HTTP", "TCP", "MESOS_HTTP"])}, path=texts, portIndex=few, port=ports),
        fields({"protocol": st.just("COMMAND"), "command": fields({"value": texts})}),
        fields({}, gracePeriodSeconds=few, maxConsecutiveFailures=few, ignoreHttp1xx=st.booleans()),
    ),
    max_size=2,
)
checks = st.one_of(
    fields({"http": fields({}, path=names, scheme=st.sampled_from(["HTTP", "HTTPS"]))}, delaySeconds=few),
    fields({"exec": fields({"command": fields({"argv": st.lists(texts, min_size=1, max_size=2)})})}),
)
own_changes = fields(
    {},
    cmd=names,
    instances=few,
    cpus=st.floats(0.001, 100),
    mem=st.floats(0, 1e6),
    disk=few,
    gpus=st.integers(0, 1),
    labels=labels,
    env=st.dictionaries(names, st.one_of(texts, st.just({"secret": "password"})), max_size=2),
    constraints=st.lists(
        st.one_of(st.just(["hostname", "UNIQUE"]), st.tuples(names, st.just("LIKE"), names).map(list)),
        max_size=2,
        unique_by=tuple,
    ),
    healthChecks=health_checks,
    check=checks,
    secrets=st.just({"password": {"source": "db"}}),
    dependencies=st.lists(names.map("/{}".format), max_size=2, unique=True),
    upgradeStrategy=fields({"maximumOverCapacity": st.floats(0, 1), "minimumHealthCapacity": st.floats(0, 1)}),
    unreachableStrategy=st.one_of(st.just("disabled"), fields({}, expungeAfterSeconds=few)),
    resourceLimits=fields({}, cpus=st.just("unlimited"), mem=st.just("unlimited")),
    acceptedResourceRoles=st.just(["*", "other"]),
    executorResources=st.just({}),
    requirePorts=st.booleans(),
    tty=st.booleans(),
)
imaged = fields(
    {"type": st.sampled_from(["MESOS", "DOCKER"]), "docker": fields({"image": names})},
    volumes=volumes,
    portMappings=mappings,
)
networks = st.one_of(st.just([{"mode": "container/bridge"}]), st.lists(fields({"name": names}), min_size=1, max_size=2))
networked = st.one_of(
    fields({"container": imaged, "networks": networks}, portDefinitions=definitions),
    fields({}, container=containers, ports=st.lists(ports, max_size=2, unique=True)),
    fields({}, container=containers, portDefinitions=definitions),
)
fetched = st.one_of(
    fields({}, uris=st.lists(names, max_size=2)),
    fields({}, fetch=st.lists(fields({"uri": names}, cache=st.booleans(), destPath=names), max_size=2)),
)
changes = st.tuples(own_changes, networked, fetched).map(lambda parts: {**parts[0], **parts[1], **parts[2]})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3),
    max_leaves=6,
)


def _new(raw: object) -> Any:
    return new_app(raw, defaults=Defaults(), version=VERSION)


def _taken(change: dict[str, Any]) -> Any:
    """The app of these fields, with as few of them left out as make it one; None: there is none."""
    raw = {"id": "/app", "cmd": "sleep 1", **change}
    while True:
        try:
            return _new(raw)
        except InvalidObjectError as error:
            at_fault = {one.path.strip("/").split("/")[0].split("(")[0] for one in error.details}
            left = {name: value for name, value in raw.items() if name not in at_fault}
            if len(left) == len(raw) or "id" not in left:
                return None
            raw = {"cmd": "sleep 1", **left}


@given(changes)
def test_what_is_shown_means_the_same_app(change: dict[str, Any]) -> None:
    app = _taken(change)
    if app is not None:
        assert _new(parse(shown(app))) == app
        answered.validate(msgspec.json.decode(shown(app)))


@given(changes, changes)
def test_an_update_leaves_what_it_does_not_name(change: dict[str, Any], update: dict[str, Any]) -> None:
    before = _taken(change)
    if before is None:
        return
    try:
        after = update_app(before, update, app_id="/app", defaults=Defaults(), version=LATER)
    except InvalidObjectError:
        return
    named = update.keys() | {"version"}
    for name, value in msgspec.to_builtins(before).items():
        if name not in named | _DEPENDENT:
            assert msgspec.to_builtins(after).get(name) == value
    again = update_app(after, {}, app_id="/app", defaults=Defaults(), version=LATER)
    assert again == after


_DEPENDENT = {"container", "networks", "portDefinitions", "healthChecks", "fetch", "requirePorts", "env"}
"""Fields whose form depends on others, or that have two names."""


@given(
    st.dictionaries(st.sampled_from([*sorted(_DEPENDENT), "id", "cmd", "args", "check", "groups", "apps"]), json_values)
)
def test_whatever_is_sent_is_taken_or_refused(raw: dict[str, Any]) -> None:
    for read in (_new, _read_group):
        try:
            read({"id": "/a", **raw})
        except (InvalidJsonError, InvalidObjectError) as error:
            assert error.details


def _read_group(raw: object) -> object:
    return read_group(raw, group_id="/", defaults=Defaults(), version=VERSION)
