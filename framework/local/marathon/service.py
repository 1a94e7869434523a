"""An app as our Mesos executor needs it: what is started, where its volumes come from, and how its health is told."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, assert_never

from agents.service_spec import ServiceCheck, ServiceMount, ServicePort, ServiceSpec
from agents.spec import HostPolicy
from framework.core.ids import TaskId
from framework.local.marathon.definition.app import App, HealthCheck, Network, NetworkMode, Volume
from framework.local.marathon.definition.rules_container import NAME_PARAMETER
from framework.local.marathon.environment import Secrets, secret_of
from framework.local.marathon.matching.match import Placed
from framework.local.marathon.matching.rules import amount_millis
from framework.local.marathon.records import LocalVolume

UNLIMITED = "unlimited"

MIN_MEM_MIB = 32
"""What asks for less is held to so much, as by Mesos' isolators and its Docker containerizer (MIN_MEMORY there)."""

_KINDS = {"COMMAND": "command", "MESOS_HTTP": "http", "MESOS_HTTPS": "https", "MESOS_TCP": "tcp"}

_DVDI = "dvdi/"


def service_of(
    app: App,
    task_id: TaskId,
    placed: Placed,
    env: dict[str, str],
    secrets: Secrets,
    *,
    grace_s: float,
    host: HostPolicy,
    pretend: bool,
) -> ServiceSpec:
    """Of one instance. Raises what ``secrets`` does."""
    docker = app.container.docker if app.container else None
    ports = placed.ports
    parameters: list[list[str]] = []
    if docker is not None:
        # As Marathon does, so that a container is found by its task.
        parameters = [[each.key, each.value] for each in docker.parameters if each.key != NAME_PARAMETER]
        parameters.append(["label", f"MESOS_TASK_ID={task_id}"])
    pull_config = docker.pull_config if docker is not None else None
    return ServiceSpec(
        task_id=task_id,
        cpu_millis=amount_millis(app.cpus),
        mem_mib=math.ceil(app.mem),
        shell=app.cmd or None,
        argv=list(app.args),
        env=env,
        user=app.user,
        disk_mib=math.ceil(app.disk),
        gpus=app.gpus,
        cpu_limit_millis=_limit(app, "cpus", 1000),
        mem_limit_mib=_mem_limit_mib(app),
        grace_s=grace_s,
        tty=bool(app.tty),
        image=docker.image if docker is not None else None,
        force_pull=docker is not None and docker.force_pull_image,
        privileged=docker is not None and docker.privileged,
        parameters=parameters,
        network=_network(app.networks),
        ports=list(_container_ports(app, ports)),
        mounts=list(_mounts(app, placed.volumes, secrets)),
        health=[_health(app, check, ports) for check in app.health_checks if check.by_executor],
        check=_check(app, app.check, ports) if app.check else None,
        registry_config=secret_of(app, pull_config.secret, secrets) if pull_config is not None else None,
        pretend=pretend,
        host=host,
    )


def volume_name(volume: LocalVolume) -> str:
    """Where in the sandbox Mesos puts it, which takes no path of several parts.

    What is asked for by such a path, or by one of the container's own, is mounted there by the Mesos executor.
    """
    path = volume.container_path
    return f"volume-{volume.uuid}" if "/" in path or path in (".", "..") else path


def _limit(app: App, name: str, per_unit: int) -> int | None:
    limit: Any = (app.resource_limits or {}).get(name)
    if limit is None:
        return None
    return -1 if limit == UNLIMITED else round(limit * per_unit)


def _mem_limit_mib(app: App) -> int | None:
    limit = _limit(app, "mem", 1)
    given = math.ceil(app.mem) if limit is None else limit
    return MIN_MEM_MIB if 0 < given < MIN_MEM_MIB else limit  # none at all is asked for by 0


def _network(networks: Sequence[Network]) -> str:
    """Docker's name of it; of several container networks the first."""
    for network in networks:
        match network.mode:
            case NetworkMode.BRIDGE:
                return "bridge"
            case NetworkMode.CONTAINER:
                return network.name or "bridge"
            case NetworkMode.HOST:
                return "host"
            case _:
                assert_never(network.mode)
    return "host"


def _on_host(app: App) -> bool:
    return _network(app.networks) == "host"


def _container_ports(app: App, ports: Sequence[int]) -> Iterator[ServicePort]:
    if app.container is None or _on_host(app):
        return
    for mapping, port in zip(app.container.port_mappings or (), ports, strict=True):
        if port:
            for protocol in mapping.protocol.split(","):
                yield ServicePort(mapping.container_port or port, port, protocol.strip())


def _listening(app: App, ports: Sequence[int], index: int) -> int | None:
    """Where the app listens, as seen from within its container: the host's port only with the host's network."""
    if index >= len(ports):
        return None
    if not _on_host(app) and app.container is not None and app.container.port_mappings:
        return app.container.port_mappings[index].container_port or ports[index]
    return ports[index]


def _mounts(app: App, volumes: Sequence[LocalVolume], secrets: Secrets) -> Iterator[ServiceMount]:
    persistent = {volume.container_path: volume for volume in volumes}
    for volume in app.container.volumes if app.container else ():
        read_only = volume.mode == "RO"
        target = volume.container_path
        if volume.persistent is not None:
            yield ServiceMount(volume_name(persistent[target]), target, read_only)
        elif volume.external is not None:
            yield _external(volume, read_only=read_only)
        elif volume.secret is not None:
            content = secret_of(app, volume.secret, secrets)
            yield ServiceMount("", target, read_only=True, content=base64.b64encode(content.encode()).decode())
        elif volume.host_path is not None:
            yield ServiceMount(volume.host_path, target, read_only)


def _external(volume: Volume, *, read_only: bool) -> ServiceMount:
    """A volume that Docker makes by its driver where there is none of the name, with all other options passed on."""
    external = volume.external
    assert external is not None  # noqa: S101 - for the type checker
    options = {name.removeprefix(_DVDI): value for name, value in external.options.items()}
    driver = options.pop("driver", None)
    if external.size is not None:
        options.setdefault("size", str(external.size))
    return ServiceMount(external.name or "", volume.container_path, read_only, driver, options)


def _health(app: App, check: HealthCheck, ports: Sequence[int]) -> ServiceCheck:
    port = None
    if check.protocol != "COMMAND":
        port = check.port if check.port is not None else _listening(app, ports, check.port_index or 0)
    return ServiceCheck(
        kind=_KINDS[check.protocol],
        port=port,
        path=check.path or "/",
        command=[check.command.value] if check.command else [],
        grace_s=float(check.grace_period_seconds),
        interval_s=float(check.interval_seconds),
        timeout_s=float(check.timeout_seconds),
        delay_s=float(check.delay_seconds),
        max_failures=check.max_consecutive_failures,
        ipv6=check.ip_protocol == "IPv6",
    )


def _check(app: App, check: Mapping[str, Any], ports: Sequence[int]) -> ServiceCheck:
    """The app's ``check``, whose result is told and changes nothing."""
    times = ServiceCheck(
        kind="command",
        interval_s=float(check.get("intervalSeconds", 60)),
        timeout_s=float(check.get("timeoutSeconds", 20)),
        delay_s=float(check.get("delaySeconds", 15)),
        max_failures=0,
    )
    if "exec" in check:
        command = check["exec"]["command"]
        times.command = [command["shell"]] if "shell" in command else list(command["argv"])
        return times
    kind = "http" if "http" in check else "tcp"
    told: Mapping[str, Any] = check[kind]
    times.kind = "https" if str(told.get("scheme", "")).lower() == "https" else kind
    times.path = told.get("path") or "/"
    times.port = told["port"] if told.get("port") is not None else _listening(app, ports, told.get("portIndex") or 0)
    return times
