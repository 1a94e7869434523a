"""Work that waits, such as for a Docker engine, beside the driver's loop."""

from __future__ import annotations

import os
import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.executor.watch import Watch


class Worker:
    """Each piece of work in a thread of its own, which ends with the process; what it makes is taken in by the loop."""

    def __init__(self, watch: Watch) -> None:
        self._done: deque[Callable[[], None]] = deque()
        self._alarm, self._alarm_w = os.pipe()
        os.set_blocking(self._alarm, False)
        os.set_blocking(self._alarm_w, False)
        watch.add(self._alarm, self._take)

    def do(self, work: Callable[[], Callable[[], None]]) -> None:
        """What ``work`` returns is called on the loop's thread. ``work`` must see to its errors itself."""
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[], Callable[[], None]]) -> None:
        self._done.append(work())
        try:
            os.write(self._alarm_w, b"!")
        except BlockingIOError:
            return  # it has been woken often enough

    def _take(self) -> None:
        os.read(self._alarm, 4096)
        while self._done:
            self._done.popleft()()
