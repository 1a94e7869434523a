"""A build's command as processes of this host."""

from __future__ import annotations

import os
import resource
from functools import partial

from agents.executor import linux, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from agents.executor.limits import Limits, Usage, Verdict
    from agents.executor.watch import Watch
    from agents.executor.workspace import Place

OOM_SCORE = "500"  # where the whole machine runs out of memory, builds go before what runs them
READ_BYTES = 65536
NOT_EXECUTABLE = 127  # the exit code a shell gives to a command it cannot start


class StartError(Exception):
    """The command's process could not be started, for no fault of the build."""


class ProcessBody:
    """A command and everything it leaves behind, below this process as their subreaper."""

    def __init__(self, limits: Limits, place: Place) -> None:
        self.fd = -1  # readable where there is output, or its end
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.interval_s = limits.interval_s
        self.start_error = ""  # why the command itself could not be executed, where it could not
        self._limits = limits
        self._place = place
        self._pid = 0
        self._environment: dict[str, str] = {}
        self._checks: dict[int, Callable[[int], None]] = {}  # by their processes

    def start(self, command: list[str], environment: dict[str, str]) -> None:
        """Returns when the command runs, or has failed to. Raises StartError."""
        self._environment = environment
        self.fd, writing = os.pipe()
        failed, failing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._become(command, environment, writing, failing)
        os.close(writing)
        os.close(failing)
        os.set_blocking(self.fd, False)
        with open(failed, "rb") as file:
            error = file.read(4096).decode("utf-8", "replace")
        if error.startswith("exec "):
            self.start_error = error[5:]
        elif error:
            raise StartError(error)

    def read(self) -> bytes | None:
        """Output that is there; empty where there is none now, None at its end."""
        try:
            return os.read(self.fd, READ_BYTES) or None
        except BlockingIOError:
            return b""

    def ended(self) -> bool:
        """Whether the command's own process has ended; reaps whatever else has."""
        for pid, status in processes.reap().items():
            if pid != self._pid:
                told = self._checks.pop(pid, None)
                if told is not None:
                    told(status)
            elif os.WIFSIGNALED(status):
                self.signal = os.WTERMSIG(status)
            else:
                self.exit_code = os.WEXITSTATUS(status)
        return self.exit_code is not None or self.signal is not None

    def network(self) -> None:
        """That of this process."""
        return

    def run_check(
        self, watch: Watch, command: list[str], done: Callable[[int | None, str], None]
    ) -> Callable[[], None]:
        """Runs a command beside the build's, held as that is; ``done`` gets its exit code. Its output is dropped.

        Returns what ends it without ``done``. Raises OSError.
        """
        del watch
        from agents.executor.health import tell_end

        nowhere = os.open(os.devnull, os.O_WRONLY)
        pid = os.fork()
        if pid == 0:
            self._become(["/bin/sh", "-c", command[0]], self._environment, nowhere, nowhere)
        os.close(nowhere)

        def cancel() -> None:
            self._checks.pop(pid, None)
            processes.signal_all([*processes.descendants(pid), pid], processes.SIGKILL)

        self._checks[pid] = partial(tell_end, done=done)
        return cancel

    def living(self) -> list[int]:
        return processes.living(processes.descendants(os.getpid()))

    def check(self, now_s: float) -> Verdict | None:
        return self._limits.check(now_s)

    def hindsight(self) -> Verdict | None:
        return self._limits.hindsight()

    def usage(self) -> Usage:
        usage = self._limits.usage()
        if usage.cpu_s is None:
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            usage.cpu_s = ended.ru_utime + ended.ru_stime
        return usage

    def terminate(self) -> None:
        """Asks everything of the build to end."""
        pids = processes.descendants(os.getpid())
        processes.signal_all(pids, processes.SIGTERM)
        processes.signal_all(pids, processes.SIGCONT)  # what the build stopped itself must wake to hear it

    def kill(self) -> bool:
        """Kills everything of the build; True when nothing of it is left."""
        gone = self._limits.kill()
        if self._place.uid is not None:
            gone = processes.kill_uid(self._place.uid, self.ended)
        return processes.kill_tree(os.getpid(), self.ended) and gone

    def close(self) -> None:
        os.close(self.fd)

    def _become(self, command: list[str], environment: dict[str, str], writing: int, failing: int) -> NoReturn:
        step = "setup"
        try:
            os.setsid()
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                file.write(OOM_SCORE)
            self._limits.enter()
            if self._place.bound:
                linux.bind_mount_privately(self._place.sandbox, self._place.root)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            uid = self._place.uid
            if uid is not None:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            linux.refuse_new_privileges()
            default_signals()
            os.umask(0o022)
            os.chdir(self._place.within("workspace"))
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            step = "exec"
            os.execve(command[0], command, environment)  # noqa: S606 - a build's command is what is started here
        except BaseException as error:  # noqa: BLE001 - nothing may return into the runner's code from here
            os.write(failing, ("%s %s" % (step, error)).encode("utf-8", "replace")[:4000])
        finally:
            os._exit(NOT_EXECUTABLE)


def default_signals() -> None:
    """As every program expects them of whoever starts it."""
    import signal

    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
