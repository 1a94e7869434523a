"""What can hold builds to their limits on this machine, and what is taken."""

from __future__ import annotations

import os

from agents.executor import cgroup_v1, cgroup_v2
from agents.executor.wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agents.spec import HostPolicy

PING_TIMEOUT_S = 2.0


class IsolationError(Exception):
    """The isolation that the operator configured is not to be had here; says why."""


def detect(policy: HostPolicy) -> tuple[str, str]:
    """The isolation mode this process would hold a build with, and a sentence that says why.

    ``auto`` takes ``docker`` where an engine answers; else ``mesos`` where Mesos' isolators put this process into a
    cgroup v1 memory group of its own; else ``cgroup2`` where it may make a group; else ``watchdog``. Another value of
    ``policy.isolation`` is taken as it is, and raises IsolationError where it cannot be had.
    """
    if policy.isolation == "auto":
        refused: list[str] = []
        for mode in ("docker", "mesos", "cgroup2"):
            reason, usable = _PROBES[mode](policy)
            if usable:
                return mode, "; ".join([*refused, reason])
            refused.append(reason)
        return "watchdog", "the executor's own watchdog over the process tree: " + "; ".join(refused)
    probe = _PROBES.get(policy.isolation)
    if probe is None:
        raise IsolationError("isolation %r is none of auto, %s" % (policy.isolation, ", ".join(_PROBES)))
    reason, usable = probe(policy)
    if not usable:
        raise IsolationError("isolation %s is configured, but %s" % (policy.isolation, reason))
    return policy.isolation, reason


def _docker(policy: HostPolicy) -> tuple[str, bool]:
    path = policy.docker_socket
    if not os.path.exists(path):
        return "no Docker engine at %s" % path, False
    from agents.executor.docker_engine import Engine, EngineError

    try:
        version = Engine(path).ping(PING_TIMEOUT_S)
    except (EngineError, WireError) as error:
        return "the Docker engine at %s does not answer: %s" % (path, error), False
    return "a Docker engine (API %s) answers at %s" % (version, path), True


def _mesos(policy: HostPolicy) -> tuple[str, bool]:
    if os.geteuid() != 0:
        return "only root may make groups below those of Mesos' isolators", False
    memory = cgroup_v1.own_groups().get("memory")
    if memory is None:
        return "cgroup v1 with the memory controller is not mounted", False
    if cgroup_v1.in_root_group("memory"):
        return "this process is in no memory group of its own", False
    # Mesos names a container's group after the container, as it does the directory of the executor's run; "mesos" is
    # its default for the groups' parent.
    run = os.path.basename(os.environ.get("MESOS_DIRECTORY", "").rstrip("/"))
    if policy.isolation == "auto" and "mesos" not in memory.split("/") and os.path.basename(memory) != run:
        return "this process is in no memory group of Mesos' isolators", False
    if not os.access(memory, os.W_OK):
        return "%s is read-only" % memory, False
    return "a cgroup v1 group below that of Mesos' isolators", True


def _cgroup2(policy: HostPolicy) -> tuple[str, bool]:
    del policy
    try:
        return "a cgroup v2 group below %s" % cgroup_v2.find_parent(), True
    except (cgroup_v2.NoGroupError, OSError) as error:
        return str(error), False


def _watchdog(policy: HostPolicy) -> tuple[str, bool]:
    del policy
    return "the executor's own watchdog over the process tree, as configured", True


_PROBES = {"docker": _docker, "mesos": _mesos, "cgroup2": _cgroup2, "watchdog": _watchdog}
