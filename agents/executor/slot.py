"""What one build takes up on its host: an isolation mode, a user id, the names of its groups and container.

Decided before anything of it exists, so that whoever has to clear up after a crash knows where to look.
"""

from __future__ import annotations

import json
import os

from agents.executor import users
from agents.executor.isolation import detect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agents.executor.limits import Limits, Wanted
    from agents.spec import HostPolicy


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
    name = "butlery-s%d" % os.getpid()
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
