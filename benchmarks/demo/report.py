"""What came of the builds: the figures, and the table that shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.api import Api
from benchmarks.demo.builds import CLASSES, TENANTS, PlannedBuild
from benchmarks.demo.queued import CLASS_OF
from benchmarks.demo.watch import class_of
from benchmarks.figures import percentile, rounded
from framework.cli.client import RefusedError
from framework.errors import UnavailableError

LOG_LINES = 15


@dataclass(frozen=True)
class Finished:
    """A build as it was planned, and as the API tells of it with all its attempts; None where that knows of none yet.

    ``queued``: as its master tells of it, where it was in the queue of one.
    """

    planned: PlannedBuild
    job: Mapping[str, Any] | None
    queued: Mapping[str, Any] | None = None

    @property
    def found(self) -> str | None:
        """How it ended."""
        if self.queued is not None:
            result: str | None = self.queued["result"]
            return CLASS_OF.get(str(result), result)
        return None if self.job is None else class_of(self.job)

    @property
    def as_expected(self) -> bool:
        return self.found == self.planned.expected

    @property
    def waited_s(self) -> float | None:
        """From the queue until its agent was online; of a job of the API until it ran. None where it never did."""
        if self.queued is not None:
            waited_s: float | None = self.queued["queue_to_online_s"]
            return waited_s
        running_at = None if self.job is None else self.job["running_at"]
        return None if self.job is None or running_at is None else float(running_at - self.job["submitted_at"])

    @property
    def attempts(self) -> Sequence[Mapping[str, Any]]:
        return () if self.job is None else self.job["attempts"]


def figures_of(builds: Sequence[Finished], hosts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers; times in seconds, memory in MiB."""
    return {
        "builds": len(builds),
        "as_expected": sum(build.as_expected for build in builds),
        "tenants": {
            name: _tenant(weight, [build for build in builds if build.planned.tenant == name])
            for name, weight in TENANTS.items()
        },
        "hosts": [_host(host, builds) for host in hosts],
    }


def _tenant(weight: int, builds: Sequence[Finished]) -> dict[str, Any]:
    classes = Counter(build.found for build in builds)
    queued = [build for build in builds if build.queued is not None]
    waits = [wait for build in queued or builds if (wait := build.waited_s) is not None]
    return {
        "weight": weight,
        "builds": len(builds),
        **{name: classes[name] for name in CLASSES},
        "other": sum(number for name, number in classes.items() if name not in CLASSES),
        "queued": len(queued),
        "queue_to_online_p50_s": rounded(percentile(waits, 0.5)),
        "queue_to_online_p99_s": rounded(percentile(waits, 0.99)),
    }


def _host(host: Mapping[str, Any], builds: Sequence[Finished]) -> dict[str, Any]:
    """Peaks are of what was promised to builds at once, without their Mesos executors; CPU seconds were measured."""
    changes: list[tuple[float, int, float, int]] = []
    cpu_s, count = 0.0, 0
    for build in builds:
        for attempt in build.attempts:
            if build.job is None or attempt["host"] != host["hostname"]:
                continue
            resources = build.job["resources"]
            count += 1
            cpu_s += (attempt["result"] or {}).get("cpu_s") or 0.0
            changes.append((attempt["launched_at"], 1, resources["cpus"], resources["mem_mib"]))
            if attempt["ended_at"] is not None:
                changes.append((attempt["ended_at"], -1, -resources["cpus"], -resources["mem_mib"]))
    now = peak = (0, 0.0, 0)
    for _, builds_more, cpus_more, mem_more in sorted(changes):  # of what happened at once, ends first
        now = (now[0] + builds_more, now[1] + cpus_more, now[2] + mem_more)
        peak = (max(peak[0], now[0]), max(peak[1], now[1]), max(peak[2], now[2]))
    return {
        "host": host["hostname"],
        "rack": host["attributes"].get("rack"),
        "builds": count,
        "peak_builds": peak[0],
        "peak_cpus": round(peak[1], 3),
        "cpus": host["total"]["cpus"],
        "peak_mem_mib": peak[2],
        "mem_mib": host["total"]["mem_mib"],
        "cpu_s": round(cpu_s, 1),
    }


def deviations(api: Api, builds: Iterable[Finished]) -> list[dict[str, Any]]:
    """Every build that did not end as it should, with what is known of why."""
    return [_deviation(api, build) for build in builds if not build.as_expected]


def _deviation(api: Api, build: Finished) -> dict[str, Any]:
    told = build.queued or build.job or {}
    message = ""
    lines: list[str] = []
    try:
        if build.job is not None:
            message = str((build.job["result"] or {}).get("message", ""))
            if build.job["state"] == "waiting":
                message = api.why(build.job["id"])
        if build.queued is not None:
            lines = str(build.queued["log"]).splitlines()[-LOG_LINES:]
        else:
            lines = api.log_tail(str(told.get("id")), LOG_LINES)
    except (RefusedError, UnavailableError) as error:
        lines = [f"(no log: {error})"]
    return {
        "id": told.get("id"),
        "tenant": build.planned.tenant,
        "name": build.planned.name,
        "ref": build.planned.ref,
        "expected": build.planned.expected,
        "found": build.found or f"still {told.get('state')}",
        "message": message,
        "log": lines,
    }


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The tables, and every deviation with the end of its output."""
    console.print(_tenants_table(figures["tenants"]))
    console.print()
    console.print(_hosts_table(figures["hosts"]))
    console.print()
    for found in figures["deviations"]:
        console.print(
            f"[red]{found['id']}[/] of {found['tenant']} ({found['name']} at {found['ref']}) should have ended as "
            f"{found['expected']}, but: {found['found']}. {escape(found['message'])}",
            soft_wrap=True,
        )
        for line in found["log"]:
            console.print(f"    {escape(line)}", soft_wrap=True)


def _tenants_table(tenants: Mapping[str, Mapping[str, Any]]) -> Table:
    headings = ("tenant", "weight", "builds", "passed", "failed", "OOM", "timed out", "other", "p50", "p99")
    waited = "from the queue of the master until the agent is online"
    if not any(tenant["queued"] for tenant in tenants.values()):
        waited = "from the queue to TASK_RUNNING"
    table = Table(*headings, box=None, pad_edge=False, caption=f"p50, p99: {waited}")
    table.caption_justify = "left"
    for column in table.columns[1:]:
        column.justify = "right"
    for name, tenant in tenants.items():
        counts = [str(tenant[key]) for key in ("weight", "builds", *CLASSES, "other")]
        table.add_row(name, *counts, *(_seconds(tenant[f"queue_to_online_{which}_s"]) for which in ("p50", "p99")))
    return table


def _hosts_table(hosts: Iterable[Mapping[str, Any]]) -> Table:
    table = Table("host", "rack", "builds", "at once", "peak CPUs", "peak MiB", "CPU seconds", box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for host in hosts:
        table.add_row(
            host["host"],
            host["rack"] or "",
            str(host["builds"]),
            str(host["peak_builds"]),
            f"{host['peak_cpus']:g} of {host['cpus']:g}",
            f"{host['peak_mem_mib']} of {host['mem_mib']}",
            f"{host['cpu_s']:.1f}",
        )
    return table


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
