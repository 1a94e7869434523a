"""Status updates until they are acknowledged, and the little that goes with sending them again."""

from __future__ import annotations

import os
import time
from binascii import b2a_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIRST_RESEND_S = 5.0
LAST_RESEND_S = 60.0
_UNITS_S = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "secs": 1.0,
    "mins": 60.0,
    "hrs": 3600.0,
    "days": 86400.0,
    "weeks": 604800.0,
}


def duration_s(text: str, default_s: float) -> float:
    """Seconds of a duration as Mesos writes it, ``15mins``; ``default_s`` where it is none."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = _UNITS_S.get(text[len(number) :])
    try:
        return default_s if unit is None else float(number) * unit
    except ValueError:
        return default_s


def uuid4() -> bytes:
    """Sixteen bytes that Mesos takes: random, but a valid UUID of version 4 (RFC 4122, 4.4)."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()


class Backoff:
    """Waits that double from ``first_s`` to ``last_s``, each drawn from the upper half of its step."""

    def __init__(self, first_s: float, last_s: float) -> None:
        self._first_s = first_s
        self._last_s = max(first_s, last_s)
        self._step_s = first_s

    def next_s(self) -> float:
        step_s, self._step_s = self._step_s, min(self._last_s, self._step_s * 2)
        chance = int.from_bytes(os.urandom(4), "big") / 2**32  # ``random`` takes longer to import than to reconnect
        return step_s * (0.5 + chance / 2)

    def reset(self) -> None:
        self._step_s = self._first_s


class _Entry:
    def __init__(self, update: dict[str, Any]) -> None:
        self.update = update
        self.due_s = 0.0
        self.backoff = Backoff(FIRST_RESEND_S, LAST_RESEND_S)


class Updates:
    """The updates of one executor in the order they were made, and the tasks that none is acknowledged of yet."""

    def __init__(self, executor_id: str) -> None:
        self._executor_id = executor_id
        self._entries: dict[str, _Entry] = {}
        self._tasks: dict[str, dict[str, Any]] = {}

    def expect(self, task: dict[str, Any]) -> None:
        """A task was taken, as a TaskInfo: Mesos wants it back with a new subscription until it has an update of it."""
        self._tasks[task["task_id"]["value"]] = task

    def add(self, task_id: str, state: str, message: str, data: bytes, more: dict[str, Any] | None = None) -> None:
        """``more``: further fields of the TaskStatus, as JSON has them."""
        key = base64(uuid4())
        status: dict[str, Any] = {
            "task_id": {"value": task_id},
            "executor_id": {"value": self._executor_id},
            "state": state,
            "source": "SOURCE_EXECUTOR",
            "timestamp": time.time(),
            "uuid": key,
        }
        if message:
            status["message"] = message
        if data:
            status["data"] = base64(data)
        if more:
            status.update(more)
        self._entries[key] = _Entry({"status": status})

    def acknowledge(self, uuid: str) -> None:
        entry = self._entries.pop(uuid, None)
        if entry is not None:
            self._tasks.pop(entry.update["status"]["task_id"]["value"], None)

    def all_acknowledged(self) -> bool:
        return not self._entries

    def tasks(self) -> list[dict[str, Any]]:
        return list(self._tasks.values())

    def hand_over(self) -> list[dict[str, Any]]:
        """All updates, to go along with a new subscription; each is due again later unless it is acknowledged."""
        return self.due(float("inf"))

    def due(self, until_s: float) -> list[dict[str, Any]]:
        """Those due by ``until_s`` of time.monotonic, in order; each is due again later unless it is acknowledged."""
        found = []
        for entry in self._entries.values():
            if until_s >= entry.due_s:
                entry.due_s = time.monotonic() + entry.backoff.next_s()
                found.append(entry.update)
        return found
