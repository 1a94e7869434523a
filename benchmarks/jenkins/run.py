"""Both parts of the benchmark: how soon one agent comes, and what becomes of thousands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cluster import interruptible
from benchmarks.jenkins import crowd, quick

MASTERS = 200
ITEMS = 8000
HOSTS = 317
BUILDS = 70
WARM = 60


def run(masters: int, items: int, hosts: int, builds: int, warm: int, console: Console) -> dict[str, Any]:
    """Measures and returns the figures; ``console`` gets the progress.

    Raises InputError, UnavailableError or ButleryError where it cannot be measured, Interrupted on a signal.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with interruptible():
        figures = crowd.measure(masters, items, hosts, say)
        if builds:
            figures |= quick.measure(builds, warm, say)
    return {**figures, "masters": masters, "hosts": hosts}


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = [
        ("served", f"{figures['served']} of {figures['items']} items of {figures['masters']} masters"),
        ("", f"{figures['served_twice']} twice, {figures['over_provisioned']} agents for nobody"),
        ("left after 30 s", f"{figures['leaked_nodes']} nodes, {figures['leaked_tasks']} tasks"),
        ("builds", f"{figures['builds_per_s']:g} a second, {figures['cpu_ms_per_build']:g} ms of the scheduler each"),
        ("resident set of the scheduler, at most", f"{figures['rss_mib']:g} MiB"),
        (
            f"{figures['burst_items']} items of one master at once",
            f"at most {figures['most_nodes']} nodes, {figures['nodes_beyond_claims']} without a claim",
        ),
        ("the master answered meanwhile", f"p99 {figures['master_p99_ms']:g} ms, {figures['master_unanswered']} not"),
    ]
    if "p50_s" in figures:
        rows += [
            ("queue to agent online", f"p50 {figures['p50_s']} s, p99 {figures['p99_s']} s"),
            ("with warm spares", f"p50 {figures['warm_p50_s']} s, p99 {figures['warm_p99_s']} s"),
        ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
