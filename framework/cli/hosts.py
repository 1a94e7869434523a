"""``butlery hosts``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from framework.cli.connection import AsJson, Directory, Server, TokenFile, connect
from framework.cli.output import amount, clock, print_json, print_table

COLUMNS = ("HOST", "TASKS", "CPUS", "MEM MIB", "OFFERED CPUS", "ATTRIBUTES", "")


def hosts(
    as_json: AsJson = False, server: Server = None, token_file: TokenFile = None, directory: Directory = None
) -> None:
    """List the machines of the cluster and what builds use of them. For the administrator."""
    found = connect(server, token_file, directory).get("/v1/hosts")
    if as_json:
        print_json(found)
    else:
        print_table(COLUMNS, (host_row(host) for host in found["hosts"]))


def host_row(host: Mapping[str, Any]) -> tuple[Any, ...]:
    used, total = host["used"], host["total"]
    return (
        host["hostname"],
        host["tasks"],
        f"{amount(used['cpus'])}/{amount(total['cpus'])}",
        f"{used['mem_mib']}/{total['mem_mib']}",
        amount(host["offered"]["cpus"]),
        " ".join(f"{name}={value}" for name, value in sorted(host["attributes"].items())),
        ", ".join(_notes(host)),
    )


def _notes(host: Mapping[str, Any]) -> Iterator[str]:
    if not host["active"]:
        yield "inactive"
    if host["maintenance_at"] is not None:
        yield f"maintenance from {clock(host['maintenance_at'])}"
