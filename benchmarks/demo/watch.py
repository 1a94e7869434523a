"""Shows builds as they run: a live table on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from benchmarks.api import Api
from benchmarks.demo.builds import CLASSES, TENANTS

POLL_S = 0.25
LINE_EVERY_S = 2.0
ENDED = "ended"
BAR_WIDTH = 30
_STYLES = {"passed": "green", "failed": "yellow", "oom": "magenta", "timeout": "cyan"}

Jobs = Mapping[str, Mapping[str, Any]]


def watch(api: Api, ids: Sequence[str], timeout_s: float, console: Console) -> dict[str, dict[str, Any]]:
    """Returns the builds by id, as the API tells of them, when all have ended or after ``timeout_s``.

    Raises UnavailableError, RefusedError.
    """
    deadline = time.monotonic() + timeout_s
    if not console.is_terminal:
        return _follow(api, ids, deadline, _Lines(console, len(ids)))
    with Live(console=console, transient=True, auto_refresh=False) as live:

        def show(jobs: Jobs) -> None:
            live.update(_table(jobs), refresh=True)

        return _follow(api, ids, deadline, show)


def _follow(api: Api, ids: Sequence[str], deadline: float, show: Callable[[Jobs], None]) -> dict[str, dict[str, Any]]:
    wanted = set(ids)
    while True:
        jobs = {job["id"]: job for job in api.jobs() if job["id"] in wanted}
        show(jobs)
        ended = sum(job["state"] == ENDED for job in jobs.values())
        if ended == len(wanted) or time.monotonic() > deadline:
            return jobs
        time.sleep(POLL_S)


class _Lines:
    """For what is no terminal."""

    def __init__(self, console: Console, count: int) -> None:
        self._console = console
        self._count = count
        self._next = 0.0

    def __call__(self, jobs: Jobs) -> None:
        states = Counter(job["state"] for job in jobs.values())
        if time.monotonic() < self._next and states[ENDED] < self._count:
            return
        self._next = time.monotonic() + LINE_EVERY_S
        others = ", ".join(f"{number} {state}" for state, number in sorted(states.items()) if state != ENDED)
        self._console.print(f"{states[ENDED]} of {self._count} builds ended" + (f", {others}" if others else ""))


def class_of(job: Mapping[str, Any]) -> str | None:
    """How a build ended; None where it has not."""
    result = job["result"]
    return None if result is None else str(result["result_class"])


def _table(jobs: Jobs) -> Table:
    table = Table("tenant", "", "waiting", "running", *CLASSES, box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for tenant in TENANTS:
        mine = [job for job in jobs.values() if job["tenant"] == tenant]
        states = Counter(job["state"] for job in mine)
        classes = Counter(class_of(job) for job in mine)
        table.add_row(
            tenant,
            ProgressBar(total=max(1, len(mine)), completed=states[ENDED], width=BAR_WIDTH),
            str(states["waiting"]),
            str(states["launching"] + states["running"] + states["ending"]),
            *(f"[{_STYLES[name]}]{classes[name]}" if classes[name] else "0" for name in CLASSES),
        )
    return table
