"""Apps and trees as the tests of groups and plans want them."""

from __future__ import annotations

from typing import Any

from framework.local.marathon.definition.app import (
    App,
    Container,
    ExternalVolume,
    Group,
    Network,
    NetworkMode,
    PersistentVolume,
    PortDefinition,
    PortMapping,
    Unreachable,
    UpgradeStrategy,
    VersionInfo,
    Volume,
)
from framework.local.marathon.definition.read import EMPTY
from framework.local.marathon.groups.settling import settle
from framework.local.marathon.groups.tree import with_apps

VERSIONS = [f"2020-01-01T00:00:0{number}.000Z" for number in range(10)]


def app(app_id: str, *, ports: tuple[int, ...] | None = (), **fields: Any) -> App:
    values: dict[str, Any] = {
        "backoff_factor": 1.15,
        "backoff_seconds": 1,
        "cmd": "sleep 1000",
        "cpus": 1.0,
        "disk": 0.0,
        "executor": "",
        "gpus": 0,
        "instances": 1,
        "kill_selection": "YOUNGEST_FIRST",
        "labels": {},
        "max_launch_delay_seconds": 300,
        "mem": 128.0,
        "networks": (Network(mode=NetworkMode.HOST),),
        "port_definitions": None if ports is None else tuple(PortDefinition(port=port) for port in ports),
        "require_ports": False,
        "role": "*",
        "unreachable_strategy": Unreachable(inactive_after_seconds=0, expunge_after_seconds=0),
        "upgrade_strategy": UpgradeStrategy(maximum_over_capacity=1.0, minimum_health_capacity=1.0),
        "version": VERSIONS[0],
        "version_info": VersionInfo(last_scaling_at=VERSIONS[0], last_config_change_at=VERSIONS[0]),
    }
    return App(id=app_id, **{**values, **fields})


def mapped(*ports: int) -> Container:
    mappings = tuple(PortMapping(container_port=80 + place, service_port=port) for place, port in enumerate(ports))
    return Container(type="MESOS", volumes=(), port_mappings=mappings)


def persistent(path: str, size: int = 10) -> Container:
    return Container(
        type="MESOS", volumes=(Volume(container_path=path, mode="RW", persistent=PersistentVolume(size=size)),)
    )


def external(name: str, *, shared: bool = False) -> Container:
    volume = ExternalVolume(name=name, provider="dvdi", options={"dvdi/driver": "rexray"}, shared=shared)
    return Container(type="MESOS", volumes=(Volume(container_path="data", mode="RW", external=volume),))


def tree(*apps: App, before: Group = EMPTY, version: str = VERSIONS[1]) -> Group:
    """``before`` with these apps, settled."""
    return settle(before, with_apps(before, {one.id: one for one in apps}), version)
