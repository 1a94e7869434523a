"""A process that tells of builds as a scheduler does: 30 a second into the spool, and from there to Elasticsearch.

What it is to tell follows from the time alone, as from a scheduler's state: build N ended N thirtieths of a second
after the begin. What was told is known from the spool, so one that was killed goes on as a scheduler does after a
crash, and tells those of the last minute again.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from pathlib import Path

from benchmarks.telemetry import past
from benchmarks.telemetry.client import SPOOL_BYTES, settings_for
from framework.edges.elasticsearch.sink import ElasticsearchSink
from framework.edges.spool import FileSpool
from framework.log import configure
from framework.runtime.chance import SystemChance, SystemClock
from framework.runtime.telemetry.outlet import FLUSH_EVERY_S, HELD_S
from framework.runtime.telemetry.shipping import Shipper
from framework.telemetry.records import Kind
from framework.telemetry_ports import Batch

BUILDS_PER_S = 30
ROLLOVER_DOCS = 1000
"""The fewest there may be, so that what is sent again meets more than one index."""
RETOLD_AT_ONCE = 200
TELL_S = 0.2


class _Builds:
    """As they are told into the spool, by their numbers."""

    def __init__(self, spool: FileSpool, begin: float) -> None:
        self._spool = spool
        self._begin = begin
        self.told = max(0, math.floor((spool.told_until - begin) * BUILDS_PER_S + 0.5))

    def tell_again(self) -> None:
        """As a scheduler does that comes up."""
        for first in range(max(0, self.told - round(HELD_S * BUILDS_PER_S)), self.told, RETOLD_AT_ONCE):
            self._tell(first, min(self.told, first + RETOLD_AT_ONCE), again=True)

    def tell(self, count: int) -> None:
        self._tell(self.told, self.told + count, again=False)
        self.told += count

    def _tell(self, first: int, end: int, *, again: bool) -> None:
        builds = [past.drawn(number, round(1000 * self._ended(number))) for number in range(first, end)]
        changes = [step for build in builds for step in past.changes_of(build)]
        batches = [Batch.of(Kind.BUILDS, builds, again=again), Batch.of(Kind.CHANGES, changes, again=again)]
        if not self._spool.append(batches, self._ended(end)):
            raise SystemExit("the spool is full")

    def _ended(self, number: int) -> float:
        return self._begin + number / BUILDS_PER_S


def run(directory: Path, url: str, prefix: str, begin: float, fast: int, speed: float) -> None:
    """``fast`` builds come ``speed`` times as fast as they would, the others as they would; until standard input ends,

    and all are taken.
    """
    sink = ElasticsearchSink(settings_for(url, prefix, rollover_docs=ROLLOVER_DOCS))
    clock = SystemClock()
    spool = FileSpool(directory, {sink.name: sink.kinds}, SPOOL_BYTES, clock)
    shipper = Shipper(spool, sink, clock, SystemChance())
    builds = _Builds(spool, begin)
    builds.tell_again()
    over = _end_of_input()
    shipper.start()
    said_at, due = 0.0, time.monotonic()
    while not over.is_set() or spool.depth(sink.name).records:
        if not over.is_set():
            builds.tell(round(BUILDS_PER_S * FLUSH_EVERY_S))
        if time.monotonic() - said_at > TELL_S:
            said_at = time.monotonic()
            _say(builds.told, spool, shipper)
        due += FLUSH_EVERY_S / (speed if builds.told < fast else 1.0)
        time.sleep(TELL_S if over.is_set() else max(0.0, due - time.monotonic()))
    _say(builds.told, spool, shipper)
    shipper.stop()
    spool.close()
    sink.close()


def _end_of_input() -> threading.Event:
    over = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    return over


def _say(told: int, spool: FileSpool, shipper: Shipper) -> None:
    health = shipper.health()
    line = {
        "told": told,
        "waiting": health.depth.records,
        "behind_s": health.behind_s,
        "taken": health.taken,
        "trouble": health.trouble,
        "rejected": spool.rejected,
        "notices": spool.notices,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    configure("error", "human")
    _, place, address, name, since, count, factor = sys.argv
    run(Path(place), address, name, float(since), int(count), float(factor))
