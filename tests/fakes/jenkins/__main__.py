"""Starts the stand-in, and stops it as Jenkins does: 143 after a SIGTERM, with the queue kept. It restarts by exec."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine
from typing import Any, TextIO

from masters.names import ADMIN_USER, SCHEDULER_USER
from tests.fakes.jenkins import routes_master
from tests.fakes.jenkins.app import App
from tests.fakes.jenkins.backups import Backups
from tests.fakes.jenkins.demand import Endpoint, Outbox, hand_over
from tests.fakes.jenkins.home import Home
from tests.fakes.jenkins.http import Server
from tests.fakes.jenkins.master import VERSION, Master
from tests.fakes.jenkins.options import Options, read_options
from tests.fakes.jenkins.security import Security
from tests.fakes.jenkins.tcp import AgentListener

LOG = logging.getLogger("jenkins")
_TERMINATED = 128 + signal.SIGTERM
_LOCK_WAIT_S = 60.0


def main() -> int:
    options = read_options(sys.argv[1:], os.environ)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        code = asyncio.run(_run(options))
    except (OSError, TimeoutError, ValueError) as error:
        LOG.error("%s", error or type(error).__name__)
        return 1
    if code == 0:
        os.execv(sys.executable, sys.orig_argv)
    return code


async def _run(options: Options) -> int:
    """The exit code; 0 where it is to start anew."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    running = Running(options)
    starting = asyncio.create_task(running.start())
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        await waiting
    else:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
    waiting.cancel()
    await running.stop()
    return 0 if running.restarting else _TERMINATED


class Running:
    """Its parts, as they are started one after another."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._app = App(options.prefix)
        self._server = Server(self._app.handle)
        self._backups = Backups(options)
        self._master: Master | None = None
        self._listener: AgentListener | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock: TextIO | None = None
        self.port = options.port

    async def start(self) -> None:
        options = self._options
        await asyncio.sleep(options.boot_refused_s)
        options.home.mkdir(parents=True, exist_ok=True)
        self._lock = await _locked(options)
        await self._backups.restore()
        port = self.port = await self._server.start(options.listen, options.port)
        LOG.info("a stand-in for Jenkins %s listens on %s:%d%s", VERSION, options.listen, port, options.prefix or "/")
        await asyncio.sleep(options.boot_s)
        home = Home(options.home)
        outbox = Outbox(Endpoint(options.scheduler_url, options.tenant_token)) if options.scheduler_url else None
        master = self._master = Master(options, home, outbox)
        if options.agent_port is not None:
            self._listener = AgentListener(master)
            master.agent_port = await self._listener.start(options.listen, options.agent_port)
        token = home.api_token()
        users = {ADMIN_USER: (options.admin_password, None), SCHEDULER_USER: (None, token)}
        master.load()
        routes_master.add_backups(self._backups)
        self._app.ready(master, Security(users, secured=options.admin_password is not None))
        self._keep(master.queue.keep_looking())
        if options.scheduler_url:
            own = f"http://{options.listen}:{port}{options.prefix}/"
            access = {
                "url": options.root_url or own, "direct_url": own, "user": SCHEDULER_USER, "api_token": token,
                "version": VERSION, "session": master.session,
            }  # fmt: skip
            own_endpoint = Endpoint(options.scheduler_url, options.tenant_token)
            self._keep(hand_over(own_endpoint, options.tenant, access))
            self._keep(master.tell_scheduler())
        LOG.info("Jenkins is fully up and running")

    @property
    def restarting(self) -> bool:
        return self._master is not None and self._master.restarting

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._master is not None:
            await self._master.stop()
        await self._backups.stop()
        if self._listener is not None:
            await self._listener.stop()
        await self._server.close()


async def _locked(options: Options) -> TextIO:
    """One home, one master: the start script of the image holds the same lock."""
    folder = options.home / ".butlery"
    folder.mkdir(exist_ok=True)
    file = open(folder / "lock", "a")  # noqa: ASYNC230,SIM115 opened at once, held as long as the program runs
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise OSError(f"another master still runs in {options.home}") from error
            await asyncio.sleep(0.2)
        else:
            return file


if __name__ == "__main__":
    sys.exit(main())
