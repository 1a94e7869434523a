"""What an agent is made of, as far as deciding needs to know it."""

from __future__ import annotations

import msgspec

from framework.core.resources import Resources


class Template(msgspec.Struct, frozen=True):
    """An agent's resources and what limits its choice of hosts."""

    resources: Resources
    image: str | None = None
    attributes: dict[str, str] = {}  # attributes a host must have, with these values
    timeout_s: float = 3600.0
    grace_s: float = 10.0
