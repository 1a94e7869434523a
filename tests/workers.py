"""What the test processes that run side by side (``pytest -n``) must not share."""

from __future__ import annotations

import os

PORTS_EACH = 4000

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Of this process, from 0 on; 0 where there is but one."""
FIRST_PORT = 31_000 + PORTS_EACH * (WORKER % 8)
"""Of the ports that this process' clusters promise to tasks: tasks of two clusters bind them on one machine."""
