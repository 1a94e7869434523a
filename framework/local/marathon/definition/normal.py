"""Legacy fields translated, defaults that depend on other fields filled in: the one form that all works with.

``modern`` does for whole apps and for updates what Marathon does before an update is merged; ``complete`` what it does
to a whole app. Both leave what they were given as it is, and a complete app as it is too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from framework.local.marathon.definition.faults import Faults

Doc: TypeAlias = dict[str, Any]

_ARCHIVES = (".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip")
_DEFAULT_MAPPING: Doc = {"containerPort": 0, "servicePort": 0, "protocol": "tcp", "labels": {}}
_DOCKER_MODES = {"HOST": "host", "BRIDGE": "container/bridge", "USER": "container"}
_SINGLE_NETWORK = "must not specify both networks and ipAddress"


def modern(given: Mapping[str, Any], faults: Faults) -> Doc:
    """Without ``uris``, ``ports``, ``ipAddress`` and Docker's own network and port mappings."""
    doc = dict(given)
    _fetched(doc, faults)
    _ports(doc, faults)
    _networked(doc, faults)
    container = doc.get("container")
    if container and _image(container) and doc.get("cmd") and doc.get("args"):
        del doc["args"]  # Marathon's own example has both: the command is what runs
    return doc


def complete(given: Mapping[str, Any], *, role: str, accepted: tuple[str, ...] | None, network: str | None) -> Doc:
    """A whole app. ``role``, ``accepted`` and ``network``: where it gives none of its own."""
    doc = dict(given)
    doc["networks"] = [_named(one, network) for one in doc.get("networks") or [{"mode": "host"}]]
    modes = [one["mode"] for one in doc["networks"]]
    on_host = all(mode == "host" for mode in modes)
    container = doc.get("container")
    if container is None and not on_host:
        container = {"type": "MESOS", "volumes": []}
    if container is not None:
        container = {**container, "volumes": [_volume(one) for one in container["volumes"]]}
        container["portMappings"] = None if on_host else _mappings(doc, container, bridged="container/bridge" in modes)
        doc["container"] = container
    if on_host:
        if doc.get("portDefinitions") is None:
            doc["portDefinitions"] = [{"port": 0, "protocol": "tcp", "name": "default"}]
    else:
        doc["portDefinitions"] = None
        doc["requirePorts"] = False
    kept = [one for one in (container or {}).get("volumes", []) if "persistent" in one or "external" in one]
    if doc.get("upgradeStrategy") is None:
        doc["upgradeStrategy"] = {
            "maximumOverCapacity": 0.0 if kept else 1.0,
            "minimumHealthCapacity": 0.5 if kept else 1.0,
        }
    resident = any("persistent" in one for one in kept)
    if doc.get("unreachableStrategy") is None:
        doc["unreachableStrategy"] = "disabled" if resident else {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}
    doc["role"] = doc.get("role") or role
    doc["acceptedResourceRoles"] = _accepted(doc, None if resident else accepted)
    doc["healthChecks"] = _distinct([_health_check(one, doc) for one in doc.get("healthChecks") or []])
    doc["constraints"] = _distinct([_constraint(one) for one in doc.get("constraints") or []])
    doc["env"] = _env(doc)
    return doc


def _fetched(doc: Doc, faults: Faults) -> None:
    uris = doc.pop("uris", None)
    if not uris:
        return
    if doc.get("fetch"):
        faults.rule("/uris", "may not be set in conjunction with fetch")
        return
    doc["fetch"] = [
        {"uri": uri, "extract": uri.endswith(_ARCHIVES), "executable": False, "cache": False} for uri in uris
    ]


def _ports(doc: Doc, faults: Faults) -> None:
    ports = doc.pop("ports", None)
    if ports is None:
        return
    fixed = [port for port in ports if port != 0]
    faults.unless(len(set(fixed)) == len(fixed), "/", "ports must be unique")
    definitions = doc.get("portDefinitions")
    if definitions is None:
        doc["portDefinitions"] = [{"port": port, "protocol": "tcp"} for port in ports]
    elif [one["port"] for one in definitions] != ports:
        faults.rule("/", "cannot specify both ports and port definitions")


def _networked(doc: Doc, faults: Faults) -> None:
    address = doc.pop("ipAddress", None)
    container = doc.get("container")
    if container is None and address is not None:
        container = {"type": "MESOS", "volumes": []}
    docker = (container or {}).get("docker") or {}
    mode = docker.get("network")
    if container is not None:
        doc["container"] = container = _own_mappings(container, faults)
    if address is not None and _bridged_docker(container, mode):
        # Marathon's own example gives ipAddress and portDefinitions too, which Docker's bridge has no use for.
        doc.pop("portDefinitions", None)
        address = {"labels": address.get("labels", {})}
    elif address is not None:
        faults.unless(not doc.get("portDefinitions"), "/", "cannot specify both an IP address and port")
    if address is not None and container is not None:
        doc["container"] = _discovered(address, container, faults)
    if doc.get("networks"):
        faults.unless(address is None, "/", _SINGLE_NETWORK)
        faults.unless(mode is None, "/", "must not specify both container.docker.network and networks")
        return
    if mode == "NONE":
        faults.rule("/container/docker/network", "unsupported docker network type NONE")
    elif mode is not None:
        doc["networks"] = [_network(_DOCKER_MODES[mode], address)]
    elif address is not None:
        bridge = address.get("networkName") == "mesos-bridge"
        doc["networks"] = [_network("container/bridge" if bridge else "container", address)]


def _bridged_docker(container: Doc | None, mode: str | None) -> bool:
    """Whether Docker's own bridge and port mappings are all that the app needs."""
    if container is None or container["type"] != "DOCKER":
        return False
    return mode == "BRIDGE" and bool(container.get("portMappings"))


def _network(mode: str, address: Doc | None) -> Doc:
    network: Doc = {"mode": mode}
    if address and mode != "host" and address.get("labels"):
        network["labels"] = address["labels"]
    if address and mode == "container" and address.get("networkName"):
        network["name"] = address["networkName"]
    return network


def _own_mappings(container: Doc, faults: Faults) -> Doc:
    """Docker's own network and port mappings become the container's."""
    docker = container.get("docker")
    if docker is None:
        return container
    if container["type"] == "MESOS":
        for name in ("network", "parameters", "portMappings"):
            faults.unless(not docker.get(name), f"/container/docker/{name}", "must be empty")
    container = {**container, "docker": {k: v for k, v in docker.items() if k not in ("network", "portMappings")}}
    mappings = docker.get("portMappings")
    if mappings is not None:
        both = bool(mappings) and bool(container.get("portMappings"))
        faults.unless(not both, "/container", "cannot specify both portMappings and docker.portMappings")
        container["portMappings"] = container.get("portMappings") or mappings
    return container


def _discovered(address: Doc, container: Doc, faults: Faults) -> Doc:
    """Ports that ``ipAddress`` tells of become port mappings."""
    if "discovery" not in address:
        return container
    if container["type"] == "DOCKER":
        faults.rule("/ipAddress", "ipAddress/discovery is not allowed for Docker containers")
        return container
    ports = address["discovery"].get("ports")
    if not ports:
        return container
    if container.get("portMappings"):
        faults.rule("/", "container.portMappings and ipAddress.discovery.ports must not both be set")
        return container
    mappings = [
        {"containerPort": one["number"], "servicePort": 0} | {k: v for k, v in one.items() if k != "number"}
        for one in ports
    ]
    return {**container, "portMappings": mappings}


def _named(network: Doc, default: str | None) -> Doc:
    if network["mode"] == "container" and default and not network.get("name"):
        return {**network, "name": default}
    return network


def _mappings(doc: Doc, container: Doc, *, bridged: bool) -> list[Doc]:
    mappings = container.get("portMappings")
    if mappings is None:
        mappings = [{**_DEFAULT_MAPPING, "name": "default"}]
    missing = len(doc.get("portDefinitions") or []) - len(mappings)
    mappings = [*mappings, *[_DEFAULT_MAPPING for _ in range(missing)]]
    if bridged:
        mappings = [{"hostPort": 0, **one} for one in mappings]
    return mappings


def _volume(volume: Doc) -> Doc:
    info = volume.get("persistent")
    if info is not None and info.get("type") is None:
        return {**volume, "persistent": {**info, "type": "mount" if info.get("profileName") else "root"}}
    return volume


def _accepted(doc: Doc, default: tuple[str, ...] | None) -> list[str] | None:
    """Roles that the app could not be offered resources of are left out, as Marathon 1.9 does.

    The default is not for resident apps, which make reservations of their own and may say nothing but ``*``.
    """
    roles = doc.get("acceptedResourceRoles")
    if roles is None:
        return list(default) if default else None
    return [one for one in roles if one in ("*", doc["role"])] or ["*"] if roles else []


def _health_check(check: Doc, doc: Doc) -> Doc:
    ports = doc["portDefinitions"] if doc["portDefinitions"] is not None else doc["container"]["portMappings"]
    check = dict(check)
    if check["protocol"] in ("HTTP", "HTTPS"):
        check.setdefault("ignoreHttp1xx", False)
    if ports and check["protocol"] != "COMMAND" and "port" not in check:
        check.setdefault("portIndex", 0)
    return check


def _constraint(parts: list[str]) -> list[str]:
    return [part.upper() if place == 1 else part for place, part in enumerate(parts)]


def _distinct(values: list[Any]) -> list[Any]:
    return list({json.dumps(one, sort_keys=True): one for one in reversed(values)}.values())[::-1]


def _env(doc: Doc) -> Doc:
    """A reference may name a secret's source instead, as Marathon's own example does."""
    secrets = doc.get("secrets") or {}
    by_source = {one["source"]: name for name, one in reversed(secrets.items())}
    return {
        name: {"secret": by_source[value["secret"]]}
        if isinstance(value, dict) and value["secret"] not in secrets and value["secret"] in by_source
        else value
        for name, value in (doc.get("env") or {}).items()
    }


def _image(container: Doc) -> bool:
    return bool((container.get("docker") or {}).get("image"))
