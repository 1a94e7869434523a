"""A service's health checks, decided as Mesos' own health checker does (src/checks/health_checker.cpp of Mesos 1.11).

The first look comes after the delay, each later one an interval after the end of the one before. Failures until the
first success do not count within the grace period. Every other failure is told, and the first success, and that after
a failure; as many failures in a row as may be end the service.
"""

from __future__ import annotations

import os
import time

from agents.executor.probes import Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agents.executor.probes import Network
    from agents.executor.watch import Watch
    from agents.service_spec import ServiceCheck

    RunCommand = Callable[[list[str], Callable[[int | None, str], None]], Callable[[], None]]
    """Starts a command beside the service; its exit code, or None and why there is none, go to the second."""


class Looking:
    """One check made again and again. ``told`` takes each result: a number, its meaning, and what is wrong, if so.

    The number is the exit code of a command, the status of HTTP, and of TCP 1 where it connected; None: there is none.
    """

    def __init__(
        self,
        check: ServiceCheck,
        watch: Watch,
        run_command: RunCommand,
        network: Network | None,
        told: Callable[[int | None, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._watch = watch
        self._run_command = run_command
        self._network = network
        self._told = told
        self._clock = clock
        self._next_s: float | None = clock() + check.delay_s  # None: a look is under way
        self._by_s = 0.0
        self._cancel: Callable[[], None] | None = None

    def patience_s(self, now_s: float) -> float:
        return max(0.0, (self._by_s if self._next_s is None else self._next_s) - now_s)

    def tend(self, now_s: float) -> None:
        """``now_s`` of the clock."""
        if self._next_s is None:
            if now_s >= self._by_s:
                self._end(None, "timed out after %g s" % self._check.timeout_s)
        elif now_s >= self._next_s:
            self._start()

    def stop(self) -> None:
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        self._next_s = float("inf")

    def _start(self) -> None:
        check = self._check
        self._next_s = None
        self._by_s = self._clock() + check.timeout_s if check.timeout_s > 0 else float("inf")
        if check.kind == "command":
            try:
                self._cancel = self._run_command(check.command, self._end)
            except OSError as error:
                self._end(None, "the command cannot be run: %s" % error)
            return
        probe = Probe(
            self._watch, check.kind, check.port or 0, check.path or "/", check.ipv6, self._network, self._take_status
        )
        self._cancel = probe.cancel
        probe.start()

    def _take_status(self, status: int, reason: str) -> None:
        self._cancel = None  # it has ended by itself
        self._end(status or None, reason)

    def _end(self, number: int | None, reason: str) -> None:
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        self._next_s = self._clock() + self._check.interval_s
        self._told(number, reason)


def is_well(kind: str, number: int | None) -> bool:
    """Whether a result is that of something healthy: HTTP statuses from 200 to 399, exit code 0, a connection."""
    if number is None:
        return False
    if kind == "command":
        return number == 0
    return kind == "tcp" or 200 <= number < 400


class Health:
    """One health check. ``told`` takes whether it is well, what is wrong, and whether the service is to end for it."""

    def __init__(
        self,
        check: ServiceCheck,
        watch: Watch,
        run_command: RunCommand,
        network: Network | None,
        told: Callable[[bool, str, bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._told = told
        self._starting = True  # there has been no success
        self._clock = clock
        self._grace_until_s = clock() + check.grace_s
        self._failures = 0
        self._looking = Looking(check, watch, run_command, network, self._take, clock)

    def patience_s(self, now_s: float) -> float:
        return self._looking.patience_s(now_s)

    def tend(self, now_s: float) -> None:
        self._looking.tend(now_s)

    def stop(self) -> None:
        self._looking.stop()

    def _take(self, number: int | None, reason: str) -> None:
        if is_well(self._check.kind, number):
            if self._starting or self._failures:
                self._told(True, "", False)
            self._starting = False
            self._failures = 0
            return
        if self._starting and self._clock() < self._grace_until_s:
            return
        if number is not None and self._check.kind != "command":
            reason = "Unexpected HTTP response code: %d" % number
        self._failures += 1
        self._told(False, reason, 0 < self._check.max_failures <= self._failures)


def tell_end(status: int, done: Callable[[int | None, str], None]) -> None:
    """Tells ``done`` of the end of a check's command. ``status``: as waitpid has it."""
    if os.WIFSIGNALED(status):
        done(None, "Command terminated with signal %d" % os.WTERMSIG(status))
    else:
        done(os.WEXITSTATUS(status), "Command returned: exited with status %d" % os.WEXITSTATUS(status))


def check_status(kind: str, number: int | None) -> dict[str, Any]:
    """What Mesos calls a CheckStatusInfo, of the latest result or, with None, of none so far."""
    if kind == "command":
        return {"type": "COMMAND", "command": {} if number is None else {"exit_code": number}}
    if kind == "tcp":
        return {"type": "TCP", "tcp": {} if number is None else {"succeeded": number > 0}}
    return {"type": "HTTP", "http": {} if number is None else {"status_code": number}}
