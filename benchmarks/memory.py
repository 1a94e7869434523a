"""The scheduler's memory with thousands of builds waiting and hundreds running.

The scheduler's own process on a real Mesos; the running builds are real ones, each with a Mesos executor of its own,
that sleep until the cluster is taken down. The hosts hold exactly as many as are to run and promise memory that the
machine need not have, for a sleeping build uses next to none. Of the waiting ones no two ask for the same, as far as
shapes, tenants and environment go, so that nothing they have in common is counted once for all.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.api import Api
from benchmarks.cluster import Say, interruptible, temporary_cluster
from framework.errors import UnavailableError
from framework.local.spec import HostShape

WAITING = 8000
RUNNING = 500
TENANTS = 20

BUILD_CPUS = 0.5
OVERHEAD_CPUS = 0.05  # what the settings ask for each Mesos executor by default
BUILDS_PER_HOST = 50
MEM_MIB = (64, 1024)
OVERHEAD_MEM_MIB = 32

SUBMITTERS = 4
POLL_S = 0.5
SETTLE_S = 10.0
"""Longer than offers are held (``hold_idle_s``), and than hosts go unasked for."""
RUN_BASE_S = 60.0
RUN_PER_BUILD_S = 1.0
MIB_PER_KIB = 1 / 1024


def run(waiting: int, running: int, console: Console) -> dict[str, Any]:
    """Measures and returns the figures, memory in MiB; ``console`` gets the progress.

    Raises InputError, UnavailableError or ButleryError where it cannot be measured, Interrupted on a signal.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    settings = {"local": {"hosts": [_hosts(running)]}, "scheduling": {"max_waiting": waiting + running}}
    with interruptible():
        with temporary_cluster(settings, say) as cluster:
            api = cluster.api()
            pid = cluster.status.scheduler_pid
            if pid is None:
                raise UnavailableError("the scheduler is not running")
            start_mib = resident(pid)["VmRSS"]
            say(f"{running} builds to run, {waiting} to wait, of {TENANTS} tenants")
            started = time.monotonic()
            _submit(api, waiting + running, say)
            submit_s = time.monotonic() - started
            _until_running(api, waiting, running)
            time.sleep(SETTLE_S)
            status = api.status()
            now = resident(pid)
    return {
        "rss_mib": round(now["VmHWM"], 1),
        "settled_mib": round(now["VmRSS"], 1),
        "start_mib": round(start_mib, 1),
        "waiting": status["waiting"],
        "running": status["running"],
        "kib_per_build": round((now["VmRSS"] - start_mib) / MIB_PER_KIB / (waiting + running), 2),
        "submissions_per_s": round((waiting + running) / submit_s, 1),
        "hosts": status["hosts"],
        "isolation": cluster.status.isolation,
    }


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, key, unit in (
        ("resident set, at most", "rss_mib", "MiB"),
        ("resident set, settled", "settled_mib", "MiB"),
        ("resident set, at start", "start_mib", "MiB"),
        ("each build", "kib_per_build", "KiB"),
        ("waiting", "waiting", "builds"),
        ("running", "running", "builds"),
        ("submitted", "submissions_per_s", "builds/s"),
    ):
        table.add_row(name, f"{figures[key]:g} {unit}")
    console.print(table)


def resident(pid: int) -> dict[str, float]:
    """``VmRSS``, the resident set now, and ``VmHWM``, its peak so far, in MiB. Raises UnavailableError."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError as error:
        raise UnavailableError(f"the scheduler (pid {pid}) is gone") from error
    pairs = (line.split(":", 1) for line in lines)
    return {name: int(value.split()[0]) * MIB_PER_KIB for name, value in pairs if name in ("VmRSS", "VmHWM")}


def _hosts(running: int) -> dict[str, Any]:
    """Equal hosts whose CPUs hold exactly ``running`` builds; memory is there for the largest of them."""
    count = -(-running // BUILDS_PER_HOST)
    while running % count:
        count += 1
    each = running // count
    shape = HostShape(
        count=count,
        cpus=round(each * (BUILD_CPUS + OVERHEAD_CPUS), 3),
        mem_mib=each * (MEM_MIB[1] + OVERHEAD_MEM_MIB),
        attributes={"os": "linux"},
    )
    return shape.model_dump(exclude_none=True)


def _submit(admin: Api, count: int, say: Say) -> None:
    """From several connections, as tenants do, so that submissions are saved together."""
    tokens = [admin.set_tenant(f"team-{number}", weight=100 + number) for number in range(TENANTS)]

    def submit(part: int) -> None:
        chance = random.Random(part)
        apis = [Api(admin.url, token) for token in tokens]
        for number in range(part, count, SUBMITTERS):
            apis[number % TENANTS].submit(_job(number, chance))

    with ThreadPoolExecutor(SUBMITTERS) as pool:
        for done in [pool.submit(submit, part) for part in range(SUBMITTERS)]:
            done.result()
    say(f"{count} submitted")


def _job(number: int, chance: random.Random) -> dict[str, Any]:
    return {
        "name": f"project-{number}",
        "script": f"# {chance.randbytes(256).hex()}\nexec sleep 86400\n",
        "cpus": BUILD_CPUS,
        "mem_mib": chance.randint(*MEM_MIB),
        "priority": chance.randint(-5, 5),
        "timeout_s": 86_400,
        "env": {"BRANCH": f"feature/{chance.randbytes(8).hex()}", "BUILD": str(number)},
        "attributes": {"os": "linux"},
    }


def _until_running(api: Api, waiting: int, running: int) -> None:
    """Raises UnavailableError where it does not come to that."""
    deadline = time.monotonic() + RUN_BASE_S + RUN_PER_BUILD_S * running
    while True:
        status = api.status()
        if (status["waiting"], status["running"]) == (waiting, running):
            return
        if time.monotonic() > deadline:
            found = f"{status['waiting']} wait and {status['running']} run"
            raise UnavailableError(f"{waiting} builds should wait and {running} run, but {found}")
        time.sleep(POLL_S)
