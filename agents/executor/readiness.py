"""Waiting for a container of an agent to be ready: the next one starts only then."""

from __future__ import annotations

import time
from functools import partial

from agents.executor.health import Looking, is_well
from agents.executor.watch import Watch
from agents.service_spec import ServiceCheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    from agents.executor.limits import Verdict
    from agents.executor.supervision import Body
    from agents.spec import ReadyCheck

LOOK_EVERY_S = 0.2
LOOK_TIMEOUT_S = 5.0


class Readiness:
    """``on_ready`` is called once; ``last_line`` gives what the container last wrote."""

    def __init__(
        self,
        check: ReadyCheck,
        body: Body,
        on_ready: Callable[[], None],
        last_line: Callable[[], str],
        poll: select.poll,
    ) -> None:
        self._timeout_s = check.timeout_s
        self._on_ready = on_ready
        self._last_line = last_line
        self._by_s = time.monotonic() + check.timeout_s
        self._reason = ""
        self._over = False
        self._watch = Watch(poll)
        wanted = ServiceCheck(
            "tcp" if check.command is None else "command",
            port=check.port,
            command=[] if check.command is None else [check.command],
            interval_s=LOOK_EVERY_S,
            timeout_s=LOOK_TIMEOUT_S,
            delay_s=0.0,
        )
        run_check = partial(body.run_check, self._watch)
        self._looking = Looking(wanted, self._watch, run_check, body.network(), partial(self._take, wanted.kind))

    def patience_s(self, now_s: float) -> float:
        return float("inf") if self._over else self._looking.patience_s(now_s)

    def read(self, fd: int) -> None:
        self._watch.read(fd)

    def tend(self, now_s: float) -> Verdict | None:
        """Why the container must be ended, where it was not ready in time."""
        if self._over:
            return None
        if now_s >= self._by_s:
            self.stop()
            last = self._last_line() or self._reason
            return "failed", "not ready within %g s%s" % (self._timeout_s, ": " + last if last else "")
        self._looking.tend(now_s)
        return None

    def stop(self) -> None:
        self._over = True
        self._looking.stop()

    def _take(self, kind: str, number: int | None, reason: str) -> None:
        self._reason = reason
        if not self._over and is_well(kind, number):
            self.stop()
            self._on_ready()
