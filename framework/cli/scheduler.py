"""``butlery scheduler`` and its commands, and ``butlery validate``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from framework.cli import exits
from framework.cli.connection import AsJson, Directory, Server, TokenFile, connect
from framework.cli.output import print_json, print_line, printable, say, say_faults
from framework.errors import Fault, InputError

Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The settings; by default the defaults.")]

SETTINGS_GROUP = "butlery.settings"
"""Entry points of other packages: the model of the section of that name in the settings file."""

scheduler_app = typer.Typer(help="The scheduler itself.", no_args_is_help=True)


@scheduler_app.callback()
def _group() -> None:
    """The scheduler itself."""


@scheduler_app.command("run")
def run(config: Config = None) -> None:
    """Run the scheduler until SIGTERM or Ctrl-C. Builds run on without it."""
    from framework.cli import service
    from framework.settings import load_settings

    raise typer.Exit(service.run(load_settings(config, os.environ), config))


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


@scheduler_app.command("leader")
def leader(
    as_json: AsJson = False, server: Server = None, token_file: TokenFile = None, directory: Directory = None
) -> None:
    """Tell which scheduler leads, and what the one that is asked is. For the administrator."""
    found = connect(server, token_file, directory).get("/v1/leader")
    if as_json:
        print_json(found)
    else:
        _show_leadership(found)


@scheduler_app.command("drain")
def drain(
    off: Annotated[bool, typer.Option("--off", help="Launch again.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when nothing runs any more.")] = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", min=0, help="With --wait: exit 124 after so long.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Launch nothing new, over restarts too, until --off; tells what still runs. For the administrator.

    Builds are taken and wait.
    """
    from framework.cli import draining

    if off and wait:
        raise InputError([Fault("--wait", "goes with no --off: builds are launched again then")])
    client = connect(server, token_file, directory)
    found = client.send("DELETE" if off else "PUT", "/v1/drain")
    if wait:
        found = draining.wait(client, timeout_s)
    if as_json:
        print_json(found | {"jobs": draining.live(client)})
    else:
        draining.show(found, draining.live(client))
    if wait and draining.runs(found):
        raise typer.Exit(exits.STILL_RUNNING)


@scheduler_app.command("step-down")
def step_down(
    force: Annotated[bool, typer.Option("--force", help="Also where no other scheduler could take over.")] = False,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Have the scheduler that leads hand over to another. Builds run on. For the administrator."""
    client = connect(server, token_file, directory)
    path = "/v1/leader/step-down" + ("?force=true" if force else "")
    found = client.send("POST", path)
    if as_json:
        print_json(found)
    else:
        _show_leadership(found)


def _show_leadership(found: Mapping[str, Any]) -> None:
    leads = found["leader"]
    if leads is None:
        print_line("no scheduler leads now")
    else:
        since = datetime.fromtimestamp(leads["since"]).astimezone().isoformat(" ", "seconds")
        print_line(f"leader    {leads['url']} ({leads['name']}), version {leads['version']}")
        print_line(f"epoch     {leads['epoch']}, since {since}")
    print_line(f"answering {found['url']}: {found['role']}, version {found['version']}")
    print_line(f"standbys  {found['standbys']}")


def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The settings.")] = Path("butlery.yaml"),
    as_json: AsJson = False,
) -> None:
    """Check a settings file and name every fault with its line. Exit code 2 where there is one.

    A price sheet's times and hosts without a price are told too; they are no faults.
    """
    from importlib.metadata import entry_points

    from framework.local.spec import LocalSettings
    from framework.settings import notices_of_file, validate_file

    others = {found.name: found.load() for found in entry_points(group=SETTINGS_GROUP)}
    faults = validate_file(file, os.environ, {"local": LocalSettings, **others})
    notices = [] if faults else notices_of_file(file)
    if as_json:
        print_json({"ok": not faults, "faults": [fault._asdict() for fault in faults], "notices": notices})
    elif faults:
        say(f"butlery: {len(faults)} faults" if len(faults) > 1 else "butlery: one fault")
        say_faults(faults)
    else:
        print_line(f"{file}: no faults")
        for notice in notices:
            say(printable(f"! {notice}"))
    raise typer.Exit(2 if faults else 0)
