"""Processes by identity: a pid alone is no name, for Linux gives it out again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from framework.local.files import write_whole

_PROC = Path("/proc")


class ProcessId(NamedTuple):
    """A process for good: its pid, when it was started (clock ticks since boot), and which boot that was."""

    pid: int
    start_ticks: int
    boot_id: str

    @staticmethod
    def of(pid: int) -> ProcessId | None:
        """The identity of the process that has ``pid`` now; None where there is none, or only a zombie."""
        fields = _stat(pid)
        if fields is None or fields[0] in ("Z", "X"):
            return None
        return ProcessId(pid, int(fields[19]), _boot_id())

    def alive(self) -> bool:
        return ProcessId.of(self.pid) == self

    def kill(self, number: int) -> None:
        """Sends a signal; a process that is gone is fine."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def save(self, path: Path) -> None:
        write_whole(path, json.dumps(self._asdict()))

    @staticmethod
    def load(path: Path) -> ProcessId | None:
        """None where ``path`` is missing or not a pid file."""
        try:
            raw = json.loads(path.read_text())
            return ProcessId(int(raw["pid"]), int(raw["start_ticks"]), str(raw["boot_id"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat after the command's name, from the state (field 3 of proc(5)) on."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None


def pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def with_descendants(roots: Iterable[int]) -> set[int]:
    """``roots`` and every process below them."""
    children: dict[int, list[int]] = {}
    for pid in pids():
        fields = _stat(pid)
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, []))
    return found


def of_directory(directory: Path) -> set[int]:
    """Processes that work below ``directory`` or whose Mesos sandbox is there; only those this user may look into.

    Not those of a terminal that only work there: somebody looks at a sandbox.
    """
    prefix = os.fsencode(f"{directory}/")
    found: set[int] = set()
    for pid in pids():
        try:
            environment = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
            cwd = os.fsencode(os.readlink(_PROC / str(pid) / "cwd")) + b"/"  # noqa: PTH115 - a deleted one has no Path
        except OSError:
            continue
        sandboxes = (b"MESOS_SANDBOX=" + prefix, b"MESOS_DIRECTORY=" + prefix)
        inside = cwd.startswith(prefix) and not _has_terminal(pid)
        if inside or any(variable.startswith(sandboxes) for variable in environment):
            found.add(pid)
    return found


def _has_terminal(pid: int) -> bool:
    fields = _stat(pid)
    return fields is not None and fields[4] != "0"  # tty_nr of proc(5)


def end(find: Callable[[], set[int]], grace_s: float, kill_s: float = 10.0) -> set[int]:
    """TERM to what ``find`` finds, KILL after ``grace_s``, again until nothing is found or ``kill_s`` is over.

    Returns the pids that would not die. This process is never among those killed.
    """
    mine = {os.getpid(), os.getppid()}
    started = time.monotonic()
    told: set[int] = set()
    while True:
        left = {pid for pid in find() if ProcessId.of(pid) is not None} - mine
        waited_s = time.monotonic() - started
        if not left or waited_s > grace_s + kill_s:
            return left
        number = signal.SIGTERM if waited_s < grace_s else signal.SIGKILL
        for pid in left:
            if number == signal.SIGKILL or pid not in told:
                told.add(pid)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        time.sleep(0.05)


def wait_gone(process: ProcessId, timeout_s: float) -> bool:
    """Whether the process ended within ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while process.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def listening() -> dict[int, set[str]]:
    """Ports of this machine that somebody listens on by TCP, at whatever address, each with its sockets."""
    found: dict[int, set[str]] = {}
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":  # listening
                    found.setdefault(int(fields[1].rpartition(":")[2], 16), set()).add(f"socket:[{fields[9]}]")
    return found


def port_holder(port: int) -> str | None:
    """Who listens on ``port`` of this machine, such as ``nginx (pid 12)``; None where nobody does or it is hidden."""
    wanted = listening().get(port, set())
    for pid in pids() if wanted else []:
        with contextlib.suppress(OSError):
            if sockets(pid) & wanted:
                name = (_PROC / str(pid) / "comm").read_text().strip()
                return f"{name} (pid {pid})"
    return None


def sockets(pid: int) -> set[str]:
    """Its own, named as ``listening`` does; none where it is gone or another user's."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(descriptor))  # noqa: PTH115 - no file's name
    return found
