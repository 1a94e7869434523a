"""What Prometheus reads: one look at the scheduler, made on the loop's thread and written out beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import msgspec
from prometheus_client import Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from framework.errors import UnavailableError
from framework.ports import Clock, Seat
from framework.runtime.telemetry.families import Look, families
from framework.runtime.telemetry.metrics import Metrics
from framework.telemetry_ports import Telemetry, TelemetryHealth

KEPT_S = 1.0
"""So long one page is told to all who ask, so that they are no load however many they are."""
OPENMETRICS = "application/openmetrics-text"


class Exposition:
    """``framework.telemetry_ports.MetricsPage``."""

    def __init__(self, metrics: Metrics, seat: Seat, telemetry: Telemetry | None, clock: Clock) -> None:
        self._metrics = metrics
        self._seat = seat
        self._telemetry = telemetry
        self._clock = clock
        self._process = ProcessCollector(registry=None)
        self._writing = asyncio.Lock()
        self._pages: dict[str, tuple[float, bytes]] = {}

    async def page(self, accept: str) -> tuple[bytes, str]:
        encode, media_type = choose_encoder(OPENMETRICS if OPENMETRICS in accept else "")
        async with self._writing:
            now = self._clock.now()
            made_at, body = self._pages.get(media_type, (0.0, b""))
            if not 0 <= now - made_at < KEPT_S:
                told = await self._told()
                look = msgspec.structs.replace(self._look(), telemetry=told)
                body = await asyncio.to_thread(encode, _Page(look, self._process))
                self._pages[media_type] = (now, body)
        return body, media_type

    async def _told(self) -> TelemetryHealth | None:
        if self._telemetry is not None:
            with suppress(UnavailableError):  # all else is told
                return await self._telemetry.health()
        return None

    def _look(self) -> Look:
        counted = self._metrics.counted()
        if not self._seat.leads:
            return Look(counted, leads=False)
        control = self._seat.control
        use = None if self._telemetry is None else self._telemetry.use
        return Look(counted, True, None, control.health(), control.tenants(), control.hosts(), use)


class _Page(Collector):
    """What the encoders ask for everything."""

    def __init__(self, look: Look, process: ProcessCollector) -> None:
        self._look = look
        self._process = process

    def collect(self) -> Iterator[Metric]:
        yield from families(self._look)
        yield from self._process.collect()
