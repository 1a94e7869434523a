"""What both programs are to run, and how they tell how far they are: one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import msgspec


class Plan(msgspec.Struct):
    """First ``tasks`` tasks that pass once ``first_file`` is there, then as many that pass at ``second_file``."""

    url: str
    name: str
    role: str
    tasks: int
    cpu_millis: int
    mem_mib: int
    overhead_cpu_millis: int
    overhead_mem_mib: int
    executor: str  # the path of butlery-executor.pyz
    python: str
    first_file: str
    second_file: str
    directory: str


def read_plan() -> Plan:
    """From the first line of standard input."""
    return msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)


ENDED = frozenset(
    f"TASK_{state}"
    for state in ("FINISHED", "FAILED", "KILLED", "ERROR", "DROPPED", "LOST", "GONE", "GONE_BY_OPERATOR")
)


class Progress:
    """Counts what the tasks of both generations have come to, and tells each mark when it is first reached.

    What is to be done is known by its number; the tasks launched for it, one where all goes well, by ids of their own.
    An update that Mesos tells again, as it does until it has the acknowledgement, makes no difference to any count.
    """

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._running: tuple[dict[int, str], dict[int, str]] = ({}, {})
        self._passed: tuple[set[int], set[int]] = (set(), set())
        self._gone: set[str] = set()  # tasks
        self._doubled: set[tuple[int, int]] = set()
        self._ended = 0
        self._told: set[str] = set()
        self.over = asyncio.Event()
        """Once every task has ended, whatever way."""

    def subscribed(self) -> None:
        self._mark("subscribed")

    def updated(self, generation: int, number: int, task_id: str, state: str) -> None:
        """``state`` of one task. Doubled is what two tasks run for at once, or both finish."""
        running, passed = self._running[generation], self._passed[generation]
        if task_id in self._gone:
            return
        if state == "TASK_RUNNING":
            if running.setdefault(number, task_id) != task_id:
                self._doubled.add((generation, number))
            if len(running) == self._tasks:
                self._mark("all replaced" if generation else "all running")
        elif state in ENDED:
            self._gone.add(task_id)
            if running.get(number) == task_id:
                del running[number]
            if state == "TASK_FINISHED":
                if number in passed:
                    self._doubled.add((generation, number))
                passed.add(number)
                if len(passed) == self._tasks:
                    self._mark("all over" if generation else "all finished")

    def ended(self, count: int) -> None:
        self._ended += count
        if self._ended == 2 * self._tasks:
            self.over.set()

    def end(self, lost: int) -> None:
        _tell("end", lost=lost, doubled=len(self._doubled))

    def _mark(self, mark: str) -> None:
        if mark not in self._told:
            self._told.add(mark)
            _tell(mark)


def _tell(mark: str, **more: int) -> None:
    print(json.dumps({"mark": mark, "at": time.monotonic(), **more}), flush=True)  # noqa: T201
