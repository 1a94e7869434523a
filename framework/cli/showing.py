"""One build, laid out for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from framework.cli.output import amount, clock, console, one_line, outcome, print_table, printable, seconds, since

ARTIFACTS_SHOWN = 20
"""By name; a build may keep a thousand, and `butlery jobs artifacts` lists them."""


def show_job(job: Mapping[str, Any]) -> None:
    """Prints it to stdout."""
    show_lines(_lines(job))
    if job["attempts"]:
        print_table(
            ("ATTEMPT", "HOST", "STATE", "STARTED", "RAN", "RESULT"), (_attempt(one) for one in job["attempts"])
        )


def show_lines(lines: Iterable[tuple[str, Any]]) -> None:
    """Prints names with what they have beside them."""
    from rich.text import Text

    screen = console()
    for name, value in lines:
        told = value if isinstance(value, Text) else Text(printable(str(value)))
        screen.print(Text(f"{name:<12}", "bold") + told, soft_wrap=True)


def _lines(job: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    resources = job["resources"]
    yield "job", job["id"]
    yield "tenant", job["tenant"]
    yield "name", job["name"]
    yield from _origin(job["origin"])
    yield "state", outcome(job)
    yield from _result(job["result"])
    disk = f", {resources['disk_mib']} MiB disk" if resources["disk_mib"] else ""
    more = "".join(f", {resources[name]} {name}" for name in ("gpus", "ports") if resources[name])
    yield "asks for", f"{amount(resources['cpus'])} CPUs, {resources['mem_mib']} MiB{disk}{more}"
    if job["containers"]:
        yield "containers", "1 that builds, " + ", ".join(one["name"] for one in job["containers"])
    if job["attributes"]:
        yield "hosts with", " ".join(f"{name}={value}" for name, value in sorted(job["attributes"].items()))
    if job["constraints"]:
        yield "where", ", ".join(" ".join(parts) for parts in job["constraints"])
    for name in ("near", "apart"):
        for each in job[name]:
            labels = " ".join(f"{key}={value}" for key, value in sorted(each["labels"].items()))
            yield name, f"{labels} by {each['field']}"
    if job["labels"]:
        yield "labels", " ".join(f"{key}={value}" for key, value in sorted(job["labels"].items()))
    if job["preemptible"]:
        yield "preemptible", f"yes; attempts ended for others: {job['preemptions']}"
    if job["reserved"] != "last":
        yield "reserved", job["reserved"]
    if job["mesos_executor"] != "own":
        yield "executor", f"{job['mesos_executor']}, of Mesos"
    yield "limits", f"{seconds(job['timeout_s'])} to run, {seconds(job['grace_s'])} to end, {job['retries']} retries"
    yield "submitted", clock(job["submitted_at"])
    yield "queued", seconds(since(job["submitted_at"], job["running_at"] or job["ended_at"]))
    if job["running_at"]:
        yield "ran", seconds(since(job["running_at"], job["ended_at"]))
    if job["image"]:
        yield "image", job["image"]
    yield from _spec(job["spec"])


def _origin(origin: Mapping[str, Any] | None) -> Iterator[tuple[str, Any]]:
    if origin is not None:
        yield "pushed", "{commit} of {branch} of {repository}, by webhook {webhook}".format(**origin)


def _result(result: Mapping[str, Any] | None) -> Iterator[tuple[str, Any]]:
    if result is None:
        return
    if result["message"]:
        yield "message", result["message"]
    if result["exit_code"] is not None:
        yield "exit code", result["exit_code"]
    if result["peak_mem_mib"] is not None:
        limit = f" of {result['limit_mem_mib']} MiB" if result["limit_mem_mib"] else " MiB"
        yield "peak memory", f"{result['peak_mem_mib']:.1f}{limit}"
    if result["peak_disk_mib"] is not None:
        yield "peak disk", f"{result['peak_disk_mib']:.1f} MiB"
    if result["cpu_s"] is not None:
        yield "CPU time", seconds(result["cpu_s"])
    if result["isolation"]:
        yield "held by", result["isolation"]
    if result["artifacts"]:
        yield "artifacts", _some(result["artifacts"])
    if result["leftover_processes"]:
        yield "left behind", f"{result['leftover_processes']} processes, which were ended"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - ARTIFACTS_SHOWN} more" if len(names) > ARTIFACTS_SHOWN else ""
    return " ".join(one_line(name) for name in names[:ARTIFACTS_SHOWN]) + more


def _spec(spec: Mapping[str, Any] | None) -> Iterator[tuple[str, Any]]:
    if spec is None:
        return
    if spec["git"]:
        yield "git", " ".join(part for part in (spec["git"]["url"], spec["git"]["ref"]) if part)
    if spec["env"]:
        yield "environment", " ".join(sorted(spec["env"]))
    if spec["secrets"]:
        yield "secrets", " ".join(spec["secrets"])
    yield "command", spec["command"].rstrip("\n")


def _attempt(attempt: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        attempt["attempt"],
        attempt["host"],
        attempt["state"],
        clock(attempt["running_at"]),
        seconds(since(attempt["running_at"], attempt["ended_at"])),
        outcome(attempt) if attempt["result"] else "",
    )
