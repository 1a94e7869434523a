"""``butlery scheduler drain``: what still runs, and waiting for its end."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from framework.cli.following import Patience
from framework.cli.output import brief, print_line, print_table
from framework.errors import UnavailableError

if TYPE_CHECKING:
    from framework.cli.client import ApiClient

PAUSE_S = 1.0
SHOWN = 100
"""Builds that are told one by one."""


def runs(found: Mapping[str, Any]) -> int:
    """How many builds run or are about to."""
    return int(found["launching"]) + int(found["running"])


def wait(client: ApiClient, timeout_s: float | None) -> dict[str, Any]:
    """As the scheduler is once nothing runs, or after ``timeout_s``. Raises RefusedError, UnavailableError."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    patience = Patience()
    while True:
        try:
            status = client.get("/v1/status")
        except UnavailableError as error:
            patience.failed(error)
            continue
        patience.answered()
        found = {name: status[name] for name in ("draining", "waiting", "launching", "running")}
        if not runs(found) or (until is not None and time.monotonic() >= until):
            return found
        time.sleep(random.uniform(PAUSE_S / 2, PAUSE_S))  # noqa: S311 jitter, no secret


def live(client: ApiClient) -> list[dict[str, Any]]:
    """The builds that run or are about to, the newest first; at most ``SHOWN``."""
    states = ["launching", "running", "ending"]
    return list(client.get("/v1/jobs", {"state": states, "limit": SHOWN})["jobs"])


def show(found: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]]) -> None:
    told = "nothing new is launched" if found["draining"] else "builds are launched"
    print_line(f"{told}; {runs(found)} run, {found['waiting']} wait")
    if found["draining"] and jobs:
        print_table(
            ("JOB", "TENANT", "NAME", "STATE", "ATTEMPT"),
            ((job["id"], job["tenant"], brief(job["name"]), job["state"], job["attempt"]) for job in jobs),
        )
        if runs(found) > len(jobs):
            print_line(f"and {runs(found) - len(jobs)} more")
