"""Limits where no kernel group holds them: the process tree is looked at many times a second and killed when over.

Memory is what the tree has resident. A burst between two looks can pass the limit for as long as ``interval_s``, so
this mode protects neighbours less than the others, and says so where it is chosen.
"""

from __future__ import annotations

import os
import resource

from agents.executor import linux
from agents.executor.limits import Limits, Usage, Wanted, oom_verdict, pids_verdict
from agents.executor.processes import descendants, proportional_mib, resident_mib, thread_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agents.executor.limits import Verdict

FULL_SPEED_MILLIS = 4000  # a build that may have this many CPU runs at nice 0
NICE_STEP = 1.25  # weight ratio of two neighbouring nice levels, kernel/sched/core.c
OWN_UID_FACTOR = 2  # see ``enter``
SHARED_UID_FACTOR = 8


def nice_level(cpu_millis: int) -> int:
    """The nice level, 0 to 19, whose weight is to nice 0 as ``cpu_millis`` to FULL_SPEED_MILLIS."""
    from math import log

    return min(19, max(0, round(log(FULL_SPEED_MILLIS / max(1, cpu_millis)) / log(NICE_STEP))))


class Watchdog(Limits):
    """Watches everything below process ``root``. ``own_uid``: the build runs as a user no one else runs as."""

    mode = "watchdog"
    interval_s = 0.05
    jvm_sees_limit = False

    def __init__(self, wanted: Wanted, root: int, own_uid: bool) -> None:
        super().__init__(wanted)
        self._root = root
        self._own_uid = own_uid
        self._own_namespace = False
        self._peak_mib = 0.0

    def create(self) -> None:
        self._own_namespace = not self._own_uid and linux.has_user_namespaces()

    def enter(self) -> None:
        # A backstop: the kernel does not tell whom it refused a process, so the watchdog must get to see a tree over
        # its limit. RLIMIT_NPROC counts all of a user's threads, of which other builds of a shared user are kept out
        # by a namespace; where there are none, one that forks without end may keep the others from forking.
        if self._own_namespace:
            linux.enter_user_namespace()
        if self.wanted.pids:
            self._limit_threads()
        level = nice_level(self.wanted.cpu_millis)
        os.setpriority(os.PRIO_PROCESS, 0, max(level, os.getpriority(os.PRIO_PROCESS, 0)))
        try:
            with open("/proc/self/autogroup", "w", encoding="ascii") as file:
                file.write(str(level))  # with autogroups, nice counts only inside a session: the session needs it too
        except OSError:
            pass

    def _limit_threads(self) -> None:
        if self._own_uid or self._own_namespace:
            limit = OWN_UID_FACTOR * self.wanted.pids
        else:
            limit = _threads_of_user() + SHARED_UID_FACTOR * self.wanted.pids
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))

    def check(self, now_s: float) -> Verdict | None:
        del now_s
        tree = descendants(self._root)
        used = resident_mib(tree)
        over = self.wanted.mem_mib and used > self.wanted.mem_mib
        if over:
            used = proportional_mib(tree)  # pages shared by forked workers must not be counted once each
        self._peak_mib = max(self._peak_mib, used)
        if over and used > self.wanted.mem_mib:
            return oom_verdict(self._peak_mib, self.wanted.mem_mib)
        too_many = self.wanted.pids and thread_count(tree) > self.wanted.pids
        return pids_verdict(self.wanted.pids) if too_many else None

    def hindsight(self) -> Verdict | None:
        return None  # what a tree that is gone had, no one can tell

    def usage(self) -> Usage:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return Usage(max(self._peak_mib, ended.ru_maxrss / 1024), ended.ru_utime + ended.ru_stime)


def _threads_of_user() -> int:
    count, user = 0, os.getuid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat("/proc/" + name).st_uid == user:
                    count += len(os.listdir("/proc/%s/task" % name))
            except OSError:
                continue
    return count
