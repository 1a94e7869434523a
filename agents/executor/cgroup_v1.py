"""A nested cgroup v1 group of the build's own, below the one that Mesos' isolators put the executor in.

The limit is then exactly the task's, the kernel's out-of-memory kill hits the build and not the executor, and Mesos,
which watches only the outer group, leaves the reporting to the executor.
"""

from __future__ import annotations

import os

from agents.executor import linux
from agents.executor.limits import (
    CPU_PERIOD_US,
    MIB,
    Limits,
    PidsPressure,
    Usage,
    Wanted,
    cpu_quota_us,
    cpu_shares,
    oom_verdict,
    pids_verdict,
    read_counter,
    read_int,
    remove_group,
    write_text,
)
from agents.executor.processes import SIGKILL, signal_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agents.executor.limits import Verdict

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")


def own_groups() -> dict[str, str]:
    """Directory of this process' group, by controller, in the version 1 hierarchies that are mounted here."""
    return groups_of(os.getpid())


def groups_of(pid: int) -> dict[str, str]:
    """The same of process ``pid``. Raises OSError where it is gone."""
    paths: dict[str, str] = {}
    with open("/proc/%d/cgroup" % pid, encoding="utf-8") as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            paths.update(dict.fromkeys(names.split(","), path))
    found: dict[str, str] = {}
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            mount, _, source = line.partition(" - ")
            if not source.startswith("cgroup "):
                continue
            root, point = mount.split(" ")[3:5]
            for name in source.split()[-1].split(","):
                if name in CONTROLLERS and name in paths and name not in found:
                    found[name] = os.path.normpath(point + "/" + os.path.relpath(paths[name], root))
    return found


def in_root_group(controller: str) -> bool:
    """Whether this process is in no group of its own, but in the hierarchy's root."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        return any(
            controller in line.split(":", 2)[1].split(",") and line.rstrip("\n").split(":", 2)[2] == "/"
            for line in file
        )


def plan(name: str) -> dict[str, str]:
    """Where a group called ``name`` would be made, by controller; ``memory`` is missing where it cannot be."""
    planned: dict[str, str] = {}
    for controller, own in own_groups().items():
        if os.access(own, os.W_OK) and not (controller == "memory" and in_root_group("memory")):
            planned[controller] = os.path.join(own, name)
    return planned


def plan_service(name: str, beyond: bool) -> dict[str, str]:
    """The same for a service, which may have a group below the hierarchy's root: Mesos need not have made one.

    ``beyond``: its limit of memory is more than Mesos knows of, so that its group cannot be below the one of Mesos.
    """
    planned: dict[str, str] = {}
    for controller, own in own_groups().items():
        if controller == "memory" and beyond and is_of_mesos(own):
            own = os.path.dirname(os.path.dirname(own))  # not beside it, where Mesos would take it for an orphan
        if os.access(own, os.W_OK):
            planned[controller] = os.path.join(own, name)
    return planned


def is_of_mesos(group: str) -> bool:
    """Whether Mesos has made it: it names a container's group after the container, as it does the executor's run."""
    return os.path.basename(group) == os.path.basename(os.environ.get("MESOS_DIRECTORY", "").rstrip("/"))


class CgroupV1(Limits):
    """Limits held by nested version 1 groups at ``dirs``, by controller; ``memory`` must be among them."""

    mode = "mesos"

    def __init__(self, wanted: Wanted, dirs: dict[str, str]) -> None:
        super().__init__(wanted)
        self._dirs = dirs
        self._pressure = PidsPressure()
        self._refused = 0

    def create(self) -> None:
        for path in set(self._dirs.values()):
            if os.path.isdir(path) and not self._clear(path):
                raise OSError("%s is left over from another build and cannot be removed" % path)
            os.makedirs(path)
        memory, limit = self._dirs["memory"], str(self.wanted.mem_mib * MIB if self.wanted.mem_mib else -1)
        write_text(memory + "/memory.limit_in_bytes", limit)
        if os.path.exists(memory + "/memory.memsw.limit_in_bytes"):  # memory and swap together: no swap
            write_text(memory + "/memory.memsw.limit_in_bytes", limit)
        else:
            write_text(memory + "/memory.swappiness", "0")
        if "cpu" in self._dirs:
            write_text(self._dirs["cpu"] + "/cpu.shares", str(cpu_shares(self.wanted.cpu_millis)))
            if self.wanted.cpu_limit_millis is not None:
                write_text(self._dirs["cpu"] + "/cpu.cfs_period_us", str(CPU_PERIOD_US))
                write_text(self._dirs["cpu"] + "/cpu.cfs_quota_us", str(cpu_quota_us(self.wanted.cpu_limit_millis)))

    def enter(self) -> None:
        if "pids" in self._dirs and self.wanted.pids:  # here, for the end of the checkout has forbidden forks
            write_text(self._dirs["pids"] + "/pids.max", str(self.wanted.pids))
        for path in set(self._dirs.values()):
            write_text(path + "/cgroup.procs", "0")

    def check(self, now_s: float) -> Verdict | None:
        if read_counter(self._dirs["memory"] + "/memory.oom_control", "oom_kill"):
            return oom_verdict(self.usage().peak_mem_mib, self.wanted.mem_mib)
        refused = self._refusals()
        hit, self._refused = refused > self._refused, refused
        return pids_verdict(self.wanted.pids) if self._pressure.sustained(now_s, hit) else None

    def notice_fd(self) -> tuple[int, bool] | None:
        made = linux.event_fd()
        watched = os.open(self._dirs["memory"] + "/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            write_text(self._dirs["memory"] + "/cgroup.event_control", "%d %d" % (made, watched))
        finally:
            os.close(watched)
        return made, False

    def hindsight(self) -> Verdict | None:
        if read_counter(self._dirs["memory"] + "/memory.oom_control", "oom_kill"):
            return oom_verdict(self.usage().peak_mem_mib, self.wanted.mem_mib)
        return pids_verdict(self.wanted.pids) if self._refusals() else None

    def usage(self) -> Usage:
        peak = read_int(self._dirs["memory"] + "/memory.max_usage_in_bytes")
        cpu = read_int(self._dirs["cpuacct"] + "/cpuacct.usage") if "cpuacct" in self._dirs else None
        return Usage(None if peak is None else peak / MIB, None if cpu is None else cpu / 1e9)

    def kill(self) -> bool:
        if "pids" in self._dirs and os.path.isdir(self._dirs["pids"]):
            write_text(self._dirs["pids"] + "/pids.max", "0")  # what cannot fork cannot outrun the signals
        return all(self._clear(path, remove=False) for path in set(self._dirs.values()))

    def remove(self) -> bool:
        gone = [remove_group(path) for path in set(self._dirs.values())]  # every one is tried
        return all(gone)

    def _refusals(self) -> int:
        return read_counter(self._dirs["pids"] + "/pids.events", "max") if "pids" in self._dirs else 0

    @staticmethod
    def _clear(path: str, remove: bool = True) -> bool:
        try:
            with open(path + "/cgroup.procs", encoding="ascii") as file:
                pids = [int(line) for line in file]
        except OSError:
            return True
        signal_all(pids, SIGKILL)
        return remove_group(path) if remove else not pids
