"""Tasks that start nothing: they run at once, and pass when a file is there. For load tests of all that is around."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Report = Callable[[str, str, str, bytes, "dict[str, Any] | None"], None]

LOOK_EVERY_S = 0.2
# BuildResults in all that they need, by hand: the class that makes them takes longer to import than all else here.
_PASSED = b'{"version": 1, "result_class": "passed", "message": "pretended"}'
_CANCELLED = b'{"version": 1, "result_class": "cancelled", "message": "cancelled"}'


class Pretended:
    """All of one executor. ``report`` takes a task's id, state, message, data and more fields of its status."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._groups: dict[str, list[str]] = {}  # of each task those that were launched with it, itself included
        self._waiting: dict[str, dict[str, None]] = {}  # tasks by the file they wait for, in the order they came
        self._services: set[str] = set()
        self._look_at_s = 0.0

    def launch(self, task_ids: list[str], path: str) -> None:
        """Tasks of one agent, and the file that they wait for."""
        for task_id in task_ids:
            self._groups[task_id] = task_ids
            self._waiting.setdefault(path, {})[task_id] = None
            self._report(task_id, "TASK_RUNNING", "", b"", None)

    def launch_service(self, task_id: str, healthy: bool) -> None:
        """One that only a kill ends; ``healthy``: it is told to be."""
        self._services.add(task_id)
        self._report(task_id, "TASK_RUNNING", "", b"", {"healthy": True} if healthy else None)

    def kill(self, task_id: str) -> bool:
        """Ends the task and those launched with it; False where it is not here."""
        if task_id in self._services:
            self._services.remove(task_id)
            self._report(task_id, "TASK_KILLED", "cancelled", b"", None)
            return True
        group = self._groups.get(task_id)
        if group is None:
            return False
        for path, tasks in list(self._waiting.items()):
            for one in group:
                if tasks.pop(one, one) is None:
                    self._end(one, "TASK_KILLED", "cancelled", _CANCELLED)
            if not tasks:
                del self._waiting[path]
        return True

    def end_all(self) -> None:
        for task_id in [*self._groups, *self._services]:
            self.kill(task_id)

    def patience_s(self, now_s: float) -> float:
        return self._look_at_s - now_s if self._waiting else float("inf")

    def tend(self, now_s: float) -> None:
        """One look at each file, however many wait for it. ``now_s`` of time.monotonic."""
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_EVERY_S
        for path in [path for path in self._waiting if os.path.exists(path)]:
            for task_id in self._waiting.pop(path):
                self._end(task_id, "TASK_FINISHED", "pretended", _PASSED)

    def _end(self, task_id: str, state: str, message: str, data: bytes) -> None:
        del self._groups[task_id]
        self._report(task_id, state, message, data, None)
