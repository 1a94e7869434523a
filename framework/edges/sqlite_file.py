"""A state in one SQLite file (write-ahead log, every commit synced). One process has it at a time, unless it is shared.

Beside ``state.db`` stand ``state.db.lock``, so that two programs never share a file by accident, and
``state.db.framework-id``, so that one whose file is lost still finds its framework, and with it the tasks that run.

A new file is made under another name and then put in place, so one without our tables is never ours half made.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from framework.core.ids import FrameworkId
from framework.errors import StoreError, StoreFullError

BUSY_TIMEOUT_S = 5.0
"""For somebody's look into the file with another program; our own keep each other out."""
_LOOK_AGAIN_S = 0.02
CHECKPOINT_ROWS = 1500
"""Written before the log is carried over into the file, beside the writing: a frame that has to do it is late by tens

of milliseconds.
"""
CHECKPOINT_NICE = 10
"""Of the thread that does it."""
CHECKPOINT_PAGES = 16_000
"""Of log that a frame carries over itself, which it has to only where rows are large or the disk is slow: 64 MB."""
_CARRY_OVER = "PRAGMA wal_checkpoint(PASSIVE)"
CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR)
_OUTSIDE = (*_PASSING, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM)
"""Faults of the machine around the file, not of what is in it."""


@dataclass(frozen=True)
class Layout:
    """What is in a file, and the words for it. Of its tables one is ``meta`` (key, value)."""

    schema: str
    version: int
    readable: tuple[int, ...]  # versions that this one can go on with
    application_id: int  # in the file's header
    setting: str  # that names the file
    program: str  # that uses it
    holds: str  # what is not known where it is lost
    additions: str = ""  # statements that make what older readable versions lack, and change nothing where it is


class SqliteFile:
    """Base of the stores. Raises StoreError where the file cannot serve, saying what to do."""

    layout: Layout
    shared = False
    """Whether several processes may have it at once: they keep each other out only while they open it. What is not

    sound is then not put aside, as others may be at it, but an error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[str] = []
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._checkpoint_lock = threading.Lock()  # taken before the others
        self._checkpoints = ThreadPoolExecutor(1, thread_name_prefix="checkpoint", initializer=_give_way)
        self._checkpoint: Future[None] | None = None  # the last one
        self._carried = False  # all of the log, as it was a moment ago
        self._rows_before = 0  # written when that began
        self.secrets_in_journal = False  # that are in the state no more
        try:
            if path.exists() and not path.is_file():  # beside which no lock shall be left
                raise StoreError(f"{self._where}: is not a file; name another path or move it away")
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_file: int | None = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self._where}: cannot be used: {error.strerror}") from error
        try:
            self._lock(self._lock_file)
        except OSError as error:
            self._unlock()
            if isinstance(error, BlockingIOError):
                raise StoreError(
                    f"{self._where}: another {self.layout.program} is using it; stop that one first"
                ) from error
            raise StoreError(f"{self._where}: cannot be locked: {error.strerror}") from error
        try:
            self._writer, self._reader, self._carrier = self._open()
        except BaseException:
            self._unlock()
            raise
        if self.shared:
            self._unlock()

    def _lock(self, lock_file: int) -> None:
        """Raises OSError where another has it."""
        deadline_s = time.monotonic() + (BUSY_TIMEOUT_S if self.shared else 0.0)
        while True:
            try:
                return fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    raise
            time.sleep(_LOOK_AGAIN_S)

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
        self._lock_file = None

    @property
    def _where(self) -> str:
        return f"{self.layout.setting} {self.path}"

    def close(self) -> None:
        """Waits for whoever is at it: SQLite crashes where a connection goes while another thread has it."""
        with self._write_lock, self._read_lock:
            self._checkpoints.shutdown()
            for db in (self._carrier, self._reader, self._writer):
                db.close()
        self._unlock()

    @property
    def read_whole(self) -> bool:
        """Whether every page is looked at before the file is used, at a second for some 300 MB."""
        return True

    def check(self, db: sqlite3.Connection) -> None:
        """Reads what the program starts from. Raises msgspec.DecodeError, ValueError, TypeError where it cannot be."""
        raise NotImplementedError

    def save_framework_id(self, db: sqlite3.Connection, framework_id: FrameworkId | None) -> None:
        beside = self._beside(".framework-id")
        if framework_id is None:
            db.execute("DELETE FROM meta WHERE key = 'framework_id'")
            beside.unlink(missing_ok=True)
            return
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('framework_id', ?)", (framework_id,))
        fresh = self._beside(".framework-id.new")
        with fresh.open("w") as file:
            file.write(framework_id)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(beside)
        _sync_directory(beside.parent)

    def framework_id_beside(self) -> str | None:
        try:
            return self._beside(".framework-id").read_text().strip() or None
        except FileNotFoundError:
            return None

    def _beside(self, suffix: str) -> Path:
        return Path(f"{self.path}{suffix}")

    def _open(self) -> tuple[sqlite3.Connection, sqlite3.Connection, sqlite3.Connection]:
        """The writer, the reader, who carries the log over.

        A file that does not hold a sound state is kept aside under a name of its own.
        """
        fault = self._fault()
        if fault is not None and self.shared:
            raise StoreError(f"{self._where}: {fault}; move it away, and {self.layout.holds} are not known any more")
        if fault is not None:
            self._keep_aside(fault)
        with ExitStack() as stack:
            try:
                if not self.path.exists():
                    self._create()
                writer = stack.enter_context(closing(self._connect()))
                writer.execute("PRAGMA journal_mode = WAL")
                writer.executescript(self.layout.additions)
                writer.execute(f"PRAGMA user_version = {self.layout.version}")
                writer.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
                reader = stack.enter_context(closing(self._connect()))
                carrier = stack.enter_context(closing(self._connect()))
            except (sqlite3.Error, OSError) as error:
                raise self._translated(error) from error
            stack.pop_all()
        return writer, reader, carrier

    def _fault(self) -> str | None:
        """What is wrong with the state that should be there; None where it is sound, or there never was one."""
        if not self.path.exists():
            traces = [suffix for suffix in ("-wal", ".framework-id") if self._beside(suffix).exists()]
            return f"is gone, though there is a {self.path.name}{traces[0]}" if traces else None
        for part in (self.path, self._beside("-wal"), self._beside("-shm")):
            # Told before SQLite opens it, which makes its other files with the same permissions and leaves them behind.
            if part.exists() and not os.access(part, os.R_OK | os.W_OK):
                raise StoreError(f"{self._where}: this user may not read and write {part}; give it that right")
        try:
            with closing(self._connect()) as db:
                return self._fault_in(db)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OUTSIDE:
                raise self._translated(error) from error
            return f"was corrupt ({error})"
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            return f"was corrupt (a record cannot be read: {error})"

    def _fault_in(self, db: sqlite3.Connection) -> str | None:
        found = db.execute("PRAGMA integrity_check(1)").fetchone()[0] if self.read_whole else "ok"
        if found != "ok":
            return f"was corrupt ({' '.join(str(found).split())})"
        application_id, version, tables = (
            db.execute(query).fetchone()[0]
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if application_id != self.layout.application_id:
            if tables:
                raise StoreError(f"{self._where}: is another program's database; name another path")
            return "was empty"
        if version not in self.layout.readable:
            raise StoreError(
                f"{self._where}: has layout {version}, but this version of butlery reads {self.layout.version}; "
                "start the version that wrote it"
            )
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        log = self._beside("-wal")
        if self.path.stat().st_size % page_bytes and not (log.exists() and log.stat().st_size):
            return "was corrupt (it ends within a page)"  # unnoticed where a long record ends there
        self.check(db)
        return None

    def _keep_aside(self, fault: str) -> None:
        aside = self.path.with_name(f"{self.path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        kept = False
        try:
            for suffix in ("", "-wal", "-shm"):
                part = self._beside(suffix)
                if part.exists():
                    part.replace(f"{aside}{suffix}")
                    kept = True
        except OSError as error:
            raise StoreError(
                f"{self._where}: {fault}, and cannot be kept aside as {aside.name}: {error.strerror}"
            ) from error
        self.notices.append(
            f"the file of {self._where} {fault}; {f'what was there is kept as {aside}, ' if kept else ''}"
            f"an empty one took its place: {self.layout.holds} are not known now"
        )

    def _create(self) -> None:
        """Raises sqlite3.Error, OSError."""
        fresh = self._beside(".new")
        for suffix in ("", "-journal"):
            Path(f"{fresh}{suffix}").unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(fresh, isolation_level=None)) as db:
            db.executescript(
                f"BEGIN IMMEDIATE; {self.layout.schema} PRAGMA application_id = {self.layout.application_id}; "
                f"PRAGMA user_version = {self.layout.version}; COMMIT"
            )
        fresh.replace(self.path)
        _sync_directory(self.path.parent)

    def _connect(self) -> sqlite3.Connection:
        """Raises sqlite3.Error."""
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")  # so that secrets which are removed do not stay in free space
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it on disk, or nothing."""
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._roll_back()
                raise self._translated(error) from error
            except BaseException:
                self._roll_back()
                raise
            self._keep_log_short()

    def _keep_log_short(self) -> None:
        """After a frame, which is saved whatever becomes of this."""
        if self._carried:
            self._carried = False
            with suppress(sqlite3.Error):  # what was written meanwhile; the next frame begins the log anew
                self._writer.execute(_CARRY_OVER).fetchone()
        rows = self._writer.total_changes
        if rows - self._rows_before >= CHECKPOINT_ROWS and (self._checkpoint is None or self._checkpoint.done()):
            self._rows_before = rows
            self._checkpoint = self._checkpoints.submit(self._carry_over)

    def _carry_over(self) -> None:
        """Where it cannot be done now it is after one of the next frames."""
        with self._checkpoint_lock, suppress(sqlite3.Error):
            self._carrier.execute(_CARRY_OVER).fetchone()
            self._carried = True

    def empty_journal(self) -> None:
        """The write-ahead log keeps what was written until it is full, which may be days; secrets may not stay there.

        The frame itself is saved. Where somebody reads the file just now, or the disk is full, the next tries again.
        """
        with self._checkpoint_lock, self._write_lock, self._read_lock, suppress(sqlite3.Error):
            self._writer.execute("PRAGMA busy_timeout = 0")
            busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.secrets_in_journal = bool(busy)
            self._writer.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with self._read_lock:
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error | OSError) -> StoreError:
        if isinstance(error, OSError):
            return StoreFullError(f"{self._where}: cannot be written: {error.strerror}")
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _PASSING:
            return StoreFullError(f"{self._where}: cannot be saved now: {error}")
        if code in CORRUPT:
            words = f"start the {self.layout.program} again, it keeps the file aside"
            return StoreError(f"{self._where}: is corrupt ({error}); {words}")
        return StoreError(f"{self._where}: {error}")


def _give_way() -> None:
    """This thread yields to others."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), CHECKPOINT_NICE)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
