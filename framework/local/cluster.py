"""A Mesos master and its agents as one child process on 127.0.0.1.

The directory of a cluster holds::

    mesos/work/agents/N/work    what agent N knows: its id, its executors, their sandboxes (Mesos' own layout)
    mesos/hosts.tsv             the hosts it was last started with
    mesos/mesos.pid             which process it is
    mesos/port                  the port it was given; a restart takes the same, for executors come back to it
    log/mesos.log               its warnings and errors, at most two files of LOG_MIB
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from framework.errors import ButleryError, Fault, InputError, UnavailableError
from framework.local import fetcher, processes
from framework.local.credentials import Credentials
from framework.local.isolation import CGROUP_V1, V1_CONTROLLERS, Isolation
from framework.local.logs import open_log, tail
from framework.local.processes import ProcessId
from framework.local.spec import Host

HTTP_TIMEOUT_S = 10.0
SAY_EVERY_S = 2.0
MESOS_PORT = 5050  # the usual one of a Mesos master
STOP_TIMEOUT_S = 15.0
EXECUTOR_GRACE_S = 10.0
READY_BASE_S = 60.0
READY_PER_HOST_S = 0.2  # 317 agents were seen to register within 10 s on two cores; this leaves room for a busy machine


class MesosCluster:
    """One cluster; ``say`` gets lines of progress. Not for use from several threads."""

    def __init__(
        self,
        directory: Path,
        hosts: Sequence[Host],
        isolation: Isolation,
        package: Path,
        *,
        port: int | None = None,
        allocation_interval_s: float = 0.25,
        credentials: Credentials | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Without ``credentials`` Mesos asks nobody who they are."""
        self.directory = directory.resolve()
        self.isolation = isolation
        self._described = list(hosts)
        self.package = package
        self._wanted_port = port
        self._allocation_interval_s = allocation_interval_s
        self.credentials = credentials
        self._say = say
        self._mesos = self.directory / "mesos"
        self._pid_file = self._mesos / "mesos.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def work_dir(self) -> Path:
        return self._mesos / "work"

    @property
    def log(self) -> Path:
        return self.directory / "log" / "mesos.log"

    @property
    def pid(self) -> int | None:
        """Pid of the running child; None where it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Starts Mesos, after stopping what an earlier supervisor of this directory left of it; builds live on.

        Raises InputError where the port is taken or the directory cannot be used.
        """
        self._end_stale()
        try:
            for path in (self.work_dir, self._mesos / "run", self.log.parent):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError([Fault("local.directory", f"{error.filename}: {error.strerror}")]) from error
        if self.credentials is not None:
            self.credentials.make()
        self.port = self._choose_port()
        self._forget_changed_hosts()
        self._write_hosts()
        libexec = self._write_libexec()
        with open_log(self.log) as log:
            self._process = subprocess.Popen(
                [self.package / "mesos-local"],
                cwd=self._mesos,
                env=self._environment(libexec),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,  # builds run as other users and must be able to enter
            )
        identity = ProcessId.of(self._process.pid)
        if identity is not None:
            identity.save(self._pid_file)

    def exit_code(self) -> int | None:
        """None while the child runs, else how it ended (negative: the signal)."""
        return self._process.poll() if self._process is not None else 0

    def wait_ready(self, timeout_s: float | None = None) -> None:
        """Waits until every host is registered. Raises UnavailableError with Mesos' last words where that fails."""
        expected = len(self._described)
        timeout_s = READY_BASE_S + READY_PER_HOST_S * expected if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        seen = 0
        say_at = time.monotonic() + SAY_EVERY_S
        while time.monotonic() < deadline:
            if self.exit_code() is not None:
                raise UnavailableError(f"Mesos ended with {self.exit_code()}: {tail(self.log)} (see {self.log})")
            with contextlib.suppress(UnavailableError):
                seen = len(self.hosts())
                if seen >= expected:
                    return
                if time.monotonic() > say_at:
                    say_at = time.monotonic() + SAY_EVERY_S
                    self._say(f"{seen} of {expected} hosts registered")
            time.sleep(0.1)
        raise UnavailableError(
            f"{seen} of {expected} hosts registered within {timeout_s:g} s: {tail(self.log)} (see {self.log})"
        )

    def hosts(self) -> list[dict[str, Any]]:
        """The active hosts as Mesos tells them, in the order of their description. Raises UnavailableError."""
        order = {host.name: index for index, host in enumerate(self._described)}
        authorization = self.credentials.operator.authorization() if self.credentials is not None else None
        told = get_json(f"{self.url}/slaves", authorization=authorization)["slaves"]
        found = [host for host in told if host["active"]]
        return sorted(found, key=lambda host: order.get(host["hostname"], len(order)))

    def kill9(self) -> None:
        """Kills Mesos as a crash would; executors and builds live on."""
        self._end(signal.SIGKILL)

    def stop_mesos(self) -> None:
        """Ends Mesos only; executors and builds live on and wait for it."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Ends Mesos if it runs, starts it on the same port and work directory, and waits for its hosts."""
        self.stop_mesos()
        self.start()
        self.wait_ready()

    def stop(self) -> None:
        """Ends Mesos, executors and builds, and removes their control groups. Idempotent.

        Raises ButleryError where a process cannot be ended.
        """
        self._end(signal.SIGTERM)
        self._end_stale()
        clean(self.directory)

    def _end(self, number: int) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_TIMEOUT_S)
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def _end_stale(self) -> None:
        if end_process(self._pid_file):
            self._say("stopped the Mesos that an earlier run left behind")

    def _choose_port(self) -> int:
        return choose_port(self._wanted_port, self._mesos / "port", MESOS_PORT, "local.port")

    def _forget_changed_hosts(self) -> None:
        """An agent whose resources or attributes changed would refuse to recover: it begins anew, with a new id."""
        try:
            before = (self._mesos / "hosts.tsv").read_text().splitlines()
        except OSError:
            return
        now = self._host_lines()
        for index, line in enumerate(before):
            if index < len(now) and now[index] == line:
                continue
            agent = self.work_dir / "agents" / str(index)
            latest = agent / "work" / "meta" / "slaves" / "latest"
            if latest.is_symlink():
                self._say(f"{line.split(chr(9))[0]} is not as before: its builds end and it gets a new id")
                processes.end(functools.partial(_builds_of, agent), grace_s=0)
                latest.unlink()

    def _host_lines(self) -> list[str]:
        root = cgroups_root(self.directory)
        return [
            "\t".join([host.name, host.attributes_text(), f"{root}/mesos/{index}", host.resources_text()])
            for index, host in enumerate(self._described)
        ]

    def _write_hosts(self) -> None:
        (self._mesos / "hosts.tsv").write_text("".join(f"{line}\n" for line in self._host_lines()))

    def _write_libexec(self) -> Path:
        """Mesos' launcher directory. The fetcher is ours and runs on this Python, so it is made for each cluster."""
        libexec = self._mesos / "libexec"
        libexec.mkdir(exist_ok=True)
        containerizer = libexec / "mesos-containerizer"
        containerizer.unlink(missing_ok=True)
        containerizer.symlink_to(self.package / "mesos-containerizer")
        program = libexec / "mesos-fetcher"
        python, script = shlex.quote(sys.executable), shlex.quote(str(Path(fetcher.__file__).resolve()))
        program.write_text(f"#!/bin/sh\nexec {python} -I -S {script}\n")
        program.chmod(0o755)
        return libexec

    def _environment(self, libexec: Path) -> dict[str, str]:
        """Flags of the master and of every agent. Executors see none of it: Mesos makes their environment."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ") if name in os.environ}
        root = os.geteuid() == 0
        threads = min(64, max(8, len(self._described) // 4))  # libprocess' default of 8 is too few for many agents
        return {
            **kept,
            "BUTLERY_HOSTS": str(self._mesos / "hosts.tsv"),
            "LIBPROCESS_IP": "127.0.0.1",
            "LIBPROCESS_ADVERTISE_IP": "127.0.0.1",
            "LIBPROCESS_PORT": str(self.port),
            "LIBPROCESS_NUM_WORKER_THREADS": str(threads),
            "GLOG_minloglevel": "1",
            "MESOS_WORK_DIR": str(self.work_dir),
            "MESOS_RUNTIME_DIR": str(self._mesos / "run"),
            "MESOS_LAUNCHER_DIR": str(libexec),
            "MESOS_DOCKER_STORE_DIR": str(self._mesos / "store" / "docker"),
            "MESOS_APPC_STORE_DIR": str(self._mesos / "store" / "appc"),
            "MESOS_LAUNCHER": "posix",  # the only one that libmesos allows several agents of a machine
            **self.isolation.mesos_flags(),
            "MESOS_HOSTNAME_LOOKUP": "false",
            "MESOS_SWITCH_USER": "true" if root else "false",
            "MESOS_SYSTEMD_ENABLE_SUPPORT": "false",
            "MESOS_ALLOCATION_INTERVAL": f"{round(self._allocation_interval_s * 1000)}ms",
            **(self.credentials.mesos_flags() if self.credentials is not None else {}),
            "MESOS_STRICT": "false",  # after kill -9 a checkpoint may be half written; what can be recovered is
            "MESOS_EXECUTOR_REGISTRATION_TIMEOUT": "5mins",  # hundreds of executors may start at once on two cores
            # After a restart with builds running, agents wait for all of this time before they register again. The
            # executors need some of it to come back, the more so the more of them share the machine's cores.
            "MESOS_EXECUTOR_REREGISTRATION_TIMEOUT": f"{min(15, 4 + len(self._described) // 20)}secs",
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "30secs",
            "MESOS_GC_DELAY": "1days",
        }


def _builds_of(agent: Path) -> set[int]:
    return processes.with_descendants(processes.of_directory(agent))


def cgroups_root(directory: Path) -> str:
    """Where the control groups of a cluster's builds are, in each hierarchy; one name per directory.

    An agent takes every group below its own root for its containers, so neither agents nor clusters may share one.
    The part ``mesos`` below it is by what the Mesos executor knows that Mesos' isolators hold it.
    """
    return "butlery-" + hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:12]


def end_process(pid_file: Path, timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """Ends the process that ``pid_file`` names, if it still is that process; True where there was one."""
    process = ProcessId.load(pid_file)
    found = process is not None and process.alive()
    if process is not None and found:
        process.kill(signal.SIGTERM)
        if not processes.wait_gone(process, timeout_s):
            process.kill(signal.SIGKILL)
            if not processes.wait_gone(process, timeout_s):
                raise ButleryError(f"process {process.pid} cannot be ended")
    pid_file.unlink(missing_ok=True)
    return found


def clean(directory: Path) -> None:
    """Ends what the agents of ``directory`` started and removes their control groups; Mesos itself must be gone."""
    directory = directory.resolve()
    groups = [CGROUP_V1 / name / cgroups_root(directory) for name in V1_CONTROLLERS]

    def leftovers() -> set[int]:
        found = processes.of_directory(directory / "mesos")
        for group in groups:
            for procs in group.rglob("cgroup.procs"):
                with contextlib.suppress(OSError):
                    found.update(int(pid) for pid in procs.read_text().split())
        return processes.with_descendants(found)

    left = processes.end(leftovers, EXECUTOR_GRACE_S)
    if left:
        raise ButleryError(f"these processes of {directory} cannot be ended: {sorted(left)}")
    for group in groups:
        for path, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):  # the kernel may still be emptying it; it costs nothing to leave
                os.rmdir(path)  # noqa: PTH106 - walk gives strings


def choose_port(given: int | None, remembered: Path, usual: int, setting: str) -> int:
    """The port ``given``, else the one that ``remembered`` holds, else ``usual`` or any free one; then remembered.

    Raises InputError that names ``setting`` and the holder where a given or remembered port is taken.
    """
    wanted = given
    if wanted is None:
        with contextlib.suppress(OSError, ValueError):
            wanted = int(remembered.read_text())
    if wanted is None:
        port = next(port for port in (usual, 0) if can_bind(port)) or free_port()
    elif can_bind(wanted):
        port = wanted
    else:
        holder = processes.port_holder(wanted) or "another process"
        message = f"port {wanted} of 127.0.0.1 is taken by {holder}; stop it or set another port"
        raise InputError([Fault(setting, message)])
    remembered.write_text(f"{port}\n")
    return port


def can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get_json(url: str, timeout_s: float = HTTP_TIMEOUT_S, authorization: str | None = None) -> Any:
    """The JSON that ``url`` of this machine answers with to who says so. Raises UnavailableError."""
    # A company's proxy, which http_proxy may name, would look for 127.0.0.1 on itself.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        asked = urllib.request.Request(url, headers={"Authorization": authorization} if authorization else {})  # noqa: S310
        with direct.open(asked, timeout=timeout_s) as answer:
            return json.load(answer)
    except (OSError, ValueError, urllib.error.URLError, http.client.HTTPException) as error:
        raise UnavailableError(f"{url} does not answer: {error}") from error
