"""What a process that serves HTTP does at its start."""

from __future__ import annotations

import errno
import os
import pwd
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from framework.errors import Fault, InputError
from framework.runtime.http_protocol import HttpProtocol

MAX_FILES = 65_536
"""Open at once: thirty times the callers that may wait."""
IDLE_S = 30
"""A connection may wait so long for its next request, as Jetty's may: who asks every ten seconds keeps it."""


class HttpServer(uvicorn.Server):
    """Signals are for the whole program, not for its HTTP server alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_config(app: ASGIApp, stop_grace_s: int | None = None) -> uvicorn.Config:
    """``stop_grace_s``: for requests under way when it is told to stop; None: as long as they take."""
    return uvicorn.Config(
        app,
        http=HttpProtocol,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=stop_grace_s,
        timeout_keep_alive=IDLE_S,
        ws="none",
    )


def allow_files() -> None:
    """Every caller who waits holds one open, and shells give a process 1024 where the system would grant many more."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if most == resource.RLIM_INFINITY else min(most, MAX_FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def listen(host: str, port: int, section: str) -> socket.socket:
    """Raises InputError, which names ``host`` or ``port`` of that section of the settings."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            fault = Fault(f"{section}.port", f"port {port} is taken; set another")
            raise InputError([fault]) from error
        raise InputError([Fault(f"{section}.host", f"cannot listen on {host}:{port}: {error.strerror}")]) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Where others find us: by this machine's name where we listen on all its addresses."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared only
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def own_user(setting: str) -> str:
    """Whom we run as. Raises InputError, with the ``setting`` to mend it, where that user has no name here."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        fault = Fault(setting, f"user id {os.geteuid()} has no name here; say as whom Mesos executors are to run")
        raise InputError([fault]) from error
