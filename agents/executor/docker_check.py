"""A check's command in a container, which waits for the engine in a thread."""

from __future__ import annotations

import time
from functools import partial

from agents.executor import processes
from agents.executor.docker_engine import Engine, EngineError
from agents.executor.wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CHECK_PAUSE_S = 0.1


class ExecCheck:
    """A command in the container ``name``. The engine can start one and tell of its end, but not end it.

    ``work`` is for ``worker.Worker``; ``done`` gets the exit code, or None and why there is none, unless ``cancel`` was
    first.
    """

    def __init__(self, engine: Engine, name: str, argv: list[str], done: Callable[[int | None, str], None]) -> None:
        self._engine = engine
        self._name = name
        self._wanted: dict[str, Any] = {"Cmd": argv, "AttachStdout": False, "AttachStderr": False}
        self._done = done
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True

    def work(self) -> Callable[[], None]:
        try:
            made = self._engine.call("POST", "/containers/%s/exec" % self._name, self._wanted)["Id"]
            self._engine.call("POST", "/exec/%s/start" % made, {"Detach": True})
            while True:
                found = self._engine.call("GET", "/exec/%s/json" % made)
                if not found["Running"]:
                    break
                if self._cancelled:
                    pid = found["Pid"]
                    processes.signal_all([*processes.descendants(pid), pid] if pid else [], processes.SIGKILL)
                    return _nothing
                time.sleep(CHECK_PAUSE_S)
        except (EngineError, WireError, KeyError) as error:
            return partial(self._tell, None, "the engine: %s" % error)
        code = int(found["ExitCode"])
        return partial(self._tell, code, "Command returned: exited with status %d" % code)

    def _tell(self, code: int | None, reason: str) -> None:
        if not self._cancelled:
            self._done(code, reason)


def _nothing() -> None:
    """For work of which nothing is to be told."""
