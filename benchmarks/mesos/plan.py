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


class Progress:
    """Counts what every generation's tasks have come to, and tells each mark when it is reached."""

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._running = [0, 0]
        self._passed = [0, 0]
        self._ended = 0
        self.doubled = 0
        self.over = asyncio.Event()
        """Once every task has ended, whatever way."""

    def subscribed(self) -> None:
        _tell("subscribed")

    def ran(self, generation: int) -> None:
        self._running[generation] += 1
        if self._running[generation] == self._tasks:
            _tell("all running" if generation == 0 else "all replaced")

    def passed(self, generation: int) -> None:
        self._passed[generation] += 1
        if self._passed[generation] == self._tasks:
            _tell("all finished" if generation == 0 else "all over")

    def ended(self, count: int) -> None:
        self._ended += count
        if self._ended == 2 * self._tasks:
            self.over.set()

    def end(self, lost: int) -> None:
        _tell("end", lost=lost, doubled=self.doubled)


def _tell(mark: str, **more: int) -> None:
    print(json.dumps({"mark": mark, "at": time.monotonic(), **more}), flush=True)  # noqa: T201
