"""How long is waited, and how often something is tried again; for all threads of a process together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from framework.errors import UnavailableError
from framework.ports import jittered
from framework.runtime.chance import SystemChance

T = TypeVar("T")
_chance = SystemChance()


@dataclass(frozen=True)
class Pace:
    """Seconds. Tests have shorter ones."""

    retry_base_s: float = 0.3
    retry_cap_s: float = 3.0
    retry_for_s: float = 15.0
    """A leader's failover takes a few seconds. Longer outages are for who asked to wait for, or to tell."""
    locked_base_s: float = 0.3
    locked_cap_s: float = 3.0
    crowded_base_s: float = 0.5
    crowded_cap_s: float = 8.0
    """Deployments of masters take tens of seconds, and up to 100 of them run."""
    stream_base_s: float = 0.5
    stream_cap_s: float = 15.0
    stream_idle_s: float = 35.0
    """Marathon sends an empty line every 10 s."""
    queue_age_s: float = 3.0
    """The launch queue is asked for as a whole, which takes Marathon long where much waits in it."""


class Tries:
    """One call's. Each address is tried before there is a pause."""

    def __init__(self, pace: Pace, addresses: int) -> None:
        self._pace = pace
        self._addresses = addresses
        self._until = time.monotonic() + pace.retry_for_s
        self._failed = 0

    def failed(self, error: UnavailableError) -> None:
        """Returns when it is time for another try; raises ``error`` where there was time enough. The first failure

        never is the last: what was asked may have been done, and the next try begins with a look.
        """
        self._failed += 1
        rounds, rest = divmod(self._failed, self._addresses)
        if rest:
            return
        pause_s = jittered(_chance, rounds - 1, self._pace.retry_base_s, self._pace.retry_cap_s)
        if rounds > 1 and time.monotonic() + pause_s > self._until:
            raise error
        time.sleep(pause_s)

    def call(self, ask: Callable[[], T]) -> T:
        """What ``ask``, which changes nothing, returns. Raises UnavailableError where no try helped."""
        while True:
            try:
                return ask()
            except UnavailableError as error:
                self.failed(error)


class Governor:
    """Slows all threads down once Marathon says that too many deployments run: then one asks at a time."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._lock = threading.Lock()
        self._refused = 0  # in a row
        self._next_at = 0.0

    def wait(self, until: float) -> bool:
        """Returns when a change may be sent; False where that is not before ``until`` (of the monotonic clock)."""
        while True:
            with self._lock:
                now = time.monotonic()
                if now >= self._next_at:
                    if self._refused:
                        self._next_at = now + self._pause_s()
                    return True
                pause_s = self._next_at - now
            if now + pause_s > until:
                return False
            time.sleep(pause_s)

    def refused(self) -> None:
        with self._lock:
            self._refused += 1
            self._next_at = max(self._next_at, time.monotonic() + self._pause_s())

    def taken(self) -> None:
        with self._lock:
            if self._refused:
                self._refused, self._next_at = 0, 0.0

    def _pause_s(self) -> float:
        return jittered(_chance, max(self._refused - 1, 0), self._pace.crowded_base_s, self._pace.crowded_cap_s)


def locked_pause_s(pace: Pace, attempt: int) -> float:
    """Before it is asked for the ``attempt``th time (from 0) whether a deployment still runs."""
    return jittered(_chance, attempt, pace.locked_base_s, pace.locked_cap_s)


def stream_pause_s(pace: Pace, attempt: int) -> float:
    """Before a stream that broke off is opened again."""
    return jittered(_chance, attempt, pace.stream_base_s, pace.stream_cap_s)
