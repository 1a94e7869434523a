"""The ``butlery`` program: finds its commands when they are asked for, and turns every error into words and a code."""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from framework.cli import exits
from framework.cli.output import printable, say, say_faults
from framework.errors import ButleryError, InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PLUGIN_GROUP = "butlery.commands"
"""Entry points of other packages: a ``typer.Typer`` or a function each, named as the command is."""

COMMANDS = {
    "local": ("framework.cli.local", "local_app"),
    "jobs": ("framework.cli.jobs", "jobs_app"),
    "builds": ("framework.cli.builds", "builds_app"),
    "templates": ("framework.cli.templates", "templates_app"),
    "hosts": ("framework.cli.hosts", "hosts"),
    "top": ("framework.cli.top", "top"),
    "telemetry": ("framework.cli.telemetry", "telemetry_app"),
    "scheduler": ("framework.cli.scheduler", "scheduler_app"),
    "validate": ("framework.cli.scheduler", "validate"),
    "version": ("framework.cli.version", "version"),
}
"""Command to module and name, loaded only when it is run or help is asked for: start-up must not cost more than it."""


_OF_OUTPUT = frozenset((errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))
"""What writing to stdout can end with."""


class Commands(TyperGroup):
    """The commands by name: our own, then those of other packages."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 typer's signature
        return [*COMMANDS, *(name for name in sorted(_plugins()) if name not in COMMANDS)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name in COMMANDS:
            module, attribute = COMMANDS[cmd_name]
            return _command(cmd_name, getattr(importlib.import_module(module), attribute))
        plugin = _plugins().get(cmd_name)
        return None if plugin is None else _loaded(plugin)


def _plugins() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {found.name: found for found in entry_points(group=PLUGIN_GROUP)}


def _loaded(plugin: EntryPoint) -> Any:
    """The plugin's command; where it is broken, one that says so, so that the others still serve."""
    try:
        return _command(plugin.name, plugin.load())
    except Exception as error:  # noqa: BLE001 whatever another package raises when it is imported
        reason = f"{type(error).__name__}: {error}"
        message = f"cannot be loaded from {plugin.value}: {reason}"

        def broken() -> None:
            raise ButleryError(f"the command `{plugin.name}` {message}")

        broken.__doc__ = f"(broken) It {message}"
        return _command(plugin.name, broken)


def _command(name: str, found: Any) -> Any:
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(name)(function)
    command = typer.main.get_command(found)
    command.name = name
    return command


def _program() -> Any:
    app = typer.Typer(
        cls=Commands,
        name="butlery",
        help="One Mesos framework for all the Jenkins of a company: builds on isolated agents.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        epilog="Exit codes: 0 well; 1 the build did not pass; 2 bad input; 3 no server; 124 time is up; 130 Ctrl-C.",
    )
    app.callback()(_nothing)
    return typer.main.get_command(app)


def _nothing() -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Runs one command line, without the program's name; the exit code. Never raises but for SystemExit's like."""
    _prepare_output()
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        return _unwritten(error)
    return code


def _unwritten(error: OSError) -> int:
    _leave_stdout()
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE
    say(f"butlery: the output cannot be written: {error.strerror}")
    return exits.FAILED


def _prepare_output() -> None:
    """A stream that was closed before the start takes what is written and drops it; a character that the terminal's

    encoding does not have is escaped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 for as long as the program runs
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(arguments: Sequence[str]) -> int:
    try:
        _program().main(args=list(arguments), prog_name="butlery")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else exits.OK if ended.code is None else exits.FAILED
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except OSError as error:
        # A file that the program opens has a name, and its commands tell of what they write there themselves.
        return _unwritten(error) if error.filename is None and error.errno in _OF_OUTPUT else _told(error)
    except Exception as error:  # noqa: BLE001 the last resort: no traceback reaches a user
        return _told(error)
    return exits.OK


def _told(error: Exception) -> int:
    """Says what went wrong on stderr; the exit code."""
    status = getattr(error, "status", None)
    if isinstance(error, InputError):
        say(f"butlery: {len(error.faults)} faults" if len(error.faults) > 1 else "butlery: one fault")
        say_faults(error.faults)
        return exits.USAGE
    if isinstance(error, ButleryError):
        say(printable(f"butlery: {error}"))
        say_faults(getattr(error, "faults", ()))
        if error.retryable or (isinstance(status, int) and status >= 500):
            return exits.UNREACHABLE
        return exits.USAGE if status is not None else exits.FAILED
    say(f"butlery: internal error ({type(error).__name__}); the details are in {_kept(error)}")
    return exits.INTERNAL


def _kept(error: Exception) -> str:
    """Where the error's traceback went. Of each user only the last is kept, so that they do not add up."""
    text = "".join(traceback.format_exception(error))
    base = Path(os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()) / "butlery"
    for folder in (base, Path(tempfile.gettempdir())):
        path = folder / f"butlery-error-{os.getuid()}.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(text)
        except OSError:
            continue
        return str(path)
    return "no log, since none can be written"


def _leave_stdout() -> None:
    """Whoever read our output went away; Python would complain of it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
