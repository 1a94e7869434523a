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


def run(directory: Path, url: str, prefix: str, begin: float, fast: int, speed: float) -> None:
    """``fast`` builds come ``speed`` times as fast as they would, the others as they would, until its

    standard input ends."""
    sink = ElasticsearchSink(settings_for(url, prefix, rollover_docs=ROLLOVER_DOCS))
    clock = SystemClock()
    spool = FileSpool(directory, {sink.name: sink.kinds}, SPOOL_BYTES, clock)
    shipper = Shipper(spool, sink, clock, SystemChance())
    over = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        over.set()

    threading.Thread(target=listen, daemon=True).start()

    def tell(first: int, end: int, *, again: bool) -> None:
        builds = [past.drawn(number, round(1000 * ended(number))) for number in range(first, end)]
        changes = [step for build in builds for step in past.changes_of(build)]
        batches = [Batch.of(Kind.BUILDS, builds, again=again), Batch.of(Kind.CHANGES, changes, again=again)]
        if not spool.append(batches, ended(end)):
            raise SystemExit("the spool is full")

    def ended(number: int) -> float:
        return begin + number / BUILDS_PER_S

    told = max(0, math.floor((spool.told_until - begin) * BUILDS_PER_S + 0.5))
    retold = max(0, told - round(HELD_S * BUILDS_PER_S)) if told else 0
    for first in range(retold, told, RETOLD_AT_ONCE):
        tell(first, min(told, first + RETOLD_AT_ONCE), again=True)
    shipper.start()
    said_at, due = 0.0, time.monotonic()
    each = round(BUILDS_PER_S * FLUSH_EVERY_S)
    while not over.is_set() or spool.depth(sink.name).records:
        if not over.is_set():
            tell(told, told + each, again=False)
            told += each
        if time.monotonic() - said_at > TELL_S:
            said_at = time.monotonic()
            _say(told, spool, shipper)
        due += FLUSH_EVERY_S / (speed if told < fast else 1.0)
        time.sleep(TELL_S if over.is_set() else max(0.0, due - time.monotonic()))
    _say(told, spool, shipper)
    shipper.stop()
    spool.close()
    sink.close()


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
