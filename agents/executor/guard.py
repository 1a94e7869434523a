"""The processes beside the driver: the guard, which clears up after a runner that was killed, and the runner.

The guard is a shell that waits for one word on a pipe that only the runner holds. The word means that all is cleared
up; the pipe's end without it means that the runner is dead, and the shell becomes ``reap``. It is the subreaper of
everything below it, so that whatever the dead runner leaves becomes its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time

from agents.executor import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    from agents.executor.slot import Slot
    from agents.spec import BuildSpec

REAP_TIMEOUT_S = 30.0
ASSIGN_TIMEOUT_S = 2.0
_SHELL = """trap "" INT TERM HUP
read -r word code
[ "$word" = done ] && exit "${code:-0}"
exec "$BUTLERY_PYTHON" -S -E -c "$BUTLERY_REAP"
"""
_REAP = "import sys; sys.path.insert(0, %r); from agents.executor.main import main; sys.exit(main(['--reap']))"


class Build:
    """A build under way: a line to its runner, lines from it, and the guard to wait for in the end."""

    def __init__(self, guard_pid: int, control_fd: int, report_fd: int) -> None:
        # JSON lines: {"started": pid, "name": of its group or container, "isolation": mode}, {"ready": true} where that
        # is waited for, then {"result": {...}}; ends with the runner.
        self.report_fd = report_fd
        self._guard_pid = guard_pid
        self._control_fd: int | None = control_fd
        self._guard_gone = False

    def kill(self, grace_s: float) -> None:
        """Asks the runner to end the build: TERM, and KILL after ``grace_s``."""
        if self._control_fd is not None:
            try:
                os.write(self._control_fd, json.dumps({"kill": grace_s}).encode() + b"\n")
            except BlockingIOError:
                self.abandon()  # a runner that has not read the notes for minutes is told by the pipe's end
            except OSError:
                pass  # a runner that has ended needs no telling

    def tell(self, text: str) -> None:
        """Asks the runner for a line in the build's log. ``text``: at most 1000 characters, without a line feed."""
        if self._control_fd is not None:
            with contextlib.suppress(OSError):  # one that has ended, or reads nothing, does without
                os.write(self._control_fd, json.dumps({"tell": text}, ensure_ascii=False).encode() + b"\n")

    def assign(self, given: dict[str, Any]) -> bool:
        """Gives a spare its agent; whether its runner can have it all, for which there is a moment."""
        if self._control_fd is None:
            return False
        line = json.dumps({"assign": given}).encode() + b"\n"
        poll = select.poll()
        poll.register(self._control_fd, select.POLLOUT)
        deadline_s = time.monotonic() + ASSIGN_TIMEOUT_S
        while line and time.monotonic() < deadline_s:
            try:
                line = line[os.write(self._control_fd, line) :]
            except BlockingIOError:
                poll.poll(ASSIGN_TIMEOUT_S * 1000)
            except OSError:
                return False
        return not line

    def abandon(self) -> None:
        """Tells the runner that no one is left: it kills the build at once."""
        if self._control_fd is not None:
            os.close(self._control_fd)
            self._control_fd = None

    def guard_gone(self) -> bool:
        """Whether all is cleared up. Reaps the guard."""
        if not self._guard_gone:
            self._guard_gone = os.waitpid(self._guard_pid, os.WNOHANG)[0] != 0
        return self._guard_gone

    def wait_for_guard(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while not self.guard_gone():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.01)
        return True


def start(spec: BuildSpec, sandbox: str) -> Build:
    """Starts guard and runner. What goes wrong in them comes as a result on ``report_fd``. Raises OSError."""
    control, control_w = os.pipe()
    report, report_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        _contain(lambda: _guard(spec, os.path.abspath(sandbox), control, report_w))
    os.close(control)
    os.close(report_w)
    os.set_blocking(report, False)
    os.set_blocking(control_w, False)
    return Build(pid, control_w, report)


def _guard(spec: BuildSpec, sandbox: str, control: int, report: int) -> None:
    from agents.executor import linux, runner, slot
    from agents.executor.isolation import IsolationError
    from agents.executor.users import NoUserError

    os.setsid()  # a signal to the driver's session or group is not meant for those who clear up after it
    close_all_but({0, 1, 2, control, report})
    os.umask(0o022)  # the build's user must reach what is made for it, whatever the Mesos agent's mask
    linux.become_subreaper()
    try:
        taken, lock = slot.take(spec.host, sandbox)
    except (IsolationError, NoUserError, OSError) as error:
        runner.report_failure(report, "infrastructure", str(error))
        return
    alarm, alarm_w = os.pipe()
    if os.fork() == 0:
        os.close(alarm)
        runner.main(spec, taken, control, report)
        os.write(alarm_w, b"done\n")
        return
    if lock is not None:
        os.set_inheritable(lock, True)
    os.dup2(alarm, 0)
    _watch(taken)


def _watch(taken: Slot) -> NoReturn:
    environment = {
        "PATH": "/usr/bin:/bin",
        "BUTLERY_PYTHON": sys.executable,
        "BUTLERY_REAP": _REAP % import_root(),
        "BUTLERY_SLOT": taken.to_json(),
    }
    os.execve("/bin/sh", ["sh", "-c", _SHELL], environment)  # noqa: S606 - the shell is the guard


def _contain(work: Callable[[], None]) -> NoReturn:
    """Runs ``work`` in a forked process, from which nothing may return into its parent's code."""
    code = 1
    signal.set_wakeup_fd(-1)
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def import_root() -> str:
    """What must be on sys.path for this package: the archive or the directory it was imported from."""
    here = os.path.abspath(__file__)
    return os.path.dirname(os.path.dirname(os.path.dirname(here)))


def close_all_but(keep: Iterable[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of the listing itself


def reap() -> int:
    """Clears up after a runner that was killed: BUTLERY_SLOT tells what it had. Exit code 0 when nothing is left."""
    from agents.executor import slot

    taken = slot.Slot.from_json(os.environ["BUTLERY_SLOT"])
    deadline_s = time.monotonic() + REAP_TIMEOUT_S
    while not clear(taken):
        if time.monotonic() > deadline_s:
            print("butlery: left behind something of build %s" % taken.name, file=sys.stderr)  # noqa: T201
            return 1
        time.sleep(0.05)
    return 0


def clear(taken: Slot) -> bool:
    """One attempt at removing all of a slot, with this process as the root of its tree; True when all is gone."""
    from agents.executor import service_files, workspace
    from agents.executor.limits import Wanted

    limits = taken.limits(Wanted(0, 0, 0))
    gone = limits.kill()
    if taken.uid is not None:
        gone = processes.kill_uid(taken.uid, processes.reap) and gone
    gone = processes.kill_tree(os.getpid(), processes.reap) and gone
    gone = limits.remove() and gone
    if taken.mode == "docker":
        from agents.executor import docker_body, docker_engine

        gone = docker_body.remove(docker_engine.Engine(taken.docker_socket), taken.name) and gone
    service_files.remove(taken.name)
    if not taken.service:
        workspace.Place(taken.sandbox, taken.uid).remove()
    return gone


def shelter(taken: Slot) -> Shelter:
    """Makes this process, the service's driver, a child of its guard, which keeps the process id that Mesos knows.

    One that watched beside the driver, as over builds, would see nothing of what a killed driver leaves.
    """
    from agents.executor import linux

    alarm, alarm_w = os.pipe()
    pid = os.fork()
    if pid:
        _contain(lambda: _guard_driver(taken, alarm))
    os.close(alarm)
    linux.end_with_parent(processes.SIGTERM)  # a driver whose guard was killed ends its service in good order
    linux.become_subreaper()
    return Shelter(alarm_w)


class Shelter:
    """The driver's line to its guard."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def leave(self, code: int) -> None:
        """All is cleared up: the guard is to exit with ``code``."""
        with contextlib.suppress(OSError):  # a guard that was killed
            os.write(self._fd, b"done %d\n" % code)


def _guard_driver(taken: Slot, alarm: int) -> None:
    from agents.executor import linux

    close_all_but({0, 1, 2, alarm})
    linux.become_subreaper()
    os.dup2(alarm, 0)
    _watch(taken)
