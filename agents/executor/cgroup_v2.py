"""A cgroup v2 group of the build's own, with memory, pids and CPU weight held by the kernel."""

from __future__ import annotations

import contextlib
import os

from agents.executor.limits import (
    CPU_PERIOD_US,
    MIB,
    Limits,
    PidsPressure,
    Usage,
    Wanted,
    cpu_quota_us,
    cpu_shares,
    cpu_weight,
    oom_verdict,
    pids_verdict,
    read_counter,
    read_int,
    read_text,
    remove_group,
    write_text,
)
from agents.executor.processes import SIGKILL, descendants, signal_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agents.executor.limits import Verdict

NEEDED = ("memory", "pids")
WANTED = "cpu"
COMMON_PARENT = "butlery"
OWN_LEAF = "butlery-executor"
MOVING_ROUNDS = 20


class NoGroupError(Exception):
    """No group of this process' own can be made here; says why."""


def mount_point() -> str | None:
    """Where cgroup v2 is mounted with the controllers a build needs; None where it is not."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            mount, _, source = line.partition(" - ")
            if source.startswith("cgroup2 "):
                point = mount.split(" ")[4]
                try:
                    offered = read_text(point + "/cgroup.controllers").split()
                except OSError:
                    continue
                if all(name in offered for name in NEEDED):
                    return point
    return None


def group_of(pid: int) -> str | None:
    """Directory of the group of process ``pid``; None where version 2 does not hold memory here. Raises OSError."""
    point = mount_point()
    if point is None:
        return None
    with open("/proc/%d/cgroup" % pid, encoding="utf-8") as file:
        path = next((line.rstrip("\n")[3:] for line in file if line.startswith("0::")), "/")
    return os.path.normpath(point + path)


def find_parent() -> str:
    """A directory below which groups with the needed controllers may be made. Raises NoGroupError.

    Root takes one well-known group below the root of the hierarchy. Another user takes the nearest group from its own
    upwards that it may write to, which a service manager has delegated to it. A group with processes in it cannot
    hand out controllers, so where the executor is alone in its group it moves itself into a leaf first.
    """
    point = mount_point()
    if point is None:
        raise NoGroupError("cgroup v2 with the controllers %s is not mounted" % " and ".join(NEEDED))
    own = group_of(os.getpid()) or point
    if os.path.basename(own) == OWN_LEAF:  # where this process has moved itself before
        own = os.path.dirname(own)
    candidates = []
    if os.geteuid() == 0:
        candidates.append(point)
    above = own
    while above.startswith(point):
        candidates.append(above)
        if above == point:
            break
        above = os.path.dirname(above)
    for candidate in candidates:
        if not (os.access(candidate, os.W_OK) and os.access(candidate + "/cgroup.procs", os.W_OK)):
            continue
        if not _hand_out(candidate) and not (candidate == own and move_into_leaf(own) and _hand_out(own)):
            continue
        parent = os.path.join(candidate, COMMON_PARENT)
        os.makedirs(parent, exist_ok=True)
        if _hand_out(parent):
            return parent
    raise NoGroupError("no cgroup v2 group that this user may divide, from %s upwards" % own)


def _hand_out(group: str) -> bool:
    """Gives the controllers to the groups below ``group``; True when the needed ones are given."""
    control = group + "/cgroup.subtree_control"
    try:
        # In one write: pids alone would be granted to a group with processes in it, and turn it into a threaded domain,
        # in which memory can never be.
        if not set(NEEDED) <= set(read_text(control).split()):
            write_text(control, " ".join("+" + name for name in NEEDED))
    except OSError:
        return False
    with contextlib.suppress(OSError):  # without it builds are held in everything but their share of the CPU
        if WANTED not in read_text(control).split():
            write_text(control, "+" + WANTED)
    return True


def move_into_leaf(own: str) -> bool:
    """Makes ``own`` free of processes where nothing is in it but this process' parent, the executor, and its children.

    Builds of one executor may be at this together, and fork meanwhile.
    """
    leaf = os.path.join(own, OWN_LEAF)
    try:
        os.makedirs(leaf, exist_ok=True)
        for _ in range(MOVING_ROUNDS):
            found = {int(pid) for pid in read_text(own + "/cgroup.procs").split()}
            if not found:
                return True
            if not found <= {os.getppid(), *descendants(os.getppid())}:
                return False
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    write_text(leaf + "/cgroup.procs", str(pid))
    except OSError:
        pass
    return False


class CgroupV2(Limits):
    """Limits held by the version 2 group at ``path``."""

    mode = "cgroup2"

    def __init__(self, wanted: Wanted, path: str) -> None:
        super().__init__(wanted)
        self._path = path
        self._pressure = PidsPressure()
        self._refused = 0
        self._peak = 0  # bytes seen, for kernels before 5.19, which have no memory.peak
        self._cpu_usec = 0  # seen, for the group of a container goes with it

    def create(self) -> None:
        if os.path.isdir(self._path) and not (self.kill() and remove_group(self._path)):
            raise OSError("%s is left over from another build and cannot be removed" % self._path)
        os.mkdir(self._path)
        write_text(self._path + "/memory.max", str(self.wanted.mem_mib * MIB) if self.wanted.mem_mib else "max")
        if os.path.exists(self._path + "/memory.swap.max"):
            write_text(self._path + "/memory.swap.max", "0")
        write_text(self._path + "/memory.oom.group", "1")
        if os.path.exists(self._path + "/cpu.weight"):
            write_text(self._path + "/cpu.weight", str(cpu_weight(cpu_shares(self.wanted.cpu_millis))))
        if self.wanted.cpu_limit_millis is not None and os.path.exists(self._path + "/cpu.max"):
            quota_us = cpu_quota_us(self.wanted.cpu_limit_millis)
            write_text(self._path + "/cpu.max", "%d %d" % (quota_us, CPU_PERIOD_US))

    def enter(self) -> None:
        if self.wanted.pids:  # here, for the end of the checkout may forbid forks
            write_text(self._path + "/pids.max", str(self.wanted.pids))
        write_text(self._path + "/cgroup.procs", "0")

    def check(self, now_s: float) -> Verdict | None:
        self._peak = max(self._peak, read_int(self._path + "/memory.current") or 0)
        if read_counter(self._path + "/memory.events", "oom_kill"):
            return oom_verdict(self.usage().peak_mem_mib, self.wanted.mem_mib)
        refused = read_counter(self._path + "/pids.events", "max")
        hit, self._refused = refused > self._refused, refused
        return pids_verdict(self.wanted.pids) if self._pressure.sustained(now_s, hit) else None

    def notice_fd(self) -> tuple[int, bool] | None:
        return os.open(self._path + "/memory.events", os.O_RDONLY | os.O_CLOEXEC), True

    def hindsight(self) -> Verdict | None:
        if read_counter(self._path + "/memory.events", "oom_kill"):
            return oom_verdict(self.usage().peak_mem_mib, self.wanted.mem_mib)
        return pids_verdict(self.wanted.pids) if read_counter(self._path + "/pids.events", "max") else None

    def usage(self) -> Usage:
        self._peak = max(self._peak, read_int(self._path + "/memory.peak") or 0)
        self._cpu_usec = max(self._cpu_usec, read_counter(self._path + "/cpu.stat", "usage_usec"))
        return Usage(self._peak / MIB if self._peak else None, self._cpu_usec / 1e6)

    def kill(self) -> bool:
        if not os.path.isdir(self._path):
            return True
        try:
            if os.path.exists(self._path + "/cgroup.kill"):
                write_text(self._path + "/cgroup.kill", "1")  # since Linux 5.14, and proof against forks
            else:
                write_text(self._path + "/pids.max", "0")  # what cannot fork cannot outrun the signals
                signal_all([int(pid) for pid in read_text(self._path + "/cgroup.procs").split()], SIGKILL)
        except OSError:
            return False
        return read_counter(self._path + "/cgroup.events", "populated") == 0

    def remove(self) -> bool:
        return remove_group(self._path)
