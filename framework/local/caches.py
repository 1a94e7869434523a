"""What is fetched once for all clusters of a user, and who fetches it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from framework.errors import UnavailableError

LOCK_TIMEOUT_S = 1200


def cache_of(name: str) -> Path:
    """``$XDG_CACHE_HOME/butlery/NAME``, or the same below ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "butlery" / name


@contextlib.contextmanager
def locked(path: Path, what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Only one process fetches and builds ``what``; the others wait for it, at most LOCK_TIMEOUT_S.

    Raises UnavailableError.
    """
    with path.open("a") as lock:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        said = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not said:
                    say(f"another process is fetching {what}; waiting for it")
                    said = True
                if time.monotonic() > deadline:
                    raise UnavailableError(f"{path} is held by another process since {LOCK_TIMEOUT_S} s") from None
                time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter, no secret
        yield
