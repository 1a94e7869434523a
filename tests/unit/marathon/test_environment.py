"""The environment of a task, as the real Marathon's own tests have it (TaskBuilderTest.scala)."""

from __future__ import annotations

from typing import Any

import pytest

from framework.errors import ButleryError
from framework.local.marathon.definition.app import (
    App,
    Container,
    DockerImage,
    Network,
    NetworkMode,
    PortDefinition,
    PortMapping,
    SecretRef,
    SecretSource,
)
from framework.local.marathon.environment import as_double, environment
from tests.unit.marathon.matching.hosts import OLD, app

CONTAINER = (Network(mode=NetworkMode.CONTAINER, name="vnet"),)


def of(app_: App, *ports: int, **fields: Any) -> dict[str, str]:
    return environment(app_, "task-123", "host.mega.corp", ports, lambda source: f"<{source}>", **fields)


def mapped(*mappings: PortMapping, networks: tuple[Network, ...] = CONTAINER) -> App:
    return app(networks=networks, container=Container(type="MESOS", volumes=(), port_mappings=mappings))


def mapping(container_port: int, host_port: int | None = None, name: str | None = None) -> PortMapping:
    return PortMapping(container_port=container_port, host_port=host_port, service_port=9000, name=name)


def defined(*ports: int, **fields: Any) -> App:
    return app(port_definitions=tuple(PortDefinition(port=port) for port in ports), **fields)


def test_what_it_tells_of_the_app() -> None:
    image = DockerImage(image="myregistry/myimage:version", force_pull_image=False, privileged=False, parameters=())
    told = of(
        app(
            "/app",
            cpus=10.0,
            mem=256.0,
            disk=128.5,
            gpus=2,
            labels={"LABEL1": "VALUE1", "LABEL2": "VALUE2"},
            container=Container(type="DOCKER", docker=image, volumes=()),
        )
    )
    assert told == {
        "MESOS_TASK_ID": "task-123",
        "MARATHON_APP_ID": "/app",
        "MARATHON_APP_VERSION": OLD,
        "MARATHON_APP_DOCKER_IMAGE": "myregistry/myimage:version",
        "MARATHON_APP_RESOURCE_CPUS": "10.0",
        "MARATHON_APP_RESOURCE_MEM": "256.0",
        "MARATHON_APP_RESOURCE_DISK": "128.5",
        "MARATHON_APP_RESOURCE_GPUS": "2",
        "MARATHON_APP_LABELS": "LABEL1 LABEL2",
        "MARATHON_APP_LABEL_LABEL1": "VALUE1",
        "MARATHON_APP_LABEL_LABEL2": "VALUE2",
        "MARATHON_APP_ENFORCE_GROUP_ROLE": "FALSE",
        "HOST": "host.mega.corp",
    }
    assert of(app(), enforce_role=True)["MARATHON_APP_ENFORCE_GROUP_ROLE"] == "TRUE"


def test_labels_are_made_safe_and_long_ones_left_out() -> None:
    labels = {
        "label": "VALUE1",
        "label-with-invalid-chars": "VALUE2",
        "other--label\\--\\a": "VALUE3",
        "x" * 493: "long label",
        "long": "x" * 512,
    }
    told = {name: value for name, value in of(app(labels=labels)).items() if name.startswith("MARATHON_APP_LABEL")}
    assert told == {
        "MARATHON_APP_LABELS": "LABEL LABEL_WITH_INVALID_CHARS OTHER_LABEL_A",
        "MARATHON_APP_LABEL_LABEL": "VALUE1",
        "MARATHON_APP_LABEL_LABEL_WITH_INVALID_CHARS": "VALUE2",
        "MARATHON_APP_LABEL_OTHER_LABEL_A": "VALUE3",
    }


def ports_in(told: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in told.items() if name.startswith("PORT")}


def test_ports_of_the_hosts_network() -> None:
    named = app(port_definitions=(PortDefinition(port=8080, name="http"), PortDefinition(port=8081)))
    assert ports_in(of(named, 1000, 1001)) == {
        "PORT": "1000",
        "PORTS": "1000,1001",
        "PORT0": "1000",
        "PORT1": "1001",
        "PORT_8080": "1000",
        "PORT_8081": "1001",
        "PORT_HTTP": "1000",
    }
    assert ports_in(of(app(port_definitions=()))) == {}


def test_ports_of_a_bridge() -> None:
    bridged = mapped(mapping(8080, 0, "http"), mapping(0, 0, "jabber"), networks=(Network(mode=NetworkMode.BRIDGE),))
    assert ports_in(of(bridged, 1000, 1001)) == {
        "PORT": "1000",
        "PORTS": "1000,1001",
        "PORT0": "1000",
        "PORT1": "1001",
        "PORT_8080": "1000",
        "PORT_1001": "1001",
        "PORT_HTTP": "1000",
        "PORT_JABBER": "1001",
    }


def test_ports_that_the_host_has_no_part_in() -> None:
    told = ports_in(of(mapped(mapping(0), mapping(100, 0), mapping(200, 25002), mapping(400)), 0, 25000, 25002, 0))
    made_up = told["PORT0"]
    assert 1025 <= int(made_up) <= 65535
    assert made_up not in {"100", "200", "400", "25000", "25002"}
    assert told == {
        "PORT": "25000",
        "PORTS": f"25000,25002,{made_up}",
        "PORT0": made_up,
        f"PORT_{made_up}": made_up,
        "PORT1": "25000",
        "PORT_100": "25000",
        "PORT2": "25002",
        "PORT_200": "25002",
        "PORT3": "400",
        "PORT_400": "400",
    }
    assert told == ports_in(
        of(mapped(mapping(0), mapping(100, 0), mapping(200, 25002), mapping(400)), 0, 25000, 25002, 0)
    )
    assert ports_in(of(mapped(mapping(80)), 0)) == {"PORT0": "80", "PORT_80": "80", "PORTS": ""}


def test_a_prefix_is_for_the_host_and_its_ports_alone() -> None:
    told = of(defined(8080), 1000, prefix="P_")
    assert {name for name in told if name.startswith("P_")} == {"P_HOST", "P_PORT", "P_PORTS", "P_PORT0", "P_PORT_8080"}
    assert all(name.startswith(("P_", "MARATHON_", "MESOS_")) for name in told)


def test_the_apps_own_goes_before_everything() -> None:
    own = {"PORT": "1", "HOST": "mine", "MARATHON_APP_ID": "other", "TOKEN": SecretRef(secret="token")}
    told = of(defined(8080, env=own, secrets={"token": SecretSource(source="/vault/token")}), 1000)
    assert (told["PORT"], told["HOST"], told["MARATHON_APP_ID"]) == ("1", "mine", "other")
    assert told["PORT0"] == "1000"
    assert told["TOKEN"] == "</vault/token>"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0.0"), (1, "1.0"), (0.1, "0.1"), (0.001, "0.001"), (0.0005, "5.0E-4"), (12345678.0, "1.2345678E7")],
)
def test_numbers_are_shown_as_java_does(number: float, text: str) -> None:
    assert as_double(number) == text


def test_one_line_break_at_a_secrets_end_is_no_part_of_a_variable() -> None:
    defined_app = app(env={"TOKEN": SecretRef(secret="token")}, secrets={"token": SecretSource(source="token")})
    found = environment(defined_app, "web.1", "h", (), lambda _: "hush\n\n")
    assert found["TOKEN"] == "hush\n"


def test_a_secret_that_the_app_does_not_name_is_told_of() -> None:
    with pytest.raises(ButleryError, match="/web has no secret 'token'"):
        of(app(env={"TOKEN": SecretRef(secret="token")}))
