"""Watching over one command of a build until it has ended, for whatever reason."""

from __future__ import annotations

import os
import select
import time

from agents.executor.wire import WireError, json_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from agents.executor.limits import Usage, Verdict
    from agents.executor.output import BuildLog
    from agents.executor.probes import Network
    from agents.executor.readiness import Readiness
    from agents.executor.watch import Watch
    from agents.executor.workspace import DiskMeter

    class Body(Protocol):
        """A command that runs, as processes or as a container."""

        fd: int
        interval_s: float
        exit_code: int | None
        signal: int | None

        def read(self) -> bytes | None: ...
        def ended(self) -> bool: ...
        def living(self) -> list[int]: ...
        def network(self) -> Network | None: ...
        def run_check(
            self, watch: Watch, command: list[str], done: Callable[[int | None, str], None]
        ) -> Callable[[], None]: ...
        def check(self, now_s: float) -> Verdict | None: ...
        def hindsight(self) -> Verdict | None: ...
        def usage(self) -> Usage: ...
        def terminate(self) -> None: ...
        def kill(self) -> bool: ...
        def close(self) -> None: ...


DRAIN_TIMEOUT_S = 2.0  # for output still in the pipe when everything that could write to it is dead
SETTLE_S = 0.2  # for processes that were about to end when the build's own one did
KILL_TIMEOUT_S = 10.0  # a process in an uninterruptible wait dies when that ends, which may be never
KILL_PAUSE_S = 0.05
WAKE_S = 0.1


class Control:
    """What the driver says to the runner: lines of ``{"kill": grace_s}``, ``{"tell": text}`` or ``{"assign": {...}}``.

    The end of the pipe means that the driver is gone. ``on_tell`` takes the texts.
    """

    def __init__(self, fd: int, on_tell: Callable[[str], None]) -> None:
        self.fd = fd
        self._on_tell = on_tell
        self.kill_grace_s: float | None = None
        self.orphaned = False
        self.assigned: dict[str, Any] | None = None  # what a spare was given
        self._raw = b""
        os.set_blocking(fd, False)

    def listen(self) -> bool:
        """Takes in what has been said; True when the build must end."""
        try:
            data = os.read(self.fd, 65536)
            if not data:
                self.orphaned = True
            self._raw += data
        except BlockingIOError:
            pass
        *lines, self._raw = self._raw.split(b"\n")
        for line in lines:
            try:
                said = json_object(line)
                if "tell" in said:
                    self._on_tell(said["tell"])
                    continue
                if "assign" in said:
                    self.assigned = dict(said["assign"])
                    continue
                grace_s = float(said["kill"])
            except (WireError, KeyError, TypeError, ValueError):
                continue
            self.kill_grace_s = grace_s if self.kill_grace_s is None else min(grace_s, self.kill_grace_s)
        return self.orphaned or self.kill_grace_s is not None

    def verdict(self) -> Verdict:
        return "cancelled", "the executor is gone" if self.orphaned else "cancelled"


class Supervision:
    """One command: ``run`` it to its end."""

    def __init__(
        self,
        body: Body,
        log: BuildLog,
        control: Control,
        wake_fd: int,
        readiness: Callable[[select.poll], Readiness] | None = None,
    ) -> None:
        self.verdict: Verdict | None = None  # why it was ended, where it did not end by itself
        self.leftovers = 0
        self._body = body
        self._log = log
        self._control = control
        self._wake_fd = wake_fd
        self._kill_at_s: float | None = None
        self._output_ended = False
        self._poll = select.poll()
        for fd in (body.fd, control.fd, wake_fd):
            self._poll.register(fd, select.POLLIN)
        self._readiness = readiness(self._poll) if readiness is not None else None

    def run(self, deadline_s: float, timeout: Verdict, grace_s: float, meter: DiskMeter, disk_mib: int) -> None:
        """Returns when nothing of the command is left. ``deadline_s`` of time.monotonic; ``disk_mib`` 0: no limit."""
        next_check_s = 0.0
        while True:
            self._wait(next_check_s - time.monotonic())
            now_s = time.monotonic()
            if self._finished(now_s):
                break
            if now_s >= next_check_s:
                next_check_s = now_s + self._body.interval_s
                self._end(self._body.check(now_s), 0)
                occupied = meter.step(now_s)
                if disk_mib and occupied is not None and occupied > disk_mib:
                    self._end(("disk", "over its disk: uses %d MiB, limit %d MiB" % (occupied, disk_mib)), 0)
            if self._control.listen():
                grace_s = 0.0 if self._control.orphaned else self._control.kill_grace_s or 0.0
                self._end(self._control.verdict(), grace_s)
            if now_s >= deadline_s:
                self._end(timeout, grace_s)
            if self._readiness is not None:
                self._end(self._readiness.tend(now_s), 0)
            if self._log.full:
                limit_mib = self._log.limit_bytes >> 20
                self._end(("log_limit", "wrote more output than the %d MiB of agents.log_mib" % limit_mib), 0)
        if self._readiness is not None:
            self._readiness.stop()
        self._clear()
        self._drain()

    def _wait(self, timeout_s: float) -> None:
        if self._readiness is not None:
            timeout_s = min(timeout_s, self._readiness.patience_s(time.monotonic()))
        for fd, _ in self._poll.poll(max(1, min(WAKE_S, timeout_s) * 1000)):
            if fd == self._wake_fd:
                os.read(self._wake_fd, 512)
            elif fd == self._body.fd:
                self._pump()
            elif self._readiness is not None:
                self._readiness.read(fd)

    def _pump(self) -> bool:
        output = self._body.read()
        if output is None:
            self._output_ended = True
            self._poll.unregister(self._body.fd)
            return False
        self._log.write(output)
        return bool(output)

    def _end(self, verdict: Verdict | None, grace_s: float) -> None:
        """The first reason counts; a later, shorter grace overrules an earlier one."""
        if verdict is None:
            return
        kill_at_s = time.monotonic() + grace_s
        if self.verdict is None:
            self.verdict, self._kill_at_s = verdict, kill_at_s
            if grace_s > 0:
                self._body.terminate()
        elif self._kill_at_s is None or kill_at_s < self._kill_at_s:
            self._kill_at_s = kill_at_s

    def _finished(self, now_s: float) -> bool:
        if self._kill_at_s is not None and now_s >= self._kill_at_s:
            return True
        if not self._body.ended():
            return False
        return self._kill_at_s is None or not self._body.living()

    def _clear(self) -> None:
        if self.verdict is None:
            self._end(self._body.check(time.monotonic()), 0)  # while what the command left behind is still there
        if self.verdict is None:
            deadline_s = time.monotonic() + SETTLE_S
            while self._body.living() and time.monotonic() < deadline_s:
                if self._output_ended or not self._pump():
                    time.sleep(0.01)
                self._body.ended()
            self.leftovers = len(self._body.living())
        deadline_s = time.monotonic() + KILL_TIMEOUT_S
        while not (self._body.kill() and self._body.ended()):
            if time.monotonic() > deadline_s:
                self.verdict = "infrastructure", "processes of the build cannot be killed"
                return
            time.sleep(KILL_PAUSE_S)

    def _drain(self) -> None:
        deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
        while not self._output_ended and not self._log.full and time.monotonic() < deadline_s:
            if self._poll.poll(50):
                self._wait(0)
