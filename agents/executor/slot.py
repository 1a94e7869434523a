"""What one build takes up on its host: an isolation mode, a user id, the names of its groups and container.

Decided before anything of it exists, so that whoever has to clear up after a crash knows where to look.
"""

from __future__ import annotations

import json
import os
import time

from agents.executor import users
from agents.executor.isolation import detect
from agents.executor.limits import Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agents.executor.limits import Limits
    from agents.spec import HostPolicy


SERVICE_PREFIX = "butlery-s"  # of names of services, before the process id of the guard
SWEEP_ATTEMPTS = 20  # each of 5 ms: what is killed is gone by then, or left to the next service of the host


class Slot:
    """``dirs``: the cgroup directories by controller (version 1), or the one at ``""`` (version 2).

    ``service``: it is a service's, which has no workspace, and in ``docker`` mode a container beside whatever process.
    """

    def __init__(
        self,
        mode: str,
        reason: str,
        name: str,
        sandbox: str,
        uid: int | None,
        dirs: dict[str, str],
        docker_socket: str,
        service: bool = False,
    ) -> None:
        self.mode = mode
        self.reason = reason
        self.name = name
        self.sandbox = sandbox
        self.uid = uid
        self.dirs = dirs
        self.docker_socket = docker_socket
        self.service = service

    def to_json(self) -> str:
        return json.dumps(vars(self))

    @staticmethod
    def from_json(text: str) -> Slot:
        raw: dict[str, Any] = json.loads(text)
        return Slot(**raw)

    def limits(self, wanted: Wanted) -> Limits:
        """For processes of this host. In ``docker`` mode that is only the checkout, which the watchdog holds."""
        if self.mode == "mesos":
            from agents.executor.cgroup_v1 import CgroupV1

            return CgroupV1(wanted, self.dirs)
        if self.mode == "cgroup2":
            from agents.executor.cgroup_v2 import CgroupV2

            return CgroupV2(wanted, self.dirs[""])
        from agents.executor.watchdog import Watchdog

        return Watchdog(wanted, os.getpid(), self.uid is not None)


def take_service(docker_socket: str | None, sandbox: str, beyond: bool) -> Slot:
    """For a service: in a container of the engine at ``docker_socket``, else as processes, under the best of the

    kernel's groups that can be had. ``beyond``: its limit of memory is more than Mesos knows of.
    """
    name = "%s%d" % (SERVICE_PREFIX, os.getpid())
    if docker_socket is not None:
        return Slot("docker", "it has an image", name, sandbox, None, {}, docker_socket, service=True)
    if os.geteuid() == 0:
        from agents.executor.cgroup_v1 import plan_service

        dirs = plan_service(name, beyond)
        if "memory" in dirs:
            return Slot(
                "mesos", "a cgroup v1 group at %s" % dirs["memory"], name, sandbox, None, dirs, "", service=True
            )
    from agents.executor.cgroup_v2 import NoGroupError, find_parent

    try:
        group = os.path.join(find_parent(), name)
    except (NoGroupError, OSError) as error:
        return Slot("watchdog", str(error), name, sandbox, None, {}, "", service=True)
    return Slot("cgroup2", "a cgroup v2 group at %s" % group, name, sandbox, None, {"": group}, "", service=True)


def sweep(taken: Slot) -> None:
    """Ends what services of this host left behind whose guard and driver were both killed, beside ``taken``."""
    for parent in {os.path.dirname(path) for path in taken.dirs.values()}:
        for name in leftovers(parent):
            dirs = {key: os.path.join(os.path.dirname(path), name) for key, path in taken.dirs.items()}
            limits = Slot(taken.mode, "", name, "", None, dirs, "", service=True).limits(Wanted(0, 0, 0))
            for _ in range(SWEEP_ATTEMPTS):
                if limits.kill() and limits.remove():
                    break
                time.sleep(0.005)


def leftovers(directory: str) -> list[str]:
    """Names below ``directory`` of services whose guard is gone."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    ours = [name for name in names if name.startswith(SERVICE_PREFIX) and name[len(SERVICE_PREFIX) :].isdigit()]
    return [name for name in ours if not os.path.exists("/proc/" + name[len(SERVICE_PREFIX) :])]


def take(policy: HostPolicy, sandbox: str) -> tuple[Slot, int | None]:
    """A slot, and the descriptor that holds its user id (None without one).

    Raises isolation.IsolationError, users.NoUserError, OSError.
    """
    mode, reason = detect(policy)
    uid: int | None = None
    lock: int | None = None
    if os.geteuid() == 0:
        if not policy.uids:
            raise users.NoUserError("host.uids is needed where the executor runs as root: no build does")
        uid, lock = users.acquire(policy.uids)
    name = "butlery-p%d" % os.getpid() if uid is None else "butlery-u%d" % uid
    dirs: dict[str, str] = {}
    if mode == "mesos":
        from agents.executor.cgroup_v1 import plan

        dirs = plan(name)
    elif mode == "cgroup2":
        from agents.executor.cgroup_v2 import find_parent

        dirs = {"": os.path.join(find_parent(), name)}
    return Slot(mode, reason, name, sandbox, uid, dirs, policy.docker_socket), lock
