"""``butlery builds``, of sizes and neighbours: what jobs need, who ran beside a build, beside whom they take longer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from framework.cli.connection import AsJson, Directory, Server, TokenFile, connect
from framework.cli.output import (
    amount,
    brief,
    clock,
    print_json,
    print_line,
    print_table,
    printable,
    say,
    seconds,
)
from framework.cli.past_builds import AsCsv, Since, Until, one_of, to_show

PastBuildId = Annotated[str, typer.Argument(metavar="BUILD", help="The build's id, of one that has ended.")]
NAMELESS = "of another tenant"
"""What is said of what this token may not see."""


def sizes(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    job: Annotated[str | None, typer.Option(help="Only this job; why it should have that size is told too.")] = None,
    template: Annotated[str | None, typer.Option(help="Only builds of this template.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="So many jobs at most, those with the most builds.")] = 50,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Tell what size jobs should have, from what their builds used, and how sure that is.

    SAVES: what their builds would not have held. SURE: the confidence that MEM covers as many builds as the settings
    want (telemetry.sizing.coverage). CPUS is a share: builds take more where there is some.
    """
    one_of(as_json, as_csv)
    params = {"tenant": tenant, "job": job, "template": template, "since": since, "until": until, "limit": limit}
    client = connect(server, token_file, directory)
    found = to_show(client, "/v1/builds/sizes", params, as_json=as_json, as_csv=as_csv)
    if found is None:
        return
    columns = ("TENANT", "JOB", "TEMPLATE", "BUILDS", "OOM", "MEM ASKED", "MEM", "CPUS ASKED", "CPUS", "SAVES", "SURE")
    print_table(columns, (_size(one) for one in found["jobs"]))
    for one in found["jobs"] if job is not None else ():
        print_line(printable(f"{one['tenant']} {brief(one['job'])} {one['template']}".rstrip() + f": {one['reason']}"))
    if found["more"]:
        say(f"there are more jobs than {limit}: --limit")
    if found["jobs"]:
        say(
            "agents of Jenkins get these sizes, within the bounds of telemetry.sizing"
            if found["applied"]
            else "these are recommendations; with telemetry.sizing.apply agents of Jenkins get them"
        )


def _size(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        one["tenant"],
        brief(one["job"]),
        brief(one["template"]) or "-",
        one["builds"],
        one["ooms"],
        f"{one['asked_mem_mib']} MiB",
        f"{one['mem_mib']} MiB" if one["mem_mib"] is not None else _missing(one),
        amount(one["asked_cpu_millis"] / 1000),
        amount(None if one["cpu_millis"] is None else one["cpu_millis"] / 1000),
        ", ".join(_saved(one)) or "-",
        f"{one['confidence']:.1%}" if one["mem_mib"] is not None else "-",
    )


def _missing(one: Mapping[str, Any]) -> str:
    return f"{one['missing']} builds more" if one["missing"] else "more"


def _saved(one: Mapping[str, Any]) -> Iterator[str]:
    for name, unit in (("saves_mem_gib_h", "GiB h"), ("saves_cpu_h", "CPU h")):
        if one[name] is not None:
            yield f"{one[name]:.1f} {unit}"


def sized_line(sized: Mapping[str, Any]) -> str:
    """Of an agent that has the size that its job's history says."""
    has = f"{amount(sized['cpus'])} CPUs and {sized['mem_mib']} MiB, as its job's history says"
    return f"{has}; its template gives {amount(sized['template_cpus'])} and {sized['template_mem_mib']} MiB"


def neighbours(
    build: PastBuildId,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Tell who ran beside a build on its host, and whether it took longer than its job's builds do.

    Of those that have ended. ABOVE: CPUs used on average beyond what was asked for.
    """
    from framework.cli.client import build_path

    found = connect(server, token_file, directory).get(build_path(build, "neighbours"))
    if as_json:
        print_json(found)
        return
    ran = seconds(None if found["run_ms"] is None else found["run_ms"] / 1000)
    if found["usual_ms"] is None:
        said = f"{found['usual_builds']} other builds of its job are too few to say what is usual"
    else:
        said = f"usual are {seconds(found['usual_ms'] / 1000)}, the median of {found['usual_builds']} others"
    if found["slower"] is not None:
        said += f": {found['slower']:.2f} times as long"
    print_line(printable(f"it ran {ran} on host {found['host'] or 'none'}; {said}"))
    columns = ("BUILD", "TENANT", "JOB", "TOGETHER", "CPUS ASKED", "USED", "ABOVE")
    print_table(columns, (_beside(one) for one in found["neighbours"]))
    if found["more"]:
        say(f"and {found['more']} more, which used less beyond what they had asked for")


def _beside(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        one["build"] or "-",
        one["tenant"] or NAMELESS,
        brief(one["job"]) or "-",
        seconds(one["together_ms"] / 1000),
        *(amount(None if one[name] is None else round(one[name] / 1000, 2)) for name in _CPUS),
    )


_CPUS = ("asked_cpu_millis", "used_cpu_millis", "above_cpu_millis")


def noisy(
    tenant: Annotated[str | None, typer.Option(help="What this tenant's builds suffer from.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="So many jobs at most.")] = 20,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Rank jobs by how much longer others' builds take beside them than without; of the last 7 days.

    FROM and TO hold SLOWER with a confidence of 95 %. That builds take longer beside a job need not be its doing.
    """
    one_of(as_json, as_csv)
    params = {"tenant": tenant, "since": since, "until": until, "limit": limit}
    client = connect(server, token_file, directory)
    found = to_show(client, "/v1/builds/noisy", params, as_json=as_json, as_csv=as_csv)
    if found is None:
        return
    say(f"{found['builds']} builds since {clock(found['since_ms'] / 1000)} were compared")
    columns = ("TENANT", "JOB", "SLOWER", "FROM", "TO", "BESIDE", "WITHOUT", "JOBS", "CPUS ABOVE")
    print_table(columns, (_noisy(one) for one in found["jobs"]))
    if found["too_few"]:
        say(f"of {found['too_few']} more jobs nothing can be told: builds ran beside them too seldom, or always")
    if found["cut_short"]:
        say("there were more builds than can be looked at: the newest were")


def _noisy(one: Mapping[str, Any]) -> tuple[Any, ...]:
    above = one["above_cpu_millis"]
    return (
        one["tenant"] or NAMELESS,
        brief(one["job"]) or "-",
        *(f"{one[name] - 1:+.0%}" for name in ("slower", "least", "most")),
        one["beside"],
        one["without"],
        one["jobs"],
        amount(None if above is None else round(above / 1000, 2)),
    )
