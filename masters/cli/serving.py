"""``butlery tenants serve``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from framework.cli.connection import AsJson, Directory, Server, TokenFile
from framework.cli.output import print_json, say
from framework.errors import Fault, InputError
from masters.cli.options import Config, opened


def serve(
    detach: Annotated[bool, typer.Option("--detach", help="Return once it serves, and leave it running.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End it, and its HAProxy.")] = False,
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Serve all masters at one address; wake them, put them to sleep when idle, back them up when it is time."""
    from framework.log import configure
    from framework.settings import LogSettings, load_section
    from masters import service
    from masters.connection import settings_file

    if detach and stop:
        raise InputError([Fault("--stop", "give only one of --detach and --stop")])
    with opened(config, directory, server, token_file) as edges:
        if stop:
            ended = service.stop(edges.context)
            _tell(as_json, "stopped" if ended else "none was running", None)
            return
        if detach:
            options = (("--config", config), ("--server", server), ("--token-file", token_file), ("--dir", directory))
            given = [text for name, value in options if value is not None for text in (name, _absolute(value))]
            command = [sys.executable, "-m", "framework.cli", "tenants", "serve", *given]
            pid = service.start_detached(edges.context, command)
            _tell(as_json, "serving", pid)
            return
        logged = load_section(settings_file(config, directory), "log", LogSettings)
        configure(logged.level, logged.format)
        code = service.run(edges)
    raise typer.Exit(code)


def _absolute(value: str | Path) -> str:
    """The detached process may be in another directory."""
    return str(value.absolute() if isinstance(value, Path) else value)


def _tell(as_json: bool, state: str, pid: int | None) -> None:
    if as_json:
        print_json({"state": state, "pid": pid})
    else:
        say(state if pid is None else f"{state} (process {pid})")
