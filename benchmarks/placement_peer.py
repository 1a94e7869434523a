"""Placement against Netflix Fenzo: the same requests on the same hosts, in one run, round by round in turns.

Both are timed alike, from requests and offers in memory to assignments: for us that is a ``Placer``, made of the
offers, placing the requests' shapes as the scheduler has it do; for Fenzo one ``scheduleOnce`` on a warm JVM, with its
fitness for packing CPU and memory. Each round starts with all hosts free. Requests have their own resources only, for
both: no Mesos executor's overhead. Beside that stands what a whole turn of our core costs, with its queues, fair share,
records of tasks and the frame to be saved, for which Fenzo has no like.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import fenzo
from benchmarks.figures import as_in_the_scheduler
from benchmarks.placement import MIXES, REQUESTS, TIME, lower_bound, one_turn, reference_hosts
from framework.core.ids import RequestId, TenantName
from framework.core.offers import Host
from framework.core.ordering import shape_of
from framework.core.placement import NO_BOUND, Candidate, Placer, Shape
from framework.core.resources import ZERO, Resources
from framework.core.state import Config
from framework.core.tasks import Request
from framework.core.templates import Template

HOST_COUNTS = (317, 2000)
WARM_UP = 6  # rounds of each, thrown away; Fenzo's times stop falling after three to five


def run(
    seed: int = 1,
    rounds: int = 7,
    console: Console | None = None,
    *,
    host_counts: Sequence[int] = HOST_COUNTS,
    warm_up: int = WARM_UP,
    requests: int = REQUESTS,
) -> dict[str, Any]:
    """``hosts_N`` for each count of hosts: ``speed_ratio`` (ours to Fenzo's) and ``hosts_ratio`` (used to the lower

    bound) of the mix of requests that is worse for us; all of both mixes in ``mixes``. Raises as ``fenzo.ensure``, and
    ButleryError where Fenzo's program ends.
    """

    def say(line: str) -> None:
        if console is not None:
            console.print(line, highlight=False)

    libraries = fenzo.ensure(say)
    figures: dict[str, Any] = {
        "peer": f"com.netflix.fenzo:fenzo-core:{fenzo.VERSION}",
        "requests": requests,
        "seed": seed,
        "rounds": rounds,
        "warm_up_rounds": warm_up,
    }
    for count in host_counts:
        hosts = reference_hosts(count)
        mixes: dict[str, dict[str, Any]] = {}
        for name, mix in MIXES.items():
            say(f"{len(hosts)} hosts, {requests} requests, {name}")
            needs = mix(random.Random(seed), requests)
            mixes[name] = _against(libraries, hosts, needs, rounds, warm_up)
        figures[f"hosts_{count}"] = {
            "hosts": len(hosts),
            "speed_ratio": min(each["speed_ratio"] for each in mixes.values()),
            "hosts_ratio": max(each["hosts_ratio"] for each in mixes.values()),
            "requests_per_s": min(each["requests_per_s"] for each in mixes.values()),
            "turn_requests_per_s": min(each["turn_requests_per_s"] for each in mixes.values()),
            "mixes": mixes,
        }
    if console is not None:
        console.print(_table(figures, host_counts))
    return figures


def _against(
    libraries: Path, hosts: tuple[Host, ...], needs: list[Resources], rounds: int, warm_up: int
) -> dict[str, Any]:
    ours_s: list[float] = []
    theirs_s: list[float] = []
    shapes = [_shape(need) for need in needs]
    with as_in_the_scheduler(), fenzo.running(libraries, hosts, needs) as peer:
        for nth in range(warm_up + rounds):
            duration_s, indices = _placed(hosts, shapes)
            theirs = peer.round()
            if nth >= warm_up:
                ours_s.append(duration_s)
                theirs_s.append(theirs.duration_s)
    count, bound = len(needs), lower_bound(hosts, needs)
    used = len(set(indices))
    with as_in_the_scheduler():
        turns_s = [one_turn(hosts, needs, Config(overhead=ZERO))[0] for _ in range(rounds)]
    ratios = sorted(theirs / ours for ours, theirs in zip(ours_s, theirs_s, strict=True))
    return {
        "speed_ratio": round(statistics.median(theirs_s) / statistics.median(ours_s), 1),
        "speed_ratio_each_round": [round(ratio, 1) for ratio in ratios],
        "requests_per_s": round(count / statistics.median(ours_s)),
        "ms": _ms(ours_s),
        "turn_requests_per_s": round(count / statistics.median(turns_s)),
        "turn_ms": _ms(turns_s),
        "hosts_lower_bound": bound,
        "hosts_used": used,
        "hosts_ratio": round(used / bound, 4),
        "fenzo_requests_per_s": round(theirs.placed / statistics.median(theirs_s)),
        "fenzo_ms": _ms(theirs_s),
        "fenzo_placed": theirs.placed,
        "fenzo_hosts_used": theirs.hosts_used,
        "fenzo_hosts_ratio": round(theirs.hosts_used / bound, 4),
    }


def _ms(durations_s: Sequence[float]) -> list[float]:
    return [round(duration * 1000, 1) for duration in sorted(durations_s)]


def _placed(hosts: tuple[Host, ...], shapes: list[Shape]) -> tuple[float, list[int]]:
    """One round of ours: how long it took, and the hosts' indices. All requests must find one."""
    gc.collect()
    started = time.perf_counter()
    candidates = [Candidate(host.id, host.total, host.attributes) for host in hosts]
    indices = Placer(candidates, NO_BOUND).place_all(shapes)
    duration_s = time.perf_counter() - started
    if indices is None:
        raise ValueError("the requests do not fit on the hosts")
    return duration_s, indices


def _shape(need: Resources) -> Shape:
    request = Request(RequestId("r"), TenantName("alpha"), "benchmark", Template(need), TIME)
    return shape_of(request, ZERO)


def _table(figures: dict[str, Any], host_counts: Sequence[int]) -> Table:
    table = Table(title=f"{figures['requests']} requests, against {figures['peer']}")
    table.add_column("")
    columns = {
        f"{count} hosts, {name}": mix
        for count in host_counts
        for name, mix in figures[f"hosts_{count}"]["mixes"].items()
    }
    for title in columns:
        table.add_column(title, justify="right")
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "requests/s (median)": lambda each: f"{each['requests_per_s']:,}",
        "Fenzo's": lambda each: f"{each['fenzo_requests_per_s']:,}",
        "ratio": lambda each: str(each["speed_ratio"]),
        "ratio, min .. max": lambda each: (
            f"{each['speed_ratio_each_round'][0]} .. {each['speed_ratio_each_round'][-1]}"
        ),
        "requests/s of a whole turn": lambda each: f"{each['turn_requests_per_s']:,}",
        "hosts used / lower bound": lambda each: f"{each['hosts_used']} / {each['hosts_lower_bound']}",
        "Fenzo's hosts": lambda each: str(each["fenzo_hosts_used"]),
    }
    for title, cell in rows.items():
        table.add_row(title, *(cell(mix) for mix in columns.values()))
    return table
