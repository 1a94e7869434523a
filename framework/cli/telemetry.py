"""``butlery telemetry`` and its commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from framework.cli.connection import AsJson, Directory, Server, TokenFile, connect
from framework.cli.dashboards import dashboards
from framework.cli.output import print_json, print_line, print_table, printable, seconds

COLUMNS = ("CONSUMER", "TAKEN", "TO TAKE", "MIB", "BEHIND")

telemetry_app = typer.Typer(help="Records of builds on their way.", no_args_is_help=True)
telemetry_app.command("dashboards")(dashboards)


@telemetry_app.command("status")
def status(
    as_json: AsJson = False, server: Server = None, token_file: TokenFile = None, directory: Directory = None
) -> None:
    """Tell who takes records, how far each has come, and what is wrong. For the administrator."""
    found = connect(server, token_file, directory).get("/v1/telemetry")
    if as_json:
        print_json(found)
    else:
        _show(found)


@telemetry_app.command("resend")
def resend(
    as_json: AsJson = False, server: Server = None, token_file: TokenFile = None, directory: Directory = None
) -> None:
    """Have records taken again that were refused, once what they were refused for is mended. For the administrator."""
    found = connect(server, token_file, directory).send("POST", "/v1/telemetry/resend")
    if as_json:
        print_json(found)
    else:
        print_line(f"{found['resent']} records are sent again")


def _show(found: Mapping[str, Any]) -> None:
    print_table(COLUMNS, map(_row, found["consumers"]))
    for line in _lines(found):
        print_line(printable(line))


def _row(consumer: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        consumer["name"],
        consumer["taken"],
        consumer["records"],
        f"{consumer['bytes'] / (1 << 20):.1f}",
        seconds(consumer["behind_s"] if consumer["records"] else None),
    )


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    if found["dropped"]:
        yield f"{found['dropped']} state changes and samples were not kept, for want of room"
    for notice in found["notices"]:
        yield f"! {notice}"
