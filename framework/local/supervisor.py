"""The process that keeps a one-machine cluster up: Mesos and its servers are its children, and start again.

Run as ``python -m framework.local.supervisor REQUEST_FILE`` it is the detached form of ``butlery local up``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Protocol

from agents.spec import HostPolicy
from framework.errors import ButleryError, Fault, InputError
from framework.local import elasticsearch, ingress_process, isolation, mesos_package
from framework.local.cluster import MesosCluster, choose_port, end_process
from framework.local.credentials import Credentials
from framework.local.elasticsearch import ElasticsearchServer
from framework.local.logs import rotate
from framework.local.marathon.settings import MarathonSettings
from framework.local.marathon_process import marathon_process, url_of, write_start
from framework.local.processes import ProcessId
from framework.local.scheduler import scheduler_process, write_config
from framework.local.server_process import ServerProcess
from framework.local.spec import MAX_HOSTS, LocalSettings, default_shape, hosts_of
from framework.local.status import Paths, Status, read
from framework.settings import load_section, load_settings

TICK_S = 0.25
ROTATE_EVERY_S = 5.0
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
STEADY_S = 60.0  # a child that lived this long starts with a short back-off again
CONFIG_PLACE = "{config}"
START_PLACE = "{start}"
DIRECTORY_PLACE = "{directory}"

COMMANDS = ("scheduler_command", "marathon_command", "ingress_command")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What ``butlery local up`` was asked for. Unset fields come from the settings file, then from its defaults."""

    directory: str
    config: str | None = None
    hosts: int | None = None
    port: int | None = None
    scheduler_command: tuple[str, ...] = ()
    """The scheduler's command line, with CONFIG_PLACE where its settings file goes; empty: no scheduler."""
    marathon_command: tuple[str, ...] = ()
    """The same of the Marathon-compatible server, with START_PLACE for its file; empty: none, whatever is set."""
    ingress_command: tuple[str, ...] = ()
    """The same of the tenants' service, with CONFIG_PLACE and DIRECTORY_PLACE. It runs where both others do."""
    elasticsearch: bool = False
    """Whether one runs, whatever the settings say."""
    owner: ProcessId | None = None
    """The process that the cluster is for: when it is gone, killed perhaps, the cluster and its directory go too."""

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @staticmethod
    def load(path: Path) -> Request:
        raw = json.loads(path.read_text())
        owner = ProcessId(*raw["owner"]) if raw["owner"] else None
        commands = {name: tuple(raw[name]) for name in COMMANDS}
        return Request(**{**raw, **commands, "owner": owner})

    def local_settings(self) -> LocalSettings:
        """The ``local:`` section with what the command line says instead. Raises InputError."""
        settings = load_section(Path(self.config) if self.config else None, "local", LocalSettings)
        changes: dict[str, object] = {}
        if self.hosts is not None:
            if not 1 <= self.hosts <= MAX_HOSTS:
                raise InputError([Fault("--hosts", f"must be 1 to {MAX_HOSTS}, not {self.hosts}")])
            changes["hosts"] = [default_shape(self.hosts)]
        if self.port is not None:
            changes["port"] = self.port
        if self.elasticsearch:
            changes["elasticsearch"] = True
        return settings.model_copy(update=changes)

    def host_policy(self) -> HostPolicy:
        return load_settings(Path(self.config) if self.config else None, os.environ).agents.policy()


class Child(Protocol):
    """What the supervisor keeps alive."""

    def start(self) -> None: ...
    def exit_code(self) -> int | None: ...


class Keeper:
    """Starts one child again when it ends, later each time, with jitter."""

    def __init__(self, name: str, child: Child, say: Say) -> None:
        self.restarts = 0
        self._name = name
        self._child = child
        self._say = say
        self._deaths_in_a_row = 0
        self._started_at = time.monotonic()
        self._start_at: float | None = None

    def tick(self, now: float) -> bool:
        """Looks after the child; True where it was started again."""
        if self._start_at is None:
            code = self._child.exit_code()
            if code is None:
                return False
            if now - self._started_at > STEADY_S:
                self._deaths_in_a_row = 0
            self._plan(now, f"ended with {code}")
            return False
        if now < self._start_at:
            return False
        self._start_at = None
        self._started_at = now
        self.restarts += 1
        try:
            self._child.start()
        except (ButleryError, OSError) as error:
            self._plan(now, f"does not start: {error}")
            return False
        return True

    def _plan(self, now: float, what: str) -> None:
        longest_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**self._deaths_in_a_row)
        self._deaths_in_a_row = min(self._deaths_in_a_row + 1, 10)
        wait_s = random.uniform(longest_s / 2, longest_s)  # noqa: S311 - jitter, no secret
        self._start_at = now + wait_s
        self._say(f"{self._name} {what}; starting it again in {wait_s:.1f} s")


class Stopped(BaseException):
    """A signal asked the supervisor to stop; not an Exception, so that nothing on the way takes it for a fault."""


class Supervisor:
    """Brings a cluster up, keeps it up until a signal, and takes it down."""

    def __init__(self, request: Request, say: Say) -> None:
        self._request = request
        self._directory = Path(request.directory)
        self._paths = Paths(self._directory)
        self._say = say
        self._status = Status("starting", request.directory)
        self._cluster: MesosCluster | None = None
        self._servers: dict[str, ServerProcess] = {}  # by what their fields of the status begin with, as they start

    def run(self, ready: Callable[[Status], None]) -> None:
        """Returns when a signal (TERM, INT, HUP) has stopped it, or its owner's end. ``ready`` is called once, when

        all is up.

        Raises InputError where a setting is faulty or another supervisor has the directory, ButleryError where
        something does not come up; then everything is stopped again.
        """
        prepare(self._directory)
        with _only_one(self._paths.lock, self._directory), _signals():
            error: ButleryError | None = None
            try:
                self._start()
                ready(self._status)
                self._keep()
            except Stopped:
                pass
            except (ButleryError, OSError) as fault:
                error = _named(fault)
            try:
                self._stop()
            except (ButleryError, OSError) as fault:
                error = error or _named(fault)
            self._record_end(error)
            if self._orphaned():
                shutil.rmtree(self._directory, ignore_errors=True)
            if error is not None:
                raise error

    def _start(self) -> None:
        identity = ProcessId.of(os.getpid())
        if identity is not None:
            identity.save(self._paths.supervisor_pid)
        self._status.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._status.supervisor_pid = os.getpid()
        self._status.save()
        paths = self._paths
        for pid_file in (paths.ingress_pid, paths.marathon_pid, paths.scheduler_pid, paths.elasticsearch_pid):
            end_process(pid_file)  # of a supervisor that was killed; its port must be free
        settings = self._request.local_settings()
        held = isolation.resolve(self._request.host_policy())
        hosts = hosts_of(settings)
        package = mesos_package.ensure(self._say)
        if settings.elasticsearch:  # it takes the longest to start
            self._start_elasticsearch()
        self._cluster = MesosCluster(
            self._directory,
            hosts,
            held,
            package,
            port=settings.port,
            allocation_interval_s=settings.allocation_interval_s,
            credentials=Credentials(self._directory),
            say=self._say,
        )
        self._status.isolation, self._status.isolation_reason = held
        self._status.hosts = [
            {
                "name": host.name,
                "cpus": host.cpus,
                "mem_mib": host.mem_mib,
                "disk_mib": host.disk_mib,
                "attributes": dict(host.attributes),
            }
            for host in hosts
        ]
        self._cluster.start()
        self._status.mesos_pid, self._status.mesos_url = self._cluster.pid, self._cluster.url
        self._status.save()
        self._cluster.wait_ready()
        self._say(f"Mesos {mesos_package.VERSION} is up at {self._cluster.url} with {len(hosts)} hosts")
        ingress_url: str | None = None
        marathon = bool(self._request.marathon_command) and settings.marathon.enabled
        self._wait_ready(("elasticsearch", self._status.elasticsearch_url))
        if self._request.scheduler_command:
            wanted = marathon and settings.ingress and bool(self._request.ingress_command)
            ingress_url = self._start_scheduler(
                self._cluster.url, held.mode, wanted and ingress_process.found() is not None
            )
            if wanted and ingress_url is None:
                self._say(ingress_process.MISSING)
        if marathon:
            self._start_marathon(settings.marathon, self._cluster.url, held.mode)
        self._status.save()
        self._wait_ready(("scheduler", self._status.api_url), ("marathon", self._status.marathon_url))
        if ingress_url is not None:  # after those that it asks
            self._status.ingress_url = ingress_url
            command = self._words(self._request.ingress_command)
            self._begin("ingress", ingress_process.ingress_process(self._directory, command, ingress_url))
            self._status.save()
            self._wait_ready(("ingress", ingress_url))
        self._status.state = "up"
        self._status.save()

    def _begin(self, name: str, server: ServerProcess) -> None:
        self._servers[name] = server
        server.start()
        self._note(name)

    def _note(self, name: str) -> None:
        setattr(self._status, f"{name}_pid", self._servers[name].pid)

    def _wait_ready(self, *servers: tuple[str, str | None]) -> None:
        for name, url in servers:
            if name in self._servers:
                self._servers[name].wait_ready()
                self._say(f"{self._servers[name].name} is up at {url}")

    def _words(self, command: Sequence[str]) -> list[str]:
        """The command line with this cluster's own files."""
        paths = self._paths
        places = {CONFIG_PLACE: paths.config, START_PLACE: paths.marathon_start, DIRECTORY_PLACE: self._directory}
        return [str(places.get(word, word)) for word in command]

    def _start_elasticsearch(self) -> None:
        paths = self._paths
        port = choose_port(None, paths.elasticsearch_port, elasticsearch.PORT, "local.elasticsearch")
        package = elasticsearch.ensure(self._say)
        server = ElasticsearchServer(
            paths.elasticsearch, package, port=port, pid_file=paths.elasticsearch_pid, log=paths.elasticsearch_log
        )
        self._status.elasticsearch_url = server.url
        self._begin("elasticsearch", server.process)
        self._status.save()

    def _start_scheduler(self, mesos_url: str, mode: str, ingress: bool) -> str | None:
        """Returns where all masters are to be reached, where ``ingress`` is wanted."""
        config = Path(self._request.config) if self._request.config else None
        found = self._status.elasticsearch_url
        urls = write_config(self._directory, config, mesos_url, mode, ingress=ingress, elasticsearch_url=found)
        self._status.api_url, self._status.config = urls.api, str(self._paths.config)
        command = self._words(self._request.scheduler_command)
        self._begin("scheduler", scheduler_process(self._directory, command, urls.api))
        return urls.ingress

    def _start_marathon(self, settings: MarathonSettings, mesos_url: str, mode: str) -> None:
        config = Path(self._request.config) if self._request.config else None
        start = write_start(self._directory, config, settings, mesos_url, mode)
        self._status.marathon_url, self._status.marathon_credentials = url_of(start), start.credentials_file
        command = self._words(self._request.marathon_command)
        self._begin("marathon", marathon_process(self._directory, command, start))

    def _keep(self) -> None:
        assert self._cluster is not None  # noqa: S101 - for the type checker; run() calls _start() first
        mesos = Keeper("Mesos", self._cluster, self._say)
        keepers = {name: Keeper(server.name, server, self._say) for name, server in self._servers.items()}
        paths = self._paths
        logs = (
            *(self._cluster.log, paths.scheduler_log, paths.marathon_log),
            *(paths.ingress_log, paths.elasticsearch_log, paths.supervisor_log),
        )
        rotate_at = 0.0
        while not self._orphaned():
            now = time.monotonic()
            changed = mesos.tick(now)
            for name, keeper in keepers.items():
                changed = keeper.tick(now) or changed
                setattr(self._status, f"{name}_restarts", keeper.restarts)
                self._note(name)
            if changed:
                self._status.mesos_restarts, self._status.mesos_pid = mesos.restarts, self._cluster.pid
                self._save()
            if now > rotate_at:
                rotate_at = now + ROTATE_EVERY_S
                for log in logs:
                    with contextlib.suppress(OSError):  # a full disk must not end the cluster
                        rotate(log)
            time.sleep(TICK_S)

    def _orphaned(self) -> bool:
        return self._request.owner is not None and not self._request.owner.alive()

    def _save(self) -> None:
        """As well as it can: a full disk must not end the cluster, nor keep it from being stopped."""
        with contextlib.suppress(OSError):
            self._status.save()

    def _stop(self) -> None:
        """Whatever was asked for, nothing is left running; a second signal does not interrupt it."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self._status.state = "stopping"
        self._save()
        for server in reversed(self._servers.values()):
            server.stop()
        ingress_process.end_haproxy(self._directory)
        if self._cluster is not None:
            self._cluster.stop()

    def _record_end(self, error: ButleryError | None) -> None:
        self._status.state = "failed" if error else "down"
        self._status.error = str(error) if error else None
        self._status.faults = [list(fault) for fault in error.faults] if isinstance(error, InputError) else []
        self._status.supervisor_pid = self._status.mesos_pid = None
        self._status.scheduler_pid = self._status.marathon_pid = self._status.ingress_pid = None
        self._status.elasticsearch_pid = None
        self._save()
        self._paths.supervisor_pid.unlink(missing_ok=True)


def _named(fault: ButleryError | OSError) -> ButleryError:
    """A fault of the system in words, such as a full disk, with the file at fault."""
    if isinstance(fault, ButleryError):
        return fault
    error = ButleryError(f"{fault.filename or 'the system'}: {fault.strerror or fault}")
    error.__cause__ = fault
    return error


def prepare(directory: Path) -> None:
    """Makes the directory, which the users of builds must be able to enter. Raises InputError where it cannot be."""
    try:
        (directory / "log").mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
    except OSError as error:
        raise InputError([Fault("local.directory", f"{directory} cannot be used: {error.strerror}")]) from error


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _only_one(path: Path, directory: Path) -> Iterator[None]:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = read(directory).supervisor_pid
            message = f"{directory} is in use by another `butlery local up` (pid {pid}); `butlery local down` ends it"
            raise InputError([Fault("local.directory", message)]) from None
        yield


def main(arguments: Sequence[str]) -> int:
    """The detached form: its standard streams are a log file, and its status file says how it went."""

    def say(line: str) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end the cluster
            sys.stdout.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n")
            sys.stdout.flush()

    os.chdir("/")  # so that it keeps no file system busy
    request = Request.load(Path(arguments[0]))
    try:
        Supervisor(request, say).run(lambda _: None)
    except ButleryError as error:
        say(f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
