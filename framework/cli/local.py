"""``butlery local``: a cluster of one machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from framework.local.status import Status

EXIT_DOWN = 3  # as of `systemctl status` and the LSB's status actions for a program that is not running

local_app = typer.Typer(
    help="A real Mesos, the scheduler, a Marathon-compatible server and tenants' ingress on this one machine.",
    no_args_is_help=True,
)

Directory = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="Where the cluster keeps its state.", show_default=False)
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The settings; see its section `local`.")]


@local_app.command()
def up(
    hosts: Annotated[int | None, typer.Option(min=1, help="So many equal hosts, in place of the settings'.")] = None,
    config: Config = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is up, and leave it running.")] = False,
    directory: Directory = None,
    port: Annotated[
        int | None, typer.Option(min=1024, max=65535, help="Port of Mesos, in place of the settings'.")
    ] = None,
    elasticsearch: Annotated[
        bool, typer.Option("--elasticsearch", help="Also an Elasticsearch, to which telemetry then goes.")
    ] = False,
) -> None:
    """Bring up Mesos, scheduler, Marathon-compatible server and tenants' service; without --detach, until Ctrl-C."""
    from framework.local import control
    from framework.local.status import read

    request = control.request_for(
        directory=directory, config=config, hosts=hosts, port=port, elasticsearch=elasticsearch
    )
    if detach:
        _show(control.up_detached(request, _say))
        return

    def ready(status: Status) -> None:
        _show(read(Path(status.directory)))
        _say("Ctrl-C stops all of it")

    control.up(request, _say, ready)


@local_app.command()
def status(
    directory: Directory = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what runs, where, and what holds builds to their limits. Exit code 3 where it is not up."""
    from framework.local import control
    from framework.local.status import read

    found = read(control.directory_of(directory, config))
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        _show(found)
    if found.state != "up":
        raise typer.Exit(EXIT_DOWN)


@local_app.command()
def down(
    directory: Directory = None,
    config: Config = None,
    wipe: Annotated[bool, typer.Option("--wipe", help="Also remove the directory and all that is in it.")] = False,
) -> None:
    """End the servers, Mesos, every build and every app of the cluster."""
    from framework.local import control

    control.down(control.directory_of(directory, config), _say, wipe=wipe)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _show(found: Status) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in (
        ("state", found.state + (f": {found.error}" if found.error else "")),
        ("directory", found.directory),
        ("Mesos", _process(found.mesos_url, found.mesos_pid, found.mesos_restarts)),
        ("API", _process(found.api_url, found.scheduler_pid, found.scheduler_restarts)),
        ("Marathon", _process(found.marathon_url, found.marathon_pid, found.marathon_restarts)),
        ("", f"its user and password: {found.marathon_credentials}" if found.marathon_credentials else None),
        ("masters", _process(found.ingress_url, found.ingress_pid, found.ingress_restarts)),
        ("Elasticsearch", _process(found.elasticsearch_url, found.elasticsearch_pid, found.elasticsearch_restarts)),
        ("isolation", f"{found.isolation}: {found.isolation_reason}" if found.isolation else None),
        ("since", found.started_at),
    ):
        if value is not None:
            facts.add_row(name, escape(value))
    console.print(facts)
    if found.hosts:
        table = Table("host", "cpus", "mem MiB", "disk MiB", "attributes", "registered", box=None, pad_edge=False)
        for host in found.hosts:
            attributes = " ".join(f"{name}={value}" for name, value in host["attributes"].items())
            numbers = (f"{host['cpus']:g}", str(host["mem_mib"]), str(host["disk_mib"]))
            table.add_row(host["name"], *numbers, escape(attributes), "yes" if host.get("registered") else "no")
        console.print(table)
    for notice in found.notices:
        console.print(f"! {escape(notice)}", style="yellow", soft_wrap=True)


def _process(url: str | None, pid: int | None, restarts: int) -> str | None:
    if url is None:
        return None
    words = f"{url} (pid {pid})" if pid is not None else f"{url} (not running)"
    return words + (f", started again {restarts} times" if restarts else "")
