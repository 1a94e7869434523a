"""Rounds of the two programs in turn on one Mesos, and the ratios of how long each took."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from agents import pack
from agents.spec import HostPolicy
from benchmarks.cluster import Say, interruptible
from benchmarks.mesos.plan import Plan
from framework.errors import ButleryError
from framework.local import isolation, mesos_package
from framework.local.cluster import MesosCluster, free_port
from framework.local.spec import HostShape, LocalSettings, hosts_of

PROGRAMS = {"ours": "benchmarks.mesos.ours", "bare": "benchmarks.mesos.bare"}
HOSTS = 317
TASKS = 8000
TASK_CPU_MILLIS, TASK_MEM_MIB = 100, 32
OVERHEAD_CPU_MILLIS, OVERHEAD_MEM_MIB = 100, 32
MARK_TIMEOUT_S = 600.0
"""From one mark to the next; all Mesos executors were seen to start within 40 s."""


def run(tasks: int, hosts: int, rounds: int, console: Console) -> dict[str, Any]:
    """The figures. Raises ButleryError where a program does not come to its end."""
    took: dict[str, list[dict[str, float]]] = {name: [] for name in PROGRAMS}
    lost = dict.fromkeys(PROGRAMS, 0)
    doubled = dict(lost)
    with interruptible(), _cluster(tasks, hosts, console.print) as cluster:
        for number in range(rounds):
            for name in list(PROGRAMS)[:: -1 if number % 2 else 1]:  # so that none always has the fresher Mesos
                marks = _one(name, f"{name}-{number}", tasks, cluster)
                took[name].append(_durations(marks))
                lost[name] += int(marks["lost"])
                doubled[name] += int(marks["doubled"])
                running_s, finishing_s = took[name][-1]["running_s"], took[name][-1]["finishing_s"]
                console.print(
                    f"round {number + 1} of {rounds}, {name}: {tasks} running after {running_s:.1f} s, finished in "
                    f"{finishing_s:.1f} s"
                )
    figures: dict[str, Any] = {
        "running_time_ratio": _ratio(took, "running_s"),
        "finish_rate_ratio": round(1 / _ratio(took, "finishing_s"), 3),
        "lost": lost["ours"],
        "doubled": doubled["ours"],
        "bare_lost": lost["bare"],
        "tasks": tasks,
        "hosts": hosts,
        "rounds": rounds,
    }
    for name in PROGRAMS:
        figures[name] = {
            key: _spread([each[key] for each in took[name]]) for key in ("running_s", "finishing_s", "replacing_s")
        }
        figures[name]["finished_per_s"] = round(tasks / figures[name]["finishing_s"]["median"])
    return figures


@contextlib.contextmanager
def _cluster(tasks: int, hosts: int, say: Say) -> Iterator[MesosCluster]:
    """With room for just so many tasks, so that the second half of them must wait for the first to end."""
    directory = Path(tempfile.mkdtemp(prefix="butlery-"))
    directory.chmod(0o755)
    least, more = divmod(tasks, hosts)
    shapes = [_shape(least + 1, more), _shape(least, hosts - more)]
    settings = LocalSettings(hosts=[shape for shape in shapes if shape is not None])
    held = isolation.resolve(HostPolicy(isolation="watchdog"))
    cluster = MesosCluster(directory, hosts_of(settings), held, mesos_package.ensure(say), port=free_port(), say=say)
    try:
        cluster.start()
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _shape(tasks: int, count: int) -> HostShape | None:
    if not count:
        return None
    cpus = (OVERHEAD_CPU_MILLIS + tasks * TASK_CPU_MILLIS) / 1000
    return HostShape(count=count, name=f"fits-{tasks}", cpus=cpus, mem_mib=OVERHEAD_MEM_MIB + tasks * TASK_MEM_MIB)


def _one(name: str, framework: str, tasks: int, cluster: MesosCluster) -> Mapping[str, float]:
    """When each mark was reached, of time.monotonic, with what was lost and doubled."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cluster.directory) as made:
        directory = Path(made)
        directory.chmod(0o755)
        plan = Plan(
            url=cluster.url,
            name=framework,
            role="bench",
            tasks=tasks,
            cpu_millis=TASK_CPU_MILLIS,
            mem_mib=TASK_MEM_MIB,
            overhead_cpu_millis=OVERHEAD_CPU_MILLIS,
            overhead_mem_mib=OVERHEAD_MEM_MIB,
            executor=str(pack.build_pyz(directory / pack.NAME)),
            python=pack.PYTHON,
            first_file=str(directory / "first"),
            second_file=str(directory / "second"),
            directory=made,
        )
        log = directory / "program.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", PROGRAMS[name]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output
            )
        try:
            assert process.stdin is not None  # noqa: S101 - for the type checker
            process.stdin.write(msgspec.json.encode(plan) + b"\n")
            process.stdin.close()
            return _marks(process, plan)
        except ButleryError as error:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise ButleryError(f"{name}: {error}{': ' + last[0] if last else ''}") from error
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _marks(process: subprocess.Popen[bytes], plan: Plan) -> Mapping[str, float]:
    marks: dict[str, float] = {}
    for line in _lines(process):
        told = json.loads(line)
        marks[told["mark"]] = told["at"]
        if told["mark"] == "all running":
            marks["told to finish"] = time.monotonic()
            Path(plan.first_file).touch()
        elif told["mark"] == "all replaced":
            Path(plan.second_file).touch()
        elif told["mark"] == "end":
            return {**marks, "lost": told["lost"], "doubled": told["doubled"]}
    raise ButleryError(f"it ended after {', '.join(marks) or 'nothing'}")


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Raises ButleryError where none comes for too long."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(MARK_TIMEOUT_S):
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            yield from lines
    raise ButleryError(f"nothing more was reached within {MARK_TIMEOUT_S:g} s")


def _durations(marks: Mapping[str, float]) -> dict[str, float]:
    return {
        "running_s": marks["all running"] - marks["subscribed"],
        "finishing_s": marks["all finished"] - marks["told to finish"],
        "replacing_s": marks["all replaced"] - marks["told to finish"],
    }


def _ratio(took: Mapping[str, list[dict[str, float]]], key: str) -> float:
    ours, bare = (statistics.median(each[key] for each in took[name]) for name in ("ours", "bare"))
    return round(ours / bare, 3)


def _spread(values: list[float]) -> dict[str, float]:
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 2) for name, value in found.items()}


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table("seconds", *PROGRAMS, "ours / bare", box=None, pad_edge=False)
    for title, key in (("until all run", "running_s"), ("until all are finished", "finishing_s")):
        medians = [figures[name][key]["median"] for name in PROGRAMS]
        cells = [f"{figures[name][key]['median']:.1f} ({_range(figures[name][key])})" for name in PROGRAMS]
        table.add_row(title, *cells, f"{medians[0] / medians[1]:.2f}")
    console.print(table)
    console.print(f"lost {figures['lost']}, doubled {figures['doubled']}")


def _range(spread: Mapping[str, float]) -> str:
    return f"{spread['min']:.1f} .. {spread['max']:.1f}"
