"""Options that several commands have, and what they mean."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framework.cli.output import say
from framework.errors import Fault, InputError

if TYPE_CHECKING:
    from masters.edges import Edges
    from masters.settings import MastersContext

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The settings; see their section `masters`. By default the cluster of `butlery local up`.",
        show_default=False,
        rich_help_panel="Server",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Agree beforehand to what would be asked.")]
Tenants = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Tenants.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All tenants that have a master.")]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME[=VALUE]", help="Those whose app has this label; all, where repeated."),
]
Parallel = Annotated[
    int | None, typer.Option("--parallel", min=1, max=90, help="So many at once, in place of `masters.parallel`.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is done.")]

SILENT_S = 5.0
"""Until a command says whom it waits for."""


@contextmanager
def opened(
    config: Path | None, directory: Path | None, server: str | None = None, token_file: Path | None = None
) -> Iterator[Edges]:
    """Raises InputError, UnavailableError."""
    from masters.edges import open_edges

    with open_edges(config, directory, server, token_file) as edges:
        yield edges


@contextmanager
def asking(context: MastersContext) -> Iterator[None]:
    """For what is read before anything is done: where the answers take long, it says whose."""
    whom = f"Marathon at {', '.join(context.marathon_urls)} and the scheduler at {context.scheduler_url}"
    timer = threading.Timer(SILENT_S, say, (f"waiting for answers of {whom}",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def agree(yes: bool, what: str) -> None:
    """Asks on a terminal, unless it was agreed beforehand. Raises InputError where it is not agreed to."""
    if yes:
        return
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        if typer.confirm(f"{what}. Go on?", err=True):
            return
        raise InputError([Fault("", "nothing was done")])
    raise InputError([Fault("--yes", f"{what}; say with it that this is meant")])
