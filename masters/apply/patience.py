"""Waits of many threads that an end can cut short, and calls that are made again while an outage lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from framework.errors import ButleryError
from framework.ports import jittered
from framework.runtime.chance import SystemChance
from masters.apply.report import Report

T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """Seconds between looks. Tests have shorter ones."""

    deployments_s: float = 0.4  # between two readings of the running deployments; one reading for all who wait
    first_look_s: float = 3.0  # at one master, where its deployment has not ended before
    look_s: float = 5.0  # between two looks at one that is not healthy yet
    retry_base_s: float = 0.5
    retry_cap_s: float = 10.0
    outage_s: float = 300.0
    """How long a Marathon or a scheduler that does not answer is waited for: longer than a failover of either."""


class Patience:
    """Of all threads together: one outage is told once, and is over for all once it is for one."""

    def __init__(self, whom: str, pace: Pace, report: Report) -> None:
        """``whom`` is asked."""
        self.pace = pace
        self._whom = whom
        self._report = report
        self._lock = threading.Lock()
        self._away_since: float | None = None

    def call(self, ask: Callable[[], T]) -> T:
        """What ``ask`` returns, asked again while its error says that this can help, until nothing has answered for

        ``outage_s``. Raises the last one then, and any other at once.
        """
        attempt = 0
        while True:
            try:
                found = ask()
            except ButleryError as error:
                if not error.retryable or not self._bear(error):
                    raise
            else:
                self._answered()
                return found
            time.sleep(jittered(SystemChance(), attempt, self.pace.retry_base_s, self.pace.retry_cap_s))
            attempt += 1

    def _bear(self, error: ButleryError) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
                self._report.said(f"{error}; trying again for {self.pace.outage_s:.0f} s")
            return now - self._away_since < self.pace.outage_s

    def _answered(self) -> None:
        with self._lock:
            if self._away_since is not None:
                self._away_since = None
                self._report.said(f"{self._whom} answers again")
