"""Telemetry as the API asks it, with a history that a test fills."""

from __future__ import annotations

from framework.telemetry_ports import History, TelemetryHealth, Use


class FakeTelemetry:
    """Implements ``framework.telemetry_ports.Telemetry``."""

    shared = False

    history: History

    def __init__(self, history: History | None = None) -> None:
        """Without a history the test is to give one later."""
        if history is not None:
            self.history = history
        self.use: Use | None = None

    async def health(self) -> TelemetryHealth:
        return TelemetryHealth("sqlite", [], 0, 0, [])

    async def resend(self) -> int:
        return 0
