"""Records of telemetry on disk, until everybody who wants them has them."""

from __future__ import annotations

from framework.edges.spool.spool import FileSpool

__all__ = ["FileSpool"]
