"""``butlery tenants volumes``, ``schema`` and ``kit``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from framework.cli.connection import AsJson, Directory
from framework.cli.output import clock, print_json, print_line, print_table
from framework.errors import Fault, InputError
from masters.cli.options import Config


def volumes(
    orphans: Annotated[bool, typer.Option("--orphans", help="Only those that no master uses any more.")] = False,
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="VOLUME", help="You have wiped this orphan: list it no more.")
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
    directory: Directory = None,
) -> None:
    """List masters' volumes as `apply` and `delete` noted them. No volume is ever wiped by a command."""
    import os

    from masters.connection import resolve
    from masters.ledger import Ledger

    ledger = Ledger(resolve(config, directory, os.environ).state)
    try:
        if forget is not None and not ledger.forget_volume(forget):
            raise InputError([Fault("--forget", f"{forget!r} is no orphan; `butlery tenants volumes` lists them")])
        found = ledger.volumes(orphans=orphans)
    finally:
        ledger.close()
    if as_json:
        print_json({"volumes": [asdict(one) for one in found]})
        return
    print_table(
        ("TENANT", "VOLUME", "MIB", "SINCE", "ORPHAN SINCE"),
        ((one.tenant, one.volume, one.size_mib or "-", clock(one.since), clock(one.gone_at)) for one in found),
    )


def schema(
    as_json: AsJson = False,  # noqa: ARG001 as of every command; it prints nothing else anyway
    config: Config = None,  # noqa: ARG001
    directory: Directory = None,  # noqa: ARG001
) -> None:
    """Print the JSON Schema of a tenant's YAML, for editors."""
    from masters.spec.schema import schema as tenant_schema

    print_json(tenant_schema())


def kit(
    to: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; it ends in .tar.gz.")],
    as_json: AsJson = False,
    config: Config = None,  # noqa: ARG001 as of every command
    directory: Directory = None,  # noqa: ARG001
) -> None:
    """Write the archive that masters with `war` or `command` are started by; its URL goes into `masters.kit`."""
    from masters.kit import write_kit

    if not to.name.endswith(".tar.gz"):
        raise InputError([Fault("FILE", f"{to} must end in .tar.gz: by that Mesos knows to unpack it")])
    try:
        write_kit(to)
    except OSError as error:
        raise InputError([Fault("FILE", f"{to} cannot be written: {error.strerror}")]) from error
    if as_json:
        print_json({"kit": str(to)})
    else:
        print_line(str(to))
