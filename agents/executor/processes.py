"""Looking at a build's processes through /proc, and killing them so that a fork bomb loses the race."""

from __future__ import annotations

import os
import resource
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SIGKILL, SIGTERM, SIGSTOP, SIGCONT = 9, 15, 19, 18  # Linux, every architecture Mesos runs on; ``signal`` imports slowly

KILL_ROUNDS = 200
_FAILED = 3
_REFUSED = 4


def children(pid: int) -> list[int]:
    """Children of every thread of ``pid``; none where it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir("/proc/%d/task" % pid)
    except OSError:
        return found
    for thread in threads:
        try:
            with open("/proc/%d/task/%s/children" % (pid, thread), "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    """Everything below ``pid``, zombies included. A process that forks meanwhile may be missed once, not twice."""
    found: list[int] = []
    level = children(pid)
    while level:
        found += level
        level = [child for parent in level for child in children(parent)]
    return found


def living(pids: list[int]) -> list[int]:
    """Those that are neither gone nor zombies."""
    return [pid for pid in pids if state(pid) not in ("", "Z", "X")]


def state(pid: int) -> str:
    """The state's letter as in proc(5); empty where the process is gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue  # gone, or a set-user-id process that a build's user may not signal either


def kill_user(uid: int) -> None:
    """Kills every process of ``uid`` in one system call, which no fork can slip through. Needs root.

    Raises OSError, and signals nobody, where the privileges of root cannot be put off completely.
    """
    if _as_user(uid, lambda: os.kill(-1, SIGKILL)) == _REFUSED:
        raise OSError("cannot become uid %d to kill its processes" % uid)


def user_has_processes(uid: int) -> bool:
    """Whether any process of ``uid``, zombies included, is there. Needs root. Raises OSError as ``kill_user``.

    The kernel is asked by way of RLIMIT_NPROC: /proc would have to be read whole, and hides the owner of processes that
    have made themselves undumpable.
    """
    code = _as_user(uid, _fork_as_second)
    if code == _REFUSED:
        raise OSError("cannot become uid %d to look for its processes" % uid)
    return code != 0


def _fork_as_second() -> None:
    resource.setrlimit(resource.RLIMIT_NPROC, (2, 2))  # this process and its child: a third one is in the way
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _as_user(uid: int, work: Callable[[], None]) -> int:
    """Does ``work`` in a child of that user; 0 where it did it, _FAILED where it raised OSError, else _REFUSED."""
    if uid <= 0:
        raise ValueError("refusing to act as uid %d" % uid)
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        return status >> 8 if os.WIFEXITED(status) else _FAILED
    code = _REFUSED
    try:
        # kill(-1) from root would hit the whole machine: nothing is done unless this is provably not root any more.
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        if os.getresuid() == (uid, uid, uid) and not _has_capabilities():
            code = _FAILED
            work()
            code = 0
    finally:
        os._exit(code)


def _has_capabilities() -> bool:
    # As bytes: a codec would be imported, perhaps from where only root may read.
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"CapEff:"):
                return int(line.split()[1], 16) != 0
    return True


def kill_tree(root: int, reap: Callable[[], object]) -> bool:
    """Stops, then kills everything below ``root``; True when nothing living is left. ``reap`` waits for the dead.

    Stopping first means that no process is left that could fork while its relatives are being killed. Bounded: a tree
    that outgrows KILL_ROUNDS passes is killed as far as it is known and left to the caller's next attempt.
    """
    stopped: set[int] = set()
    for _ in range(KILL_ROUNDS):
        found = descendants(root)
        fresh = [pid for pid in found if pid not in stopped]
        if fresh:
            signal_all(fresh, SIGSTOP)
            stopped.update(fresh)
            continue
        signal_all(found, SIGKILL)
        reap()
        if not living(found):
            return True
        time.sleep(0.005)
    signal_all(descendants(root), SIGKILL)
    return False


def kill_uid(uid: int, reap: Callable[[], object]) -> bool:
    """Kills every process of ``uid``; True when none is left. ``reap`` waits for the dead below this process."""
    for _ in range(KILL_ROUNDS):
        kill_user(uid)
        reap()
        if not user_has_processes(uid):
            return True
        time.sleep(0.005)
    return False


def reap() -> dict[int, int]:
    """Wait statuses by pid of the children that have ended."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def resident_mib(pids: list[int]) -> float:
    """Sum of the resident sets, pages shared among them counted once each time; cheap."""
    pages = 0
    for pid in pids:
        try:
            with open("/proc/%d/statm" % pid, "rb") as file:
                pages += int(file.read().split()[1])
        except (OSError, IndexError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1048576


def proportional_mib(pids: list[int]) -> float:
    """Sum of the proportional sets, shared pages divided among those that share them; walks page tables."""
    kib = 0
    for pid in pids:
        try:
            with open("/proc/%d/smaps_rollup" % pid, "rb") as file:
                for line in file:
                    if line.startswith(b"Pss:"):
                        kib += int(line.split()[1])
        except OSError:
            continue
    return kib / 1024


def thread_count(pids: list[int]) -> int:
    """Threads of all of them: what RLIMIT_NPROC and pids.max count."""
    count = 0
    for pid in pids:
        try:
            count += len(os.listdir("/proc/%d/task" % pid))
        except OSError:
            continue
    return count
