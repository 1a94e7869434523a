"""``butlery builds``, of past ones: lists, statistics, what one came to and cost."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framework.cli.connection import AsJson, Directory, Server, TokenFile, connect
from framework.cli.output import (
    brief,
    clock,
    money,
    print_line,
    print_long_json,
    print_table,
    printable,
    say,
    seconds,
)
from framework.errors import Fault, InputError

if TYPE_CHECKING:
    from framework.cli.client import ApiClient

MOMENT = "a day, a time (2026-01-31T13:00Z), seconds since the epoch, or how long ago: 90m, 12h, 7d, 4w."
AsCsv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values with a heading, and nothing else.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help=f"Only builds that ended then or later: {MOMENT}")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only builds that ended before; as --since.")]

COLUMNS = ("BUILD", "TENANT", "JOB", "LABEL", "RESULT", "TEMPLATE", "HOST", "ENDED", "WAITED", "RAN", "COST")


def one_of(as_json: bool, as_csv: bool) -> None:
    """Raises InputError."""
    if as_json and as_csv:
        raise InputError([Fault("--csv", "does not go with --json; give one of the two")])


def _print_csv(client: ApiClient, path: str, params: Mapping[str, Any]) -> None:
    """Prints a route's CSV as it comes. Raises as ``ApiClient.call``, also where it breaks off."""
    sys.stdout.flush()
    for chunk in client.chunks(path, {**params, "format": "csv"}):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def to_show(
    client: ApiClient, path: str, params: Mapping[str, Any], *, as_json: bool, as_csv: bool
) -> Mapping[str, Any] | None:
    """What a route tells; None where it is printed by now, as CSV or JSON. Raises as ``ApiClient.call``."""
    if as_csv:
        _print_csv(client, path, params)
        return None
    found: Mapping[str, Any] = client.get(path, params)
    if as_json:
        print_long_json(found)
        return None
    return found


def list_past(client: ApiClient, params: Mapping[str, Any], *, as_json: bool, as_csv: bool) -> None:
    found = to_show(client, "/v1/builds/past", params, as_json=as_json, as_csv=as_csv)
    if found is None:
        return
    print_table(COLUMNS, (_row(one) for one in found["builds"]))
    if found["next"]:
        say(printable(f"there may be more: --after '{found['next']}'"))


def _row(build: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        build["id"],
        build["tenant"],
        brief(build["job"]),
        brief(build["label"]) or "-",
        build["result_class"],
        brief(build["template"]) or "-",
        brief(build["host"]) or "-",
        clock(build["ended_at_ms"] / 1000),
        _length(build["wait_ms"]),
        _length(build["run_ms"]),
        money(build["cost_micros"], build["currency"]),
    )


def stats(
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIMENSIONS",
            help="Up to three of tenant, job, label, template, result_class, day, hour, such as --by tenant,label.",
        ),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    job: Annotated[str | None, typer.Option(help="Only builds of this job.")] = None,
    label: Annotated[str | None, typer.Option(help="Only builds that asked for this label.")] = None,
    template: Annotated[str | None, typer.Option(help="Only builds of this template.")] = None,
    since: Since = None,
    until: Until = None,
    order: Annotated[str, typer.Option(help="builds, cost, wait or key.")] = "builds",
    limit: Annotated[int, typer.Option(help="So many groups at most.")] = 100,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Tell of past builds together: how they ended, how long they waited and ran, what they cost; of the last 7 days.

    CPU and MEM: what was used at most, of what was asked for, by builds that were measured.
    """
    one_of(as_json, as_csv)
    params = {
        "by": by or None,
        "tenant": tenant,
        "job": job,
        "label": label,
        "template": template,
        "since": since,
        "until": until,
        "order": order,
        "limit": limit,
    }
    client = connect(server, token_file, directory)
    found = to_show(client, "/v1/builds/stats", params, as_json=as_json, as_csv=as_csv)
    if found is None:
        return
    say(f"builds that ended from {clock(found['since_ms'] / 1000)} until {clock(found['until_ms'] / 1000)}")
    _print_stats(list(found["groups"][0]["key"]) if found["groups"] else [], found["groups"], found["total"])
    if found["more"]:
        say(f"there are more groups than {limit}: --limit")


def _print_stats(by: Sequence[str], groups: Sequence[Mapping[str, Any]], total: Mapping[str, Any]) -> None:
    """UNPRICED is there where some are. What may be long comes last, so that the rest stays in its columns."""
    columns = [*(name.upper() for name in by), "BUILDS", "PASSED", "WAIT P50", "P90", "P99", "RUN P50", "P90", "P99"]
    unpriced = bool(total["unpriced"])
    columns += ["COST", *(["UNPRICED"] if unpriced else []), "CPU", "MEM", "OTHERS"]
    rows = [[*(brief(one["key"][name]) or "-" for name in by), *_figures(one, unpriced)] for one in groups]
    if by:
        rows.append([*("all" if place == 0 else "" for place in range(len(by))), *_figures(total, unpriced)])
    else:
        rows = [[*_figures(total, unpriced)]]
    print_table(columns, rows)


def _figures(stats: Mapping[str, Any], unpriced: bool) -> Iterator[Any]:
    yield stats["builds"]
    yield _percent(stats["by_class"].get("passed", 0) / stats["builds"] if stats["builds"] else None)
    for what in ("waits", "runs"):
        found = stats[what] or {}
        yield from (_length(found.get(f"{rank}_ms")) for rank in ("p50", "p90", "p99"))
    yield ", ".join(money(micros, currency) for currency, micros in sorted(stats["cost_micros"].items())) or "-"
    if unpriced:
        yield stats["unpriced"]
    yield _percent(stats["cpu_efficiency"])
    yield _percent(stats["mem_efficiency"])
    others = sorted(((count, name) for name, count in stats["by_class"].items() if name != "passed"), reverse=True)
    yield ", ".join(f"{count} {name}" for count, name in others) or "-"


def waiting(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Count what builds wait for, by tenant, as last sampled. `butlery builds why BUILD` tells of one."""
    one_of(as_json, as_csv)
    client = connect(server, token_file, directory)
    found = to_show(client, "/v1/builds/waiting", {"tenant": tenant}, as_json=as_json, as_csv=as_csv)
    if found is None:
        return
    say(f"{found['waiting']} builds waited at {clock(found['at'])}")
    rows = ((one["tenant"], one["waiting"], _counted(one["reasons"])) for one in found["tenants"])
    print_table(("TENANT", "WAITING", "FOR"), rows)


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items(), key=lambda one: -one[1])) or "-"


def past_lines(build: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Of a build that the state has forgotten, or one of an agent that served several: names, and what they have."""
    yield "build", build["id"]
    yield "tenant", build["tenant"]
    yield "name", build["title"] or build["job"]
    yield "result", f"{build['result_class']}: {build['message']}" if build["message"] else build["result_class"]
    if build["result"]:
        yield "in Jenkins", build["result"]
    if build["queue_item"] is not None:
        yield "queue item", build["queue_item"]
    if build["label"]:
        yield "label", build["label"]
    if build["template"]:
        yield "template", f"{build['template']}@{build['template_version']}"
    if build["image"]:
        yield "image", build["image"]
    if build["host"]:
        yield "host", build["host"]
    yield "ended", clock(build["ended_at_ms"] / 1000)


def use_lines(build: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a build used of what it asked for, and what it cost."""
    asked = build["asked_cpu_millis"] / 1000
    if build["used_cpu_ms"] is not None and build["run_ms"]:
        yield "CPU", f"{build['used_cpu_ms'] / build['run_ms']:.2f} of {asked:g} CPUs on average"
    for name, peak, size in (
        ("memory", build["peak_mem_mib"], build["asked_mem_mib"]),
        ("disk", build["peak_disk_mib"], build["asked_disk_mib"]),
    ):
        if peak is not None:
            part = f", {_percent(peak / size)}" if size else ""
            yield name, f"{peak:.0f} of {size} MiB at most{part}" if size else f"{peak:.0f} MiB at most"
    if build["waited_for"]:
        yield "waited for", build["waited_for"]
    if build["currency"]:
        price = f" ({build['price']})" if build["price"] else ""
        cost = money(build["cost_micros"], build["currency"])
        yield "cost", f"{cost}{price}" if build["cost_micros"] is not None else "no price for a part of it"


def print_steps(steps: Iterable[Mapping[str, Any]]) -> None:
    """What a build came to, and how long that took; nothing of one that only was queued."""
    rows = [(one["step"], clock(one["at_ms"] / 1000), _length(one["took_ms"])) for one in steps]
    if len(rows) > 1:
        print_table(("STEP", "AT", "TOOK"), rows)


def print_refusals(refusals: Sequence[Mapping[str, Any]]) -> None:
    if refusals:
        rows = ((one["group"], one["reason"], one["hosts"], one["offers"]) for one in refusals)
        print_table(("REFUSED BY", "REASON", "HOSTS", "OFFERS"), rows)


def print_changes(changes: Sequence[Mapping[str, Any]]) -> None:
    if not changes:
        return
    print_line("")
    rows = (
        (clock(one["at_ms"] / 1000), one["attempt"], one["state"], one["host"] or "-", one["result_class"] or "-")
        for one in changes
    )
    print_table(("AT", "ATTEMPT", "STATE", "HOST", "RESULT"), rows)


def _length(value_ms: float | None) -> str:
    return seconds(None if value_ms is None else value_ms / 1000)


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.0%}"
