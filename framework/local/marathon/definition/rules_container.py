"""What Marathon's validators demand of an app's networks and container, and what this machine cannot do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import re2

from agents.executor import docker_parameters
from framework.core import constraints
from framework.core.templates import Constraint, Operator
from framework.local.marathon.definition.app import App, Container, DockerParameter, NetworkMode, Volume
from framework.local.marathon.definition.faults import Faults

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_OPTION = _LABEL + r"/[A-Za-z0-9](?:[-A-Za-z0-9\._:]*[A-Za-z0-9])?"
_label = re2.compile(_LABEL)
_option = re2.compile(_OPTION)
NAME_PARAMETER = "name"
"""Of a container: taken, as Marathon's own example has it, but the Mesos executor names containers itself."""
_DRIVER = "dvdi/driver"
_ONE_KIND = "May specify a single host network, single bridge network, or else 1-to-n container networks"
_ONE_NAME = (
    "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined"
)
_NO_IMAGE = "on this machine needs a Docker image: without one, an app runs as processes of the host"


def check_networks(app: App, faults: Faults) -> None:
    networks, at = app.networks, "/networks"
    by_mode = {mode: [one for one in networks if one.mode is mode] for mode in NetworkMode}
    on_host, bridged, named = by_mode.values()
    plain = not any(one.name or one.labels for one in on_host)
    faults.unless(plain, at, "Host networks may not have names or labels")
    faults.unless(not any(one.name for one in bridged), at, "Bridge networks may not have names")
    names = [one.name for one in networks if one.name]
    twice = len(set(names)) < len(names) or sum(one.name is None for one in named) > 1
    faults.unless(not twice, at, "Duplicate networks are not allowed")
    alone = sum(map(bool, by_mode.values())) == 1 and len(on_host) <= 1 and len(bridged) <= 1
    faults.unless(alone, at, _ONE_KIND)
    nameless = any(one.name is None for one in named)
    faults.unless(not nameless, at, "Network name must be specified when container network is selected.")
    container = app.container
    if container is not None and container.type == "DOCKER":
        error = "may only specify a single container network when using the Docker container engine"
        faults.unless(len(named) <= 1, "/", error)
    elif container is not None and container.docker is not None:
        faults.unless(len(named) <= 1, at, "more than one container network cannot be had on this machine")
    if (named or bridged) and (container is None or container.docker is None):
        faults.rule(at, f"networking other than the host's {_NO_IMAGE}")


def check_container(app: App, faults: Faults) -> None:
    if app.executor not in ("", "//cmd"):
        faults.rule("/executor", "custom executors cannot be had on this machine")
    container = app.container
    if container is None:
        return
    _check_image(app, container, faults)
    _check_linux(container, faults)
    if container.port_mappings is not None:
        _check_mappings(app, container, faults)
    volumes = container.volumes
    names = [one.external.name for one in volumes if one.external and one.external.name and not one.external.shared]
    faults.unless(len(set(names)) == len(names), "/container/volumes", "Volume names must be unique")
    for place, volume in enumerate(volumes):
        _check_volume(app, container, volume, f"/container/volumes({place})", faults)
    if names and any(one.external and one.external.provider == "dvdi" for one in volumes):
        error = f"Number of instances is limited to 1 when declaring DVDI volumes in app [{app.id}]"
        faults.unless(app.instances <= 1, "/", error)


def names_unique(names: Sequence[str | None], at: str, faults: Faults) -> None:
    given = [one for one in names if one is not None]
    faults.unless(len(set(given)) == len(given), at, "Port names must be unique.")


def _check_image(app: App, container: Container, faults: Faults) -> None:
    docker, at = container.docker, "/container/docker"
    if container.type == "DOCKER":
        faults.unless(docker is not None, at, "not defined")
        faults.unless(app.gpus == 0, "/", "GPU resources only work with the Mesos containerizer")
    if docker is None:
        return
    faults.unless(docker.credential is None, f"{at}/credential", "must be empty")
    for place, parameter in enumerate(docker.parameters):
        error = _parameter_fault(parameter)
        faults.unless(error is None, f"{at}/parameters({place})", error or "")
    if docker.pull_config is not None:
        if container.type == "DOCKER":
            faults.rule(f"{at}/pullConfig", "pullConfig is not supported with Docker containerizer")
        elif docker.pull_config.secret not in app.secrets:
            faults.rule(f"{at}/pullConfig", "pullConfig.secret must refer to an existing secret")


def _parameter_fault(parameter: DockerParameter) -> str | None:
    if parameter.key == NAME_PARAMETER:
        return None
    try:
        docker_parameters.apply({"HostConfig": {"NetworkMode": "host"}}, [[parameter.key, parameter.value]])
    except docker_parameters.ParameterError as error:
        return str(error)
    return None


def _check_linux(container: Container, faults: Faults) -> None:
    linux = container.linux_info or {}
    seccomp = linux.get("seccomp")
    if isinstance(seccomp, dict) and (seccomp.get("profileName") is not None or container.docker is not None):
        faults.rule("/container/linuxInfo/seccomp", "seccomp profiles cannot be had on this machine")
    if linux.get("ipcInfo") is not None:
        faults.rule("/container/linuxInfo/ipcInfo", "IPC namespaces cannot be had on this machine")


def _check_mappings(app: App, container: Container, faults: Faults) -> None:
    mappings, at = container.port_mappings or (), "/container/portMappings"
    names_unique([one.name for one in mappings], at, faults)
    networks = {one.name for one in app.networks if one.name}
    unknown = f"is not one of ({','.join(sorted(networks)[:10])})"
    several = sum(one.mode is NetworkMode.CONTAINER for one in app.networks) > 1
    for place, mapping in enumerate(mappings):
        one_name = mapping.host_port is None or len(mapping.network_names) == 1
        faults.unless(one_name or not several, f"{at}({place})", _ONE_NAME)
        for number, name in enumerate(mapping.network_names):
            faults.unless(name in networks, f"{at}({place})/networkNames({number})", unknown)
    asked = Counter(one.host_port for one in mappings if one.host_port)
    faults.unless(all(count == 1 for count in asked.values()), at, "Host ports must be unique.")


def _check_volume(app: App, container: Container, volume: Volume, at: str, faults: Faults) -> None:
    kinds = [one for one in (volume.host_path, volume.persistent, volume.external, volume.secret) if one is not None]
    if len(kinds) > 1:
        faults.rule(at, "illegal combination of hostPath, persistent, external and secret volume fields")
    if volume.persistent is not None:
        _check_persistent(volume, at, faults)
    if volume.external is not None:
        _check_external(container, volume, at, faults)
    if volume.secret is not None:
        declared = volume.secret in app.secrets
        faults.unless(declared, at, "volume.secret must refer to an existing secret")
    if container.docker is None:
        faults.unless(volume.external is None, at, f"an external volume {_NO_IMAGE}")
        absolute = volume.container_path.startswith("/")
        faults.unless(not absolute, f"{at}/containerPath", f"an absolute path of a volume {_NO_IMAGE}")
    upwards = ".." in volume.container_path.split("/")
    faults.unless(not upwards, f"{at}/containerPath", "must not contain '..'")


def _check_persistent(volume: Volume, at: str, faults: Faults) -> None:
    info, path = volume.persistent, volume.container_path
    if info is None:
        return
    faults.unless(path not in (".", ".."), f"{at}/containerPath", "can not be one of (.,..)")
    faults.unless("/" not in path, f"{at}/containerPath", 'value must not contain "/"')
    faults.unless(volume.mode == "RW", f"{at}/mode", f"got {volume.mode}, expected RW")
    at = f"{at}/persistent"
    faults.unless(info.size > 0, f"{at}/size", f"got {info.size}, expected more than 0")
    if info.max_size is not None:
        faults.unless(info.type == "mount", at, "Only mount volumes can have maxSize")
        faults.unless(info.max_size > info.size, at, "Max size must be larger than size")
    faults.unless(info.type != "root" or not info.constraints, at, "Constraints on root volumes are not supported")
    for place, constraint in enumerate(info.constraints):
        error = _volume_constraint_fault(constraint)
        faults.unless(error is None, f"{at}/constraints({place})", error or "")


def _volume_constraint_fault(constraint: tuple[str, ...]) -> str | None:
    if len(constraint) != 3 or constraint[0] != "path":
        return f"Unsupported constraint {','.join(constraint)}"
    operator, value = constraint[1:]
    if operator not in ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS"):
        return f"unknown constraint operator {operator}"
    if operator not in ("LIKE", "UNLIKE"):
        return "Operator must be one of LIKE, UNLIKE"
    return None if compiles(value) else "Invalid regular expression"


def _check_external(container: Container, volume: Volume, at: str, faults: Faults) -> None:
    info, path = volume.external, f"{at}/containerPath"
    if info is None:
        return
    at = f"{at}/external"
    for name, value in (("name", info.name), ("provider", info.provider)):
        if value is None:
            faults.rule(f"{at}/{name}", "not defined")
        elif not _label.fullmatch(value):
            faults.rule(f"{at}/{name}", f"must fully match regular expression '^{_LABEL}$'")
    faults.unless(info.provider in (None, "dvdi"), f"{at}/provider", "is unknown provider")
    for key in info.options:
        error = f"must fully match regular expression '^{_OPTION}$'"
        faults.unless(bool(_option.fullmatch(key)), f"{at}/options", error)
    driver = info.options.get(_DRIVER)
    if driver is None or not _label.fullmatch(driver):
        error = "not defined" if driver is None else f"must fully match regular expression '^{_LABEL}$'"
        faults.rule(f'{at}/options("{_DRIVER}")', error)
    faults.unless(volume.container_path not in (".", ".."), path, "can not be one of (.,..)")
    if container.type == "DOCKER":
        faults.unless(not info.options.keys() - {_DRIVER}, f"{at}/options", f"must only contain {_DRIVER}")
        faults.unless(info.size is None, f"{at}/size", "must be undefined for Docker containers")
    else:
        faults.unless(volume.mode == "RW", f"{at}/mode".replace("/external", ""), f"got {volume.mode}, expected RW")


def compiles(pattern: str) -> bool:
    """Whether it is a regular expression of RE2, which is what constraints are matched with."""
    return not constraints.faults(Constraint("path", Operator.LIKE, pattern))
