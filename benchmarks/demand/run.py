"""A real scheduler process, kept to one core, with its state in a file; masters tell from another core.

Mesos is away meanwhile, so what is measured is what demand costs: HTTP, the intake, the core, and its state on disk.
What Mesos would be asked because of it is in ``butlery bench mesos``.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvloop
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.api import Api
from benchmarks.cluster import ended, interruptible
from benchmarks.demand.prepared import LABEL, Agent, prepare
from benchmarks.demand.telling import Master, play
from benchmarks.figures import percentile, rounded
from framework.core.ids import TenantName
from framework.errors import ButleryError, UnavailableError
from framework.local.cluster import free_port
from framework.runtime.serving import allow_files

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
RECORDS = 8
"""Of each build."""


def run(masters: int, seconds: int, rate: int, console: Console) -> dict[str, Any]:
    """The figures. Raises UnavailableError, ButleryError, Interrupted on a signal."""
    allow_files()
    builds = max(masters, rate * seconds // RECORDS)
    with interruptible(), tempfile.TemporaryDirectory(prefix="butlery-demand-") as directory:
        console.print(f"{builds} agents of {masters} masters are written to the state", markup=False)
        tokens, agents = prepare(Path(directory) / "state.db", masters, builds)
        with _scheduler(Path(directory)) as (api, pid):
            console.print(f"{rate} events a second for {seconds} s", markup=False)
            cpu_s = _cpu_s(pid)
            told, took_s = uvloop.run(_told(api.url, tokens, agents, rate / RECORDS))
            cpu_s = _cpu_s(pid) - cpu_s
            waiting = api.status()["waiting"]
    events, taken = sum(one.told for one in told), sum(one.taken for one in told)
    if taken != events or waiting != builds:
        raise ButleryError(f"of {events} events {taken} were taken, of {builds} items {waiting} are requested")
    posts = [each for one in told for each in one.took_s]
    return {
        "masters": masters,
        "events": events,
        "events_per_s": rounded(events / took_s, 1),
        "p50_ms": _ms(percentile(posts, 0.5)),
        "p99_ms": _ms(percentile(posts, 0.99)),
        "max_ms": _ms(max(posts)),
        "posts": len(posts),
        "retries": sum(one.retries for one in told),
        "cpu_share": rounded(cpu_s / took_s),
        "events_per_cpu_s": rounded(events / cpu_s, 1),
    }


def show(figures: dict[str, Any], console: Console) -> None:
    table = Table("events a second", "p50", "p99", "events a post", "share of a core", "events a second of it")
    table.add_row(
        f"{figures['events_per_s']:.0f}",
        f"{figures['p50_ms']:.1f} ms",
        f"{figures['p99_ms']:.1f} ms",
        f"{figures['events'] / figures['posts']:.1f}",
        f"{figures['cpu_share']:.1%}",
        f"{figures['events_per_cpu_s']:.0f}",
    )
    console.print(table)


async def _told(
    url: str, tokens: dict[TenantName, str], agents: list[Agent], builds_per_s: float
) -> tuple[list[Master], float]:
    """What the masters told, and in how many seconds it was taken."""
    masters = [Master(url, token, number) for number, token in enumerate(tokens.values())]
    try:
        return masters, await _played(masters, agents, builds_per_s)
    except* UnavailableError as failed:
        raise failed.exceptions[0] from None


async def _played(masters: list[Master], agents: list[Agent], builds_per_s: float) -> float:
    async with asyncio.TaskGroup() as group:
        for master in masters:
            master.put({"event": "ready", "version": "2.463"})
            group.create_task(master.run())
        while any(not master.taken for master in masters):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
        began = time.monotonic()
        for master in masters:
            master.took_s.clear()
            master.retries = 0
        await play(masters, agents, builds_per_s)
        for master in masters:
            master.end()
    return time.monotonic() - began


@contextmanager
def _scheduler(directory: Path) -> Iterator[tuple[Api, int]]:
    """Raises UnavailableError."""
    port, token = free_port(), secrets.token_urlsafe(24)
    config = directory / "butlery.yaml"
    settings = {
        "mesos": {"url": f"http://127.0.0.1:{free_port()}"},
        "api": {"port": port},
        "state": {"path": str(directory / "state.db")},
        "templates": {LABEL: {"cpus": 0.5, "mem_mib": 512}},
        "log": {"level": "error"},
        "scheduling": {"max_waiting": 1_000_000},
    }
    config.write_text(yaml.safe_dump(settings))
    core = str(min(os.sched_getaffinity(0)))
    process = subprocess.Popen(
        [
            *("setpriv", "--pdeathsig", "KILL", "taskset", "-c", core),
            *(sys.executable, "-m", "framework.cli", "scheduler", "run", "--config", str(config)),
        ],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "BUTLERY_ADMIN_TOKEN": token},
    )
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        _await(process, f"http://127.0.0.1:{port}/v1/health")
        yield Api(f"http://127.0.0.1:{port}", token), process.pid
    finally:
        os.sched_setaffinity(0, cores)
        ended(process, STOP_TIMEOUT_S)


def _await(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url, timeout=5.0, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise UnavailableError(f"the scheduler does not answer within {START_TIMEOUT_S:g} s")


def _cpu_s(pid: int) -> float:
    """Of the process, by its own account."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else rounded(seconds * 1000, 2)
