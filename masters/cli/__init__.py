"""``butlery tenants``: tenants' masters and their shares. Each command loads what it needs when it runs."""

from __future__ import annotations

import typer

from framework.cli.tenants import set_tenant
from masters.cli.applying import apply, plan, upgrade
from masters.cli.backing_up import backup, restore
from masters.cli.listing import listing, show
from masters.cli.operating import delete, hibernate, logs, restart, scale, wake
from masters.cli.providing import kit, schema, volumes
from masters.cli.serving import serve

__all__ = ["tenants_app"]

tenants_app = typer.Typer(
    help="Teams: their Jenkins master, their share, their quota, their token.", no_args_is_help=True
)

for _name, _command in (
    ("plan", plan),
    ("apply", apply),
    ("list", listing),
    ("show", show),
    ("logs", logs),
    ("restart", restart),
    ("upgrade", upgrade),
    ("scale", scale),
    ("hibernate", hibernate),
    ("wake", wake),
    ("backup", backup),
    ("restore", restore),
    ("delete", delete),
    ("set", set_tenant),
    ("volumes", volumes),
    ("schema", schema),
    ("kit", kit),
    ("serve", serve),
):
    tenants_app.command(_name)(_command)
