"""Which deployments still run: read once for all who wait for one."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from framework.errors import ButleryError
from masters.apply.patience import Pace
from masters.ports import Marathon


class DeploymentWatch:
    """Reads ``/v2/deployments`` in a thread of its own while anybody waits. A context; threads end with it."""

    def __init__(self, marathon: Marathon, pace: Pace) -> None:
        self._marathon = marathon
        self._pace = pace
        self._changed = threading.Condition()
        self._waiting = 0
        self._asked = 0  # counts readings that were begun
        self._running: frozenset[str] = frozenset()
        self._running_as_of = 0  # which reading ``_running`` is of
        self._closed = False
        self._thread = threading.Thread(target=self._read_on, name="deployments", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def ended(self, deployment: str, timeout_s: float) -> bool:
        """Waits until a reading that was begun after this call has it no more; False where ``timeout_s`` is over first.

        While Marathon does not answer nothing is known to have ended.
        """
        until = time.monotonic() + timeout_s
        with self._changed:
            since = self._asked
            self._waiting += 1
            self._changed.notify_all()
            try:
                while not (self._running_as_of > since and deployment not in self._running):
                    left_s = until - time.monotonic()
                    if left_s <= 0:
                        return False
                    self._changed.wait(left_s)
                return True
            finally:
                self._waiting -= 1

    def _read_on(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                self._asked += 1
                asked = self._asked
            try:
                found = frozenset(self._marathon.deployments())
            except ButleryError:
                found = None  # those who wait look at their own masters meanwhile, and hear of it there
            with self._changed:
                if found is not None:
                    self._running, self._running_as_of = found, asked
                    self._changed.notify_all()
                if not self._closed:
                    self._changed.wait_for(lambda: self._closed, self._pace.deployments_s)
