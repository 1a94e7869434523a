"""The ``butlery`` program."""

from __future__ import annotations

import sys
from typing import NoReturn

from framework.cli.exits import INTERRUPTED


def main() -> NoReturn:
    """Runs the command line of this process and ends it."""
    try:
        from framework.cli.program import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the program was still being loaded
        code = INTERRUPTED
    sys.exit(code)
