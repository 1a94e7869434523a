"""``butlery tenants restart``, ``scale``, ``hibernate``, ``wake``, ``delete`` and ``logs``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framework.cli import exits
from framework.cli.connection import AsJson, Directory, Server, TokenFile
from framework.errors import Fault, InputError, UnavailableError
from masters.cli.options import All, Config, Label, Parallel, Tenants, Wait, Yes, agree, asking, opened

if TYPE_CHECKING:
    from masters.edges import Edges
    from masters.operations.acting import Action
    from masters.operations.output import Reading
    from masters.records import ObservedMaster

Drain = Annotated[bool, typer.Option("--drain", help="Begin no new builds, and wait for those that run.")]
DrainTimeout = Annotated[float, typer.Option("--drain-timeout-s", min=0, help="So long at most, in seconds.")]
Force = Annotated[bool, typer.Option("--force", help="Though builds run or wait, or nobody knows whether they do.")]
DRAIN_S = 3600.0


def restart(
    names: Tenants = None,
    all_of_them: All = False,
    label: Label = None,
    drain: Drain = False,
    drain_timeout_s: DrainTimeout = DRAIN_S,
    force: Force = False,
    parallel: Parallel = None,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Start masters anew and wait until they are healthy. Refused where builds run, unless drained or forced."""
    from masters.operations.acting import Action

    action = Action("restart", True, drain_timeout_s if drain else None, force)
    with opened(config, directory, server, token_file) as edges:
        code = _act(edges, _selected(edges, names, all_of_them, label), action, parallel, as_json)
    raise typer.Exit(code)


def scale(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tenant.")],
    instances: Annotated[int, typer.Argument(metavar="0|1", help="0: off, and no request wakes it. 1: on.")],
    wait: Wait = False,
    drain: Drain = False,
    drain_timeout_s: DrainTimeout = DRAIN_S,
    force: Force = False,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Put a master off or on. There is never more than one: two must not write to one home."""
    from masters.operations.acting import Action

    if instances not in (0, 1):
        raise InputError([Fault("INSTANCES", "must be 0 or 1: one home, one master")])
    drain_s = drain_timeout_s if drain else None
    action = Action("wake", wait) if instances else Action("off", wait, drain_s, force)
    with opened(config, directory, server, token_file) as edges:
        code = _act(edges, _selected(edges, [name], False, None), action, None, as_json)
    raise typer.Exit(code)


def hibernate(
    names: Tenants = None,
    all_of_them: All = False,
    label: Label = None,
    wait: Wait = False,
    drain: Drain = False,
    drain_timeout_s: DrainTimeout = DRAIN_S,
    force: Force = False,
    parallel: Parallel = None,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Put masters to sleep; the next request to their address wakes them. Refused where builds run."""
    from masters.operations.acting import Action

    action = Action("hibernate", wait, drain_timeout_s if drain else None, force)
    with opened(config, directory, server, token_file) as edges:
        code = _act(edges, _selected(edges, names, all_of_them, label), action, parallel, as_json)
    raise typer.Exit(code)


def wake(
    names: Tenants = None,
    all_of_them: All = False,
    label: Label = None,
    wait: Wait = False,
    parallel: Parallel = None,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Put masters on that sleep or are off."""
    from masters.operations.acting import Action

    with opened(config, directory, server, token_file) as edges:
        masters = _selected(edges, names, all_of_them, label)
        code = _act(edges, masters, Action("wake", wait), parallel, as_json)
    raise typer.Exit(code)


def delete(
    names: Tenants = None,
    all_of_them: All = False,
    label: Label = None,
    drain: Drain = False,
    drain_timeout_s: DrainTimeout = DRAIN_S,
    force: Force = False,
    yes: Yes = False,
    parallel: Parallel = None,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Delete masters and their secrets. Refused while builds run or wait, unless they are drained or it is forced.

    Volumes are left, and listed by `volumes`; but a persistent volume of Mesos goes with its master. A tenant's share
    and token stay in the scheduler, as its builds may go on without a master.
    """
    from masters.apply.crew import Crew
    from masters.cli.progress import progress, stopping, tell
    from masters.operations.deleting import Deletion, clear, delete_all, left_behind, loses_data
    from masters.records import Done, Outcome

    with opened(config, directory, server, token_file) as edges:
        known = edges.marathon.masters() if names else {}
        leftovers = [name for name in names or () if name not in known and left_behind(edges, name)]
        there = [name for name in names or () if name not in leftovers]
        masters = [] if names and not there else _selected(edges, there, all_of_them, label)
        lost = [master.tenant for master in masters if loses_data(master)]
        if lost:
            agree(yes, f"the homes of {', '.join(lost)} are destroyed, as their volumes belong to their apps")
        if len(masters) > 1 or not names:
            agree(yes, f"{len(masters)} masters are deleted ({', '.join(one.tenant for one in masters[:10])} ...)")
        crew = Crew(parallel or edges.context.settings.parallel)
        deletion = Deletion(drain_timeout_s if drain else None, force)
        with progress(len(masters), as_json) as report, stopping(crew):
            done = delete_all(edges, masters, deletion, crew, report)
        for name in leftovers:
            clear(edges, name)
            done.append(Done(name, Outcome.DONE, "it had no master; what was left of it is removed"))
        code = tell(done, as_json)
    raise typer.Exit(exits.INTERRUPTED if crew.interrupted else code)


def logs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tenant.")],
    stderr: Annotated[bool, typer.Option("--stderr", help="What it writes to stderr, as Jenkins' log is.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, metavar="LINES", help="Only its last lines.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on, over every restart, until Ctrl-C.")] = False,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Show what a master has written since its start. Its host is asked through Mesos, as the settings name it."""
    import asyncio

    from framework.cli.output import print_json
    from masters.operations.output import Reading
    from masters.operations.selecting import one

    if as_json and follow:
        raise InputError([Fault("--follow", "its end is never there; leave one of --json and --follow out")])
    with opened(config, directory, server, token_file) as edges:
        with asking(edges.context):
            master = one(edges.marathon, name)
        reading = Reading(master.app_id, "stderr" if stderr else "stdout", tail)
        if not as_json:
            asyncio.run(_written(edges, reading, config, directory, _to_stdout, follow))
            return
        found: list[bytes] = []
        asyncio.run(_written(edges, reading, config, directory, found.append, follow))
    print_json({"tenant": name, "file": reading.file, "text": b"".join(found).decode(errors="replace")})


def _selected(
    edges: Edges, names: list[str] | None, all_of_them: bool, label: list[str] | None
) -> list[ObservedMaster]:
    from masters.operations.selecting import selected

    with asking(edges.context):
        return selected(edges.marathon, names or (), all_of_them, label or ())


def _act(edges: Edges, masters: Sequence[ObservedMaster], action: Action, parallel: int | None, as_json: bool) -> int:
    """The exit code."""
    from masters.apply.crew import Crew
    from masters.cli.progress import carried_out
    from masters.operations.acting import act

    crew = Crew(parallel or edges.context.settings.parallel)
    return carried_out(crew, len(masters), as_json, lambda report: act(edges, masters, action, crew, report))


async def _written(
    edges: Edges,
    reading: Reading,
    config: Path | None,
    directory: Path | None,
    write: Callable[[bytes], object],
    follow: bool,
) -> None:
    import os

    from framework.cli.service import mesos_access
    from framework.edges.mesos.operator import MesosOperator
    from framework.settings import load_settings
    from masters.connection import settings_file
    from masters.operations.output import Output

    settings = load_settings(settings_file(config, directory), os.environ)
    operator = MesosOperator(settings.mesos.urls, mesos_access(settings))
    try:
        await Output(edges.marathon, operator, reading).show(write, follow=follow)
    except UnavailableError as error:
        if "mesos" in settings.model_fields_set:
            raise
        raise UnavailableError(f"{error}; name it as mesos.url in the settings: hosts are asked through it") from error
    finally:
        await operator.close()


def _to_stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
