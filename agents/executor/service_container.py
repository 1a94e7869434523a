"""What a service asks of a Docker engine: the description of its container, and who it is to its image's registry."""

from __future__ import annotations

import json
import os
from binascii import a2b_base64

from agents.executor import docker_parameters, processes
from agents.executor.limits import CPU_PERIOD_US, MIB, cpu_quota_us, cpu_shares
from agents.executor.updates import base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agents.executor.limits import Wanted
    from agents.service_spec import ServiceMount, ServiceSpec

SANDBOX = "/mnt/mesos/sandbox"  # in the container, as Mesos' Docker containerizer has it
LABEL = "butlery.service"
DOCKER_HUB = "https://index.docker.io/v1/"
_ALWAYS = ("docker.io", "index.docker.io")


def describe(spec: ServiceSpec, wanted: Wanted, sandbox: str, secrets: dict[str, str]) -> dict[str, Any]:
    """The engine's description of the container. Raises docker_parameters.ParameterError, ValueError."""
    host: dict[str, Any] = {
        "Binds": ["%s:%s:rw" % (sandbox, SANDBOX)],
        "Mounts": [],
        "CpuShares": cpu_shares(wanted.cpu_millis),
        "NetworkMode": spec.network,
        "LogConfig": {"Type": "none"},  # its output goes to the sandbox
        "Privileged": spec.privileged,
        "PortBindings": {},
    }
    if wanted.mem_mib:
        host["Memory"] = host["MemorySwap"] = wanted.mem_mib * MIB  # memory and swap together: no swap
    if wanted.cpu_limit_millis is not None:
        host.update({"CpuPeriod": CPU_PERIOD_US, "CpuQuota": cpu_quota_us(wanted.cpu_limit_millis)})
    if wanted.gpus:
        host["DeviceRequests"] = [{"Count": wanted.gpus, "Capabilities": [["gpu"]]}]  # as of docker run --gpus N
    made: dict[str, Any] = {
        "Image": spec.image,
        "Env": ["%s=%s" % item for item in {"MESOS_SANDBOX": SANDBOX, **spec.env}.items()],
        "Labels": {LABEL: owner()},
        "Tty": spec.tty,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": {},
        "HostConfig": host,
    }
    if spec.shell is not None:
        made.update({"Entrypoint": ["/bin/sh", "-c"], "Cmd": [spec.shell]})
    elif spec.argv:
        made["Cmd"] = spec.argv
    if spec.user is not None:
        made["User"] = spec.user
    for port in spec.ports:
        for protocol in port.protocol.split(","):
            key = "%d/%s" % (port.container_port, protocol)
            made["ExposedPorts"][key] = {}
            host["PortBindings"].setdefault(key, []).append({"HostPort": str(port.host_port)})
    for mount in spec.mounts:
        _mount(host, mount, sandbox, secrets)
    docker_parameters.apply(made, [["network-alias", name] for name in _aliases(spec)])
    docker_parameters.apply(made, spec.parameters)
    return made


def _aliases(spec: ServiceSpec) -> list[str]:
    """How others on a network of its own find it: the app's name as Mesos has it, ``web.team`` for ``/team/web``."""
    app = spec.env.get("MARATHON_APP_ID", "").strip("/")
    return [".".join(reversed(app.split("/")))] if app and spec.network not in ("host", "bridge", "none") else []


def _mount(host: dict[str, Any], mount: ServiceMount, sandbox: str, secrets: dict[str, str]) -> None:
    target = os.path.join(SANDBOX, mount.target)
    if mount.driver is not None:
        options = {"DriverConfig": {"Name": mount.driver, "Options": mount.driver_options}}
        host["Mounts"].append({
            "Type": "volume", "Source": mount.source, "Target": target, "ReadOnly": mount.read_only,
            "VolumeOptions": options,
        })  # fmt: skip
        return
    source = secrets[mount.target] if mount.content is not None else os.path.join(sandbox, mount.source)
    if not os.path.isabs(mount.source):
        source = os.path.realpath(source)  # a persistent volume is a link in the sandbox, which is not there inside
    if ":" in source or ":" in target:
        raise ValueError("volume %r: the engine takes no colon in a path" % mount.target)
    read_only = mount.read_only or mount.content is not None
    host["Binds"].append("%s:%s:%s" % (source, target, "ro" if read_only else "rw"))


def user_inside(user: str, passwd: bytes) -> tuple[int, int]:
    """Ids of a container's user by its image's ``/etc/passwd``, as the engine takes them; root where it has no name."""
    first, _, second = user.partition(":")
    uid, gid = (int(first), 0) if first.isdigit() else (0, 0)
    for line in passwd.decode("utf-8", "replace").splitlines():
        fields = line.split(":")
        if len(fields) > 3 and first in (fields[0], fields[2]) and fields[2].isdigit() and fields[3].isdigit():
            uid, gid = int(fields[2]), int(fields[3])
            break
    return uid, int(second) if second.isdigit() else gid


def owner() -> str:
    """Who this process is, for those who find its container later: process id, its start, namespace of both."""
    return "%d %s %s" % (os.getpid(), _started(os.getpid()), os.readlink("/proc/self/ns/pid"))


def is_orphan(label: str) -> bool:
    """Whether the process that ``owner`` told of is gone for certain."""
    pid, _, rest = label.partition(" ")
    started, _, namespace = rest.partition(" ")
    if not pid.isdigit() or namespace != os.readlink("/proc/self/ns/pid"):
        return False
    return processes.state(int(pid)) in ("", "Z", "X") or _started(int(pid)) != started


def _started(pid: int) -> str:
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""


def registry_auth(config: str, image: str) -> str | None:
    """What the engine is to tell the image's registry, out of Docker's config.json; None where that has nothing.

    Raises ValueError, whose text has nothing of ``config``.
    """
    try:
        auths = json.loads(config)
        auths = auths.get("auths", auths)  # the older .dockercfg is the inner object alone
        first = image.partition("/")[0]
        registry = first if "/" in image and ("." in first or ":" in first or first == "localhost") else DOCKER_HUB
        if registry in _ALWAYS:
            registry = DOCKER_HUB
        wanted = _host_of(registry)
        found = next((one for address, one in auths.items() if _host_of(address) == wanted), None)
        if found is None:
            return None
        told = {"serveraddress": registry}
        if found.get("identitytoken"):
            told["identitytoken"] = found["identitytoken"]
        elif "auth" in found:
            told["username"], _, told["password"] = a2b_base64(found["auth"]).decode().partition(":")
        else:
            told["username"], told["password"] = found["username"], found["password"]
        return base64(json.dumps(told).encode()).replace("+", "-").replace("/", "_")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError("the registry's credentials are not a config.json of Docker") from None


def _host_of(address: str) -> str:
    return address.partition("://")[2].partition("/")[0] if "://" in address else address.partition("/")[0]
