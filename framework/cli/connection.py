"""Which server, and as whom: told by options or the environment, or the cluster of ``butlery local up``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlsplit

import typer

from framework.errors import Fault, InputError, UnavailableError

if TYPE_CHECKING:
    from framework.cli.client import ApiClient

TOKEN_VARIABLE = "BUTLERY_TOKEN"  # noqa: S105 the variable's name
SERVER_VARIABLE = "BUTLERY_SERVER"
_TOKEN_MAX_BYTES = 4096

_PANEL = "Server"
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar=SERVER_VARIABLE,
        metavar="URL",
        help="The scheduler's address; by default that of `butlery local up`.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help=f"File with the token; else the variable {TOKEN_VARIABLE}, else the local administrator's.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Directory = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        help="Where `butlery local up` keeps its state.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


class _Found(NamedTuple):
    server: str
    token_file: Path | None  # used where no other token is told


def connect(server: str | None, token_file: Path | None, directory: Path | None) -> ApiClient:
    """A client for what was told. Raises InputError, and UnavailableError where no local cluster is up."""
    from framework.cli.client import ApiClient

    found = _Found(_checked(server), None) if server else _local(directory)
    token, where = _told_token(token_file), "--token-file" if token_file is not None else TOKEN_VARIABLE
    if token is None and found.token_file is not None:
        token, where = read_token(found.token_file, "admin.token"), str(found.token_file)
    if token is None:
        message = f"no token for {found.server}: set {TOKEN_VARIABLE}, or give --token-file"
        raise InputError([Fault(TOKEN_VARIABLE, message)])
    return ApiClient(found.server, token, where)


def _told_token(token_file: Path | None) -> str | None:
    where, token = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE, "").strip()
    if token_file is not None:
        where, token = "--token-file", read_token(token_file, "--token-file")
    if token and (not token.isascii() or not token.isprintable() or " " in token):
        raise InputError([Fault(where, "holds no token: these are visible ASCII characters on one line")])
    return token or None


def read_token(path: Path, where: str) -> str:
    """The token that a file holds. Raises InputError, which never repeats what is in the file."""
    try:
        with path.open("rb") as file:
            token = file.read(_TOKEN_MAX_BYTES).decode().strip()
    except OSError as error:
        raise InputError([Fault(where, f"{path} cannot be read: {error.strerror}")]) from error
    except ValueError:  # not UTF-8, or NUL in the name; not chained, since its text quotes the content
        raise InputError([Fault(where, f"{str(path)!r} holds no token")]) from None
    if not token:
        raise InputError([Fault(where, f"{path} is empty")])
    return token


def _checked(server: str) -> str:
    """Never repeats the URL where it may hold a password."""
    try:
        parts = urlsplit(server)
        host, port, userinfo = parts.hostname, parts.port, parts.username or parts.password
    except ValueError:
        raise InputError([Fault("--server", "is no URL that can be read; write http://HOST:PORT")]) from None
    if userinfo:
        raise InputError([Fault("--server", f"must hold no name or password; the token goes into {TOKEN_VARIABLE}")])
    if parts.scheme not in ("http", "https") or not host or port == 0 or parts.query or parts.fragment:
        raise InputError([Fault("--server", "must be http://HOST:PORT or https://HOST:PORT")])
    return server.rstrip("/")


def _local(directory: Path | None) -> _Found:
    """The cluster of ``butlery local up``, with its administrator's token."""
    from framework.local.spec import default_directory

    folder = directory or default_directory()
    up = "bring one up with `butlery local up --detach`, or name a server with --server"
    try:
        status = json.loads((folder / "status.json").read_bytes())
        server = status["api_url"]
    except OSError as error:
        raise UnavailableError(f"no local cluster in {folder} ({error.strerror}); {up}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError(f"{folder / 'status.json'} cannot be understood; {up}") from error
    if not isinstance(server, str):
        raise UnavailableError(f"the local cluster in {folder} is {status.get('state', 'down')}; {up}")
    return _Found(server, folder / "admin.token")
