"""From the queue to TASK_RUNNING: how long a build waits where there is room for it.

A real Mesos and the real scheduler as a process of its own, both on this machine. Each build costs what every build
costs: an API call, two writes of the state, an offer's acceptance, Mesos' containerizer, and a Mesos executor of its
own that has to start and subscribe. Measured is what the scheduler records, from the API's taking the build
(``submitted_at``) to Mesos' telling that it runs (``running_at``). Three cases, told apart:

- at hand: builds come at a modest pace, so that the scheduler holds offers when they come; the figures promised;
- warm-up: the first builds of a cluster, which find nothing in any cache;
- idle: builds that come when the scheduler has given all its offers back (SUPPRESS) and must ask for new ones.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.api import Api
from benchmarks.cluster import interruptible, temporary_cluster
from benchmarks.figures import percentile, rounded, spread
from framework.errors import ButleryError, UnavailableError
from framework.local.spec import HostShape

BUILDS = 120
WARM_UP = 5
IDLE = 5
TENANT = "latency"

HOSTS = HostShape(count=4, cpus=8, mem_mib=1024)
JOB = {"name": "nothing", "command": "true", "cpus": 0.1, "mem_mib": 32, "retries": 0, "timeout_s": 60}

PACE_S = (0.2, 0.4)
"""Between two builds at hand, drawn anew each time, so that they do not fall in step with Mesos' allocator."""
POLL_S = 0.1
END_TIMEOUT_S = 60.0
IDLE_TIMEOUT_S = 60.0

CASES = ("queue_to_running", "warm_up", "idle")
STEPS = ("queue_to_launch", "launch_to_running", "api_call")


def run(builds: int, idle: int, console: Console) -> dict[str, Any]:
    """Measures and returns the figures, all in seconds; ``console`` gets the progress.

    Raises InputError, UnavailableError or ButleryError where it cannot be measured, Interrupted on a signal.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with interruptible():
        with temporary_cluster({"local": {"hosts": [HOSTS.model_dump(exclude_none=True)]}}, say) as cluster:
            admin = cluster.api()
            api = Api(admin.url, admin.set_tenant(TENANT))
            say(f"isolation: {cluster.status.isolation}; {WARM_UP} builds to warm up")
            warm_up = [_one(api) for _ in range(WARM_UP)]
            say(f"{builds} builds, one every {PACE_S[0]:g} to {PACE_S[1]:g} s")
            at_hand, calls_s = _paced(api, builds)
            say(f"{idle} builds, each when no offers are held")
            from_idle = [_one_from_idle(admin, api) for _ in range(idle)]
    waits = _between(at_hand, "submitted_at", "running_at")
    return {
        "builds": len(at_hand),
        "p50_s": rounded(percentile(waits, 0.5)),
        "p99_s": rounded(percentile(waits, 0.99)),
        "isolation": cluster.status.isolation,
        "queue_to_running": spread(waits),
        "queue_to_launch": spread(_between(at_hand, "submitted_at", "launched_at")),
        "launch_to_running": spread(_between(at_hand, "launched_at", "running_at")),
        "api_call": spread(calls_s),
        "warm_up": spread(_between(warm_up, "submitted_at", "running_at")),
        "idle": spread(_between(from_idle, "submitted_at", "running_at")),
    }


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table("seconds", "builds", "min", "p50", "p90", "p99", "max", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in (*CASES[:1], *STEPS, *CASES[1:]):
        row = figures[name]
        values = [row[f"{key}_s"] for key in ("min", "p50", "p90", "p99", "max")]
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        table.add_row(name.replace("_", " "), str(row["count"]), *cells)
    console.print(table)


def _paced(api: Api, builds: int) -> tuple[list[dict[str, Any]], list[float]]:
    """The builds as they ended, and how long each call that submitted one took."""
    ids, calls_s = [], []
    next_at = time.monotonic()
    for _ in range(builds):
        time.sleep(max(0.0, next_at - time.monotonic()))
        next_at = time.monotonic() + random.uniform(*PACE_S)
        started = time.monotonic()
        ids.append(str(api.submit(JOB)["id"]))
        calls_s.append(time.monotonic() - started)
    return [_ended(api, job_id) for job_id in ids], calls_s


def _one(api: Api) -> dict[str, Any]:
    return _ended(api, str(api.submit(JOB)["id"]))


def _one_from_idle(admin: Api, api: Api) -> dict[str, Any]:
    deadline = time.monotonic() + IDLE_TIMEOUT_S
    while not admin.status()["suppressed"]:
        if time.monotonic() > deadline:
            raise UnavailableError(f"the scheduler still holds offers after {IDLE_TIMEOUT_S:g} s without a build")
        time.sleep(POLL_S)
    return _one(api)


def _ended(api: Api, job_id: str) -> dict[str, Any]:
    """The build when it has ended. Raises ButleryError where it did not pass, for then nothing was measured."""
    job = api.wait(job_id, END_TIMEOUT_S)
    result = job["result"]
    if result is None or result["result_class"] != "passed":
        found = f"is {job['state']}" if result is None else f"{result['result_class']}: {result['message']}"
        raise ButleryError(f"build {job_id} of the benchmark should have passed, but {found}")
    return job


def _between(jobs: Sequence[Mapping[str, Any]], start: str, end: str) -> list[float]:
    return [job[end] - job[start] for job in jobs]
