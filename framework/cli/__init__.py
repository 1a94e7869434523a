"""The ``butlery`` program."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command line of this process and ends it."""
    from framework.cli.program import run

    sys.exit(run(sys.argv[1:]))
