"""What the test processes that run side by side (``pytest -n``) must not share."""

from __future__ import annotations

import os

PORTS_EACH = 2000

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Of this process, from 0 on; 0 where there is but one."""
FIRST_PORT = 21_000 + PORTS_EACH * (WORKER % 5)
"""Of the ports that this process' clusters promise to tasks: tasks of two clusters bind them on one machine. All are
below 32,768, from where on Linux takes those of connections."""
