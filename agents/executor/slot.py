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
    """``dirs``: the cgroup directories by controller (version 1), or the one at ``""`` (version 2)."""

    def __init__(
        self, mode: str, reason: str, name: str, sandbox: str, uid: int | None, dirs: dict[str, str], docker_socket: str
    ) -> None:
        self.mode = mode
        self.reason = reason
        self.name = name
        self.sandbox = sandbox
        self.uid = uid
        self.dirs = dirs
        self.docker_socket = docker_socket

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
