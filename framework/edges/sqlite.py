"""The state in one SQLite file (write-ahead log, every commit synced), the default for one machine.

Beside ``state.db`` stand ``state.db.lock``, so that two schedulers never share a file, and ``state.db.framework-id``,
so that a scheduler whose file is lost still finds its framework, and with it the tasks that run.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agents.spec import BuildSpec
from framework.core.effects import Save, SaveFrameworkId, SaveRequest, SaveTask, SaveTenant
from framework.core.ids import FrameworkId, RequestId, TenantName
from framework.core.tasks import Request, RequestState, Task, TaskState, Tenant
from framework.errors import IdempotencyConflictError, StoreError, StoreFullError
from framework.ports import JobQuery, NewRequest, Snapshot, TenantRecord

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tenants (name TEXT PRIMARY KEY, record BLOB NOT NULL, token_sha256 TEXT) WITHOUT ROWID;
CREATE TABLE requests (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, job TEXT NOT NULL, state TEXT NOT NULL, record BLOB NOT NULL,
    spec BLOB NOT NULL, secrets BLOB, idempotency_key TEXT, digest TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX requests_of_tenant ON requests (tenant, id);
CREATE INDEX requests_live ON requests (state, id);
CREATE UNIQUE INDEX requests_once ON requests (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE TABLE tasks (id TEXT PRIMARY KEY, request_id TEXT NOT NULL, live INTEGER NOT NULL, record BLOB NOT NULL)
    WITHOUT ROWID;
CREATE INDEX tasks_of_request ON tasks (request_id);
CREATE INDEX tasks_live ON tasks (live) WHERE live;
"""
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR)

_encode = msgspec.json.encode
_decode_request = msgspec.json.Decoder(Request).decode
_decode_task = msgspec.json.Decoder(Task).decode
_decode_tenant = msgspec.json.Decoder(Tenant).decode


class SqliteStore:
    """``framework.ports.Store`` on a file. Raises StoreError where the file cannot serve, saying what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[str] = []
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"state.path {path}: cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock_file)
            raise StoreError(f"state.path {path}: another scheduler is using it; stop that one first") from error
        try:
            self._writer = self._open()
            self._reader = self._connect()
        except BaseException:
            os.close(self._lock_file)
            raise

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
        os.close(self._lock_file)

    def load(self) -> Snapshot:
        with self._reading() as db:
            row = db.execute("SELECT value FROM meta WHERE key = 'framework_id'").fetchone()
            tenants = db.execute("SELECT record, token_sha256 FROM tenants").fetchall()
            requests = db.execute(
                "SELECT record FROM requests WHERE state IN ('waiting', 'launching', 'running', 'ending') ORDER BY id"
            ).fetchall()
            tasks = db.execute("SELECT record FROM tasks WHERE live").fetchall()
            framework_id = row[0] if row else self._framework_id_beside()
            return Snapshot(
                framework_id=FrameworkId(framework_id) if framework_id else None,
                tenants=[TenantRecord(_decode_tenant(record), token) for record, token in tenants],
                requests=[_decode_request(record) for (record,) in requests],
                tasks=[_decode_task(record) for (record,) in tasks],
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
            db.executemany(
                "UPDATE requests SET state = ?, record = ? WHERE id = ?",
                [(request.state.value, _encode(request), request.id) for request in requests.values()],
            )
            ended = [(request.id,) for request in requests.values() if request.state is RequestState.ENDED]
            if ended:
                db.executemany("UPDATE requests SET secrets = NULL WHERE id = ?", ended)
            db.executemany(
                "INSERT INTO tasks (id, request_id, live, record) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET live = excluded.live, record = excluded.record",
                [
                    (task.id, task.request_id, task.state is not TaskState.ENDED, _encode(task))
                    for task in tasks.values()
                ],
            )

    def add_submissions(self, batch: Sequence[NewRequest]) -> list[RequestId | IdempotencyConflictError]:
        with self._writing() as db:
            return [self._add(db, new) for new in batch]

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
        where, values = ["1"], []
        for column, value in (("tenant", query.tenant), ("job", query.job)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        if query.before is not None:
            where.append("id < ?")
            values.append(query.before)
        if query.states:
            where.append(f"state IN ({', '.join('?' * len(query.states))})")
            values += query.states
        # Only the column names and marks above are put into the statement; every value is bound.
        statement = f"SELECT record FROM requests WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"  # noqa: S608
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
            row = db.execute(
                "SELECT id, digest FROM requests WHERE tenant = ? AND idempotency_key = ?", (request.tenant, key)
            ).fetchone()
            if row is not None and row[1] != new.digest:
                return IdempotencyConflictError(
                    f"idempotency key {key!r} stands for another job, {row[0]}; use a new key"
                )
            if row is not None:
                return RequestId(row[0])
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
        beside = Path(f"{self.path}.framework-id")
        if framework_id is None:
            db.execute("DELETE FROM meta WHERE key = 'framework_id'")
            beside.unlink(missing_ok=True)
            return
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('framework_id', ?)", (framework_id,))
        fresh = Path(f"{beside}.new")
        fresh.write_text(framework_id)
        fresh.replace(beside)

    def _framework_id_beside(self) -> str | None:
        try:
            return Path(f"{self.path}.framework-id").read_text().strip() or None
        except FileNotFoundError:
            return None

    def _open(self) -> sqlite3.Connection:
        """The writing connection; a file that is no sound database is kept aside under a name of its own."""
        if self.path.exists() and not self._sound():
            aside = self.path.with_name(f"{self.path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
            for suffix in ("", "-wal", "-shm"):
                part = Path(f"{self.path}{suffix}")
                if part.exists():
                    part.replace(f"{aside}{suffix}")
            self.notices.append(
                f"the state file {self.path} was corrupt; it is kept as {aside} and an empty one took its place: "
                "tenants and waiting builds in it are not known now"
            )
        db = self._connect()
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
                self.path.chmod(0o600)
        except sqlite3.Error as error:
            db.close()
            raise _translated(error, self.path) from error
        if version not in (0, SCHEMA_VERSION):
            db.close()
            raise StoreError(
                f"state.path {self.path}: has layout {version}, this version of butlery reads {SCHEMA_VERSION}"
            )
        return db

    def _sound(self) -> bool:
        db = self._connect()
        try:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _CORRUPT:
                return False
            raise _translated(error, self.path) from error
        finally:
            db.close()

    def _connect(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise _translated(error, self.path) from error
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in _CORRUPT:
                db.close()
                raise _translated(error, self.path) from error
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
