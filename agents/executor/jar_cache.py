"""The agent.jar of each tenant's master, fetched once a host and kept for the agents that follow.

By tenant, so that none is ever started with a jar that another tenant's master gave.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import time

from agents.executor.fetching import FetchError, fetch, pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

ROOTS_DIR = "/var/cache/butlery/agents"
USERS_DIR = "/var/tmp/butlery-agents-%d"  # noqa: S108 - of who is not root; it is looked at whose it is
FETCH_TIMEOUT_S = 60.0
MAX_JAR_BYTES = 64 << 20  # one of Jenkins 2.463 has 1.4 MB
MAX_JARS = 4000
MAX_BYTES = 1 << 30
MAX_AGE_S = 30 * 86400.0  # since an agent was started with it
STALE_S = 3600.0  # of what somebody who died was fetching
LOCK_PAUSE_S = 0.02
_SUFFIX = ".jar"
_BEGINNING = b"PK"  # of a zip archive
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


class JarError(Exception):
    """The master does not give its agent.jar."""


def provide(url: str, tenant: str, version: str, target: str, interrupted: Callable[[], bool]) -> None:
    """Makes ``target`` the agent.jar of the master at ``url``: the kept one, where it was fetched under ``version``.

    Nobody but this process' user can write to it. Raises JarError, OSError, wire.Interrupted.
    """
    source = url.rstrip("/") + "/jnlpJars/agent.jar"
    directory = _directory(tenant) if _NAME.fullmatch(version) else None
    if directory is None:
        with open(target, "w+b") as file:
            _fetch(source, file, interrupted)
        return
    kept = os.path.join(directory, version + _SUFFIX)
    if _take(kept, target):
        return
    with _alone(directory, interrupted):
        if _take(kept, target):
            return
        _add(source, kept, interrupted)
        if not _take(kept, target):
            raise OSError("%s was removed as soon as it was there" % kept)
    _tidy(os.path.dirname(directory), time.time())


def _directory(tenant: str) -> str | None:
    """None where there is no place that only this process' user can write to."""
    root = ROOTS_DIR if os.geteuid() == 0 else USERS_DIR % os.geteuid()
    if not _NAME.fullmatch(tenant):
        return None
    made = os.path.join(root, tenant)
    try:
        os.makedirs(made, mode=0o755, exist_ok=True)
        for path in (root, made):
            found = os.lstat(path)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
                return None
    except OSError:
        return None
    return made


def _take(kept: str, target: str) -> bool:
    """Whether it is there. What is taken stays where it is, however long, when ``kept`` is removed or replaced."""
    try:
        os.utime(kept)
        os.link(kept, target)
    except FileNotFoundError:
        return False
    except OSError:  # on another file system
        try:
            shutil.copyfile(kept, target)
        except FileNotFoundError:
            return False
        os.chmod(target, 0o444)
    return True


@contextlib.contextmanager
def _alone(directory: str, interrupted: Callable[[], bool]) -> Iterator[None]:
    """One at a time for each tenant: whoever waits finds what the one before has fetched."""
    deadline_s = time.monotonic() + FETCH_TIMEOUT_S
    lock = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise JarError("others have waited for it for %g s" % FETCH_TIMEOUT_S) from None
                pause(LOCK_PAUSE_S, interrupted)
        yield
    finally:
        os.close(lock)


def _add(source: str, kept: str, interrupted: Callable[[], bool]) -> None:
    scratch = os.path.join(os.path.dirname(kept), ".%d" % os.getpid())
    try:
        with open(scratch, "w+b") as file:
            _fetch(source, file, interrupted)
        os.replace(scratch, kept)
    except BaseException:
        os.unlink(scratch)
        raise


def _fetch(source: str, file: BinaryIO, interrupted: Callable[[], bool]) -> None:
    try:
        fetch(source, file, MAX_JAR_BYTES, FETCH_TIMEOUT_S, interrupted)
    except FetchError as error:
        raise JarError("%s: %s" % (_shown(source), error)) from error
    file.flush()
    beginning = os.pread(file.fileno(), len(_BEGINNING), 0)
    if beginning != _BEGINNING:
        raise JarError("%s: what the master gave is no jar" % _shown(source))
    os.fchmod(file.fileno(), 0o444)


def _shown(url: str) -> str:
    """Without what a master may have in it of passwords."""
    return re.sub("//[^/]*@", "//", url)


def _tidy(root: str, now_s: float) -> None:
    """Removes what has not been used for long, and the oldest of what is too much."""
    found: list[tuple[float, int, str]] = []
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):  # somebody else was here
                status = os.lstat(path)
                if now_s - status.st_mtime > (MAX_AGE_S if name.endswith(_SUFFIX) else STALE_S):
                    os.unlink(path)
                else:
                    found.append((status.st_mtime, status.st_size, path))
    found.sort()
    size = sum(one[1] for one in found)
    for index, (_, occupied, path) in enumerate(found):
        if size <= MAX_BYTES and len(found) - index <= MAX_JARS:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        size -= occupied
