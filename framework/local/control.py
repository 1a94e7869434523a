"""``butlery local up``, ``status`` and ``down`` as functions."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from framework.errors import ButleryError, Fault, InputError, UnavailableError
from framework.local import elasticsearch, ingress_process, isolation, mesos_package
from framework.local.cluster import clean, end_process
from framework.local.logs import open_log, tail
from framework.local.processes import ProcessId, wait_gone
from framework.local.spec import default_directory
from framework.local.status import Paths, Status, read, status_file
from framework.local.supervisor import CONFIG_PLACE, DIRECTORY_PLACE, START_PLACE, Request, Supervisor, prepare

UP_TIMEOUT_S = 600.0
DOWN_TIMEOUT_S = 120.0

SCHEDULER_COMMAND = (sys.executable, "-m", "framework.cli", "scheduler", "run", "--config", CONFIG_PLACE)
MARATHON_COMMAND = (sys.executable, "-m", "framework.local.marathon.server", START_PLACE)
INGRESS_COMMAND = (
    *(sys.executable, "-m", "framework.cli", "tenants", "serve"),
    *("--config", CONFIG_PLACE, "--dir", DIRECTORY_PLACE),
)


def request_for(
    *,
    directory: Path | None = None,
    config: Path | None = None,
    hosts: int | None = None,
    port: int | None = None,
    elasticsearch: bool = False,
    scheduler_command: tuple[str, ...] = SCHEDULER_COMMAND,
    marathon_command: tuple[str, ...] = MARATHON_COMMAND,
    ingress_command: tuple[str, ...] = INGRESS_COMMAND,
    owner: ProcessId | None = None,
) -> Request:
    """What is asked for, checked. With an ``owner`` it ends, and its directory goes, when that process does.

    Raises InputError with the faults of the command line and of the file.
    """
    request = Request(
        directory="",
        config=str(config.absolute()) if config else None,
        hosts=hosts,
        port=port,
        elasticsearch=elasticsearch,
        scheduler_command=scheduler_command,
        marathon_command=marathon_command,
        ingress_command=ingress_command,
        owner=owner,
    )
    settings = request.local_settings()
    return replace(request, directory=str(_directory(directory, settings.directory)))


def up(request: Request, say: Callable[[str], None], ready: Callable[[Status], None]) -> None:
    """Brings the cluster up, calls ``ready``, and keeps it up until TERM, INT or HUP; then takes all of it down.

    Raises InputError, UnavailableError or ButleryError where it does not come up.
    """
    Supervisor(request, say).run(ready)


def up_detached(request: Request, say: Callable[[str], None]) -> Status:
    """Brings the cluster up in a process of its own, and returns when it is up. One that is up already is left so.

    Raises InputError, UnavailableError or ButleryError where it does not come up; nothing is left running then.
    """
    directory = Path(request.directory)
    status = _settled(directory)
    if status.state == "up":
        say(f"already up, with pid {status.supervisor_pid}; other settings take effect after `butlery local down`")
        return status
    isolation.resolve(request.host_policy())  # what can be wrong is said here, where somebody reads it,
    mesos_package.ensure(say)  # and so is the progress of what takes long
    if request.local_settings().elasticsearch:
        elasticsearch.ensure(say)
    prepare(directory)
    paths = Paths(directory)
    status_file(directory).unlink(missing_ok=True)
    asked = directory / "request.json"
    request.save(asked)
    pid = _spawn([sys.executable, "-m", "framework.local.supervisor", str(asked)], paths.supervisor_log)
    try:
        return _wait_up(pid, directory)
    except BaseException:
        supervisor = ProcessId.of(pid)
        if supervisor is not None:
            supervisor.kill(signal.SIGTERM)
            wait_gone(supervisor, DOWN_TIMEOUT_S)
        raise


def _settled(directory: Path) -> Status:
    """The status, once a supervisor that is at work on this directory has got everything up or is gone."""
    deadline = time.monotonic() + UP_TIMEOUT_S
    while time.monotonic() < deadline:
        status = read(directory)
        if status.supervisor_pid is None or (status.state == "up" and status.complete()):
            return status
        time.sleep(0.1)
    raise UnavailableError(
        f"the supervisor of {directory} (pid {status.supervisor_pid}) has not got everything up "
        f"for {UP_TIMEOUT_S:g} s; `butlery local down` ends it"
    )


def _spawn(command: list[str], log: Path) -> int:
    """Starts a process in a session of its own that outlives this one. Returns its pid."""
    with open_log(log) as output, open(os.devnull) as nothing:
        return os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
            ],
            setsid=True,
        )


def _wait_up(pid: int, directory: Path) -> Status:
    deadline = time.monotonic() + UP_TIMEOUT_S
    log = Paths(directory).supervisor_log
    while time.monotonic() < deadline:
        ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        status = read(directory)
        if status.faults:
            raise InputError([Fault(where, message) for where, message in status.faults])
        if status.state == "failed" or ended:
            raise UnavailableError(status.error or f"the supervisor ended: {tail(log)} (see {log})")
        if status.state == "up":
            return status
        time.sleep(0.1)
    raise UnavailableError(f"not up after {UP_TIMEOUT_S:g} s: {tail(log)} (see {log})")


def down(directory: Path, say: Callable[[str], None], *, wipe: bool = False) -> None:
    """Ends the servers, Mesos, executors, builds and apps of ``directory``, whoever of them is alive. Idempotent.

    ``wipe`` removes the directory. Raises ButleryError where a process cannot be ended, InputError where ``wipe``
    names a directory that no cluster was in.
    """
    if not directory.exists():
        say(f"nothing runs: there is no {directory}")
        return
    if not status_file(directory).exists():
        if wipe:
            raise InputError([Fault("--dir", f"{directory} holds no cluster; it is not removed")])
        say(f"nothing runs: there is no cluster in {directory}")
        return
    owner = directory.stat().st_uid
    if os.geteuid() not in (0, owner):
        whose = _user_name(owner)
        raise InputError([Fault("--dir", f"{directory} is of user {whose}, who alone (and root) can end it")])
    paths = Paths(directory)
    supervisor = ProcessId.load(paths.supervisor_pid)
    if supervisor is not None and supervisor.alive():
        say("stopping")
        supervisor.kill(signal.SIGTERM)
        if not wait_gone(supervisor, DOWN_TIMEOUT_S):
            supervisor.kill(signal.SIGKILL)
            wait_gone(supervisor, DOWN_TIMEOUT_S)
    for pid_file in (paths.ingress_pid, paths.marathon_pid, paths.scheduler_pid, paths.mesos_pid):
        end_process(pid_file)
    end_process(paths.elasticsearch_pid)
    ingress_process.end_haproxy(directory)
    clean(directory)
    if wipe:
        try:
            shutil.rmtree(directory)
        except OSError as error:
            raise ButleryError(f"{directory} cannot be removed: {error}") from error
        say(f"stopped; {directory} is removed")
        return
    status = read(directory)
    status.state, status.error = "down", None
    status.save()
    paths.supervisor_pid.unlink(missing_ok=True)
    say("stopped")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def directory_of(directory: Path | None, config: Path | None) -> Path:
    """The cluster that a command means: ``--dir``, else the settings', else the default. Raises InputError."""
    settings = Request(directory="", config=str(config.absolute()) if config else None).local_settings()
    return _directory(directory, settings.directory)


def _directory(given: Path | None, configured: Path | None) -> Path:
    return Path(os.path.abspath(given or configured or default_directory()))  # noqa: PTH100 - links are kept as given
