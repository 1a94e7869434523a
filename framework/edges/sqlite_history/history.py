"""The history in its file: who takes records, who asks, who tidies up."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TypeVar

from framework.edges.sqlite_file import BUSY_TIMEOUT_S, CORRUPT, SqliteFile
from framework.edges.sqlite_history import lists
from framework.edges.sqlite_history.layout import LAYOUT
from framework.edges.sqlite_history.statistics import statistics_of
from framework.edges.sqlite_history.sums import add_up
from framework.edges.sqlite_history.sweeping import Sweep
from framework.edges.sqlite_history.taking import Intake
from framework.errors import StoreError, UnavailableError
from framework.telemetry.asking import DAY_MS
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, SampleRecord
from framework.telemetry_ports import (
    Batch,
    BuildPage,
    BuildQuery,
    OperatorError,
    Rejected,
    RunsQuery,
    SampleQuery,
    StatsAnswer,
    StatsQuery,
)

READERS = 3
"""Questions that are answered at once; more wait."""
ANSWER_TIMEOUT_S = 30.0
"""Longest that one question may take, and longest that one waits for its turn."""
TEND_S = 1.0
"""Of removing what is old, at a time: so long records wait in the spool."""
_STEPS = 2_000_000
"""Of SQLite's machine between two looks at the clock, some 20 ms."""
_CACHE_KIB = 16_000
"""A connection. What the file's pages take beside that is the operating system's to give."""

Answer = TypeVar("Answer")


class SqliteHistory(SqliteFile):
    """``framework.telemetry_ports.Sink`` on a file of its own. ``keep_d``: days that records of each kind are kept.

    Raises StoreError where the file cannot serve, as ``SqliteFile`` does. What was taken is on disk.
    """

    layout = LAYOUT
    name = "sqlite"
    kinds = frozenset(Kind)

    def __init__(self, path: Path, keep_d: Mapping[Kind, int]) -> None:
        self._keep_d = dict(keep_d)
        self._intake = Intake()
        self._readers: LifoQueue[sqlite3.Connection | None] = LifoQueue()  # None: it is closed
        self._closed = False
        super().__init__(path)
        try:
            self._opened = path.stat()
            self._open_readers()
        except BaseException:
            self.close()
            raise
        self._suspect.unlink(missing_ok=True)
        self._sweep = Sweep(self.writing, self._intake.names)
        self._sweeping: Iterator[None] = iter(())
        self._swept_from_ms: dict[Kind, int] = {}  # when the last sweep began

    def _open_readers(self) -> None:
        with self.reading() as db:
            found = dict(db.execute("SELECT key, value FROM meta").fetchall())
            self._kept_from_ms = {kind: int(found.get(_kept_from(kind), 0)) for kind in Kind}
            for _ in range(READERS):
                self._readers.put(self._connect())

    def _connect(self) -> sqlite3.Connection:
        db = super()._connect()
        try:
            db.execute("PRAGMA secure_delete = OFF")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            db.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            db.close()
            raise
        return db

    @property
    def _suspect(self) -> Path:
        """Is there while the file was found corrupt in use, and has not been looked through since."""
        return self._beside(".suspect")

    @property
    def read_whole(self) -> bool:
        return self._suspect.exists()

    def check(self, db: sqlite3.Connection) -> None:
        dict(db.execute("SELECT key, value FROM meta").fetchall())
        for table in ("names", "builds", "documents", "sums", "changes", "samples"):
            db.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()  # noqa: S608

    def close(self) -> None:
        """Questions that are under way are given up, and those that wait are told so."""
        self._closed = True
        deadline_s = time.monotonic() + BUSY_TIMEOUT_S
        with suppress(Empty):
            for _ in range(READERS):
                db = self._readers.get(timeout=max(0.0, deadline_s - time.monotonic()))
                if db is not None:
                    db.close()
        self._readers.put(None)
        super().close()

    # Records come.

    def take(self, batches: Sequence[Batch]) -> list[Rejected]:
        if not self._there:
            raise OperatorError(f"{self._where}: somebody has removed it; a restart of the scheduler makes another one")
        with self._told_as_consumer():
            try:
                with self.writing() as db:
                    return self._intake.take(db, batches, self._kept_from_ms)
            except BaseException:
                self._intake.names.forget()
                raise

    @property
    def _there(self) -> bool:
        """What is written to a file that nobody can open any more would be lost."""
        try:
            return os.path.samestat(self._opened, self.path.stat())
        except OSError:
            return False

    def tend(self, now: float) -> None:
        """Removes what is older than it is kept, as far as it gets in ``TEND_S``; the next time it goes on."""
        with self._told_as_consumer():
            with self.writing() as db:
                add_up(db)
            self._keep_from(int(now * 1000) // DAY_MS)
            self._tidy_up()

    def _tidy_up(self) -> None:
        """What is kept moves on by whole days, so once a day everything is looked through."""
        deadline_s = time.monotonic() + TEND_S
        try:
            while True:
                for _ in self._sweeping:
                    if time.monotonic() > deadline_s:
                        return
                if self._swept_from_ms == self._kept_from_ms:
                    return
                self._swept_from_ms = self._kept_from_ms
                self._sweeping = self._sweep.pieces(self._kept_from_ms)
        except StoreError:
            self._swept_from_ms = {}
            raise

    def _keep_from(self, today: int) -> None:
        """From now on nothing older is told. A clock that is set back brings nothing back."""
        kept = {kind: max(self._kept_from_ms[kind], (today - self._keep_d[kind]) * DAY_MS) for kind in Kind}
        if kept == self._kept_from_ms:
            return
        with self.writing() as db:
            rows = [(_kept_from(kind), str(from_ms)) for kind, from_ms in kept.items()]
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
        self._kept_from_ms = kept

    # Questions come.

    def builds(self, query: BuildQuery) -> BuildPage:
        return self._answer(lambda db: lists.page_of(db, query, self._kept_from_ms[Kind.BUILDS]))

    def build(self, build_id: str) -> BuildRecord | None:
        return self._answer(lambda db: lists.build_of(db, build_id, self._kept_from_ms[Kind.BUILDS]))

    def changes(self, build_id: str) -> list[ChangeRecord]:
        return self._answer(lambda db: lists.changes_of(db, build_id, self._kept_from_ms[Kind.CHANGES]))

    def stats(self, query: StatsQuery) -> StatsAnswer:
        return self._answer(lambda db: statistics_of(db, query, self._kept_from_ms[Kind.BUILDS]))

    def runs(self, query: RunsQuery) -> list[BuildRecord]:
        return self._answer(lambda db: lists.runs_of(db, query, self._kept_from_ms[Kind.BUILDS]))

    def samples(self, query: SampleQuery) -> list[SampleRecord]:
        return self._answer(lambda db: lists.samples_of(db, query, self._kept_from_ms[Kind.SAMPLES]))

    def _answer(self, ask: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """All of one answer from the file as it is at one moment, beside whoever writes."""
        with self._told_as_consumer(), self._reader_at_hand() as db:
            try:
                db.execute("BEGIN")
                return ask(db)
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                    raise UnavailableError(
                        f"{self._where}: the answer took longer than {ANSWER_TIMEOUT_S:g} s; ask for a shorter time"
                    ) from error
                raise self._translated(error) from error
            finally:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")

    @contextmanager
    def _reader_at_hand(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self._readers.get(timeout=ANSWER_TIMEOUT_S)
        except Empty as error:
            raise UnavailableError(
                f"{self._where}: {READERS} other questions have taken longer than {ANSWER_TIMEOUT_S:g} s"
            ) from error
        if db is None:
            self._readers.put(None)
            raise UnavailableError(f"{self._where}: is closed")
        try:
            deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
            db.set_progress_handler(lambda: self._closed or time.monotonic() > deadline_s, _STEPS)
            yield db
        finally:
            self._readers.put(db)

    @contextmanager
    def _told_as_consumer(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            if error.retryable:
                raise UnavailableError(str(error)) from error
            raise OperatorError(str(error)) from error

    def _translated(self, error: sqlite3.Error | OSError) -> StoreError:
        translated = super()._translated(error)
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in CORRUPT:
            with suppress(OSError):
                self._suspect.touch(mode=0o600)
        return translated


def _kept_from(kind: Kind) -> str:
    return f"kept_from_ms_{kind}"
