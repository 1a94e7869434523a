"""What ``butlery tenants serve`` runs: the ingress, masters that wake and go to sleep, and their backups."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Coroutine, Iterator, Sequence

from framework.errors import ButleryError, Fault, InputError, UnavailableError
from framework.local.logs import open_log, rotate, tail
from framework.local.processes import ProcessId, wait_gone
from framework.log import get_logger
from framework.runtime.chance import SystemChance, SystemClock
from masters.edges import Edges
from masters.ingress import haproxy
from masters.ingress.ingress import Ingress
from masters.ingress.places import Places
from masters.ingress.state import ask
from masters.operations.lifecycle import wake
from masters.service.backups import Backups
from masters.service.boots import Boots
from masters.service.door import Door
from masters.service.hibernation import Hibernation
from masters.settings import MastersContext

log = get_logger(__name__)

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


def run(edges: Edges) -> int:
    """Runs until SIGTERM or SIGINT, and ends HAProxy then; the exit code.

    A service that is killed leaves HAProxy serving, and the next one takes it over. Raises InputError where a setting
    is faulty, a port is taken or another service runs.
    """
    places = Places.of(edges.context)
    try:
        places.prepare()
        with _only_one(places):
            asyncio.run(_serve(edges, places))
    except OSError as error:
        raise ButleryError(f"{error.filename or places.directory}: {error.strerror or error}") from error
    return 0


async def _serve(edges: Edges, places: Places) -> None:
    clock, chance = SystemClock(), SystemChance()
    settings = edges.context.settings
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    ingress = Ingress(edges.marathon, settings, places, lambda master: wake(edges, master), clock, chance)
    door = Door(places, ingress)
    try:
        await ingress.open()
        await door.open()
        backups = Backups(edges, ingress, clock, chance)
        hibernation = Hibernation(edges, ingress, clock, backups.let_sleep)
        boots = Boots(edges, ingress, clock)
        await _until(stopping, ingress.run(), hibernation.run(), backups.run(), boots.run())
    finally:
        await door.close()
        await ingress.close()
        if stopping.is_set():  # else HAProxy serves on with what it has
            left = await asyncio.to_thread(haproxy.end, places)
            log.info("the ingress has ended", left=sorted(left) or None)


async def _until(stopping: asyncio.Event, *works: Coroutine[None, None, None]) -> None:
    """Runs all of them until it is to stop, or one of them fails."""
    tasks = [asyncio.create_task(work) for work in works]
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({*tasks, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


@contextlib.contextmanager
def _only_one(places: Places) -> Iterator[None]:
    """Raises InputError where another service runs."""
    with places.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = ProcessId.load(places.pid)
            whose = f" (pid {other.pid})" if other else ""
            message = f"the tenants' service of {places.directory} runs already{whose}; `butlery tenants serve --stop`"
            raise InputError([Fault("", f"{message} ends it")]) from None
        identity = ProcessId.of(os.getpid())
        if identity is not None:
            identity.save(places.pid)
        try:
            yield
        finally:
            places.pid.unlink(missing_ok=True)


def start_detached(context: MastersContext, command: Sequence[str]) -> int:
    """Runs ``command`` (the whole of ``butlery tenants serve`` with its options, without ``--detach``) in a process

    of its own, and returns its pid once it serves. Raises UnavailableError with its last words where it does not.
    """
    places = Places.of(context)
    places.prepare()
    rotate(places.log)
    with open_log(places.log) as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UnavailableError(f"the tenants' service ended: {tail(places.log)} (see {places.log})")
        with contextlib.suppress(UnavailableError):
            state = ask(context)
            if state is not None and state.pid == process.pid:
                process.returncode = 0  # it is not ours to wait for
                return process.pid
        time.sleep(0.1)
    process.kill()
    process.wait()
    raise UnavailableError(f"the tenants' service does not come up: {tail(places.log)} (see {places.log})")


def stop(context: MastersContext) -> bool:
    """Ends the service and HAProxy; False where none ran. Raises ButleryError where one would not end."""
    places = Places.of(context)
    service = ProcessId.load(places.pid)
    ran = service is not None and service.alive()
    if service is not None and ran:
        service.kill(signal.SIGTERM)
        if not wait_gone(service, STOP_TIMEOUT_S):
            service.kill(signal.SIGKILL)
            wait_gone(service, STOP_TIMEOUT_S)
    ran = ran or bool(haproxy.of_places(places))
    left = haproxy.end(places)
    if left:
        raise ButleryError(f"HAProxy does not end: pid {', '.join(map(str, sorted(left)))}")
    return ran
