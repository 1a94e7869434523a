"""A cluster of one machine for a demo or a benchmark: of its own, in a temporary directory, gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from benchmarks.api import Api
from framework.errors import ButleryError, InputError
from framework.local import control
from framework.local.cluster import free_port
from framework.local.processes import ProcessId
from framework.local.status import Paths, Status, read, status_file

Say = Callable[[str], None]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PORT_ATTEMPTS = 3
OWN_PORTS = 61_000
"""The first of the ports of tasks that really bind them: none of the cluster that the user may have up (31,000 and on),

nor of those that Linux gives to connections (32,768 to 60,999)."""
PORT_SETTINGS = ("local.port", "local.marathon.port", "api.port", "masters.ingress.http_port")


class Interrupted(BaseException):
    """A signal asked us to end; not an Exception, so that nothing on the way takes it for a fault."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C, TERM and HUP raise Interrupted in the main thread, once; those that follow do not disturb the clearing

    up. Handlers are as before afterwards.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ended(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Has it end, and kills it where it does not in time."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Cluster:
    """A cluster that is up. ``directory`` is its own, with room for more files, which go with it."""

    def __init__(self, directory: Path, status: Status) -> None:
        self.directory = directory
        self.status = status

    def now(self) -> Status:
        """The status as it is by now."""
        return read(self.directory)

    def api(self) -> Api:
        """The administrator's view of the API."""
        token = Paths(self.directory).admin_token.read_text().strip()
        assert self.status.api_url is not None  # noqa: S101 - for the type checker; it is up with its scheduler
        return Api(self.status.api_url, token)


@contextmanager
def temporary_cluster(
    settings: Mapping[str, Any], say: Say, *, keep: bool = False, scheduler: bool = True
) -> Iterator[Cluster]:
    """A real Mesos and the scheduler on free ports, with ``settings`` as their file has them; for ``interruptible``.

    The Marathon-compatible server and the tenants' service are only there where ``settings`` tell of them
    (``local.marathon``, ``local.ingress``), the scheduler unless it is not wanted.
    It is ended and removed at the end, also where this process is killed, unless all went well and it is to be kept.
    Raises InputError, UnavailableError or ButleryError where it does not come up or cannot be ended.
    """
    directory = Path(tempfile.mkdtemp(prefix="butlery-"))
    kept = False
    try:
        owner = None if keep else ProcessId.of(os.getpid())
        yield Cluster(directory, _up(directory, settings, owner, say, scheduler))
        kept = keep
    finally:
        if not kept:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            _clear(directory, say)


def _up(directory: Path, settings: Mapping[str, Any], owner: ProcessId | None, say: Say, scheduler: bool) -> Status:
    """Between choosing a free port and taking it somebody else may; then another is chosen."""
    file = directory / "settings.yaml"
    for attempt in range(PORT_ATTEMPTS):
        marathon = settings.get("local", {}).get("marathon", {"enabled": False})
        ports: dict[str, dict[str, Any]] = {
            "local": {"port": free_port(), "marathon": {"port": free_port(), **marathon}},
            "api": {"port": free_port()},
            "masters": {"ingress": {"http_port": free_port(), **settings.get("masters", {}).get("ingress", {})}},
        }
        sections = {name: {**settings.get(name, {}), **ports.get(name, {})} for name in {*settings, *ports}}
        sections["local"].setdefault("ingress", False)
        file.write_text(yaml.safe_dump(sections))
        command = control.SCHEDULER_COMMAND if scheduler else ()
        request = control.request_for(directory=directory, config=file, owner=owner, scheduler_command=command)
        try:
            return control.up_detached(request, say)
        except InputError as error:
            taken = all(fault.where in PORT_SETTINGS for fault in error.faults)
            if not taken or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def _clear(directory: Path, say: Say) -> None:
    try:
        if status_file(directory).exists():
            control.down(directory, say)
    finally:
        try:
            shutil.rmtree(directory)
        except OSError as error:
            raise ButleryError(f"{directory} cannot be removed: {error}") from error
