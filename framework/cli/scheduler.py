"""``butlery scheduler run`` and ``teardown``, and ``butlery validate``."""

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


@scheduler_app.command("teardown")
def teardown(
    config: Config = None,
    agreed: Annotated[bool, typer.Option("--yes", help="Without it, only say what would end.")] = False,
    as_json: AsJson = False,
) -> None:
    """End the framework in Mesos, with every build that runs. The scheduler must be stopped first."""
    from framework.cli import teardown as tearing_down
    from framework.settings import load_settings

    framework_id, tasks = tearing_down.run(load_settings(config, os.environ), agreed)
    if as_json:
        print_json({"framework_id": framework_id, "tasks": tasks})
    elif framework_id is None:
        print_line("there is no framework to end")
    else:
        print_line(f"framework {framework_id} is ended, and {tasks} builds with it")


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
