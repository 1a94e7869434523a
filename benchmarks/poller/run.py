"""``butlery bench poller``: the share of a core that looking at masters takes, by the scheduler's own poller and edge.

The masters are one cheap process, each at a port of its own; the poller is in this process, kept to one core, as in the
scheduler but without its loop. Every look is a connection, two requests, and what they answer read. Two cases:
masters' events come, so that looks only cross-check; and all masters have something waiting and are silent, which is
the most that looking ever takes.
"""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.cluster import interruptible
from benchmarks.figures import as_in_the_scheduler, rounded
from benchmarks.poller.crowd import session_of
from framework.core.events import Event
from framework.core.ids import TenantName
from framework.edges.jenkins.edge import JenkinsEdge
from framework.errors import ButleryError, UnavailableError
from framework.jenkins_ports import Look, MasterRecord
from framework.runtime.chance import SystemChance, SystemClock
from framework.runtime.jenkins.poller import Poller
from framework.runtime.jenkins.troubles import Troubles
from framework.runtime.serving import allow_files
from framework.settings import JenkinsSettings

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
LOOKS_BEFORE = 2
HEAR_EVERY_S = 20.0
FIRST_TIMEOUT_S = 600.0
"""For two looks at every master, after which they are spread over time as they stay: 2000 masters take two minutes."""


def run(masters: int, seconds: int, every_s: int, console: Console) -> dict[str, Any]:
    """The figures: shares are of one core. Raises UnavailableError, ButleryError, Interrupted on a signal."""
    allow_files()
    with interruptible(), _crowd(masters) as ports, _one_core(), as_in_the_scheduler():
        records = [
            MasterRecord(url, "butlery", "token", "2.463", session_of(number), url)
            for number, url in enumerate(f"http://127.0.0.1:{port}/" for port in ports)
        ]
        console.print(f"{masters} masters, looked at twice before it is measured for {seconds} s", markup=False)
        told = uvloop.run(_measured(records, seconds, every_s, silent=False))
        console.print(f"events come: {told['cpu_share']:.1%} of a core", markup=False)
        silent = uvloop.run(_measured(records, seconds, every_s, silent=True))
        console.print(f"all are silent: {silent['cpu_share']:.1%} of a core", markup=False)
    return {
        "masters": masters,
        "seconds": seconds,
        "cross_check_every_s": every_s,
        **told,
        **{f"silent_{name}": value for name, value in silent.items()},
    }


def show(figures: dict[str, Any], console: Console) -> None:
    table = Table("case", "looks a second", "CPU ms a look", "share of a core")
    for case, prefix in (("events come", ""), ("all are silent", "silent_")):
        table.add_row(
            case,
            f"{figures[f'{prefix}looks_per_s']:.1f}",
            f"{figures[f'{prefix}look_cpu_ms']:.2f}",
            f"{figures[f'{prefix}cpu_share']:.1%}",
        )
    console.print(table)


class _Eyes:
    """What the poller tells, counted."""

    def __init__(self) -> None:
        self.seen: Counter[TenantName] = Counter()
        self.looks = 0
        self.events = 0

    async def found(self, tenant: TenantName, look: Look) -> None:
        if not look.items:
            raise ButleryError("a look found no items; the benchmark's masters have some")
        self.seen[tenant] += 1
        self.looks += 1

    def emit(self, _: Event) -> None:
        self.events += 1


async def _measured(records: list[MasterRecord], seconds: int, every_s: int, *, silent: bool) -> dict[str, Any]:
    clock, eyes, settings = SystemClock(), _Eyes(), JenkinsSettings()
    edge = JenkinsEdge(clock, settings.call_timeout_s)
    often_s = min(settings.poll_every_s, every_s)
    poller = Poller(edge, eyes.emit, Troubles(clock), often_s, every_s, clock, SystemChance())
    tenants = {TenantName(f"team-{number}"): record for number, record in enumerate(records)}
    for tenant, record in tenants.items():
        poller.know(tenant, record)
    busy = frozenset(tenants if silent else ())
    running = asyncio.create_task(poller.run(eyes.found, lambda: busy))
    hearing = asyncio.create_task(_hear(poller, () if silent else tuple(tenants)))
    try:
        deadline = time.monotonic() + FIRST_TIMEOUT_S
        while min(eyes.seen[tenant] for tenant in tenants) < LOOKS_BEFORE:
            if time.monotonic() > deadline or running.done():
                raise UnavailableError(f"{len(eyes.seen)} of {len(tenants)} masters were looked at")
            await asyncio.sleep(0.2)
        looks, cpu_s, began = eyes.looks, time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        looks, cpu_s, took_s = eyes.looks - looks, time.process_time() - cpu_s, time.monotonic() - began
    finally:
        for task in (hearing, running):
            task.cancel()
        await asyncio.gather(hearing, running, return_exceptions=True)
        await edge.close()
    return {
        "looks_per_s": rounded(looks / took_s),
        "look_cpu_ms": rounded(cpu_s * 1000 / max(looks, 1)),
        "cpu_share": rounded(cpu_s / took_s, 4),
    }


async def _hear(poller: Poller, tenants: tuple[TenantName, ...]) -> None:
    """As their init scripts tell of something, or that they are alive."""
    while True:
        for tenant in tenants:
            poller.heard(tenant)
        await asyncio.sleep(HEAR_EVERY_S)


@contextmanager
def _one_core() -> Iterator[None]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def _crowd(count: int) -> Iterator[list[int]]:
    """Their ports. Raises UnavailableError."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "benchmarks.poller.crowd", str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        assert process.stdout is not None  # noqa: S101 - for the type checker
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(START_TIMEOUT_S) else b""
        if not line:
            raise UnavailableError(f"{count} masters do not start within {START_TIMEOUT_S:g} s")
        yield json.loads(line)
    finally:
        try:
            process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
