"""A build's own place on the host: ``workspace/`` and ``home/`` in its sandbox, and what is kept of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import time

from agents.executor import users
from agents.executor.limits import MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = "build.sh"
JAR = "agent.jar"  # of the build's tenant's master, where the build is an agent of that
SCAN_EVERY_S = 2.0
SCAN_SHARE = 0.05  # of one CPU, at most, for measuring the workspace
SCAN_UNHELD_EVERY_S = 10.0  # these two where the disk has no limit, and is measured for the record alone
SCAN_UNHELD_SHARE = 0.01
LAST_SCAN_S = 0.2  # once the build has ended: some 50,000 files
REMOVE_TIMEOUT_S = 60.0


class Place:
    """Where a build runs. ``root`` is the sandbox as the build sees it, ``sandbox`` as the executor does.

    ``inner``: it lies in another build's, which closes it to its user, and nothing of it is kept.
    """

    def __init__(self, sandbox: str, uid: int | None, inner: bool = False) -> None:
        self.sandbox = sandbox
        self.uid = uid
        self._inner = inner
        self.root = sandbox

    @property
    def bound(self) -> bool:
        """Whether the build's process must bind the sandbox to ``root`` before it can reach it."""
        return self.root != self.sandbox

    def prepare(self, command: str) -> None:
        """Makes the directories and the script. Raises OSError."""
        uid = -1 if self.uid is None else self.uid
        if self.uid is not None:
            os.chown(self.sandbox, -1, uid)  # the group of the same number: the build may pass through, no one else
            os.chmod(self.sandbox, 0o710)  # noqa: S103 - passing through, not listing
            if self._inner or not _reachable(os.path.dirname(self.sandbox)):
                self.root = _bind_target(uid)
                os.makedirs(self.root, mode=0o711, exist_ok=True)
        for name in ("workspace", "home", "home/tmp"):
            path = os.path.join(self.sandbox, name)
            os.mkdir(path, 0o700)
            os.chown(path, uid, uid)
        script = os.path.join(self.sandbox, SCRIPT)
        with open(os.open(script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o550), "w", encoding="utf-8") as file:
            file.write(command)
        os.chown(script, -1, uid)

    def within(self, name: str) -> str:
        """A path of the sandbox as the build sees it."""
        return os.path.join(self.root, name)

    def measured(self) -> list[str]:
        return [os.path.join(self.sandbox, name) for name in ("workspace", "home")]

    def remove(self, keep: bool = False) -> None:
        """Takes away what the build wrote; only build.log and artifacts/ are left for Mesos to keep.

        ``keep``: the workspace and home are left too, closed to everybody else. Gives up after REMOVE_TIMEOUT_S, for
        Mesos removes the whole sandbox in the end.
        """
        deadline = time.monotonic() + REMOVE_TIMEOUT_S
        for name in () if keep else ("workspace", "home"):
            path = os.path.join(self.sandbox, name)
            for _ in range(3):  # a directory without write permission stops the first pass of its own, non-root owner
                _remove_tree(path)
                if not os.path.lexists(path) or time.monotonic() > deadline:
                    break
        for name in (SCRIPT, JAR):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.sandbox, name))
        if self.uid is not None:
            with contextlib.suppress(OSError):
                os.rmdir(_bind_target(self.uid))
            os.chown(self.sandbox, -1, 0)  # the next build with this user id finds this sandbox closed
            os.chmod(self.sandbox, 0o750)  # noqa: S103 - as Mesos makes it
        if self._inner:
            with contextlib.suppress(OSError):
                os.rmdir(self.sandbox)


def _bind_target(uid: int) -> str:
    return os.path.join(users.RUN_DIR, "builds", str(uid))


def _remove_tree(root: str) -> None:
    """Removes what it can below ``root`` and makes the rest removable for the next attempt."""

    def loosen(function: object, path: str, error: object) -> None:
        del function, error
        for target in (os.path.dirname(path), path):
            with contextlib.suppress(OSError):
                if target.startswith(root) and not os.path.islink(target):
                    os.chmod(target, 0o700)

    if sys.version_info >= (3, 12):
        shutil.rmtree(root, onexc=loosen)
    else:
        shutil.rmtree(root, onerror=loosen)


def _reachable(path: str) -> bool:
    """Whether any user may pass through ``path`` and all above it."""
    while True:
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


class DiskMeter:
    """Measures what directories occupy, a slice of time at each call, so that a big tree holds nothing up.

    ``held``: the build has a limit, and is to be ended soon after it is over that.
    """

    def __init__(self, paths: list[str], held: bool = True) -> None:
        self._paths = paths
        self._every_s = SCAN_EVERY_S if held else SCAN_UNHELD_EVERY_S
        self._share = SCAN_SHARE if held else SCAN_UNHELD_SHARE
        self._scan: Iterator[int] | None = None
        self._sum = 0
        self._spent_s = 0.0
        self._next_s = 0.0
        self._peak: int | None = None

    @property
    def peak_mib(self) -> float | None:
        """The most that any complete measurement found; None where none was completed."""
        return None if self._peak is None else round(self._peak / MIB, 1)

    def step(self, now_s: float, slice_s: float = 0.005) -> int | None:
        """MiB occupied, at the call that completes a measurement; else None. ``now_s`` of time.monotonic."""
        if self._scan is None:
            if now_s < self._next_s:
                return None
            self._scan, self._sum, self._spent_s = self._walk(), 0, 0.0
        until = now_s + slice_s
        for occupied in self._scan:
            self._sum += occupied
            if time.monotonic() >= until:
                self._spent_s += slice_s
                return None
        self._scan = None
        self._next_s = now_s + max(self._every_s, self._spent_s / self._share)
        self._peak = max(self._peak or 0, self._sum)
        return self._sum >> 20

    def look_once_more(self) -> None:
        """At what the build has left, from the beginning, for LAST_SCAN_S at most."""
        self._scan, self._next_s = None, 0.0
        self.step(time.monotonic(), LAST_SCAN_S)

    def _walk(self) -> Iterator[int]:
        waiting = list(self._paths)
        while waiting:
            try:
                with os.scandir(waiting.pop()) as entries:
                    for entry in entries:
                        try:
                            found = entry.stat(follow_symlinks=False)
                        except OSError:
                            continue
                        if stat.S_ISDIR(found.st_mode):
                            waiting.append(entry.path)
                        yield found.st_blocks * 512 // max(1, found.st_nlink if stat.S_ISREG(found.st_mode) else 1)
            except OSError:
                continue
