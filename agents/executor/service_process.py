"""A service's command as processes of this host, in the Mesos sandbox."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

from agents.executor import linux, processes, service_files, slot
from agents.executor.environment import PATH
from agents.executor.health import tell_end
from agents.executor.limits import Wanted
from agents.executor.process_body import NOT_EXECUTABLE, READ_BYTES, default_signals
from agents.executor.rotated import Rotated
from agents.executor.watch import READ, URGENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from agents.executor.limits import Verdict
    from agents.executor.slot import Slot
    from agents.executor.watch import Watch
    from agents.service_spec import ServiceSpec

REMOVE_GROUP_TIMEOUT_S = 5.0
DRAIN_BYTES = 4 * 1024 * 1024  # of what a dead service left in its pipes; more than those hold
NOTICE_BYTES = 4096
LOOK_AGAIN_S = 0.05  # after a notice of the kernel's, which comes before the kill that is counted
LOOK_AGAIN_FOR_S = 2.0
LAZY_S = 1.0  # between two looks of a watchdog that sees half of the limit unused
HANDED_ON = ("PATH", "LANG", "TZ", "MESOS_SANDBOX", "MESOS_DIRECTORY", "MESOS_FRAMEWORK_ID", "MESOS_EXECUTOR_ID")


class StartError(Exception):
    """The service cannot be started; says why, and whose fault that is."""


def wanted_of(spec: ServiceSpec) -> Wanted:
    """As Mesos has it: memory is a hard limit, CPU a share, unless limits of their own say otherwise."""
    memory = spec.mem_mib if spec.mem_limit_mib is None else max(0, spec.mem_limit_mib)
    cpu = spec.cpu_limit_millis if (spec.cpu_limit_millis or 0) > 0 else None
    return Wanted(memory, spec.cpu_millis, 0, spec.gpus, cpu)


def user_of(spec: ServiceSpec) -> tuple[int, int, str, str]:
    """User id, group id, name and home of who runs the service. Raises StartError.

    A user id that the host has no name for is in the group of the same number, and in no other.
    """
    import pwd

    named = spec.user is not None and not (spec.user.isascii() and spec.user.isdigit())
    uid = os.geteuid() if named or spec.user is None else int(spec.user)
    try:
        found = pwd.getpwnam(spec.user or "") if named else pwd.getpwuid(uid)
        uid, gid, name, home = found.pw_uid, found.pw_gid, found.pw_name, found.pw_dir
    except KeyError as error:
        if named:
            raise StartError("user %r is not known on this host" % spec.user) from error
        gid, name, home = os.getegid() if spec.user is None else uid, "", "/"
    if os.geteuid() not in (0, uid):
        raise StartError("running as user %r takes a Mesos agent that runs as root" % spec.user)
    return uid, gid, name, home


class ProcessService:
    """The command and everything below it. ``on_run`` is called once it runs, ``on_end`` once when it has ended.

    ``message`` and ``reason`` then tell why, ``passed`` whether its exit status was 0.
    """

    addresses: tuple[str, ...] = ()
    network = None  # its checks are made where this process is

    def __init__(
        self,
        spec: ServiceSpec,
        taken: Slot,
        watch: Watch,
        on_run: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self.message = ""
        self.reason = ""
        self.passed = False
        self._spec = spec
        self._slot = taken
        self._watch = watch
        self._on_run = on_run
        self._on_end = on_end
        self._limits = taken.limits(wanted_of(spec))
        self._pid = 0
        self._ended = False
        self._fds: list[tuple[int, Rotated]] = []  # where its output comes, and where that goes
        self._writing: list[int] = []
        self._notice: int | None = None
        self._look_at_s = 0.0
        self._look_until_s = 0.0
        self._environment: dict[str, str] = {}
        self._identity = (0, 0, "", "/")
        self._checks: dict[int, Callable[[int], None]] = {}  # of commands that check, who is to know of their end

    def start(self) -> None:
        """Returns when the command runs. Raises StartError."""
        signal.signal(signal.SIGCHLD, lambda *_: None)  # which then wakes the driver
        spec = self._spec
        self._identity = user_of(spec)
        uid, gid, name, home = self._identity
        sandbox = self._slot.sandbox
        try:
            service_files.own_sandbox(sandbox, uid, gid)
            secrets = service_files.write_secrets(self._slot.name, spec.mounts, uid, gid)
            service_files.link(sandbox, spec.mounts, secrets, uid, gid)
            slot.sweep(self._slot)
            self._limits.create()
            self._heed_limits()
        except (service_files.MountError, OSError) as error:
            raise StartError(str(error)) from error
        self._environment = {one: os.environ[one] for one in HANDED_ON if one in os.environ}
        self._environment.setdefault("PATH", PATH)
        self._environment.update({"HOME": home, "USER": name, "LOGNAME": name} if name else {"HOME": home})
        self._environment.update(spec.env)
        argv = ["/bin/sh", "-c", spec.shell] if spec.shell is not None else spec.argv
        if not argv:
            raise StartError("there is no command to be started")
        self._open_streams()
        failed, failing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._become(argv, self._writing[0], self._writing[-1], failing, spec.tty)
        os.close(failing)
        with open(failed, "rb") as file:
            error_text = file.read(4096).decode("utf-8", "replace")
        if error_text:
            raise StartError("%s: %s" % (argv[0], error_text))
        self._on_run()

    def patience_s(self, now_s: float) -> float:
        """How long ``tend`` may be left alone."""
        return max(0.0, self._look_at_s - now_s) if self._look_at_s else float("inf")

    def tend(self, now_s: float) -> None:
        """``now_s`` of time.monotonic."""
        if self._ended:
            return
        self._reap()
        if self._look_at_s and now_s >= self._look_at_s and not self._ended:
            self._look(now_s)

    def terminate(self) -> None:
        """Asks everything of the service to end."""
        pids = processes.descendants(os.getpid())
        processes.signal_all(pids, processes.SIGTERM)
        processes.signal_all(pids, processes.SIGCONT)  # what the service stopped itself must wake to hear it

    def kill(self) -> None:
        """Kills everything of the service; its end is told as of one that ended by itself."""
        self._limits.kill()
        processes.kill_tree(os.getpid(), self._reap)

    def clear(self) -> bool:
        """Takes away all that is left, and takes in its last output; True when nothing is left."""
        self._limits.kill()
        gone = processes.kill_tree(os.getpid(), processes.reap)
        for fd, file in self._fds:
            self._watch.drop(fd)
            for _ in range(DRAIN_BYTES // READ_BYTES):
                data = _read(fd)
                if not data:
                    break
                file.write(data)
            os.close(fd)
        for fd in self._writing:
            os.close(fd)
        self._fds, self._writing = [], []
        if self._notice is not None:
            self._watch.drop(self._notice)
            os.close(self._notice)
            self._notice = None
        service_files.remove(self._slot.name)
        deadline_s = time.monotonic() + REMOVE_GROUP_TIMEOUT_S
        while not self._limits.remove():  # a group that can be removed has nothing in it
            if time.monotonic() > deadline_s:
                return False
            self._limits.kill()
            time.sleep(0.01)
        return gone

    def run_check(self, command: list[str], done: Callable[[int | None, str], None]) -> Callable[[], None]:
        """Runs a command beside the service, held and named as that is; ``done`` gets its exit code.

        Returns what ends it without ``done``. Raises OSError.
        """
        pid = os.fork()
        if pid == 0:
            argv = ["/bin/sh", "-c", command[0]] if len(command) == 1 else command
            self._become(argv, self._writing[-1], self._writing[-1], None, False)

        def cancel() -> None:
            self._checks.pop(pid, None)
            processes.signal_all([*processes.descendants(pid), pid], processes.SIGKILL)

        self._checks[pid] = partial(tell_end, done=done)
        return cancel

    def _open_streams(self) -> None:
        limit = self._spec.host.log_mib << 19  # half of it, in bytes
        out = Rotated(os.path.join(self._slot.sandbox, "stdout"), 1, limit)
        if self._spec.tty:
            reading, writing = os.openpty()
            self._fds, self._writing = [(reading, out)], [writing]
        else:
            reading, writing = os.pipe()
            error_reading, error_writing = os.pipe()
            error = Rotated(os.path.join(self._slot.sandbox, "stderr"), 2, limit)
            self._fds, self._writing = [(reading, out), (error_reading, error)], [writing, error_writing]
        for fd, file in self._fds:
            os.set_blocking(fd, False)
            self._watch.add(fd, partial(_pump, fd, file))

    def _heed_limits(self) -> None:
        found = self._limits.notice_fd()
        if found is None:
            self._look_at_s = time.monotonic() + self._limits.interval_s
            self._look_until_s = float("inf")
            return
        self._notice, urgent = found
        if urgent:
            os.read(self._notice, NOTICE_BYTES)  # a change is told against what has been read
        self._watch.add(self._notice, partial(self._noticed, self._notice, urgent), URGENT if urgent else READ)

    def _noticed(self, fd: int, urgent: bool) -> None:
        if urgent:
            os.lseek(fd, 0, os.SEEK_SET)
        os.read(fd, NOTICE_BYTES)
        self._look_at_s = time.monotonic()
        self._look_until_s = self._look_at_s + LOOK_AGAIN_FOR_S

    def _look(self, now_s: float) -> None:
        verdict = self._limits.check(now_s)
        if verdict is not None and verdict[0] == "oom":
            self._over(verdict)
        elif now_s > self._look_until_s:
            self._look_at_s = 0.0
        elif self._notice is not None:
            self._look_at_s = now_s + LOOK_AGAIN_S
        else:
            used_mib, limit_mib = self._limits.usage().peak_mem_mib or 0.0, self._limits.wanted.mem_mib
            lazy = not limit_mib or used_mib * 2 < limit_mib
            self._look_at_s = now_s + (LAZY_S if lazy else self._limits.interval_s)

    def _over(self, verdict: Verdict) -> None:
        self.reason, self.message = "REASON_CONTAINER_LIMITATION_MEMORY", verdict[1]
        self._ended = True
        self._on_end()

    def _reap(self) -> None:
        for pid, status in processes.reap().items():
            told = self._checks.pop(pid, None)
            if told is not None:
                told(status)
            if pid == self._pid and not self._ended:
                self._take_end(status)

    def _take_end(self, status: int) -> None:
        verdict = self._limits.check(time.monotonic()) or self._limits.hindsight()
        if status and verdict is not None and verdict[0] == "oom":
            self._over(verdict)
            return
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            core = " (core dumped)" if os.WCOREDUMP(status) else ""
            self.message = "Command terminated with signal %s%s" % (signal.strsignal(number) or number, core)
        else:
            code = os.WEXITSTATUS(status)
            self.passed = code == 0
            self.message = "Command exited with status %d" % code
        self._ended = True
        self._on_end()

    def _become(self, argv: list[str], out: int, error: int, failing: int | None, terminal: bool) -> NoReturn:
        try:
            os.setsid()
            self._limits.enter()
            uid, gid, name, _ = self._identity
            if uid != os.geteuid():
                if name:
                    os.initgroups(name, gid)
                else:
                    os.setgroups([])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
            linux.end_with_parent(processes.SIGKILL)
            default_signals()
            os.umask(0o022)
            os.chdir(self._slot.sandbox)
            if terminal:
                import fcntl
                import termios

                fcntl.ioctl(out, termios.TIOCSCTTY, 0)
                os.dup2(out, 0)
            else:
                os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(error, 2)
            os.execvpe(argv[0], argv, self._environment)  # noqa: S606 - the service's command is what is started here
        except BaseException as error_found:  # noqa: BLE001 - nothing may return into the driver's code from here
            if failing is not None:
                os.write(failing, str(error_found).encode("utf-8", "replace")[:4000])
        finally:
            os._exit(NOT_EXECUTABLE)


def _pump(fd: int, file: Rotated) -> None:
    file.write(_read(fd))


def _read(fd: int) -> bytes:
    """What is there; nothing also at the end, which the service's death tells of by itself."""
    try:
        return os.read(fd, READ_BYTES)
    except OSError:
        return b""
