"""A plan as people read it, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from masters.plan import Plan


def lines(plan: Plan) -> Iterator[str]:
    """One for each change and each value that differs: ``~ payments  mem 1024 -> 2048  (restarts)``."""
    raise NotImplementedError


def summary(plan: Plan) -> str:
    """``3 to create, 1 to update (1 restarts), 1996 unchanged``."""
    raise NotImplementedError


def as_json(plan: Plan) -> dict[str, Any]:
    """Of ``--json``; apps themselves are left out."""
    raise NotImplementedError
