"""Telemetry of a process, whoever leads: the spool, who takes what is in it, and what is recorded while we lead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from framework.core.effects import Save
from framework.core.state import State
from framework.core.tasks import Request
from framework.errors import ButleryError
from framework.log import get_logger
from framework.ports import Chance, Clock, Store
from framework.runtime.telemetry.beside import OneAtATime
from framework.runtime.telemetry.metrics import Metrics
from framework.runtime.telemetry.prices import PriceWatch
from framework.runtime.telemetry.recorder import Recorder
from framework.runtime.telemetry.sampler import Sampler
from framework.runtime.telemetry.shipping import Shipper
from framework.runtime.telemetry.sizes import SizeKeeper
from framework.telemetry.records import BuildRecord
from framework.telemetry_ports import Consumer, History, Sink, Spool, TelemetryHealth, Use

log = get_logger(__name__)

OTHERS_TEND_S = 5.0
"""How soon a channel's message goes out once it is due, where no build ends meanwhile."""


class Watch:
    """What is recorded while one scheduler leads. For the event loop's own thread; ``run`` once."""

    def __init__(self, recorder: Recorder, sampler: Sampler, over: Callable[[Watch], None]) -> None:
        self.recorder = recorder
        self.sampler = sampler
        self._over = over

    def saved(self, frame: Sequence[Save], submitted: Sequence[Request]) -> None:
        self.recorder.saved(frame, submitted)

    async def run(self) -> None:
        """Until ``stop``. Raises nothing but what ends it from outside."""
        sampling = asyncio.create_task(self.sampler.run())
        try:
            await self.recorder.run()
        except Exception:  # the scheduler goes on without
            log.exception("telemetry is at fault: no records go into the spool until this scheduler is started anew")
        finally:
            sampling.cancel()
            await asyncio.wait({sampling})
            self._over(self)

    def stop(self) -> None:
        """``run`` returns once what was saved is in the spool, within some seconds."""
        self.sampler.stop()
        self.recorder.stop()


class TelemetryDesk:
    """``framework.telemetry_ports.Telemetry``. ``close`` is called when nothing is recorded any more."""

    def __init__(
        self,
        spool: Spool,
        sink: Sink,
        others: Sequence[Consumer],
        prices: PriceWatch,
        metrics: Metrics,
        sample_every_s: float,
        clock: Clock,
        chance: Chance,
        sizes: SizeKeeper | None = None,
    ) -> None:
        """Begins to bring what is in the spool to ``sink`` and the ``others``."""
        self._spool = spool
        self._sink = sink
        self._consumers: list[Consumer] = [sink, *others]
        self._prices = prices
        self._metrics = metrics
        self._sample_every_s = sample_every_s
        self._clock = clock
        self._chance = chance
        self.sizes = sizes
        self._stopping = asyncio.Event()
        self._watch: Watch | None = None
        self._looking = OneAtATime(self._health, clock)
        self._resending = OneAtATime(spool.resend, clock)
        self._dropped = 0  # on their way to the spool, while others led before
        self._shippers = [
            Shipper(spool, sink, clock, chance),
            *(Shipper(spool, other, clock, chance, OTHERS_TEND_S) for other in others),
        ]
        for shipper in self._shippers:
            shipper.start()

    def watch(self, state: State, store: Store) -> Watch:
        """Records what a scheduler saves that is about to lead with this state."""
        clock, chance = self._clock, self._chance
        recorder = Recorder(state, store, self._spool, self._prices, self._metrics, clock, chance, self._made)
        sampler = Sampler(state, recorder, self._sample_every_s, self._clock)
        self._watch = Watch(recorder, sampler, self._over)
        return self._watch

    def _made(self, record: BuildRecord) -> None:
        if self.sizes is not None:
            self.sizes.told(record)

    def _over(self, watch: Watch) -> None:
        self._dropped += watch.recorder.dropped
        if self._watch is watch:
            self._watch = None

    @property
    def history(self) -> History:
        return self._sink

    @property
    def shared(self) -> bool:
        return self._sink.shared

    @property
    def use(self) -> Use | None:
        return None if self._watch is None else self._watch.sampler.use

    async def health(self) -> TelemetryHealth:
        return await self._looking.answer()

    async def resend(self) -> int:
        return await self._resending.answer()

    def _health(self) -> TelemetryHealth:
        """May wait for the disk that the spool is on."""
        consumers = [shipper.health() for shipper in self._shippers]
        watch = self._watch
        notices = [] if watch is None else watch.recorder.notices
        notices += [*self._spool.notices, *self._sink.notices, *self._prices.notices]
        notices += [f"telemetry: {each.name}: {each.trouble}" for each in consumers if each.trouble]
        if self._spool.rejected:
            notices.append(
                f"telemetry: {self._spool.rejected} records were refused and are kept aside; once what they were "
                "refused for is mended: butlery telemetry resend"
            )
        dropped = self._dropped + self._spool.dropped + (0 if watch is None else watch.recorder.dropped)
        return TelemetryHealth(self._sink.name, consumers, self._spool.rejected, dropped, notices)

    async def run(self) -> None:
        """Looks after the price sheet and the sizes of jobs until ``stop``."""
        sizing = None if self.sizes is None else asyncio.create_task(self.sizes.run())
        try:
            await self._prices.run()  # over at once where there is none
            await self._stopping.wait()
        finally:
            if sizing is not None:
                sizing.cancel()
                await asyncio.wait({sizing})

    def stop(self) -> None:
        self._stopping.set()
        self._prices.stop()

    def close(self) -> None:
        """Within some seconds: a consumer that does not come back is left behind with its thread."""
        for shipper in self._shippers:
            shipper.stop(0.0)  # so that all of them end at the same time
        for shipper, consumer in zip(self._shippers, self._consumers, strict=True):
            if shipper.stop():
                with suppress(ButleryError):
                    consumer.close()
            else:
                log.warning("a consumer of records does not end in time", consumer=consumer.name)
        self._spool.close()
