"""All parts of the benchmark, on one real Elasticsearch of this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.cluster import interruptible
from benchmarks.telemetry import client, history, outage, share
from framework.local import elasticsearch
from framework.local.elasticsearch import ElasticsearchServer

HEAP_MIB = 1024


class Sizes(NamedTuple):
    rounds: int  # of each way into Elasticsearch
    documents: int  # a round
    outage_s: int
    speed: float  # times as fast as it would come
    past: int  # builds
    lists: int
    statistics: int  # of each kind
    share_s: int  # of builds, into each sink


def run(sizes: Sizes, console: Console) -> dict[str, Any]:
    """Measures and returns the figures; ``console`` gets the progress.

    Raises InputError, UnavailableError or ButleryError where it cannot be measured, Interrupted on a signal.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with interruptible(), ExitStack() as parts:
        directory = Path(tempfile.mkdtemp(prefix="butlery-"))
        directory.chmod(0o755)  # hosts run what is in it as other users
        parts.callback(shutil.rmtree, directory, ignore_errors=True)
        package = elasticsearch.ensure(say)
        server = ElasticsearchServer(directory / "elasticsearch", package, heap_mib=HEAP_MIB)
        parts.callback(server.stop)
        server.start()
        server.wait_ready()
        figures = client.measure(server.url, directory / "spools", sizes.documents, sizes.rounds, say)
        figures["outage"] = outage.measure(server, directory, sizes.outage_s, sizes.speed, say)
        figures |= {name: figures["outage"][name] for name in ("lost", "doubled", "caught_up_s")}
        figures["share"] = share.measure(server.url, directory, sizes.share_s, say)
        figures["cpu_share"] = figures["share"]["cpu_share"]
        figures["history"] = history.measure(server.url, directory, sizes.past, sizes.lists, sizes.statistics, say)
        figures |= {name: figures["history"][name] for name in ("lists_p99_ms", "statistics_p99_ms")}
    return {**figures, "elasticsearch": elasticsearch.VERSION}


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table(box=None, show_header=False, pad_edge=False)
    per_s, each_us = figures["docs_per_s"], figures["client_cpu_us_per_doc"]
    away, past, share_of = figures["outage"], figures["history"], figures["share"]
    rows = [
        ("documents a second", f"{per_s['ours']:g}, streaming_bulk {per_s['streaming_bulk']:g}"),
        ("CPU time of a document", f"{each_us['ours']:g} us, streaming_bulk {each_us['streaming_bulk']:g} us"),
        (f"{away['outage_builds']} builds while it was dead", f"{away['lost']} lost, {away['doubled']} doubled"),
        ("back again", f"{away['waiting']} records that waited are there after {away['caught_up_s']:g} s"),
    ]
    for name in ("sqlite", "elasticsearch"):
        told = past[name]
        rows += [
            (f"{name}: lists of {past['builds']} builds", f"p99 {told['lists_p99_ms']:g} ms"),
            (f"{name}: a month's statistics", f"p99 {told['statistics_p99_ms']:g} ms"),
            (f"{name}: of the scheduler's CPU time", f"{share_of[name]['cpu_share']:.1%}"),
        ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
