"""What one master tells, in order: what is new of it, what was missed, how far its clock is from ours, how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from framework.jenkins_ports import DemandRecord, RateLimitedError

ENDED_SESSIONS = 8
"""So many earlier processes of a master are remembered, whose records may not come again."""
SKEW_WINDOW_S = 300.0
"""The clocks' difference is the least of what the last one or two such times told."""
MOST_LATE_S = 3600.0
"""A record is taken to have waited for no longer: beyond, a clock was set."""
BURST_S = 10.0
"""So much of its share a master may tell at once."""


class Share:
    """How many records a master may tell: ``per_s`` on average, ``BURST_S`` times as many at once."""

    def __init__(self, per_s: float, now: float) -> None:
        self._per_s = per_s
        self._left = per_s * BURST_S
        self._at = now

    def take(self, count: int, now: float) -> None:
        """Records that come together are taken together, on credit. Raises RateLimitedError while there is none."""
        most = self._per_s * BURST_S
        self._left = min(most, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._left <= 0:
            raise RateLimitedError((1 - self._left) / self._per_s)
        self._left -= count


class Sifted(NamedTuple):
    """Records that are new, and how the story stands once they are taken."""

    records: list[DemandRecord]
    session: str
    seq: int
    missed: bool  # something between was not told, a story begins, or another one is told beside it


class Story:
    """Of one master: a session for each of its processes, within which records are numbered."""

    def __init__(self) -> None:
        self.session = ""
        self._seq = 0
        self._began_at = 0.0
        self._ended: dict[str, int] = {}  # the number of the newest record of each, the oldest first
        self._least = self._least_before = math.inf  # seconds, our clock less the master's, as it seemed at arrival
        self._window_at = 0.0

    def sift(self, records: Sequence[DemandRecord]) -> Sifted:
        """Drops what came before and what an earlier process of the master told. Nothing changes until ``went_on``."""
        session, seq, missed = self.session, self._seq, False
        new: list[DemandRecord] = []
        for record in records:
            if record.seq == 0:
                missed |= record.event == "ready"
                new.append(record)
                continue
            if record.session != session:
                if record.session in self._ended:
                    missed = True
                    continue
                session, seq, missed = record.session, record.seq - 1, True
            if record.seq <= seq:
                continue
            missed |= record.seq > seq + 1 or record.event == "ready"
            seq = record.seq
            new.append(record)
        return Sifted(new, session, seq, missed)

    def went_on(self, sifted: Sifted, now: float) -> None:
        """The records were taken."""
        self._goes_on_with(sifted.session, sifted.seq, now)

    def seen(self, session: str, asked_at: float) -> None:
        """The master was asked which process it is: one that seemed to have ended is heard again."""
        if session in self._ended and self._began_at < asked_at:
            self._goes_on_with(session, self._ended.pop(session), asked_at)

    def _goes_on_with(self, session: str, seq: int, now: float) -> None:
        if session != self.session:
            if self.session:
                self._ended[self.session] = self._seq
            if len(self._ended) > ENDED_SESSIONS:
                del self._ended[next(iter(self._ended))]
            self._least = self._least_before = math.inf
            self._began_at = now
        self.session, self._seq = session, seq

    def arrived(self, records: Sequence[DemandRecord], now: float) -> None:
        """Learns of the clocks: the youngest record of those that arrive together waited least."""
        sent_ms = max((record.sent_ms for record in records), default=0)
        if not sent_ms:
            return
        if not 0 <= now - self._window_at < SKEW_WINDOW_S:
            self._least_before, self._least, self._window_at = self._least, math.inf, now
        self._least = min(self._least, now - sent_ms / 1000)

    def happened_at(self, sent_ms: int, now: float) -> float:
        """When a record was made, by our clock; ``now`` where that cannot be told."""
        if not sent_ms:
            return now
        late_s = now - sent_ms / 1000 - min(self._least, self._least_before)
        return now - min(max(0.0, late_s), MOST_LATE_S)
