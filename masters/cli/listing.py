"""``butlery tenants list`` and ``show``."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framework.cli.connection import AsJson, Directory, Server, TokenFile
from framework.cli.output import (
    amount,
    clock,
    one_line,
    print_json,
    print_line,
    print_long_json,
    print_table,
    seconds,
    since,
)
from framework.cli.tenants import of_limit
from framework.errors import ButleryError
from masters.cli.options import Config, asking, opened

if TYPE_CHECKING:
    from rich.text import Text

    from masters.settings import MastersContext

COLUMNS = (
    "TENANT", "MASTER", "ADDRESS", "HOST", "VERSION", "MEM MIB", "SINCE",
    "WEIGHT", "WAITING", "BUILDS", "CPUS IN USE", "MIB IN USE",
)  # fmt: skip
STATE_STYLES = {"on": "green", "starting": "cyan", "failing": "red", "asleep": "dim", "off": "dim"}
NONE = "-"


def listing(
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """List tenants: their masters, and what their builds use of the quota. A tenant's token sees itself."""
    from concurrent.futures import ThreadPoolExecutor

    from framework.cli.connection import connect
    from masters.edges import told_scheduler

    context, trouble = _context(config, directory)
    if server is None and context is not None:
        server = told_scheduler(context)
    client = connect(server, token_file, directory)
    with _uncollected(), ThreadPoolExecutor(1, "masters") as pool:  # two servers, asked at once
        asked = pool.submit(_masters, context)
        shares = {tenant["name"]: tenant for tenant in client.get("/v1/tenants")["tenants"]}
        masters, unanswered = asked.result()
    trouble = trouble or unanswered
    names = sorted(shares.keys() | masters.keys())
    rows = [{**(shares.get(name) or {"name": name}), "master": masters.get(name)} for name in names]
    if as_json:
        print_long_json({"tenants": rows, "masters_unknown": trouble})
        return
    print_table(COLUMNS, (_row(row, row["master"]) for row in rows))
    if trouble is not None:
        print_line(one_line(f"masters are not known: {trouble}"))


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tenant.")],
    as_json: AsJson = False,
    config: Config = None,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Show a tenant's master: how it is, why it is not healthy, its route, its volume, its backups."""
    from masters.operations.details import details

    with opened(config, directory, server, token_file) as edges:
        with asking(edges.context):
            found = details(edges, name)
    if as_json:
        print_json(found)
        return
    for label, value in _facts(found):
        print_line(one_line(f"{label:<12} {value}"))
    for title, columns, rows in _tables(found):
        print_line(f"\n{title}")
        print_table(columns, rows)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without a look for garbage: what is read stays until the end, and of 2000 masters each look goes through all."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _context(config: Path | None, directory: Path | None) -> tuple[MastersContext | None, str | None]:
    """None, and why, where nobody has told of a Marathon. Raises InputError for faults of what ``config`` tells."""
    import os

    from masters.connection import resolve

    try:
        return resolve(config, directory, os.environ), None
    except ButleryError as error:
        if config is not None:
            raise
        return None, str(error)


def _masters(context: MastersContext | None) -> tuple[Mapping[str, Mapping[str, Any]], str | None]:
    """By tenant; or why they cannot be known, as where Marathon does not answer."""
    if context is None:
        return {}, None
    from masters.marathon import MarathonEdge
    from masters.operations.brief import brief

    try:
        with asking(context):
            found = MarathonEdge(context).masters()
    except ButleryError as error:
        return {}, str(error)
    return {name: brief(context, master) for name, master in found.items()}, None


def _row(share: Mapping[str, Any], master: Mapping[str, Any] | None) -> tuple[Any, ...]:
    if "used" in share:
        used, quota = share["used"], share["quota"]
        builds = of_limit(share["launching"] + share["running"], quota["builds"])
        of_share = (
            share["weight"], share["waiting"], builds, of_limit(used["cpus"], quota["cpus"]),
            of_limit(used["mem_mib"], quota["mem_mib"]),
        )  # fmt: skip
    else:
        of_share = (NONE,) * 5
    if master is None:
        return (share["name"], *(NONE,) * 6, *of_share)
    return (
        share["name"],
        _state(master["state"]),
        master["address"],
        master["host"] or NONE,
        master["version"] or NONE,
        amount(master["mem_mib"]),
        seconds(since(master["since"], None)),
        *of_share,
    )


def _state(state: str) -> Text:
    from rich.text import Text

    return Text(state, STATE_STYLES.get(state, ""))


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "tenant", found["name"]
    yield "state", found["state"]
    if found["why_not"]:
        yield "why", found["why_not"]
    if found["left_off"]:
        yield "left off", f"its start failed: {found['left_off']}"
    yield "address", found["address"]
    route = found["route"]
    if route is not None:
        verified = f", verified {clock(route['verified_at'])}" if route["verified_at"] else ""
        yield "route", (f"to {route['to']}" if route["to"] else "requests are held") + verified
        if route["agents"]:
            yield "agents", f"by TCP at {route['agents']}"
        if route["problem"]:
            yield "", route["problem"]
        yield "last use", clock(route["last_use"])
    else:
        yield "route", found["route_unknown"]
    yield "version", found["version"] or NONE
    yield "runs", found["runs"]
    yield "host", f"{found['host'] or NONE}" + (f" ({found['task']})" if found["task"] else "")
    yield "since", f"{clock(found['since'])}"
    yield "last boot", seconds(found["boot_s"])
    yield "resources", f"{amount(found['cpus'])} CPUs, {amount(found['mem_mib'])} MiB"
    yield "volume", found["volume"] + (f", {found['volume_mib']} MiB" if found["volume_mib"] else "")
    if found["hibernates_after_s"] is not None:
        yield "hibernates", f"after {seconds(found['hibernates_after_s'])} without use"
    if found["backup_every_s"] is not None:
        yield "backups", f"every {seconds(found['backup_every_s'])}"
    yield "builds", NONE if found["builds"] is None else f"{found['builds']} wait or run in the scheduler"
    if found["last_failure"]:
        yield "last failure", f"{clock(found['last_failure']['at'])}: {found['last_failure']['message']}"
    yield "app", f"{found['app']} version {found['app_version']}"


def _tables(found: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]]:
    if found["backups"]:
        rows = [(one["name"], one["state"], one["bytes"], one["message"]) for one in found["backups"]]
        yield "backups", ("NAME", "STATE", "BYTES", "MESSAGE"), rows
    if found["env"]:
        yield "environment", ("NAME", "VALUE"), sorted(found["env"].items())
