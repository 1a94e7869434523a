"""The options of ``docker run`` that an app may give as parameters, as the engine's API has them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SHORT = {"e": "env", "l": "label", "h": "hostname", "u": "user", "w": "workdir", "v": "volume", "p": "publish"}
_SAME = {
    "net": "network",
    "net-alias": "network-alias",
    "dns-option": "dns-opt",
    "interactive": "i",
    "tty": "t",
}
OURS = ("name", "restart", "rm", "detach", "d", "cidfile", "attach", "a", "sig-proxy")
"""What the executor decides itself; an app that had its say would be lost sight of."""


class ParameterError(ValueError):
    """A parameter is not known, not to be had here, or has a value that it cannot have."""


def size_bytes(text: str) -> int:
    """``512m`` or a number of bytes; -1 is no limit. Raises ValueError."""
    unit = text[-1:].lower()
    if unit == "b" and text[-2:-1].isalpha():
        text, unit = text[:-1], text[-2].lower()
    return int(float(text[:-1]) * _UNITS[unit]) if unit in _UNITS else int(text)


def truth(text: str) -> bool:
    """As Go's strconv.ParseBool; an option without a value is set. Raises ValueError."""
    if text in ("", "1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError("%r is neither true nor false" % text)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _ulimit(text: str) -> dict[str, Any]:
    name, value = _pair(text)
    soft, _, hard = value.partition(":")
    return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}


def _device(text: str) -> dict[str, str]:
    parts = text.split(":")
    inside = parts[1] if len(parts) > 1 else parts[0]
    return {"PathOnHost": parts[0], "PathInContainer": inside, "CgroupPermissions": (parts[2:] or ["rwm"])[0]}


_MOUNT: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "type": ("", "Type", str),
    **dict.fromkeys(("source", "src"), ("", "Source", str)),
    **dict.fromkeys(("target", "destination", "dst"), ("", "Target", str)),
    **dict.fromkeys(("readonly", "ro"), ("", "ReadOnly", truth)),
    "consistency": ("", "Consistency", str),
    "bind-propagation": ("BindOptions", "Propagation", str),
    "bind-nonrecursive": ("BindOptions", "NonRecursive", truth),
    "volume-nocopy": ("VolumeOptions", "NoCopy", truth),
    "tmpfs-size": ("TmpfsOptions", "SizeBytes", size_bytes),
    "tmpfs-mode": ("TmpfsOptions", "Mode", lambda text: int(text, 8)),
}
"""Of ``--mount``: where it goes, its name there, and how it is read."""


def _mount(text: str) -> dict[str, Any]:
    """A line of CSV, so that what has commas in it can be given in quotes (docker/cli, opts/mount.go)."""
    import csv

    try:
        fields = [_pair(one) for one in next(csv.reader([text], strict=True))]
    except csv.Error as error:
        raise ValueError("%s in a mount" % error) from error
    made: dict[str, Any] = {"Type": "volume"}
    for name, value in fields:
        if name == "volume-driver":
            _driver(made)["Name"] = value
        elif name == "volume-opt":
            _driver(made).setdefault("Options", {}).update([_pair(value)])
        elif name == "volume-label":
            made.setdefault("VolumeOptions", {}).setdefault("Labels", {}).update([_pair(value)])
        elif name in _MOUNT:
            place, key, read = _MOUNT[name]
            (made.setdefault(place, {}) if place else made)[key] = read(value)
        else:
            raise ValueError("%r of a mount is not known" % name)
    return made


def _driver(mount: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = mount.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})
    return config


def _gpus(text: str) -> list[dict[str, Any]]:
    return [{"Count": -1 if text == "all" else int(text), "Capabilities": [["gpu"]]}]


_VALUES: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "hostname": ("", "Hostname", str),
    "domainname": ("", "Domainname", str),
    "user": ("", "User", str),
    "workdir": ("", "WorkingDir", str),
    "entrypoint": ("", "Entrypoint", lambda text: [text] if text else []),
    "stop-signal": ("", "StopSignal", str),
    "mac-address": ("", "MacAddress", str),
    "i": ("", "OpenStdin", truth),
    "t": ("", "Tty", truth),
    "no-healthcheck": ("", "Healthcheck", lambda text: {"Test": ["NONE"]} if truth(text) else None),
    "blkio-weight": ("HostConfig", "BlkioWeight", int),
    "cgroup-parent": ("HostConfig", "CgroupParent", str),
    "cgroupns": ("HostConfig", "CgroupnsMode", str),
    "cpu-period": ("HostConfig", "CpuPeriod", int),
    "cpu-quota": ("HostConfig", "CpuQuota", int),
    "cpu-rt-period": ("HostConfig", "CpuRealtimePeriod", int),
    "cpu-rt-runtime": ("HostConfig", "CpuRealtimeRuntime", int),
    "cpu-shares": ("HostConfig", "CpuShares", int),
    "cpus": ("HostConfig", "NanoCpus", lambda text: round(float(text) * 1e9)),
    "cpuset-cpus": ("HostConfig", "CpusetCpus", str),
    "cpuset-mems": ("HostConfig", "CpusetMems", str),
    "gpus": ("HostConfig", "DeviceRequests", _gpus),
    "init": ("HostConfig", "Init", truth),
    "ipc": ("HostConfig", "IpcMode", str),
    "memory": ("HostConfig", "Memory", size_bytes),
    "memory-reservation": ("HostConfig", "MemoryReservation", size_bytes),
    "memory-swap": ("HostConfig", "MemorySwap", size_bytes),
    "memory-swappiness": ("HostConfig", "MemorySwappiness", int),
    "network": ("HostConfig", "NetworkMode", str),
    "oom-kill-disable": ("HostConfig", "OomKillDisable", truth),
    "oom-score-adj": ("HostConfig", "OomScoreAdj", int),
    "pid": ("HostConfig", "PidMode", str),
    "pids-limit": ("HostConfig", "PidsLimit", int),
    "privileged": ("HostConfig", "Privileged", truth),
    "publish-all": ("HostConfig", "PublishAllPorts", truth),
    "read-only": ("HostConfig", "ReadonlyRootfs", truth),
    "runtime": ("HostConfig", "Runtime", str),
    "shm-size": ("HostConfig", "ShmSize", size_bytes),
    "userns": ("HostConfig", "UsernsMode", str),
    "uts": ("HostConfig", "UTSMode", str),
    "volume-driver": ("HostConfig", "VolumeDriver", str),
}
_LISTS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "env": ("", "Env", str),
    "add-host": ("HostConfig", "ExtraHosts", str),
    "cap-add": ("HostConfig", "CapAdd", str),
    "cap-drop": ("HostConfig", "CapDrop", str),
    "device": ("HostConfig", "Devices", _device),
    "device-cgroup-rule": ("HostConfig", "DeviceCgroupRules", str),
    "dns": ("HostConfig", "Dns", str),
    "dns-opt": ("HostConfig", "DnsOptions", str),
    "dns-search": ("HostConfig", "DnsSearch", str),
    "group-add": ("HostConfig", "GroupAdd", str),
    "link": ("HostConfig", "Links", str),
    "mount": ("HostConfig", "Mounts", _mount),
    "security-opt": ("HostConfig", "SecurityOpt", str),
    "ulimit": ("HostConfig", "Ulimits", _ulimit),
    "volume": ("HostConfig", "Binds", str),
    "volumes-from": ("HostConfig", "VolumesFrom", str),
}
_PAIRS: dict[str, tuple[str, str]] = {
    "label": ("", "Labels"),
    "sysctl": ("HostConfig", "Sysctls"),
    "storage-opt": ("HostConfig", "StorageOpt"),
}


def apply(container: dict[str, Any], parameters: list[list[str]]) -> None:
    """Puts each parameter into the engine's description of a container; later ones win. Raises ParameterError."""
    for given, value in parameters:
        name = _SHORT.get(given, given)
        name = _SAME.get(name, name)
        try:
            known = name not in OURS and _put(container, name, value)
        except (ValueError, KeyError, IndexError) as error:
            raise ParameterError("parameter %r of docker run: %.200s" % (given, error)) from error
        if not known:
            why = "is the executor's own to decide" if name in OURS else "is not known"
            raise ParameterError("parameter %r of docker run %s" % (given, why))


def _put(container: dict[str, Any], name: str, value: str) -> bool:
    if name in _VALUES:
        place, key, read = _VALUES[name]
        _within(container, place)[key] = read(value)
    elif name in _LISTS:
        place, key, read = _LISTS[name]
        _within(container, place).setdefault(key, []).append(read(value))
    elif name in _PAIRS:
        place, key = _PAIRS[name]
        _within(container, place).setdefault(key, {}).update([_pair(value)])
    elif name == "tmpfs":
        path, _, options = value.partition(":")
        container["HostConfig"].setdefault("Tmpfs", {})[path] = options
    elif name in ("log-driver", "log-opt"):
        log = container["HostConfig"].setdefault("LogConfig", {})
        if name == "log-driver":
            log["Type"] = value
        else:
            log.setdefault("Config", {}).update([_pair(value)])
    elif name in ("publish", "expose"):
        _port(container, value, name == "publish")
    elif name in ("network-alias", "ip", "ip6"):
        _endpoint(container, name, value)
    else:
        return False
    return True


def _within(container: dict[str, Any], place: str) -> dict[str, Any]:
    found: dict[str, Any] = container[place] if place else container
    return found


def _port(container: dict[str, Any], text: str, bound: bool) -> None:
    text, _, protocol = text.partition("/")
    *host, inside = text.rsplit(":", 2)
    key = "%d/%s" % (int(inside), protocol or "tcp")
    container.setdefault("ExposedPorts", {})[key] = {}
    if bound:
        binding = {"HostPort": host[-1] if host else "", "HostIp": host[0] if len(host) > 1 else ""}
        container["HostConfig"].setdefault("PortBindings", {}).setdefault(key, []).append(binding)


def _endpoint(container: dict[str, Any], name: str, value: str) -> None:
    network = container["HostConfig"]["NetworkMode"]
    endpoint = container.setdefault("NetworkingConfig", {}).setdefault("EndpointsConfig", {}).setdefault(network, {})
    if name == "network-alias":
        endpoint.setdefault("Aliases", []).append(value)
    else:
        endpoint.setdefault("IPAMConfig", {})["IPv4Address" if name == "ip" else "IPv6Address"] = value
