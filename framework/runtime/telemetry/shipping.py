"""From the spool to whoever takes records: a thread for each consumer, which nobody waits for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import msgspec

from framework.errors import ButleryError, UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, jittered
from framework.telemetry_ports import Batch, BusyError, Consumer, ConsumerHealth, Spool

log = get_logger(__name__)

READ_BYTES = 4 << 20
MAX_RECORDS = 5000
"""Taken at once; fewer after a BusyError."""
GATHER_S = 1.0
"""Between two readings where all is taken: so that a busy hour is one call a second, and a lone build soon there."""
RETRY_BASE_S = 0.5
RETRY_CAP_S = 30.0
OPERATOR_S = 60.0
"""Between attempts while somebody has something to mend, at the most."""
TEND_S = 120.0
REJECTED_LOG_S = 600.0
STOP_S = 5.0
MAX_RETRY_AFTER_S = 300.0


class Shipper:
    """Has ``consumer`` take what is in the spool, in order, until it is stopped. What fails is tried again."""

    def __init__(
        self, spool: Spool, consumer: Consumer, clock: Clock, chance: Chance, tend_every_s: float = TEND_S
    ) -> None:
        self._spool = spool
        self._consumer = consumer
        self._clock = clock
        self._chance = chance
        self._tend_every_s = tend_every_s
        self._left: deque[list[Batch]] = deque()  # of what was read last
        self._position = 0  # behind it
        self._limit = MAX_RECORDS
        self._parted = MAX_RECORDS  # the limit as that was parted
        self._failures = 0
        self._trouble = ""
        self._logged = False  # the trouble
        self._taken = 0
        self._tended_at = 0.0
        self._tend_pause_s = 0.0  # since then
        self._untended = ""  # why it could not be tended
        self._tend_failures = 0
        self._rejected_logged_at = 0.0
        self._cpu_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ship-{consumer.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """Whether it has ended: where the consumer does not come back from a call it is left behind."""
        self._stopping.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def cpu_s(self) -> float:
        """CPU time of its thread."""
        return self._cpu_s

    def health(self) -> ConsumerHealth:
        depth = self._spool.depth(self._consumer.name)
        behind_s = 0.0 if depth.oldest_at is None else max(0.0, self._clock.now() - depth.oldest_at)
        return ConsumerHealth(self._consumer.name, depth, self._taken, self._trouble or self._untended, behind_s)

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            pause_s = self.turn()
            self._cpu_s = time.thread_time()

    def turn(self) -> float:
        """Takes one part, or tends; how many seconds to wait until the next turn."""
        try:
            pause_s = self._turn()
        except ButleryError as error:
            pause_s = self._pause_s(error, self._failures)
            self._failed(str(error))
            if isinstance(error, BusyError):
                self._smaller()
        except Exception as error:
            pause_s = self._pause_s(error, self._failures)
            if not self._trouble:
                log.exception("a consumer of records failed in a way that nobody foresaw", consumer=self._consumer.name)
            self._failed(f"a fault in butlery itself ({type(error).__name__}), see its log")
        return pause_s

    def _pause_s(self, error: Exception, failures: int) -> float:
        """Until what failed is tried again, which has failed so many times before."""
        if not isinstance(error, UnavailableError):
            return jittered(self._chance, 0, OPERATOR_S, OPERATOR_S)
        pause_s = jittered(self._chance, failures, RETRY_BASE_S, RETRY_CAP_S)
        asked_s = error.retry_after_s if isinstance(error, BusyError) else None
        return min(MAX_RETRY_AFTER_S, max(pause_s, asked_s or 0.0))

    def _tend(self, now: float) -> None:
        """Whatever becomes of it: records are taken all the same, where they can be."""
        if self._tend_pause_s > now - self._tended_at >= 0:
            return
        self._tended_at, self._tend_pause_s = now, self._tend_every_s
        try:
            self._consumer.tend(now)
        except ButleryError as error:
            self._tend_pause_s = self._pause_s(error, self._tend_failures)
            self._tend_failures += 1
            self._untended = str(error)
            if self._tend_failures == 2:  # one alone is every day's work
                log.warning("what is due now and then cannot be done", consumer=self._consumer.name, reason=str(error))
        else:
            self._untended, self._tend_failures = "", 0

    def _turn(self) -> float:
        now = self._clock.now()
        self._tend(now)
        if not self._left:
            batches, self._position = self._spool.read(self._consumer.name, READ_BYTES)
            self._part(batches)
            if not self._left:
                self._fine()
                return GATHER_S
        part = self._left[0]
        rejected = self._consumer.take(part)
        self._left.popleft()
        if rejected:
            self._spool.reject(self._consumer.name, rejected)
            if now - self._rejected_logged_at >= REJECTED_LOG_S:
                self._rejected_logged_at = now
                first = rejected[0]
                log.warning(
                    "records are refused and kept aside",
                    consumer=self._consumer.name, count=len(rejected), first=first.id, reason=first.reason,
                )  # fmt: skip
        self._taken += sum(batch.count for batch in part) - len(rejected)
        self._fine()
        if self._left:
            if self._limit >= 2 * self._parted:
                self._part([batch for part in self._left for batch in part])
            return 0.0
        self._spool.done(self._consumer.name, self._position)
        return 0.0 if self._spool.depth(self._consumer.name).bytes >= READ_BYTES else GATHER_S

    def _fine(self) -> None:
        self._failures = 0
        self._limit = min(MAX_RECORDS, self._limit + max(1, self._limit // 4))
        if self._logged:
            log.info("records are taken again", consumer=self._consumer.name)
        self._trouble, self._logged = "", False

    def _failed(self, trouble: str) -> None:
        if self._left:
            self._left[0] = [msgspec.structs.replace(batch, again=True) for batch in self._left[0]]
        self._trouble = trouble
        self._failures += 1
        if self._failures > 1 and not self._logged:  # one alone is every day's work
            self._logged = True
            log.warning("records are not taken now", consumer=self._consumer.name, reason=trouble)

    def _smaller(self) -> None:
        if self._left:
            self._limit = max(1, sum(batch.count for batch in self._left[0]) // 2)
            self._part([batch for part in self._left for batch in part])

    def _part(self, batches: Sequence[Batch]) -> None:
        self._left = _parts(batches, self._limit)
        self._parted = self._limit


def _parts(batches: Sequence[Batch], limit: int) -> deque[list[Batch]]:
    """The same records in their order, at most ``limit`` in each part."""
    parts: deque[list[Batch]] = deque()
    room = 0
    for batch in batches:
        for piece in _pieces(batch, limit):
            if piece.count > room:
                parts.append([])
                room = limit
            parts[-1].append(piece)
            room -= piece.count
    return parts


def _pieces(batch: Batch, limit: int) -> Sequence[Batch]:
    if batch.count <= limit:
        return [batch]
    lines = batch.payload.split(b"\n")[: 2 * batch.count]
    return [
        Batch(
            batch.kind,
            len(lines[begin : begin + 2 * limit]) // 2,
            b"\n".join(lines[begin : begin + 2 * limit]) + b"\n",
            batch.again,
        )
        for begin in range(0, len(lines), 2 * limit)
    ]
