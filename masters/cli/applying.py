"""``butlery tenants plan``, ``apply`` and ``upgrade``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framework.cli import exits
from framework.cli.connection import AsJson, Directory, Server, TokenFile
from framework.cli.output import print_json, print_line, printable, say
from framework.errors import Fault, InputError
from masters.cli.options import Config, Parallel, Yes, agree, asking, opened

if TYPE_CHECKING:
    from masters.apply.preparing import Prepared
    from masters.edges import Edges
    from masters.plan import Plan
    from masters.records import ObservedMaster

Source = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of tenants' YAML, or one file of it.")]
Only = Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="This tenant alone; may be repeated.")]
Prune = Annotated[bool, typer.Option("--prune", help="Delete the masters that no YAML speaks of; volumes stay.")]


def plan(
    source: Source,
    only: Only = None,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Say what `apply` would do, and do nothing."""
    with opened(config, directory, server, token_file) as edges:
        prepared = _prepared(edges, source, only)
        _show(prepared.plan, as_json)


def apply(
    source: Source,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    only: Only = None,
    prune: Prune = False,
    parallel: Parallel = None,
    yes: Yes = False,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Make tenants' masters as their YAML has them. It may be run again at any time, after it was killed too.

    Exit code 1 where any master could not be made so; the others are.
    """
    from masters.apply.crew import Crew
    from masters.apply.running import run
    from masters.cli.progress import progress, stopping, tell
    from masters.operations.deleting import Deletion, delete_all

    if prune and source.is_file():
        raise InputError(
            [Fault("--prune", f"takes the whole directory: {source} does not tell who is gone from others")]
        )
    with opened(config, directory, server, token_file) as edges:
        prepared = _prepared(edges, source, only)
        if dry_run:
            _show(prepared.plan, as_json)
            return
        if not as_json:
            _show(prepared.plan, as_json)
        gone = prepared.gone if prune else ()
        _agreed(edges, prepared, gone, yes)
        crew = Crew(parallel or edges.context.settings.parallel)
        total = len(prepared.work.changes) + len(prepared.work.adopted) + len(gone)
        with edges.ledger.bulk("apply"), progress(total, as_json) as report, stopping(crew):
            done = run(edges, prepared, crew, report)
            done += delete_all(edges, gone, Deletion(), crew, report)
            interrupted = crew.interrupted
        code = tell(done, as_json, plan=_as_json(prepared.plan), unchanged=prepared.plan.unchanged)
    raise typer.Exit(exits.INTERRUPTED if interrupted else code)


def upgrade(
    source: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="As of `apply`; not with --resume.", show_default=False)
    ] = None,
    at_once: Annotated[int, typer.Option("--at-once", min=1, max=90, help="So many masters at a time.")] = 5,
    max_failures: Annotated[
        int, typer.Option("--max-failures", min=1, help="With so many, nothing more is begun.")
    ] = 1,
    canary: Annotated[
        int, typer.Option("--canary", min=0, help="So many go first; where one of them fails, none follows.")
    ] = 1,
    only: Only = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="ID", help="Go on with an upgrade that was stopped.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Change masters that are there, a few at a time, first one alone, and stop at the first failures.

    What fails is taken back to its last good version. New tenants, quotas and secrets are left to `apply`.
    """
    from masters.apply.crew import Crew
    from masters.cli.progress import progress, stopping, tell
    from masters.operations.upgrading import Upgrade, begin, go_on, resumed

    if (source is None) == (resume is None):
        raise InputError([Fault("DIR", "give a directory of tenants' YAML, or the ID of an upgrade to --resume")])
    with opened(config, directory, server, token_file) as edges:
        asked: Upgrade | None = None
        if resume is not None:
            asked = resumed(edges.ledger, resume)
            source, only = asked.source, list(asked.tenants)
        prepared = _prepared(edges, source or Path(), only)
        chosen = begin(prepared, source or Path(), at_once, max_failures, canary) if asked is None else asked
        if not as_json:
            _show(prepared.plan, as_json)
        _agreed(edges, prepared, (), yes)
        crew = Crew(chosen.at_once, chosen.max_failures)
        with edges.ledger.bulk("upgrade"), progress(len(chosen.tenants), as_json) as report, stopping(crew):
            journal, done = go_on(edges, prepared, chosen, crew, report)
        if crew.stopping:
            say(f"go on with `butlery tenants upgrade --resume {journal}`")
        code = tell(done, as_json, journal=journal, plan=_as_json(prepared.plan))
    raise typer.Exit(exits.INTERRUPTED if crew.interrupted else code)


def _prepared(edges: Edges, source: Path, only: Collection[str] | None) -> Prepared:
    """What is to be done. Raises InputError with every fault of the YAML, or of the plan; UnavailableError."""
    import os

    from masters.apply.preparing import prepare
    from masters.spec.files import read_tenants

    tenants = read_tenants(source, edges.context.settings.ingress.domain)
    if not only and source.is_file():
        only = [tenant.spec.name for tenant in tenants]  # of one file: nobody else is meant
    with asking(edges.context):
        return prepare(edges, tenants, os.environ, only or None)


def _show(plan: Plan, as_json: bool) -> None:
    from masters.showing import lines, summary

    if as_json:
        print_json(_as_json(plan))
        return
    for line in lines(plan):
        print_line(printable(line))
    print_line(summary(plan))


def _as_json(plan: Plan) -> dict[str, Any]:
    from masters.showing import as_json

    return as_json(plan)


def _agreed(edges: Edges, prepared: Prepared, pruned: Sequence[ObservedMaster], yes: bool) -> None:
    """Asks where builds would be cut off, or masters deleted. Raises InputError where that is not meant."""
    from masters.operations.deleting import loses_data

    asked = []
    restarted = [change.tenant for change in prepared.work.changes if change.restarts]
    if restarted and not yes:
        builds = edges.scheduler.builds()
        busy = [f"{name} {builds[name]}" for name in restarted if builds.get(name)]
        if busy:
            asked.append(f"masters restart for which builds wait or run ({_some(busy)})")
    if pruned:
        asked.append(f"masters are deleted ({_some([master.tenant for master in pruned])})")
    if lost := [master.tenant for master in pruned if loses_data(master)]:
        asked.append(f"homes are destroyed, as their volumes belong to their apps ({_some(lost)})")
    if asked:
        agree(yes, "; ".join(asked))


def _some(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
