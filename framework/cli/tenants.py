"""Tenants' shares: how they are shown, and ``butlery tenants set``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from framework.cli.connection import AsJson, Directory, Server, TokenFile, connect
from framework.cli.output import amount, print_json, print_line, say
from framework.errors import Fault, InputError

COLUMNS = ("TENANT", "WEIGHT", "WAITING", "LAUNCHING", "RUNNING", "CPUS", "MEM MIB", "BUILDS", "SHARE", "FAIR")
NO_LIMIT = "none"


def tenant_row(tenant: Mapping[str, Any]) -> tuple[Any, ...]:
    """Used resources, over the quota where there is one."""
    used, quota = tenant["used"], tenant["quota"]
    builds = tenant["launching"] + tenant["running"]
    return (
        tenant["name"],
        tenant["weight"],
        tenant["waiting"],
        tenant["launching"],
        tenant["running"],
        of_limit(used["cpus"], quota["cpus"]),
        of_limit(used["mem_mib"], quota["mem_mib"]),
        of_limit(builds, quota["builds"]),
        f"{tenant['dominant_share']:.1%}",
        f"{tenant['fair_share']:.1%}",
    )


def of_limit(used: float, limit: float | None) -> str:
    """``3/10``, or ``3`` where there is no limit."""
    return amount(used) if limit is None else f"{amount(used)}/{amount(limit)}"


def set_tenant(
    name: Annotated[str, typer.Argument(help="Of the tenant; it is made where there is none.")],
    weight: Annotated[int | None, typer.Option(help="Share relative to other tenants; 100 for a new one.")] = None,
    cpus: Annotated[str | None, typer.Option(metavar="N|none", help="CPUs it may use at once.")] = None,
    mem_mib: Annotated[str | None, typer.Option(metavar="N|none", help="Memory it may use at once, in MiB.")] = None,
    builds: Annotated[str | None, typer.Option(metavar="N|none", help="Builds it may run at once.")] = None,
    role: Annotated[
        str | None,
        typer.Option(metavar="ROLE|none", help="Mesos role whose offers its builds take; none: any of ours."),
    ] = None,
    new_token: Annotated[bool, typer.Option("--new-token", help="Draw a new token; the old one ends at once.")] = False,
    token_to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the token there, for its owner alone, not to the screen.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Make a tenant or change one; what is not given stays as it was. For the administrator.

    A new tenant's token is told this once.
    """
    quota, faults = _quota({"cpus": cpus, "mem_mib": mem_mib, "builds": builds})
    faults += _faults_of_name(name) + (_faults_of_place(token_to) if token_to is not None else [])
    if faults:
        raise InputError(faults)
    client = connect(server, token_file, directory)
    present = {tenant["name"]: tenant for tenant in client.get("/v1/tenants")["tenants"]}.get(name)
    body: dict[str, Any] = {key: present[key] for key in ("weight", "quota", "role")} if present else {"quota": {}}
    if weight is not None:
        body["weight"] = weight
    body["quota"] |= quota
    if role is not None:
        body["role"] = None if role == NO_LIMIT else role
    body["new_token"] = new_token
    found = client.send("PUT", f"/v1/tenants/{name}", body)
    if token_to is not None and found["token"]:
        _write(token_to, found["token"])
        found["token"] = None
        say(f"the token is in {token_to}")
    if as_json:
        print_json(found)
        return
    limits = ", ".join(f"{key} {amount(value)}" for key, value in found["quota"].items() if value is not None)
    of_role = f", role {found['role']}" if found["role"] else ""
    say(f"tenant {found['name']}: weight {found['weight']}, quota {limits or NO_LIMIT}{of_role}")
    if found["token"]:
        print_line(found["token"])


def _faults_of_name(name: str) -> list[Fault]:
    """Here too, since a name such as ``..`` would make another path of the call."""
    from framework.api import checks

    try:
        checks.name(name)
    except ValueError as error:
        return [Fault("NAME", str(error))]
    return []


def _faults_of_place(token_to: Path) -> list[Fault]:
    """Before the call, since the token is told but once."""
    if token_to.exists():
        return [Fault("--token-to", f"{token_to} is there already; name a new file")]
    if not os.access(token_to.parent, os.W_OK | os.X_OK):
        return [Fault("--token-to", f"no file can be made in {token_to.parent}")]
    return []


def _quota(given: Mapping[str, str | None]) -> tuple[dict[str, float | None], list[Fault]]:
    quota: dict[str, float | None] = {}
    faults: list[Fault] = []
    for key, text in given.items():
        if text is None:
            continue
        try:
            quota[key] = None if text == NO_LIMIT else float(text) if key == "cpus" else int(text)
        except ValueError:
            faults.append(Fault(f"--{key.replace('_', '-')}", f"must be a number, or `{NO_LIMIT}`"))
    return quota, faults


def _write(path: Path, token: str) -> None:
    try:
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(token + "\n")
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}; draw another token with --new-token"
        raise InputError([Fault("--token-to", message)]) from error
