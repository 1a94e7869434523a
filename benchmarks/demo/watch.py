"""Shows builds as they run: a live table on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from benchmarks.demo.builds import CLASSES, TENANTS

POLL_S = 0.25
LINE_EVERY_S = 2.0
ENDED = "ended"
LATER = "to come"
BAR_WIDTH = 30
_STYLES = {"passed": "green", "failed": "yellow", "oom": "magenta", "timeout": "cyan"}


class Seen(NamedTuple):
    """One build as it is by now: ``state`` as of jobs, or LATER; ``found`` is how it ended: one of CLASSES, mostly."""

    tenant: str
    state: str
    found: str | None


Look = Callable[[], Sequence[Seen]]


def watch(look: Look, timeout_s: float, console: Console) -> None:
    """Returns when all builds have ended or after ``timeout_s``. Raises what ``look`` does."""
    deadline = time.monotonic() + timeout_s
    if not console.is_terminal:
        _follow(look, deadline, _Lines(console))
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:

        def show(builds: Sequence[Seen]) -> None:
            live.update(_table(builds), refresh=True)

        _follow(look, deadline, show)


def _follow(look: Look, deadline: float, show: Callable[[Sequence[Seen]], None]) -> None:
    while True:
        builds = look()
        show(builds)
        if all(build.state == ENDED for build in builds) or time.monotonic() > deadline:
            return
        time.sleep(POLL_S)


class _Lines:
    """For what is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def __call__(self, builds: Sequence[Seen]) -> None:
        states = Counter(build.state for build in builds)
        if time.monotonic() < self._next and states[ENDED] < len(builds):
            return
        self._next = time.monotonic() + LINE_EVERY_S
        others = ", ".join(f"{number} {state}" for state, number in sorted(states.items()) if state != ENDED)
        self._console.print(f"{states[ENDED]} of {len(builds)} builds ended" + (f", {others}" if others else ""))


def class_of(job: Mapping[str, Any]) -> str | None:
    """How a build ended; None where it has not."""
    result = job["result"]
    return None if result is None else str(result["result_class"])


def _table(builds: Sequence[Seen]) -> Table:
    table = Table("tenant", "", "waiting", "running", *CLASSES, box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for tenant in TENANTS:
        mine = [build for build in builds if build.tenant == tenant]
        states = Counter(build.state for build in mine)
        classes = Counter(build.found for build in mine)
        table.add_row(
            tenant,
            ProgressBar(total=max(1, len(mine)), completed=states[ENDED], width=BAR_WIDTH),
            str(states["waiting"]),
            str(len(mine) - states["waiting"] - states[ENDED] - states[LATER]),
            *(f"[{_STYLES[name]}]{classes[name]}" if classes[name] else "0" for name in CLASSES),
        )
    return table
