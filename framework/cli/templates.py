"""``butlery templates`` and its commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from framework.cli import exits
from framework.cli.connection import AsJson, Directory, Server, TokenFile, connect
from framework.cli.output import amount, print_json, print_line, print_table, printable, say, say_faults
from framework.errors import InputError

COLUMNS = ("TEMPLATE", "VERSION", "LABELS", "IMAGE", "CPUS", "MEM MIB", "SPARES", "MOST", "OF A TENANT", "")

templates_app = typer.Typer(help="What agents are made of.", no_args_is_help=True)


@templates_app.command("list")
def listing(
    as_json: AsJson = False, server: Server = None, token_file: TokenFile = None, directory: Directory = None
) -> None:
    """List the templates that serve you; all of them for the administrator."""
    found = connect(server, token_file, directory).get("/v1/templates")
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, (_row(one) for one in found["templates"]))
    for notice in found["notices"]:
        say(printable(f"! {notice}"))


@templates_app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Of the template.")],
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Show a template with all that it inherits, as YAML."""
    found = connect(server, token_file, directory).get(f"/v1/templates/{quote(name, safe='')}")
    if as_json:
        print_json(found)
        return
    import yaml

    print_line(f"# version {found['version']}")
    text = yaml.safe_dump({"templates": {name: found["settings"]}}, sort_keys=False, allow_unicode=True)
    print_line(printable(text.rstrip("\n")))


@templates_app.command("match")
def match(
    label: Annotated[str, typer.Argument(help="Label expression as of Jenkins; '' for builds that name none.")],
    tenant: Annotated[str | None, typer.Option(help="For whom; a tenant's own token implies it.")] = None,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Tell which template serves a label now, or why none does. Exit code 1 where none does."""
    asked = urlencode({"label": label} | ({} if tenant is None else {"tenant": tenant}))
    found = connect(server, token_file, directory).get(f"/v1/templates:match?{asked}")
    if as_json:
        print_json(found)
    elif found["template"] is None:
        print_line(printable(found["reason"]))
    else:
        print_line(f"{found['template']} (version {found['version']}), nodes with the labels {found['node_labels']}")
    if found["template"] is None:
        raise typer.Exit(exits.FAILED)


@templates_app.command("reload")
def reload(
    as_json: AsJson = False, server: Server = None, token_file: TokenFile = None, directory: Directory = None
) -> None:
    """Have the scheduler read its templates now, rather than within seconds. For the administrator.

    Exit code 1 where they are faulty; it then goes on with those that it had.
    """
    found = connect(server, token_file, directory).send("POST", "/v1/templates:reload")
    if as_json:
        print_json(found)
    else:
        for notice in found["notices"]:
            say(printable(notice))
        print_line(f"{found['templates']} templates" + (", as they were" if found["notices"] else ""))
    if found["notices"]:
        raise typer.Exit(exits.FAILED)


@templates_app.command("validate")
def validate(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file of templates, or a directory of them.")],
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings whose templates they may inherit from.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check templates and name every fault with its line. Exit code 2 where there is one."""
    from framework.catalog.files import read_catalog

    try:
        catalog = read_catalog(config, path)
    except InputError as error:
        if as_json:
            print_json({"ok": False, "faults": [fault._asdict() for fault in error.faults]})
        else:
            say(f"butlery: {len(error.faults)} faults" if len(error.faults) > 1 else "butlery: one fault")
            say_faults(error.faults)
        raise typer.Exit(exits.USAGE) from error
    if as_json:
        print_json({"ok": True, "faults": [], "versions": catalog.versions})
    else:
        print_line(f"{path}: {len(catalog.templates)} templates, no faults")


@templates_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a file of templates, for editors and checks before a commit."""
    from framework.catalog.schema import schema as template_schema

    print_json(template_schema())


def _row(template: dict[str, Any]) -> tuple[Any, ...]:
    notes = ["for builds without a label"] if template["default"] else []
    notes += ["pooled"] if template["lifetime"] == "pooled" else []
    return (
        template["name"],
        template["version"],
        " ".join(template["labels"]) or "none",
        template["image"] or "",
        amount(template["cpus"]),
        template["mem_mib"],
        template["spares"] or "",
        template["max_agents"] or "",
        template["max_agents_per_tenant"] or "",
        ", ".join(notes),
    )
