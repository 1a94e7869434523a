"""The state in one SQLite file (write-ahead log, every commit synced), the default for one machine.

Beside ``state.db`` stand ``state.db.lock``, so that two schedulers never share a file, and ``state.db.framework-id``,
so that a scheduler whose file is lost still finds its framework, and with it the tasks that run.

A new file is made under another name and then put in place, so one without our tables is never ours half made.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agents.spec import BuildSpec
from framework.core.effects import Save, SaveDraining, SaveFrameworkId, SaveRequest, SaveTask, SaveTenant
from framework.core.ids import FrameworkId, RequestId, TenantName
from framework.core.tasks import Request, RequestState, Task, TaskState, Tenant
from framework.errors import IdempotencyConflictError, StoreError, StoreFullError
from framework.ports import JobQuery, NewRequest, Snapshot, TenantRecord

BUSY_TIMEOUT_S = 5.0
"""For somebody's look into the file with another program; schedulers keep each other out."""
SCHEMA_VERSION = 2
"""1 had the same tables, but knew no draining and fewer fields of requests and tasks: it may not write here again."""
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tenants (name TEXT PRIMARY KEY, record BLOB NOT NULL, token_sha256 TEXT) WITHOUT ROWID;
CREATE TABLE requests (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, job TEXT NOT NULL, state TEXT NOT NULL, record BLOB NOT NULL,
    spec BLOB NOT NULL, secrets BLOB, idempotency_key TEXT, digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX requests_of_tenant ON requests (tenant, id);
CREATE INDEX requests_live ON requests (state, id);
CREATE INDEX requests_live_of_tenant ON requests (tenant, state, id);
CREATE INDEX requests_of_job ON requests (job, id);
CREATE INDEX requests_of_job_of_tenant ON requests (tenant, job, id);
CREATE UNIQUE INDEX requests_once ON requests (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE TABLE tasks (id TEXT PRIMARY KEY, request_id TEXT NOT NULL, live INTEGER NOT NULL, record BLOB NOT NULL)
    WITHOUT ROWID;
CREATE INDEX tasks_of_request ON tasks (request_id);
CREATE INDEX tasks_live ON tasks (live) WHERE live;
"""
APPLICATION_ID = 0x42744C79  # "BtLy", in the file's header
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR)
_OUTSIDE = (*_PASSING, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM)
"""Faults of the machine around the file, not of what is in it."""
_LIVE_REQUESTS = (
    "SELECT record, spec FROM requests WHERE state IN ('waiting', 'launching', 'running', 'ending') ORDER BY id"
)

_encode = msgspec.json.encode
_decode_request = msgspec.json.Decoder(Request).decode
_decode_task = msgspec.json.Decoder(Task).decode
_decode_tenant = msgspec.json.Decoder(Tenant).decode


class SqliteStore:
    """``framework.ports.Store`` on a file. Raises StoreError where the file cannot serve, saying what to do."""

    commit_every_s = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[str] = []
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._secrets_in_journal = False  # of builds that have ended
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"state.path {path}: cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock_file)
            if isinstance(error, BlockingIOError):
                raise StoreError(f"state.path {path}: another scheduler is using it; stop that one first") from error
            raise StoreError(f"state.path {path}: cannot be locked: {error.strerror}") from error
        try:
            self._writer, self._reader = self._open()
        except BaseException:
            os.close(self._lock_file)
            raise

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
        os.close(self._lock_file)

    def load(self) -> Snapshot:
        with self._reading() as db:
            return self._load(db)

    def _load(self, db: sqlite3.Connection) -> Snapshot:
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        tenants = db.execute("SELECT record, token_sha256 FROM tenants").fetchall()
        requests = db.execute(_LIVE_REQUESTS).fetchall()
        tasks = db.execute("SELECT record FROM tasks WHERE live").fetchall()
        framework_id = meta.get("framework_id") or self._framework_id_beside()
        return Snapshot(
            framework_id=FrameworkId(framework_id) if framework_id else None,
            tenants=[TenantRecord(_decode_tenant(record), token) for record, token in tenants],
            requests=[_decode_request(record) for record, _ in requests],
            tasks=[_decode_task(record) for (record,) in tasks],
            draining="draining" in meta,
        )

    def commit(self, frame: Sequence[Save]) -> None:
        requests = {save.request.id: save.request for save in frame if isinstance(save, SaveRequest)}
        tasks = {save.task.id: save.task for save in frame if isinstance(save, SaveTask)}
        with self._writing() as db:
            for save in frame:
                if isinstance(save, SaveTenant):
                    db.execute(
                        "INSERT INTO tenants (name, record) VALUES (?, ?) "
                        "ON CONFLICT (name) DO UPDATE SET record = excluded.record",
                        (save.tenant.name, _encode(save.tenant)),
                    )
                elif isinstance(save, SaveFrameworkId):
                    self._save_framework_id(db, save.framework_id)
                elif isinstance(save, SaveDraining):
                    db.execute("DELETE FROM meta WHERE key = 'draining'")
                    if save.draining:
                        db.execute("INSERT INTO meta (key, value) VALUES ('draining', 'yes')")
            db.executemany(
                "UPDATE requests SET state = ?, record = ? WHERE id = ?",
                [(request.state.value, _encode(request), request.id) for request in requests.values()],
            )
            ended = [(request.id,) for request in requests.values() if request.state is RequestState.ENDED]
            if ended:
                wiped = db.executemany(
                    "UPDATE requests SET secrets = NULL WHERE id = ? AND secrets IS NOT NULL", ended
                ).rowcount
                self._secrets_in_journal |= wiped > 0
            db.executemany(
                "INSERT INTO tasks (id, request_id, live, record) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET live = excluded.live, record = excluded.record",
                [
                    (task.id, task.request_id, task.state is not TaskState.ENDED, _encode(task))
                    for task in tasks.values()
                ],
            )
        if self._secrets_in_journal:
            self._empty_journal()

    def add_submissions(self, batch: Sequence[NewRequest]) -> list[RequestId | IdempotencyConflictError]:
        with self._writing() as db:
            return [self._add(db, new) for new in batch]

    def repeat_of(
        self, tenant: TenantName, idempotency_key: str, digest: str
    ) -> RequestId | IdempotencyConflictError | None:
        with self._reading() as db:
            return _repeat_of(db, tenant, idempotency_key, digest)

    def payload(self, request_id: RequestId) -> BuildSpec | None:
        with self._reading() as db:
            row = db.execute("SELECT spec, secrets FROM requests WHERE id = ?", (request_id,)).fetchone()
        if row is None:
            return None
        spec = BuildSpec.from_json(row[0])
        spec.secrets = json.loads(row[1]) if row[1] else {}
        return spec

    def request(self, request_id: RequestId) -> Request | None:
        with self._reading() as db:
            row = db.execute("SELECT record FROM requests WHERE id = ?", (request_id,)).fetchone()
        return _decode_request(row[0]) if row else None

    def requests(self, query: JobQuery) -> list[Request]:
        # Live ones are few, so they are found by their state; others are read in the order asked for. A plus before a
        # column keeps SQLite from another plan, that would look through all there ever were.
        live = bool(query.states) and RequestState.ENDED not in query.states
        where, values = ["1"], []
        for column, value in (("tenant", query.tenant), ("+job" if live else "job", query.job)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        if query.before is not None:
            where.append("id < ?")
            values.append(query.before)
        if query.states:
            where.append(f"{'state' if live else '+state'} IN ({', '.join('?' * len(query.states))})")
            values += query.states
        # Only the column names and marks above are put into the statement; every value is bound.
        order = "+id" if live else "id"
        statement = f"SELECT record FROM requests WHERE {' AND '.join(where)} ORDER BY {order} DESC LIMIT ?"  # noqa: S608
        with self._reading() as db:
            rows = db.execute(statement, (*values, query.limit)).fetchall()
        return [_decode_request(record) for (record,) in rows]

    def tasks_of(self, request_id: RequestId) -> list[Task]:
        with self._reading() as db:
            rows = db.execute("SELECT record FROM tasks WHERE request_id = ?", (request_id,)).fetchall()
        return sorted((_decode_task(record) for (record,) in rows), key=lambda task: task.launched_at)

    def set_token(self, tenant: TenantName, token_sha256: str) -> None:
        with self._writing() as db:
            db.execute("UPDATE tenants SET token_sha256 = ? WHERE name = ?", (token_sha256, tenant))

    def _add(self, db: sqlite3.Connection, new: NewRequest) -> RequestId | IdempotencyConflictError:
        request, key = new.request, new.idempotency_key
        if key is not None:
            known = _repeat_of(db, request.tenant, key, new.digest)
            if known is not None:
                return known
        plain = asdict(new.spec)
        secrets = plain.pop("secrets")
        db.execute(
            "INSERT INTO requests (id, tenant, job, state, record, spec, secrets, idempotency_key, digest) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                request.id,
                request.tenant,
                request.job,
                request.state.value,
                _encode(request),
                json.dumps(plain).encode(),
                json.dumps(secrets).encode() if secrets else None,
                key,
                new.digest,
            ),
        )
        return request.id

    def _save_framework_id(self, db: sqlite3.Connection, framework_id: FrameworkId | None) -> None:
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

    def _framework_id_beside(self) -> str | None:
        try:
            return self._beside(".framework-id").read_text().strip() or None
        except FileNotFoundError:
            return None

    def _beside(self, suffix: str) -> Path:
        return Path(f"{self.path}{suffix}")

    def _open(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        """The writer and the reader; a file that does not hold a sound state is kept aside under a name of its own."""
        fault = self._fault()
        if fault is not None:
            self._keep_aside(fault)
        with ExitStack() as stack:
            try:
                if not self.path.exists():
                    self._create()
                writer = stack.enter_context(closing(self._connect()))
                writer.execute("PRAGMA journal_mode = WAL")
                writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                reader = stack.enter_context(closing(self._connect()))
            except (sqlite3.Error, OSError) as error:
                raise _translated(error, self.path) from error
            stack.pop_all()
        return writer, reader

    def _fault(self) -> str | None:
        """What is wrong with the state that should be there; None where it is sound, or there never was one."""
        if not self.path.exists():
            traces = [suffix for suffix in ("-wal", ".framework-id") if self._beside(suffix).exists()]
            return f"is gone, though there is a {self.path.name}{traces[0]}" if traces else None
        if not self.path.is_file():
            raise StoreError(f"state.path {self.path}: is not a file; name another path or move it away")
        for part in (self.path, self._beside("-wal"), self._beside("-shm")):
            # Told before SQLite opens it, which makes its other files with the same permissions and leaves them behind.
            if part.exists() and not os.access(part, os.R_OK | os.W_OK):
                raise StoreError(f"state.path {self.path}: this user may not read and write {part}; give it that right")
        try:
            with closing(self._connect()) as db:
                return self._fault_in(db)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OUTSIDE:
                raise _translated(error, self.path) from error
            return f"was corrupt ({error})"
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            return f"was corrupt (a record cannot be read: {error})"

    def _fault_in(self, db: sqlite3.Connection) -> str | None:
        found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            return f"was corrupt ({' '.join(str(found).split())})"
        application_id, version, tables = (
            db.execute(query).fetchone()[0]
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if application_id != APPLICATION_ID:
            if tables:
                raise StoreError(f"state.path {self.path}: is another program's database; name another path")
            return "was empty"
        if version not in (1, SCHEMA_VERSION):
            raise StoreError(
                f"state.path {self.path}: has layout {version}, but this version of butlery reads {SCHEMA_VERSION}; "
                "start the version that wrote it"
            )
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        log = self._beside("-wal")
        if self.path.stat().st_size % page_bytes and not (log.exists() and log.stat().st_size):
            return "was corrupt (it ends within a page)"  # unnoticed where a long record ends there
        self._load(db)
        for _, spec in db.execute(_LIVE_REQUESTS):
            BuildSpec.from_json(spec)
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
                f"state.path {self.path}: {fault}, and cannot be kept aside as {aside.name}: {error.strerror}"
            ) from error
        self.notices.append(
            f"the state file {self.path} {fault}; {f'what was there is kept as {aside}, ' if kept else ''}"
            "an empty one took its place: the tenants and builds in it are not known now"
        )

    def _create(self) -> None:
        """Raises sqlite3.Error, OSError."""
        fresh = self._beside(".new")
        for suffix in ("", "-journal"):
            Path(f"{fresh}{suffix}").unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(fresh, isolation_level=None)) as db:
            db.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
            )
        fresh.replace(self.path)
        _sync_directory(self.path.parent)

    def _connect(self) -> sqlite3.Connection:
        """Raises sqlite3.Error."""
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")  # so that the secrets of ended builds do not stay in free space
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it on disk, or nothing."""
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._roll_back()
                raise _translated(error, self.path) from error
            except BaseException:
                self._roll_back()
                raise

    def _empty_journal(self) -> None:
        """The write-ahead log keeps what was written until it is full, which may be days; secrets may not stay there.

        Where somebody reads the file just now, or the disk is full, the next frame tries again.
        """
        with self._write_lock, self._read_lock, suppress(sqlite3.Error):  # the frame itself is saved
            self._writer.execute("PRAGMA busy_timeout = 0")
            busy, _, _ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._secrets_in_journal = bool(busy)
            self._writer.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._read_lock:
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise _translated(error, self.path) from error


def _repeat_of(
    db: sqlite3.Connection, tenant: TenantName, key: str, digest: str
) -> RequestId | IdempotencyConflictError | None:
    row = db.execute(
        "SELECT id, digest FROM requests WHERE tenant = ? AND idempotency_key = ?", (tenant, key)
    ).fetchone()
    if row is None:
        return None
    if row[1] != digest:
        return IdempotencyConflictError(f"idempotency key {key!r} stands for another job, {row[0]}; use a new key")
    return RequestId(row[0])


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _translated(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    if isinstance(error, OSError):
        return StoreFullError(f"state.path {path}: cannot be written: {error.strerror}")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _PASSING:
        return StoreFullError(f"state.path {path}: cannot be saved now: {error}")
    if code in _CORRUPT:
        return StoreError(
            f"state.path {path}: is corrupt ({error}); start the scheduler again, it keeps the file aside"
        )
    return StoreError(f"state.path {path}: {error}")
