"""``butlery builds``: builds from masters' queues and jobs alike: list, show, why, logs; past ones and statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from framework.cli.connection import AsJson, Directory, Server, TokenFile, connect
from framework.cli.jobs import JobId, logs
from framework.cli.output import brief, clock, one_line, print_json, print_line, print_table, printable, say, seconds
from framework.cli.past_builds import (
    AsCsv,
    Since,
    Until,
    list_past,
    one_of,
    past_lines,
    print_changes,
    print_refusals,
    print_steps,
    stats,
    use_lines,
    waiting,
)
from framework.cli.showing import show_job, show_lines
from framework.cli.sizes import neighbours, noisy, sized_line, sizes
from framework.errors import Fault, InputError

builds_app = typer.Typer(
    help="Builds, from masters' queues and jobs alike: how they stand, and why.", no_args_is_help=True
)
builds_app.command("logs")(logs)
builds_app.command("stats")(stats)
builds_app.command("waiting")(waiting)
builds_app.command("sizes")(sizes)
builds_app.command("neighbours")(neighbours)
builds_app.command("noisy")(noisy)

DEFAULT_LIMIT = 50
COLUMNS = ("BUILD", "TENANT", "NAME", "LABEL", "STATE", "TEMPLATE", "HOST", "NODE", "WAITED", "RESULT")


@builds_app.command("list")
def listing(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="waiting, launching, running, ending or ended; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only builds of this name.")] = None,
    limit: Annotated[int | None, typer.Option(help="So many at most; by default 50, of CSV all.")] = None,
    before: Annotated[str | None, typer.Option(metavar="BUILD", help="Only older ones than this.")] = None,
    past: Annotated[
        bool,
        typer.Option(
            "--past", help="Builds that have ended, as far back as they are kept; the options below imply it."
        ),
    ] = False,
    since: Since = None,
    until: Until = None,
    label: Annotated[str | None, typer.Option(help="Only past builds that asked for this label.")] = None,
    result_class: Annotated[
        list[str] | None,
        typer.Option("--class", help="passed, failed, oom, ...: how past ones ended; may be repeated."),
    ] = None,
    template: Annotated[str | None, typer.Option(help="Only past builds of this template.")] = None,
    host: Annotated[str | None, typer.Option(help="Only past builds whose newest attempt was there.")] = None,
    after: Annotated[str | None, typer.Option(metavar="NEXT", help="Go on where a list of past ones ended.")] = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """List builds, newest first. WAITED: from the queue until the agent was online.

    Without --past those are told that run or wait, and those that ended lately, as the state has them.
    """
    one_of(as_json, as_csv)
    of_past = {
        "since": since,
        "until": until,
        "label": label,
        "result_class": result_class or None,
        "template": template,
        "host": host,
        "after": after,
    }
    if past or as_csv or any(value is not None for value in of_past.values()):
        _only_of_live(state, before)
        params = {"tenant": tenant, "job": name, **of_past, "limit": limit if limit or as_csv else DEFAULT_LIMIT}
        list_past(connect(server, token_file, directory), params, as_json=as_json, as_csv=as_csv)
        return
    params = {"tenant": tenant, "state": state or None, "job": name, "limit": limit or DEFAULT_LIMIT, "before": before}
    found = connect(server, token_file, directory).get("/v1/builds", params)
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, (_row(one) for one in found["builds"]))
    say(f"there may be more: --before {found['next']}" if found["next"] else "older ones: --past")


def _only_of_live(state: list[str] | None, before: str | None) -> None:
    """Raises InputError."""
    given = {"--state": state or None, "--before": before}
    faults = [Fault(name, "is not for past builds") for name, value in given.items() if value is not None]
    if faults:
        raise InputError(faults)


def _row(build: Mapping[str, Any]) -> tuple[Any, ...]:
    jenkins = build["jenkins"] or {}
    return (
        build["id"],
        build["tenant"],
        brief(jenkins.get("task", build["name"])),
        brief(jenkins.get("label") or "-"),
        build["stage"],
        build["template"] or "-",
        build["host"] or "-",
        jenkins.get("node") or "-",
        seconds(build["waited_s"]),
        _result(build),
    )


def _result(build: Mapping[str, Any]) -> str:
    """Jenkins' own, where it told one; else the agent's or the job's."""
    said = (build["jenkins"] or {}).get("result")
    return said or ("-" if build["result"] is None else build["result"]["result_class"])


@builds_app.command()
def show(
    build: JobId,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Show a build: how it stands, its agent in Jenkins, what it asks for, every attempt; what it used and cost."""
    from framework.cli.client import build_path

    found = connect(server, token_file, directory).get(build_path(build))
    if as_json:
        print_json(found)
        return
    past = found["past"]
    if found["build"] is not None:
        show_lines(_lines(found["build"]))
        show_job(found["job"])
    else:
        show_lines(past_lines(past))
    if past is not None:
        show_lines(use_lines(past))
    if found["trouble"]:
        say(printable(f"! past builds cannot be asked for now: {found['trouble']}"))
    print_steps(found["steps"])
    print_changes(found["changes"])


def _lines(build: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "build", build["id"]
    yield "stage", build["stage"]
    if build["template"]:
        yield "template", build["template"]
    if build["sized"] is not None:
        yield "sized", sized_line(build["sized"])
    jenkins = build["jenkins"]
    if jenkins is None:
        return
    yield "in Jenkins", jenkins["task"]
    if jenkins["url"]:
        yield "URL", jenkins["url"]
    if jenkins["item"] is not None:
        yield "queue item", jenkins["item"]
    yield "label", jenkins["label"] or "none"
    if jenkins["node"]:
        yield "node", jenkins["node"]
    yield "buildable", clock(jenkins["buildable_at"])
    if jenkins["online_at"] is not None:
        yield "online", f"{clock(jenkins['online_at'])}, after {seconds(build['waited_s'])}"
    if jenkins["builds"]:
        yield "served", jenkins["builds"]
    if jenkins["result"]:
        yield "result", jenkins["result"]


@builds_app.command()
def why(
    build: Annotated[str | None, typer.Argument(metavar="[BUILD]", help="The build's id.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Of an item of this tenant's queue, in place of an id.")] = None,
    item: Annotated[int | None, typer.Option(min=0, help="Number of that item in Jenkins.")] = None,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Say why a build or a queue item stands as it does, or ended as it did, and how long each step took.

    Of one that waits: hosts and offers refused, by reason. One host or offer may be refused for several.
    """
    path, params = _asked(build, tenant, item)
    found = connect(server, token_file, directory).get(path, params)
    if as_json:
        print_json(found)
        return
    stage = f"{found['stage']}: " if found["stage"] else ""
    length = "" if found["for_s"] is None else f" (for {seconds(found['for_s'])})"
    print_line(printable(f"{stage}{found['summary']}{length}"))
    reasons = found["why"] or {"blockers": [], "refusals": []}
    for blocker in reasons["blockers"]:
        print_line(printable(f"  held by: {blocker}"))
    for attempt in found["attempts"]:
        print_line(printable(f"  {attempt}"))
    if found["sized"] is not None:
        print_line(f"  its agent has {sized_line(found['sized'])}")
    if found["past"] is not None:
        show_lines(use_lines(found["past"]))
    print_refusals(reasons["refusals"])
    print_steps(found["steps"])
    if found["last_lines"]:
        print_line("its log ends with:")
        for line in found["last_lines"]:
            print_line(f"  {one_line(line)}")


def _asked(build: str | None, tenant: str | None, item: int | None) -> tuple[str, dict[str, Any]]:
    """Raises InputError where it is not clear what of."""
    from framework.cli.client import build_path

    if build is not None and tenant is None and item is None:
        return build_path(build, "why"), {}
    if build is None and tenant is not None and item is not None:
        return f"/v1/tenants/{quote(tenant, safe='')}/queue/why", {"item": item}
    raise InputError([Fault("BUILD", "give the id of a build, or --tenant and --item together")])


@builds_app.command()
def queue(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Whose master's queue.")],
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """List items of a master's queue that have no agent yet, and why; first those that no agent will come for."""
    found = connect(server, token_file, directory).get(f"/v1/tenants/{quote(tenant, safe='')}/queue")
    if as_json:
        print_json(found)
        return
    rows = (
        (
            "-" if one["item"] is None else one["item"],
            brief(one["task"]),
            brief(one["label"]) or "-",
            one["id"] or "-",
            one["stage"] or "unserved",
            one["why"],
        )
        for one in found["items"]
    )
    print_table(("ITEM", "TASK", "LABEL", "BUILD", "STATE", "WHY"), rows)
