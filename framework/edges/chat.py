"""A channel that is told of builds which ended badly, by a webhook that takes what Slack's takes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from framework.edges.posting import Poster, late, read_builds, refusal
from framework.errors import ButleryError, UnavailableError
from framework.log import get_logger, protect
from framework.ports import Clock
from framework.telemetry.alerting import Digest, message
from framework.telemetry.records import BuildRecord, Kind
from framework.telemetry_ports import Batch, BusyError, OperatorError, Rejected
from framework.telemetry_settings import AlertSettings

TIMEOUT_S = 4.0
"""Of one call; a scheduler that stops waits for it, and for one more with what is still to be told."""
KNOWN = 10_000
"""Builds that are remembered as told or gathered: one that ended as another scheduler took over may come twice."""
RETRY_S = 90.0
"""Until a channel is tried again with what was gathered, so that builds go on being counted meanwhile."""

log = get_logger(__name__)


class AlertsConsumer:
    """``framework.telemetry_ports.Consumer`` of finished builds, for one channel.

    What comes within ``every_s`` of a message is gathered for the next, in memory: a scheduler that is killed leaves it
    untold. One that stops tells it, where the channel was there the last time.
    """

    kinds = frozenset((Kind.BUILDS,))

    def __init__(self, settings: AlertSettings, clock: Clock, timeout_s: float = TIMEOUT_S) -> None:
        address = settings.url.get_secret_value()
        protect(address)
        self.name = f"alerts-{settings.name}"
        self._who = f"alerts' channel {settings.name}"
        self._classes = frozenset(settings.classes)
        self._tenants = frozenset(settings.tenants)
        self._every_s = settings.every_s
        self._poster = Poster(self._who, address, {"Content-Type": "application/json"}, timeout_s)
        self._clock = clock
        self._gathered = Digest()
        self._known: dict[str, None] = {}
        self._next_at = 0.0
        self._away = False

    def take(self, batches: Sequence[Batch]) -> list[Rejected]:
        """Where the channel cannot be told, builds of more than an hour ago are only counted, so as not to wait.

        Those that another may have told of are nothing then: a scheduler that leads for the first time is told of all
        that ended in days.
        """
        now = self._clock.now()
        builds, _ = read_builds([batch for batch in batches if not batch.again])  # the sink sees to what is unreadable
        again, _ = read_builds([batch for batch in batches if batch.again])
        builds += [one for one in again if not late([one], now)]
        ours = {one.record.id: one.record for one in builds if self._wanted(one.record)}
        gathered = self._gathered.more(ours.values(), round(now * 1000))
        try:
            gathered = self._told(gathered, now)
        except (UnavailableError, OperatorError) as error:
            if ours and not late(builds, now):
                raise
            self._put_off(error, now)
        self._gathered = gathered
        self._known.update(dict.fromkeys(ours))
        while len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
        return []

    def tend(self, now: float) -> None:
        try:
            self._gathered = self._told(self._gathered, now)
        except (UnavailableError, OperatorError) as error:
            self._put_off(error, now)
            raise

    def close(self) -> None:
        self._next_at = 0.0
        try:
            if not self._away:
                self.tend(self._clock.now())
        except (UnavailableError, OperatorError):
            self._away = True
        if self._away and self._gathered.builds:
            log.warning("builds that ended badly were not told", channel=self.name, builds=self._gathered.builds)
        self._poster.close()

    def _wanted(self, build: BuildRecord) -> bool:
        return (
            build.result_class in self._classes
            and (not self._tenants or build.tenant in self._tenants)
            and build.id not in self._known
        )

    def _put_off(self, error: ButleryError, now: float) -> None:
        wanted_s = error.retry_after_s if isinstance(error, BusyError) else None
        self._next_at = now + RETRY_S + (wanted_s or 0.0)

    def _told(self, gathered: Digest, now: float) -> Digest:
        """What is still to be told. Raises as ``take``."""
        if not gathered.builds or now < self._next_at:
            return gathered
        self._away = True
        answer = self._poster.post(msgspec.json.encode(message(gathered, round(now * 1000))))
        if answer.status // 100 != 2:
            raise refusal(self._who, answer)
        self._away = False
        self._next_at = now + self._every_s
        return Digest()
