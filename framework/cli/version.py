"""``butlery version``."""

from __future__ import annotations

import platform

import framework
from framework.cli.connection import AsJson
from framework.cli.output import print_json, print_line


def version(as_json: AsJson = False) -> None:
    """Say this program's version; the scheduler's own is in `butlery top`."""
    if as_json:
        print_json({"version": framework.__version__, "python": platform.python_version()})
    else:
        print_line(f"butlery {framework.__version__}")
