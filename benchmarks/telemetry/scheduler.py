"""``butlery scheduler run`` as it is, with builds that pretend, telling now and then what telemetry takes of its CPU.

Counted are its part on the loop's thread, step by step, the threads that write the spool, take from it and carry
SQLite's log over, and what the loop counts for ``/metrics``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.failover import scheduler
from framework.edges.sqlite_history import SqliteHistory
from framework.runtime.telemetry.desk import Watch
from framework.runtime.telemetry.metrics import Metrics
from framework.runtime.telemetry.outlet import Outlet
from framework.runtime.telemetry.recovery import Recovery
from framework.runtime.telemetry.sampler import Sampler
from framework.runtime.telemetry.shipping import Shipper

TELL_S = 0.5
CALLS = {
    "recording": (Watch, "saved"),
    "writing": (Outlet, "_append"),
    "recovering": (Recovery, "tell"),
    "carrying_over": (SqliteHistory, "_carry_over"),
    "counting_turns": (Metrics, "turned"),
    "counting_commits": (Metrics, "committed"),
}
COROUTINES = {"flushing": (Watch, "run"), "sampling": (Sampler, "run"), "paying": (Outlet, "_pay")}


class Spent:
    """CPU seconds by part; each part is of one thread at a time."""

    def __init__(self) -> None:
        self.parts = dict.fromkeys((*CALLS, *COROUTINES), 0.0)
        self.shippers: list[Shipper] = []

    def call(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*given: Any, **named: Any) -> Any:
            begun = time.thread_time()
            try:
                return work(*given, **named)
            finally:
                self.parts[part] += time.thread_time() - begun

        return measured

    def coroutine(self, part: str, work: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        async def measured(*given: Any, **named: Any) -> Any:
            return await _Steps(work(*given, **named), self, part)

        return measured

    def start(self, shipper: Shipper) -> None:
        self.shippers.append(shipper)

    def tell(self, path: Path) -> None:
        """For ever, into that file."""
        fresh = path.with_suffix(".new")
        while True:
            parts = {**self.parts, "shipping": sum(shipper.cpu_s for shipper in self.shippers)}
            fresh.write_text(json.dumps({"process_s": time.process_time(), "parts_s": parts}))
            fresh.replace(path)
            time.sleep(TELL_S)


class _Steps:
    """Awaits a coroutine, and takes the time of each of its steps."""

    def __init__(self, work: Coroutine[Any, Any, Any], spent: Spent, part: str) -> None:
        self._send, self._throw = spent.call(part, work.send), spent.call(part, work.throw)

    def __await__(self) -> Generator[Any, Any, Any]:
        step, given = self._send, None
        while True:
            try:
                awaited = step(given)
            except StopIteration as over:
                return over.value
            try:
                step, given = self._send, (yield awaited)
            except BaseException as error:  # noqa: BLE001 - a cancellation is the coroutine's to take
                step, given = self._throw, error


def run(config: Path, until: str, told: Path) -> int:
    """Ends as the scheduler does; ``told`` is the file that is written."""
    spent = Spent()
    start = Shipper.start

    def started(shipper: Shipper) -> None:
        spent.start(shipper)
        start(shipper)

    with ExitStack() as stack:
        stack.enter_context(patch.object(Shipper, "start", started))
        for part, (owner, name) in CALLS.items():
            stack.enter_context(patch.object(owner, name, spent.call(part, getattr(owner, name))))
        for part, (owner, name) in COROUTINES.items():
            stack.enter_context(patch.object(owner, name, spent.coroutine(part, getattr(owner, name))))
        threading.Thread(target=spent.tell, args=(told,), daemon=True).start()
        return scheduler.run(config, until)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
