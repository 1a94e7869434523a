"""Records into the file: each once, with what it adds to the sums. One thread, within a transaction of the caller's."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from framework.edges.sqlite_history.layout import FIGURES, KEY
from framework.edges.sqlite_history.packing import joined, pack, slots_of
from framework.edges.sqlite_history.spans import DAY_MS, HOUR_MS, Cube
from framework.telemetry.figures import figures
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, SampleRecord
from framework.telemetry_ports import Batch, Rejected

END_OF_TIME_MS = 253_402_300_800_000
"""The year 10000."""
MOST = 1 << 53
"""No number of a record may come to more: a thousand of those can be added up, and JSON's readers can tell them."""
NAMES_AT_HAND = 200_000
"""Of names whose numbers are known without a look at the file: some 30 MB."""
_COLUMNS = (*FIGURES, "longest_ms", "times")
_SUM_UP = (
    f"INSERT INTO sums ({', '.join((*KEY, *_COLUMNS))}) VALUES ({', '.join('?' * (len(KEY) + len(_COLUMNS)))}) "  # noqa: S608
    f"ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in FIGURES)}, "
    "longest_ms = max(longest_ms, excluded.longest_ms), times = excluded.times"
)
_TIMES = f"SELECT times FROM sums WHERE {' AND '.join(f'{name} = ?' for name in KEY)}"  # noqa: S608
_BUILD = f"INSERT INTO builds VALUES ({', '.join('?' * (13 + len(_COLUMNS) - 1))})"  # noqa: S608
_CUBES = tuple((cube.number, cube.length_ms, cube.tenants, cube.jobs, cube.labels) for cube in Cube)

_decode_build = msgspec.json.Decoder(BuildRecord).decode
_decode_change = msgspec.json.Decoder(ChangeRecord).decode
_decode_sample = msgspec.json.Decoder(SampleRecord).decode

Read = TypeVar("Read")
SumKey = tuple[int, ...]


class _Build(NamedTuple):
    record: BuildRecord
    document: bytes
    figures: tuple[int, ...]  # of ``FIGURES``, without the first
    longest_ms: int  # its wait, -1 where it had none
    slots: tuple[int, ...]


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
        (last,) = db.execute("SELECT max(n) FROM builds").fetchone()
        sums: dict[SumKey, list[int]] = {}
        slots: dict[SumKey, Counter[int]] = {}
        rows, documents = [], []
        for n, one in enumerate(fresh.values(), start=1 if last is None else last + 1):
            rows.append(self._row(db, n, one, sums, slots))
            documents.append((n, one.document))
        db.executemany(_BUILD, rows)
        db.executemany("INSERT INTO documents VALUES (?, ?)", documents)
        db.executemany(_SUM_UP, [(*key, *values, _times(db, key, slots[key])) for key, values in sums.items()])

    def _row(
        self,
        db: sqlite3.Connection,
        n: int,
        build: _Build,
        sums: dict[SumKey, list[int]],
        slots: dict[SumKey, Counter[int]],
    ) -> tuple[object, ...]:
        """Of ``builds``; what it adds to ``sums`` is added there."""
        record, _, of_build, longest_ms, its_slots = build
        at_ms, day = record.at_ms, record.at_ms // DAY_MS
        number = self.names.number
        tenant, job, label, template, host, ended, currency = (
            number(db, name, day)
            for name in (
                record.tenant,
                record.job,
                record.label,
                record.template,
                record.host,
                record.result_class,
                record.currency if record.cost_micros is not None else "",
            )
        )
        for cube, length_ms, tenants, jobs, labels in _CUBES:
            span = at_ms // length_ms
            of_label = (label, template) if labels else (0, 0)
            key = (cube, span, tenant if tenants else 0, job if jobs else 0, *of_label, ended, currency)
            values = sums.get(key)
            if values is None:
                sums[key] = [1, *of_build, longest_ms]
                slots[key] = Counter(its_slots)
                continue
            values[0] += 1
            for place, value in enumerate(of_build, start=1):
                values[place] += value
            values[-1] = max(values[-1], longest_ms)
            of_key = slots[key]
            for slot in its_slots:
                of_key[slot] += 1
        return (
            *(n, record.id, at_ms, record.started_at_ms, day, at_ms // HOUR_MS),
            *(tenant, job, label, template, host, ended, currency),
            *of_build,
            longest_ms,
            pack(dict.fromkeys(its_slots, 1)),
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


def _times(db: sqlite3.Connection, key: SumKey, counts: Mapping[int, int]) -> bytes:
    """With what is there already."""
    found = db.execute(_TIMES, key).fetchone()
    return pack(counts) if found is None else joined(found[0], pack(counts))


def _read(batch: Batch, read: Callable[[bytes], Read], rejected: list[Rejected]) -> list[Read]:
    found = []
    for place, document in enumerate(batch.documents()):
        try:
            found.append(read(document))
        except (msgspec.DecodeError, ValueError, OverflowError) as error:
            rejected.append(Rejected(batch.kind, _id_at(batch, place), str(error), document))
    return found


def _build(document: bytes) -> _Build:
    record = _decode_build(document)
    wait_ms, run_ms, cost_micros = record.wait_ms, record.run_ms, record.cost_micros
    of_build = (record.attempts, cost_micros or 0, 1 if cost_micros is None else 0, *figures(record))
    _check(record.at_ms, (*of_build, wait_ms or 0, run_ms or 0, record.started_at_ms or 0))
    longest_ms = -1 if wait_ms is None else max(0, wait_ms)
    return _Build(record, document, of_build, longest_ms, slots_of(wait_ms, run_ms))


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
