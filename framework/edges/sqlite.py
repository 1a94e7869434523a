"""The scheduler's state in one SQLite file, the default for one machine."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import msgspec

from agents.spec import BuildSpec
from framework.core.effects import Save, SaveDraining, SaveFrameworkId, SaveRequest, SaveTask, SaveTenant
from framework.core.ids import FrameworkId, RequestId, TenantName
from framework.core.tasks import Request, RequestState, Task, TaskState, Tenant
from framework.edges.sqlite_file import Layout, SqliteFile
from framework.errors import IdempotencyConflictError
from framework.jenkins_ports import MasterRecord
from framework.ports import JobQuery, NewRequest, Snapshot, TenantRecord

SCHEMA_VERSION = 3
"""1 knew no draining and fewer fields of requests and tasks, 2 no masters: they may not write here again."""
_MASTERS = "CREATE TABLE IF NOT EXISTS masters (tenant TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;"
_ENDINGS = (
    "CREATE TABLE IF NOT EXISTS endings (ended_at REAL NOT NULL, id TEXT NOT NULL, PRIMARY KEY (ended_at, id)) "
    "WITHOUT ROWID;"
)
_SCHEMA = f"""{_MASTERS}{_ENDINGS}
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tenants (name TEXT PRIMARY KEY, record BLOB NOT NULL, token_sha256 TEXT) WITHOUT ROWID;
CREATE TABLE requests (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, job TEXT NOT NULL, state TEXT NOT NULL, record BLOB NOT NULL,
    spec BLOB NOT NULL, secrets BLOB, idempotency_key TEXT, digest TEXT NOT NULL
);
CREATE INDEX requests_of_tenant ON requests (tenant, id);
CREATE INDEX requests_live ON requests (state, id);
CREATE INDEX requests_live_of_tenant ON requests (tenant, state, id);
CREATE INDEX requests_of_job ON requests (job, id);
CREATE INDEX requests_of_job_of_tenant ON requests (tenant, job, id);
CREATE UNIQUE INDEX requests_once ON requests (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE TABLE tasks (id TEXT PRIMARY KEY, request_id TEXT NOT NULL, live INTEGER NOT NULL, record BLOB NOT NULL);
CREATE INDEX tasks_of_request ON tasks (request_id);
CREATE INDEX tasks_live ON tasks (live) WHERE live;
"""
APPLICATION_ID = 0x42744C79  # "BtLy"
_LAYOUT = Layout(
    schema=_SCHEMA,
    version=SCHEMA_VERSION,
    readable=(1, 2, SCHEMA_VERSION),
    application_id=APPLICATION_ID,
    setting="state.path",
    program="scheduler",
    holds="the tenants and builds in it",
    additions=_MASTERS + _ENDINGS,
)
_LIVE_REQUESTS = (
    "SELECT record, spec FROM requests WHERE state IN ('waiting', 'launching', 'running', 'ending') ORDER BY id"
)

_UPDATE_REQUEST = (
    "UPDATE requests SET record = ?3 WHERE id = ?1 AND state = ?2",
    "UPDATE requests SET state = ?2, record = ?3 WHERE id = ?1 AND state != ?2",
)
_PUT_TASK = (
    "UPDATE tasks SET record = ?4 WHERE id = ?1 AND request_id = ?2 AND live = ?3",
    "INSERT INTO tasks (id, request_id, live, record) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE "
    "SET request_id = excluded.request_id, live = excluded.live, record = excluded.record "
    "WHERE request_id != excluded.request_id OR live != excluded.live",
)
"""Most saves change nothing that an index holds; SQLite writes every index that a statement could change."""

ENDINGS_KEPT_S = 7 * 86_400.0
"""How long it is known when requests ended, for ``ended_since``. Of those before, some go with every so many more."""
_FORGET_EVERY = 1000
_FORGET_AT_ONCE = 2000
_FORGET_ENDINGS = (
    "DELETE FROM endings WHERE (ended_at, id) IN "
    "(SELECT ended_at, id FROM endings WHERE ended_at < ? ORDER BY ended_at, id LIMIT ?)"
)
_PAGE_OF_ENDINGS = 500

_encode = msgspec.json.encode
_decode_request = msgspec.json.Decoder(Request).decode
_decode_task = msgspec.json.Decoder(Task).decode
_decode_tenant = msgspec.json.Decoder(Tenant).decode
_decode_master = msgspec.json.Decoder(MasterRecord).decode


class SqliteStore(SqliteFile):
    """``framework.ports.Store`` on a file. ``secrets_in_journal``: of builds that have ended, of masters before."""

    layout = _LAYOUT
    commit_every_s = 0.0
    _ended = 0  # requests, since endings were last forgotten

    def load(self) -> Snapshot:
        with self.reading() as db:
            return self._load(db)

    def _load(self, db: sqlite3.Connection) -> Snapshot:
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        tenants = db.execute("SELECT record, token_sha256 FROM tenants").fetchall()
        requests = db.execute(_LIVE_REQUESTS).fetchall()
        tasks = db.execute("SELECT record FROM tasks WHERE live").fetchall()
        framework_id = meta.get("framework_id") or self.framework_id_beside()
        return Snapshot(
            framework_id=FrameworkId(framework_id) if framework_id else None,
            tenants=[TenantRecord(_decode_tenant(record), token) for record, token in tenants],
            requests=[_decode_request(record) for record, _ in requests],
            tasks=[_decode_task(record) for (record,) in tasks],
            draining="draining" in meta,
        )

    def commit(
        self, frame: Sequence[Save], batch: Sequence[NewRequest] = ()
    ) -> list[RequestId | IdempotencyConflictError]:
        with self.writing() as db:
            if frame:
                self._save(db, frame)
            taken = [self._add(db, new) for new in batch]
        if self.secrets_in_journal:
            self.empty_journal()
        return taken

    def _save(self, db: sqlite3.Connection, frame: Sequence[Save]) -> None:
        requests = {save.request.id: save.request for save in frame if isinstance(save, SaveRequest)}
        tasks = {save.task.id: save.task for save in frame if isinstance(save, SaveTask)}
        for save in frame:
            if isinstance(save, SaveTenant):
                db.execute(
                    "INSERT INTO tenants (name, record) VALUES (?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET record = excluded.record",
                    (save.tenant.name, _encode(save.tenant)),
                )
            elif isinstance(save, SaveFrameworkId):
                self.save_framework_id(db, save.framework_id)
            elif isinstance(save, SaveDraining):
                db.execute("DELETE FROM meta WHERE key = 'draining'")
                if save.draining:
                    db.execute("INSERT INTO meta (key, value) VALUES ('draining', 'yes')")
        _update_all(db, _UPDATE_REQUEST, [(each.id, each.state.value, _encode(each)) for each in requests.values()])
        ended = [(request.id,) for request in requests.values() if request.state is RequestState.ENDED]
        if ended:
            wiped = db.executemany(
                "UPDATE requests SET secrets = NULL WHERE id = ? AND secrets IS NOT NULL", ended
            ).rowcount
            self.secrets_in_journal |= wiped > 0
            self._note_endings(db, requests.values())
        rows = [(each.id, each.request_id, each.state is not TaskState.ENDED, _encode(each)) for each in tasks.values()]
        _update_all(db, _PUT_TASK, rows)

    def _note_endings(self, db: sqlite3.Connection, requests: Iterable[Request]) -> None:
        ended = [(each.ended_at, each.id) for each in requests if each.ended_at is not None]
        db.executemany("INSERT OR IGNORE INTO endings (ended_at, id) VALUES (?, ?)", ended)
        self._ended += len(ended)
        if self._ended >= _FORGET_EVERY:
            self._ended = 0
            db.execute(_FORGET_ENDINGS, (max(ended)[0] - ENDINGS_KEPT_S, _FORGET_AT_ONCE))

    def repeat_of(
        self, tenant: TenantName, idempotency_key: str, digest: str
    ) -> RequestId | IdempotencyConflictError | None:
        with self.reading() as db:
            return _repeat_of(db, tenant, idempotency_key, digest)

    def payload(self, request_id: RequestId) -> BuildSpec | None:
        with self.reading() as db:
            row = db.execute("SELECT spec, secrets FROM requests WHERE id = ?", (request_id,)).fetchone()
        if row is None:
            return None
        spec = BuildSpec.from_json(row[0])
        spec.secrets = json.loads(row[1]) if row[1] else {}
        return spec

    def request(self, request_id: RequestId) -> Request | None:
        with self.reading() as db:
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
        with self.reading() as db:
            rows = db.execute(statement, (*values, query.limit)).fetchall()
        return [_decode_request(record) for (record,) in rows]

    def tasks_of(self, request_id: RequestId) -> list[Task]:
        with self.reading() as db:
            rows = db.execute("SELECT record FROM tasks WHERE request_id = ?", (request_id,)).fetchall()
        return sorted((_decode_task(record) for (record,) in rows), key=lambda task: task.launched_at)

    def ended_since(self, at_s: float) -> Iterator[Request]:
        after = (at_s, "")
        while True:
            with self.reading() as db:
                rows = db.execute(
                    "SELECT endings.ended_at, endings.id, record FROM endings JOIN requests USING (id) "
                    "WHERE (endings.ended_at, endings.id) > (?, ?) ORDER BY endings.ended_at, endings.id LIMIT ?",
                    (*after, _PAGE_OF_ENDINGS),
                ).fetchall()
            if not rows:
                return
            after = rows[-1][:2]
            yield from (_decode_request(record) for *_, record in rows)

    def set_token(self, tenant: TenantName, token_sha256: str) -> None:
        with self.writing() as db:
            db.execute("UPDATE tenants SET token_sha256 = ? WHERE name = ?", (token_sha256, tenant))

    def master(self, tenant: TenantName) -> MasterRecord | None:
        with self.reading() as db:
            row = db.execute("SELECT record FROM masters WHERE tenant = ?", (tenant,)).fetchone()
        return _decode_master(row[0]) if row else None

    def set_master(self, tenant: TenantName, master: MasterRecord | None) -> None:
        with self.writing() as db:
            self.secrets_in_journal |= db.execute("DELETE FROM masters WHERE tenant = ?", (tenant,)).rowcount > 0
            if master is not None:
                db.execute(
                    "INSERT INTO masters (tenant, record) SELECT name, ? FROM tenants WHERE name = ?",
                    (_encode(master), tenant),
                )
        if self.secrets_in_journal:
            self.empty_journal()

    def _add(self, db: sqlite3.Connection, new: NewRequest) -> RequestId | IdempotencyConflictError:
        request, key = new.request, new.idempotency_key
        if key is not None:
            known = _repeat_of(db, request.tenant, key, new.digest)
            if known is not None:
                return known
        secrets = new.spec.secrets
        db.execute(
            "INSERT INTO requests (id, tenant, job, state, record, spec, secrets, idempotency_key, digest) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                request.id,
                request.tenant,
                request.job,
                request.state.value,
                _encode(request),
                _encode(replace(new.spec, secrets={}) if secrets else new.spec),
                _encode(secrets) if secrets else None,
                key,
                new.digest,
            ),
        )
        return request.id

    def check(self, db: sqlite3.Connection) -> None:
        self._load(db)
        for _, spec in db.execute(_LIVE_REQUESTS):
            BuildSpec.from_json(spec)
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'masters'").fetchone():
            for (record,) in db.execute("SELECT record FROM masters"):
                _decode_master(record)


def _update_all(db: sqlite3.Connection, statements: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    for statement in statements:
        db.executemany(statement, rows)


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
