"""Rounds of the two drivers in turn, and the ratios of the CPU times that they took."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.wire.messages import HOSTS
from framework.edges.mesos.install_pymesos import installed
from framework.errors import ButleryError, Fault, InputError

CLIENTS = {"ours": ("benchmarks.wire.ours",), "pymesos": ("benchmarks.wire.peer",)}
ADDICT = {"pymesos_addict": ("benchmarks.wire.peer", "addict")}
AT_ONCE = 200
"""Life cycles under way: the launches of two seconds at 25 a second."""
WARM_UP_TASKS = 200
TIMEOUT_S = 120.0


def run(tasks: int, events: int, rounds: int, console: Console | None = None) -> dict[str, Any]:
    """The figures. Raises InputError where pymesos is not installed, ButleryError where a part of it ends early."""
    if not installed():
        message = "is not installed; install it with: python -m framework.edges.mesos.install_pymesos"
        raise InputError([Fault("pymesos", message)])
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(_program(["benchmarks.wire.master"], stdout=subprocess.PIPE))
        assert master.stdout is not None  # noqa: S101 - for the type checker
        url = f"http://127.0.0.1:{int(master.stdout.readline())}"
        clients = {
            name: stack.enter_context(_program([module, url, name, *options]))
            for name, (module, *options) in (CLIENTS | ADDICT).items()
        }
        for name in clients:
            _ask(url, "tasks", name, WARM_UP_TASKS)
        task_us: dict[str, list[float]] = {name: [] for name in CLIENTS}
        offers_ms: dict[str, list[float]] = {name: [] for name in clients}
        for number in range(rounds):
            for name in CLIENTS:
                task_us[name].append(_cpu_s(clients[name], url, "tasks", name, tasks) * 1e6 / tasks)
            for name in clients:
                offers_ms[name].append(_cpu_s(clients[name], url, "offers", name, events) * 1e3 / events)
            if console is not None:
                console.print(f"round {number + 1} of {rounds}")
    figures: dict[str, Any] = {
        "task_cpu_ratio": _ratio(task_us["pymesos"], task_us["ours"]),
        "offers_ratio": _ratio(offers_ms["pymesos"], offers_ms["ours"]),
        "offers_ratio_addict": _ratio(offers_ms["pymesos_addict"], offers_ms["ours"]),
        "task_cpu_us": {name: _spread(values) for name, values in task_us.items()},
        "offers_cpu_ms": {name: _spread(values) for name, values in offers_ms.items()},
        "tasks": tasks,
        "at_once": AT_ONCE,
        "offers_events": events,
        "hosts": HOSTS,
        "rounds": rounds,
    }
    if console is not None:
        console.print(_table(figures))
    return figures


@contextlib.contextmanager
def _program(arguments: Sequence[str], stdout: int | None = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """All of them on one CPU, where none breaks in on another: what a client costs is then its own doing."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL
    )
    os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(process.pid, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)  # pymesos would tear its framework down and wait for an answer
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ask(url: str, what: str, name: str, count: int) -> None:
    """Returns when it has been done; waits for the framework to subscribe first."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            asked = f"{url}/{what}?of={name}&count={count}&at_once={AT_ONCE}"
            with urllib.request.urlopen(asked, timeout=TIMEOUT_S):  # noqa: S310 - our own server
                return
        except urllib.error.HTTPError as error:
            if error.code != 404 or time.monotonic() > deadline:
                raise ButleryError(f"the benchmark's {name} did not subscribe") from error
            time.sleep(0.05)
        except OSError as error:
            raise ButleryError(f"the benchmark's {name} did not end its {what}: {error}") from error


def _cpu_s(process: subprocess.Popen[bytes], url: str, what: str, name: str, count: int) -> float:
    """CPU seconds that the process takes, all its threads and the kernel's work for it included."""
    clock = ((~process.pid) << 3) | 2  # a process' CPU clock, as clock_getcpuclockid(3) makes it on Linux
    before = time.clock_gettime(clock)
    _ask(url, what, name, count)
    return time.clock_gettime(clock) - before


def _ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    return round(statistics.median(theirs) / statistics.median(ours), 2)


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def _table(figures: dict[str, Any]) -> Table:
    table = Table("CPU time", "median", "min", "max", box=None, pad_edge=False)
    for title, key in (("a task's life cycle, us", "task_cpu_us"), (f"OFFERS of {HOSTS} hosts, ms", "offers_cpu_ms")):
        for name, values in figures[key].items():
            cells = [f"{values[each]:.2f}" for each in ("median", "min", "max")]
            table.add_row(f"{title}: {name.replace('_', ' with ')}", *cells)
    return table
