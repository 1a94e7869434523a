"""Records into the file, each once. One thread, within a transaction of the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from framework.edges.sqlite_history.layout import FIGURES
from framework.edges.sqlite_history.packing import pack_one
from framework.edges.sqlite_history.spans import HOUR_MS
from framework.edges.sqlite_history.sums import SUMMED_AT_ONCE, add_up, summed_up
from framework.telemetry.asking import DAY_MS
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, SampleRecord
from framework.telemetry_ports import Batch, Rejected

END_OF_TIME_MS = 253_402_300_800_000
"""The year 10000."""
MOST = 1 << 53
"""No number of a record may come to more: a thousand of those can be added up, and JSON's readers can tell them."""
NAMES_AT_HAND = 200_000
"""Of names whose numbers are known without a look at the file: some 30 MB."""
_BUILD = f"INSERT INTO builds VALUES ({', '.join('?' * (13 + len(FIGURES) - 1 + 2))})"  # noqa: S608
_decode_build = msgspec.json.Decoder(BuildRecord).decode
_decode_change = msgspec.json.Decoder(ChangeRecord).decode
_decode_sample = msgspec.json.Decoder(SampleRecord).decode

Read = TypeVar("Read")


class _Build(NamedTuple):
    record: BuildRecord
    document: bytes
    figures: tuple[int, ...]  # of ``FIGURES``, without the first
    longest_ms: int  # its wait, -1 where it had none
    times: bytes  # its wait and its run, packed


class Names:
    """The numbers of names, and the newest day (of UTC, since the epoch) of a record with each."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}

    def forget(self) -> None:
        """What was not committed, or is there no more, must not be counted on."""
        self._known.clear()

    def number(self, db: sqlite3.Connection, name: str, day: int) -> int:
        known = self._known.get(name)
        if known is not None and known[1] >= day:
            return known[0]
        (number,) = db.execute(
            "INSERT INTO names (name, last_day) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET last_day = max(last_day, excluded.last_day) RETURNING id",
            (name, day),
        ).fetchone()
        if len(self._known) >= NAMES_AT_HAND:
            self._known.clear()
        self._known[name] = (number, day)
        return int(number)


class Intake:
    def __init__(self) -> None:
        self.names = Names()

    def take(
        self, db: sqlite3.Connection, batches: Sequence[Batch], kept_from_ms: Mapping[Kind, int]
    ) -> list[Rejected]:
        """What is older than it is kept is not taken any more."""
        rejected: list[Rejected] = []
        for batch in batches:
            from_ms = kept_from_ms[batch.kind]
            if batch.kind is Kind.BUILDS:
                self._take_builds(db, [one for one in _read(batch, _build, rejected) if one.record.at_ms >= from_ms])
            elif batch.kind is Kind.CHANGES:
                self._take_changes(db, [one for one in _read(batch, _change, rejected) if one.at_ms >= from_ms])
            else:
                self._take_samples(db, [one for one in _read(batch, _sample, rejected) if one[0].at_ms >= from_ms])
        return rejected

    def _take_builds(self, db: sqlite3.Connection, builds: Sequence[_Build]) -> None:
        fresh: dict[str, _Build] = {}
        for one in builds:
            fresh.setdefault(one.record.id, one)
        there = db.execute(
            "SELECT id FROM builds WHERE id IN (SELECT value FROM json_each(?))",
            (msgspec.json.encode(list(fresh)).decode(),),
        )
        for (build_id,) in there.fetchall():
            del fresh[build_id]
        if not fresh:
            return
        rows, documents = [], []
        for n, one in enumerate(fresh.values(), start=_next(db)):
            rows.append(self._row(db, n, one))
            documents.append((n, one.document))
        db.executemany(_BUILD, rows)
        db.executemany("INSERT INTO documents VALUES (?, ?)", documents)
        add_up(db, least=SUMMED_AT_ONCE)

    def _row(self, db: sqlite3.Connection, n: int, build: _Build) -> tuple[object, ...]:
        """Of ``builds``."""
        record, at_ms = build.record, build.record.at_ms
        day = at_ms // DAY_MS
        number = self.names.number
        return (
            *(n, record.id, at_ms, record.started_at_ms, day, at_ms // HOUR_MS),
            *(number(db, record.tenant, day), number(db, record.job, day), number(db, record.label, day)),
            *(number(db, record.template, day), number(db, record.host, day), number(db, record.result_class, day)),
            number(db, record.currency if record.cost_micros is not None else "", day),
            *build.figures,
            build.longest_ms,
            build.times,
        )

    def _take_changes(self, db: sqlite3.Connection, changes: Iterable[ChangeRecord]) -> None:
        number = self.names.number
        rows = []
        for one in changes:
            day = one.at_ms // DAY_MS
            names = (number(db, one.tenant, day), number(db, one.host, day), number(db, one.result_class, day))
            rows.append((one.build, one.attempt, one.state, one.at_ms, one.v, *names, one.message))
        db.executemany("INSERT OR IGNORE INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _take_samples(self, db: sqlite3.Connection, samples: Iterable[tuple[SampleRecord, bytes]]) -> None:
        number = self.names.number
        rows = [(number(db, one.tenant, one.at_ms // DAY_MS), one.at_ms, document) for one, document in samples]
        db.executemany("INSERT OR IGNORE INTO samples VALUES (?, ?, ?)", rows)


def _next(db: sqlite3.Connection) -> int:
    """The number of the next build: past all that were summed up, even where those are there no more."""
    (last,) = db.execute("SELECT max(n) FROM builds").fetchone()
    return max(0 if last is None else int(last), summed_up(db)) + 1


def _read(batch: Batch, read: Callable[[bytes], Read], rejected: list[Rejected]) -> list[Read]:
    found = []
    for place, document in enumerate(batch.documents()):
        try:
            found.append(read(document))
        except (msgspec.DecodeError, ValueError, OverflowError) as error:
            rejected.append(Rejected(batch.kind, _id_at(batch, place), str(error), document))
    return found


def _figures(record: BuildRecord) -> tuple[int, ...]:
    """What it adds to sums, in the order of ``FIGURES``."""
    asked_cpu_ms, asked_mem_mib_s = record.asked_cpu_ms, record.asked_mem_mib_s
    return (
        asked_cpu_ms,
        record.used_cpu_ms or 0,
        0 if record.used_cpu_ms is None else asked_cpu_ms,
        asked_mem_mib_s,
        record.peak_mem_mib_s,
        0 if record.peak_mem_mib is None else asked_mem_mib_s,
    )


def _build(document: bytes) -> _Build:
    record = _decode_build(document)
    wait_ms, run_ms, cost_micros = record.wait_ms, record.run_ms, record.cost_micros
    of_build = (record.attempts, cost_micros or 0, 1 if cost_micros is None else 0, *_figures(record))
    _check(record.at_ms, (*of_build, wait_ms or 0, run_ms or 0, record.started_at_ms or 0))
    longest_ms = -1 if wait_ms is None else max(0, wait_ms)
    return _Build(record, document, of_build, longest_ms, pack_one(wait_ms, run_ms))


def _change(document: bytes) -> ChangeRecord:
    record = _decode_change(document)
    _check(record.at_ms, (record.attempt, record.v))
    return record


def _sample(document: bytes) -> tuple[SampleRecord, bytes]:
    record = _decode_sample(document)
    _check(record.at_ms, ())
    return record, document


def _check(at_ms: int, numbers: Sequence[int]) -> None:
    if not 0 <= at_ms < END_OF_TIME_MS:
        raise ValueError(f"at_ms {at_ms} is no time that can be told")
    if numbers and (max(numbers) >= MOST or min(numbers) <= -MOST):
        raise ValueError("a number in it is too large to be added up")


def _id_at(batch: Batch, place: int) -> str:
    """That the batch has for the record there; empty where that cannot be read either."""
    try:
        return str(msgspec.json.decode(batch.payload.split(b"\n")[2 * place])["create"]["_id"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""
