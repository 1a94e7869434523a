"""HAProxy as a process that outlives the service: started, found again, given other settings without a gap, ended.

It is its own session, and is found by where it works: its master process and the one that serves have the ingress'
directory as theirs. So there is no moment in which one runs that nobody would find.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import re
import resource
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from framework.errors import Fault, InputError, UnavailableError
from framework.local import ingress_process, processes
from framework.local.files import PRIVATE, write_whole
from framework.local.logs import open_log, rotate, tail
from framework.log import get_logger
from framework.urls import bracketed
from masters.ingress.places import Places
from masters.ingress.runtime import Runtime

log = get_logger(__name__)

CHECK_TIMEOUT_S = 30.0
READY_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.05
MAX_CONNECTIONS = 12_000
SPARE_FILES = 300
"""Beside two of each connection: listeners, sockets, what HAProxy needs itself."""
USERS = ("haproxy", "nobody")
OLDEST = (2, 6)
"""Version that takes what ``config`` makes, and that it is tested with: Debian 12's."""
MOST_PORTS_TOLD = 5


class HaProxy:
    """Of one directory. Not for use by several services at once."""

    def __init__(self, places: Places, program: str) -> None:
        """Raises InputError where the program is not there."""
        self._places = places
        self._program = _found(program)
        self._pid: processes.ProcessId | None = None

    @property
    def pid(self) -> int | None:
        """Of its master process; None where none runs."""
        if self._pid is None:
            return None
        with contextlib.suppress(ChildProcessError):  # not ours: taken over
            os.waitpid(self._pid.pid, os.WNOHANG)
        return self._pid.pid if self._pid.alive() else None

    def check(self, text: str) -> None:
        """Raises InputError with what HAProxy has against this configuration, such as a certificate."""
        fresh = self._places.directory / "haproxy.cfg.check"
        write_whole(fresh, text, PRIVATE)
        try:
            result = self._run("-c", "-f", fresh.name)
        finally:
            fresh.unlink(missing_ok=True)
        if result.returncode != 0:
            alerts = re.findall(r"\[ALERT\]\s+\(\d+\) : (.*)", result.stderr.decode(errors="replace"))
            self._refuse_old()
            said = [alert for alert in alerts if not re.search(r"rrors?(\(s\))? found", alert)] or ["no reason told"]
            raise InputError([Fault("masters.ingress", f"HAProxy does not take it: {line}") for line in said])

    def _refuse_old(self) -> None:
        """Raises InputError where it is of a version that cannot know what it is told."""
        version = re.search(r"version (\d+)\.(\d+)", self._run("-v").stdout.decode(errors="replace"))
        if version is not None and (int(version[1]), int(version[2])) < OLDEST:
            is_, needed = f"{version[1]}.{version[2]}", ".".join(map(str, OLDEST))
            message = f"{self._program} is HAProxy {is_}; {needed} or later is needed"
            raise InputError([Fault("masters.ingress.haproxy", message)])

    async def adopt_or_start(self, text: str) -> bool:
        """Takes over the one that runs, or starts one; whether one ran. Other settings are taken up without a gap.

        Raises InputError, UnavailableError.
        """
        await asyncio.to_thread(self.check, text)
        running = self._first()
        if len(running) == 1 and await self._answers():
            self._pid = processes.ProcessId.of(next(iter(running)))
            if _read(self._places.config) != text:
                await self.reload(text)
            return True
        await self.start(text)
        return False

    async def start(self, text: str) -> None:
        """Raises UnavailableError with its last words where it does not come up."""
        if _read(self._places.config) != text:  # what is there already needs no room on a full disk
            write_whole(self._places.config, text, PRIVATE)
        # What serves ends with its master process, but may be a moment later.
        await asyncio.to_thread(processes.end, self._all, 0.0)
        self._pid = processes.ProcessId.of(self._spawn())
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not await self._answers():
            if self.pid is None or time.monotonic() > deadline:
                raise UnavailableError(f"HAProxy does not come up: {tail(self._places.haproxy_log, 3)}")
            await asyncio.sleep(POLL_S)

    async def reload(self, text: str) -> None:
        """A new process serves, and the old one ends what it has begun. Raises InputError, UnavailableError."""
        await asyncio.to_thread(self.check, text)
        before, old = await Runtime(self._places).pid(), _read(self._places.config)
        write_whole(self._places.config, text, PRIVATE)
        if self._pid is not None:
            self._pid.kill(signal.SIGUSR2)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                if await Runtime(self._places).pid() != before:
                    log.info("HAProxy took up other settings")
                    return
            except UnavailableError:
                pass  # between the two
            await asyncio.sleep(POLL_S)
        write_whole(self._places.config, old, PRIVATE)  # what it runs with, for who takes it over
        raise UnavailableError(f"HAProxy goes on with its old settings: {tail(self._places.haproxy_log, 3)}")

    def _spawn(self) -> int:
        rotate(self._places.haproxy_log)
        with open_log(self._places.haproxy_log) as output:
            return os.posix_spawn(
                self._program,
                [self._program, "-W", "-C", str(self._places.directory), "-f", self._places.config.name],
                _environment(),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
                ],
                setsid=True,
            )

    async def _answers(self) -> bool:
        try:
            await Runtime(self._places).pid()
        except UnavailableError:
            return False
        return True

    def _all(self) -> set[int]:
        return of_places(self._places)

    def _first(self) -> set[int]:
        """Master processes: those that are nobody's children here."""
        found = self._all()
        return {pid for pid in found if len(processes.with_descendants([pid]) & found) == len(found)}

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                [self._program, *arguments],
                cwd=self._places.directory,
                env=_environment(),
                capture_output=True,
                timeout=CHECK_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"{self._program} cannot be run: {error}") from error


def of_places(places: Places) -> set[int]:
    """Every HAProxy of this directory."""
    return {pid for pid in processes.of_directory(places.directory) if _name(pid) == "haproxy"}


def end(places: Places) -> set[int]:
    """Ends all of this directory; the pids that would not."""
    return processes.end(lambda: of_places(places), STOP_TIMEOUT_S)


def unprivileged_user() -> tuple[str, str] | None:
    """Whom HAProxy becomes, with the group; None where we are not root, and it stays who we are."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return name, grp.getgrgid(found.pw_gid).gr_name
    return None


def most_connections(listeners: int) -> int:
    """As many as the limit of open files leaves room for, at two each."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(100, min(MAX_CONNECTIONS, (limit - listeners - SPARE_FILES) // 2))


def certificate_faults(path: Path) -> list[Fault]:
    """What is wrong with a PEM file with a private key, or a directory of such, before HAProxy reads it."""
    where = "masters.ingress.certificate"
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        faults = [
            Fault(where, f"everyone on this machine may read {file}; `chmod 600` it")
            for file in files
            if file.stat().st_mode & 0o007
        ]
    except OSError as error:
        return [Fault(where, f"{path} cannot be read: {error.strerror}")]
    return faults if files else [Fault(where, f"{path} holds no certificate")]


def port_faults(places: Places, host: str, where: str, first: int, last: int) -> list[Fault]:
    """Ports of the range that somebody else listens on, the first few. ``where``: the setting that names them."""
    ours = set[str]().union(*(processes.sockets(pid) for pid in of_places(places)))
    taken = [
        port for port, sockets in sorted(processes.listening().items()) if first <= port <= last and sockets - ours
    ]
    return [
        Fault(where, f"{bracketed(host)}:{port} is taken by {processes.port_holder(port) or 'another user'}")
        for port in taken[:MOST_PORTS_TOLD]
    ]


def _found(program: str) -> str:
    found = ingress_process.found(program)
    if found is None:
        message = f"there is no program {program}; `apt-get install haproxy`, version 2.6 or later"
        raise InputError([Fault("masters.ingress.haproxy", message)])
    return found


def _environment() -> Mapping[str, str]:
    """Nothing of ours: HAProxy would hand its environment to nobody, but it is on show in /proc."""
    return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
