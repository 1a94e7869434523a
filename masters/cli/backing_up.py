"""``butlery tenants backup`` and ``restore``."""

from __future__ import annotations

from typing import Annotated

import typer

from framework.cli.connection import AsJson, Directory, Server, TokenFile
from framework.cli.output import print_json, print_table
from masters.cli.options import All, Config, Label, Parallel, Tenants, Wait, Yes, agree, asking, opened

TIMEOUT_S = 3600.0
"""For a home of some tens of GiB on a slow disk."""


def backup(
    names: Tenants = None,
    all_of_them: All = False,
    label: Label = None,
    wait: Wait = False,
    listed: Annotated[bool, typer.Option("--list", help="Only list the backups that there are.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout-s", min=1, help="Of --wait, in seconds.")] = TIMEOUT_S,
    parallel: Parallel = None,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Let masters make copies of their homes, each unpacked again and compared before it counts."""
    from masters.apply.crew import Crew
    from masters.cli.progress import carried_out
    from masters.operations.backups import back_up, known_backups
    from masters.operations.selecting import selected

    with opened(config, directory, server, token_file) as edges:
        with asking(edges.context):
            masters = selected(edges.marathon, names or (), all_of_them, label or ())
        if listed:
            found = {master.tenant: known_backups(edges, master) for master in masters}
            if as_json:
                print_json({"backups": {tenant: [one._asdict() for one in each] for tenant, each in found.items()}})
                return
            rows = [(tenant, *one) for tenant, each in found.items() for one in each]
            print_table(("TENANT", "BACKUP", "STATE", "BYTES", "MESSAGE"), rows)
            return
        crew = Crew(min(parallel or BACKUPS_AT_ONCE, edges.context.settings.parallel))
        longest_s = timeout_s if wait else None
        code = carried_out(crew, len(masters), as_json, lambda report: back_up(edges, masters, longest_s, crew, report))
    raise typer.Exit(code)


BACKUPS_AT_ONCE = 4
"""Unless it is said: they read whole homes, mostly from and to the same storage."""


def restore(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tenant.")],
    backup_name: Annotated[str, typer.Argument(metavar="BACKUP", help="As `backup --list` shows it.")],
    yes: Yes = False,
    force: Annotated[bool, typer.Option("--force", help="Though builds run, or the backup is not known here.")] = False,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Start a master anew with its home as it was at a backup; what is in it now is kept aside, beside it."""
    from masters.apply.crew import Crew
    from masters.cli.progress import carried_out
    from masters.operations.backups import check_name, restore_from
    from masters.operations.selecting import one

    check_name(backup_name)
    with opened(config, directory, server, token_file) as edges:
        with asking(edges.context):
            master = one(edges.marathon, name)
        agree(yes, f"the home of {name} becomes that of {backup_name}; what is in it now is kept aside")
        crew = Crew(1)
        code = carried_out(
            crew, 1, as_json, lambda report: restore_from(edges, master, backup_name, force, crew, report)
        )
    raise typer.Exit(code)
