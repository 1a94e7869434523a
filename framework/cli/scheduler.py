"""``butlery scheduler run`` and ``butlery validate``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from framework.cli.connection import AsJson
from framework.cli.output import print_json, print_line, say, say_faults

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The settings; by default the defaults.")]

scheduler_app = typer.Typer(help="The scheduler itself.", no_args_is_help=True)


@scheduler_app.callback()
def _group() -> None:
    """The scheduler itself."""


@scheduler_app.command("run")
def run(config: Config = None) -> None:
    """Run the scheduler until SIGTERM or Ctrl-C. Builds run on without it."""
    from framework.cli import service
    from framework.settings import load_settings

    raise typer.Exit(service.run(load_settings(config, os.environ)))


def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The settings.")] = Path("butlery.yaml"),
    as_json: AsJson = False,
) -> None:
    """Check a settings file and name every fault with its line. Exit code 2 where there is one."""
    from framework.local.spec import LocalSettings
    from framework.settings import validate_file

    faults = validate_file(file, os.environ, {"local": LocalSettings})
    if as_json:
        print_json({"ok": not faults, "faults": [fault._asdict() for fault in faults]})
    elif faults:
        say(f"butlery: {len(faults)} faults" if len(faults) > 1 else "butlery: one fault")
        say_faults(faults)
    else:
        print_line(f"{file}: no faults")
    raise typer.Exit(2 if faults else 0)
