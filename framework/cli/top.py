"""``butlery top``: the cluster, live."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framework.cli.connection import AsJson, Directory, Server, TokenFile, connect
from framework.cli.hosts import COLUMNS as HOST_COLUMNS
from framework.cli.hosts import host_row
from framework.cli.jobs import COLUMNS as JOB_COLUMNS
from framework.cli.jobs import job_row
from framework.cli.output import console, print_json, printable, table
from framework.cli.tenants import COLUMNS as TENANT_COLUMNS
from framework.cli.tenants import tenant_row
from framework.errors import UnavailableError

if TYPE_CHECKING:
    from rich.console import Group

    from framework.cli.client import ApiClient

MAX_HOSTS = 20
MAX_JOBS = 15
"""Rows; more would not fit on a screen, and `butlery hosts` and `butlery jobs list` show all."""


def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once.")] = False,
    every_s: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between looks.")] = 1.0,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Watch tenants, hosts and builds; Ctrl-C ends it. Without the administrator's token, only your own."""
    client = connect(server, token_file, directory)
    if as_json:
        print_json(look(client))
        return
    screen = console()
    if once or not screen.is_terminal or screen.is_dumb_terminal:
        screen.print(_view(look(client)))
        return
    _live(client, every_s)


def look(client: ApiClient) -> dict[str, Any]:
    """All of it at about one time; ``status`` and ``hosts`` are None for a tenant. Raises RefusedError,

    UnavailableError.
    """
    from framework.cli.client import RefusedError

    status = hosts = None
    try:
        status = client.get("/v1/status")
        hosts = client.get("/v1/hosts")["hosts"]
    except RefusedError as error:
        if error.status != 403:
            raise
    states = {"state": ["waiting", "launching", "running", "ending"], "limit": MAX_JOBS}
    return {
        "status": status,
        "tenants": client.get("/v1/tenants")["tenants"],
        "hosts": hosts,
        "jobs": client.get("/v1/jobs", states)["jobs"],
    }


def _live(client: ApiClient, every_s: float) -> None:
    from rich.live import Live
    from rich.text import Text

    view: Any = _view(look(client))
    with Live(view, console=console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(view, refresh=True)
            time.sleep(every_s)
            try:
                view = _view(look(client))
            except UnavailableError as error:
                view = Text(printable(f"{error}; trying again"), "red")


def _view(found: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    status = found["status"]
    if status is not None:
        mesos = Text("connected", "green") if status["connected"] else Text("not connected", "red")
        counts = f"{status['hosts']} hosts, {status['waiting']} waiting, {status['launching']} launching, "
        parts.append(
            Text(f"Butlery {status['version']}, Mesos ") + mesos + Text(f": {counts}{status['running']} running")
        )
        parts += [Text(printable(f"! {notice}"), "yellow") for notice in status["notices"]]
        parts += [
            Text(printable(f"! image {image} fails; tried again in {left_s:.0f} s"), "yellow")
            for image, left_s in sorted(status["breakers"].items())
        ]
    parts += ["", table(TENANT_COLUMNS, [tenant_row(tenant) for tenant in found["tenants"]])]
    if found["hosts"] is not None:
        busiest = sorted(found["hosts"], key=lambda host: (-host["tasks"], host["hostname"]))
        parts += ["", table(HOST_COLUMNS, [host_row(host) for host in busiest[:MAX_HOSTS]])]
        if len(busiest) > MAX_HOSTS:
            parts.append(Text(f"and {len(busiest) - MAX_HOSTS} more hosts", "dim"))
    parts += ["", table(JOB_COLUMNS, [job_row(job) for job in found["jobs"]])]
    return Group(*parts)
