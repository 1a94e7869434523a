"""The one form: what was left out is filled in, and what is written the old way is written the new one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from framework.local.marathon.definition.app import (
    Artifact,
    Network,
    NetworkMode,
    PortDefinition,
    PortMapping,
    SecretRef,
    Unreachable,
    UpgradeStrategy,
)
from framework.local.marathon.definition.read import Defaults, shown
from tests.unit.marathon.definition.reading import IMAGE, MESOS_IMAGE, OF_TEAM, VERSION, faults, made

BRIDGE = (Network(mode=NetworkMode.BRIDGE),)


def test_an_app_of_a_command_alone() -> None:
    assert msgspec.json.decode(shown(made())) == {
        "id": "/app",
        "backoffFactor": 1.15,
        "backoffSeconds": 1,
        "cmd": "sleep 60",
        "cpus": 1,
        "disk": 0,
        "executor": "",
        "instances": 1,
        "labels": {},
        "maxLaunchDelaySeconds": 300,
        "mem": 128,
        "gpus": 0,
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 0, "protocol": "tcp", "name": "default"}],
        "requirePorts": False,
        "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
        "version": VERSION,
        "versionInfo": {"lastScalingAt": VERSION, "lastConfigChangeAt": VERSION},
        "killSelection": "YOUNGEST_FIRST",
        "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
        "role": "*",
    }


def test_what_has_defaults_below_the_top_is_shown_with_them() -> None:
    app = made(
        **OF_TEAM,
        container={
            **IMAGE,
            "portMappings": [{"containerPort": 80}],
            "volumes": [{"containerPath": "data", "mode": "RW", "persistent": {"size": 5}}],
        },
        networks=[{"mode": "container/bridge"}],
        healthChecks=[{}, {"protocol": "COMMAND", "command": {"value": "true"}}],
        readinessChecks=[],
        check={"http": {}},
    )
    told = msgspec.json.decode(shown(app))
    assert told["container"] == {
        "type": "DOCKER",
        "docker": {"image": "busybox", "forcePullImage": False, "privileged": False, "parameters": []},
        "volumes": [
            {"containerPath": "data", "mode": "RW", "persistent": {"size": 5, "type": "root", "constraints": []}}
        ],
        "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 0, "protocol": "tcp", "labels": {}}],
    }
    common = {
        "gracePeriodSeconds": 300,
        "intervalSeconds": 60,
        "timeoutSeconds": 20,
        "maxConsecutiveFailures": 3,
        "delaySeconds": 15,
        "ipProtocol": "IPv4",
    }
    assert told["healthChecks"] == [
        {**common, "protocol": "HTTP", "portIndex": 0, "ignoreHttp1xx": False},
        {**common, "protocol": "COMMAND", "command": {"value": "true"}},
    ]
    assert told["check"] == {
        "http": {"scheme": "HTTP"}, "intervalSeconds": 60, "timeoutSeconds": 20, "delaySeconds": 15
    }  # fmt: skip
    assert "readinessChecks" not in told
    assert "portDefinitions" not in told


def test_uris_become_artifacts_that_are_unpacked_by_their_names() -> None:
    app = made(uris=["http://a/b.tgz", "http://a/b.sh"])
    common: dict[str, Any] = {"executable": False, "cache": False}
    assert app.fetch == (
        Artifact(uri="http://a/b.tgz", extract=True, **common),
        Artifact(uri="http://a/b.sh", extract=False, **common),
    )
    assert made(fetch=[{"uri": "http://a/b.sh"}]).fetch == (Artifact(uri="http://a/b.sh", extract=True, **common),)


def test_ports_become_port_definitions() -> None:
    assert made(ports=[80, 0]).port_definitions == (PortDefinition(port=80), PortDefinition(port=0))
    assert made(ports=[]).port_definitions == ()
    assert made(ports=[80], portDefinitions=[{"port": 80, "name": "a"}]).service_ports == (80,)


@pytest.mark.parametrize(
    ("fields", "networks"),
    [
        ({"container": {"docker": {"image": "a", "network": "HOST"}}}, (Network(mode=NetworkMode.HOST),)),
        ({"container": {"docker": {"image": "a", "network": "BRIDGE"}}}, BRIDGE),
        (
            {"container": {"docker": {"image": "a", "network": "USER"}}, "ipAddress": {"networkName": "net"}},
            (Network(mode=NetworkMode.CONTAINER, name="net"),),
        ),
        (
            {"container": {"docker": {"image": "a", "network": "BRIDGE"}}, "ipAddress": {"labels": {"a": "b"}}},
            (Network(mode=NetworkMode.BRIDGE, labels={"a": "b"}),),
        ),
        (
            {"container": MESOS_IMAGE, "ipAddress": {"networkName": "net", "labels": {"a": "b"}}},
            (Network(mode=NetworkMode.CONTAINER, name="net", labels={"a": "b"}),),
        ),
        ({"container": MESOS_IMAGE, "ipAddress": {"networkName": "mesos-bridge"}}, BRIDGE),
        (
            {"container": IMAGE, "networks": [{"name": "net"}]},
            (Network(mode=NetworkMode.CONTAINER, name="net"),),
        ),
    ],
)
def test_old_ways_to_name_networks(fields: dict[str, Any], networks: tuple[Network, ...]) -> None:
    assert made(**fields).networks == networks


def test_container_networks_without_a_name_get_the_one_of_the_settings() -> None:
    app = made(container=IMAGE, networks=[{}], defaults=Defaults(network="dcos"))
    assert app.networks == (Network(mode=NetworkMode.CONTAINER, name="dcos"),)


def test_dockers_own_port_mappings_become_the_containers() -> None:
    app = made(container={"docker": {"image": "a", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}})
    assert app.container is not None
    assert app.container.port_mappings == (PortMapping(container_port=80, host_port=0, service_port=0),)


def test_ports_of_discovery_become_port_mappings_without_a_port_of_the_host() -> None:
    discovery = {"ports": [{"number": 80, "name": "web", "labels": {"a": "b"}}]}
    app = made(container=MESOS_IMAGE, ipAddress={"networkName": "net", "discovery": discovery})
    assert app.container is not None
    assert app.container.port_mappings == (
        PortMapping(container_port=80, service_port=0, name="web", labels={"a": "b"}),
    )


def test_containers_have_one_port_unless_they_say() -> None:
    bridge = [{"mode": "container/bridge"}]
    app = made(container=IMAGE, networks=bridge)
    assert app.container is not None
    assert app.container.port_mappings == (PortMapping(container_port=0, host_port=0, service_port=0, name="default"),)
    none = made(container={**IMAGE, "portMappings": []}, networks=bridge)
    assert none.container is not None
    assert none.container.port_mappings == ()
    more = made(container=IMAGE, networks=bridge, portDefinitions=[{}, {}])
    assert len(more.service_ports) == 2
    old = made(container={"docker": {"image": "a", "network": "BRIDGE"}}, ports=[0, 0, 0])
    assert len(old.service_ports) == 3


def test_port_mappings_are_left_out_with_the_hosts_network() -> None:
    app = made(container={**IMAGE, "portMappings": [{"containerPort": 80}]})
    assert app.container is not None
    assert app.container.port_mappings is None
    assert app.service_ports == (0,)


def test_ports_are_required_of_the_hosts_network_alone() -> None:
    assert made(requirePorts=True, portDefinitions=[{"port": 80}]).require_ports
    assert not made(requirePorts=True, container=IMAGE, networks=[{"mode": "container/bridge"}]).require_ports


def test_apps_with_volumes_to_keep_are_rolled_without_more_of_them() -> None:
    volume = {"containerPath": "data", "mode": "RW"}
    resident = made(**OF_TEAM, container={"type": "MESOS", "volumes": [{**volume, "persistent": {"size": 1}}]})
    assert resident.resident
    assert resident.upgrade_strategy == UpgradeStrategy(maximum_over_capacity=0, minimum_health_capacity=0.5)
    assert resident.unreachable_strategy == "disabled"
    external = {"name": "a", "provider": "dvdi", "options": {"dvdi/driver": "rexray"}}
    app = made(container={**MESOS_IMAGE, "volumes": [{**volume, "external": external}]})
    assert not app.resident
    assert app.upgrade_strategy.maximum_over_capacity == 0
    assert app.unreachable_strategy == Unreachable(inactive_after_seconds=0, expunge_after_seconds=0)


def test_volumes_of_a_profile_are_mounts() -> None:
    persistent = {"size": 1, "profileName": "fast"}
    volume = {"containerPath": "data", "mode": "RW", "persistent": persistent}
    app = made(**OF_TEAM, container={"type": "MESOS", "volumes": [volume]})
    assert app.container is not None
    assert app.container.volumes[0].persistent is not None
    assert app.container.volumes[0].persistent.type == "mount"


def test_accepted_roles_that_bring_no_offers_are_left_out() -> None:
    assert made().accepted_resource_roles is None
    assert made(acceptedResourceRoles=["public", "*"]).accepted_resource_roles == ("*",)
    assert made(acceptedResourceRoles=["public"]).accepted_resource_roles == ("*",)
    settings = Defaults(role="public", accepted_resource_roles=("*", "public"))
    assert made(defaults=settings, acceptedResourceRoles=["public"]).accepted_resource_roles == ("public",)
    assert made(defaults=settings).accepted_resource_roles == ("*", "public")
    volume = {"containerPath": "data", "mode": "RW", "persistent": {"size": 1}}
    resident = made(defaults=settings, container={"type": "MESOS", "volumes": [volume]})
    assert resident.accepted_resource_roles is None


def test_operators_are_shown_in_capitals_and_nothing_twice() -> None:
    app = made(constraints=[["a", "unique"], ["a", "UNIQUE"]], healthChecks=[{}, {"portIndex": 0}])
    assert app.constraints == (("a", "UNIQUE"),)
    assert len(app.health_checks) == 1


def test_secrets_may_be_referred_to_by_their_source() -> None:
    app = made(
        secrets={"a": {"source": "/db/password"}, "b": {"source": "a"}},
        env={"A": {"secret": "a"}, "PASSWORD": {"secret": "/db/password"}, "PLAIN": "a"},
    )
    assert app.env == {"A": SecretRef(secret="a"), "PASSWORD": SecretRef(secret="a"), "PLAIN": "a"}


def test_a_command_beside_arguments_is_what_runs_in_an_image() -> None:
    app = made(container=IMAGE, args=["sleep", "5"])
    assert app.cmd == "sleep 60"
    assert app.args == ()
    assert "/" in faults(args=["sleep", "5"])


def test_dependencies_become_absolute() -> None:
    assert made(id="/a/b", dependencies=["../db", "/x/y", "z"]).dependencies == ("/db", "/x/y", "/z")
    assert made(id="b", group="/a/c", dependencies=["../db", "z"]).dependencies == ("/a/db", "/a/c/z")


def test_relative_ids_start_at_their_group() -> None:
    assert made(id="app", group="/a/b").id == "/a/b/app"
    assert made(id="../app", group="/a/b").id == "/a/app"


def test_a_document_that_contradicts_itself_as_marathons_own_example_does_is_taken() -> None:
    app = made(
        cmd="sleep 1000",
        args=["sleep", "100"],
        acceptedResourceRoles=["mesos_role"],
        container={
            "docker": {
                "image": "group/image",
                "network": "BRIDGE",
                "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10019, "name": "http"}],
            },
            "type": "DOCKER",
        },
        env={"PASSWORD": {"secret": "/db/password"}},
        secrets={"secret1": {"source": "/db/password"}},
        healthChecks=[{"portIndex": 0}],
        readinessChecks=[{"portName": "http"}],
        ipAddress={"discovery": {"ports": [{"number": 8080, "name": "rest"}]}, "groups": ["dev"], "labels": {"e": "d"}},
        portDefinitions=[{"port": 0, "name": "http"}],
    )
    assert app.networks == (Network(mode=NetworkMode.BRIDGE, labels={"e": "d"}),)
    assert app.service_ports == (10019,)
    assert app.port_definitions is None
