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
    crowded_cap_s: float = 4.0
    """Up to 100 deployments of masters run, of half a minute each: every 0.3 s there is room for another."""
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
    """Slows all threads down once Marathon says that too many deployments run: then they ask one after the other.

    The pause between two of them doubles with each refusal and shrinks fast with what is taken, until there is none.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._lock = threading.Lock()
        self._pause_s = 0.0
        self._next_at = 0.0  # monotonic
        self._refused_at = 0.0

    def wait(self, until: float) -> float | None:
        """Returns when a change may be sent, with the time; None where that is not before ``until``. Both of the

        monotonic clock.
        """
        while True:
            with self._lock:
                now = time.monotonic()
                if now >= self._next_at:
                    self._next_at = now + self._jittered_s()
                    return now
                pause_s = self._next_at - now
            if now + pause_s > until:
                return None
            time.sleep(pause_s)

    def refused(self, sent_at: float) -> None:
        """What was sent before another refusal came is no news."""
        with self._lock:
            if sent_at > self._refused_at:
                self._refused_at = time.monotonic()
                self._pause_s = min(max(2 * self._pause_s, self._pace.crowded_base_s), self._pace.crowded_cap_s)
                self._next_at = max(self._next_at, self._refused_at + self._jittered_s())

    def taken(self) -> None:
        with self._lock:
            self._pause_s /= 4
            if self._pause_s < self._pace.crowded_base_s / 16:
                self._pause_s = 0.0

    def _jittered_s(self) -> float:
        return _chance.uniform(self._pause_s / 2, self._pause_s)


def locked_pause_s(pace: Pace, attempt: int) -> float:
    """Before it is asked for the ``attempt``th time (from 0) whether a deployment still runs."""
    return jittered(_chance, attempt, pace.locked_base_s, pace.locked_cap_s)


def stream_pause_s(pace: Pace, attempt: int) -> float:
    """Before a stream that broke off is opened again."""
    return jittered(_chance, attempt, pace.stream_base_s, pace.stream_cap_s)
