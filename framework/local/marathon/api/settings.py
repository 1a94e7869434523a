"""What the API has to know beside what runs."""

from __future__ import annotations

import msgspec

from framework.local.marathon.definition.read import Defaults


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``host``, ``port``: where others find the server, an IPv6 address in brackets. ``credentials``: user and password

    of HTTP Basic; None asks nobody.
    """

    host: str
    port: int
    defaults: Defaults
    launch_timeout_s: float  # an instance that is staged for longer is overdue
    credentials: tuple[str, str] | None = None
    allow_origin: tuple[str, ...] = ()  # access_control_allow_origin; none: no CORS headers
    marathon_config: dict[str, object] = {}  # what /v2/info tells of the rest of the server's settings
    max_body_bytes: int = 8 << 20
