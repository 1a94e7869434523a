"""What Marathon forgets of masters: boots, volumes of deleted tenants, bulk operations, good versions, backups.

One SQLite file that commands and the tenants' service have at once. If it is lost, nothing breaks but these.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from framework.edges.sqlite_file import Layout, SqliteFile
from framework.errors import ButleryError, StoreError
from masters.ports import Backup
from masters.records import Done, Outcome

JOURNALS_KEPT = 50
"""Of each kind; older ones are forgotten where another begins."""
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE boots (tenant TEXT PRIMARY KEY, boot_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE volumes (
    tenant TEXT NOT NULL, volume TEXT NOT NULL, size_mib INTEGER, since REAL NOT NULL, gone_at REAL,
    PRIMARY KEY (tenant, volume)
) WITHOUT ROWID;
CREATE TABLE good (app_id TEXT PRIMARY KEY, version TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE backups (
    tenant TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, bytes INTEGER NOT NULL, message TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
CREATE TABLE journals (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, kind TEXT NOT NULL, started_at REAL NOT NULL, ended_at REAL,
    tenants TEXT NOT NULL, options TEXT NOT NULL
);
CREATE TABLE done (
    journal TEXT NOT NULL, tenant TEXT NOT NULL, outcome TEXT NOT NULL, message TEXT NOT NULL, took_s REAL NOT NULL,
    PRIMARY KEY (journal, tenant)
) WITHOUT ROWID;
"""
_SAVE_VOLUME = """
INSERT INTO volumes (tenant, volume, size_mib, since, gone_at) VALUES (?, ?, ?, ?, NULL)
ON CONFLICT (tenant, volume) DO UPDATE SET size_mib = excluded.size_mib, gone_at = NULL,
    since = CASE WHEN gone_at IS NULL THEN since ELSE excluded.since END
"""
_JOURNALS = """
SELECT id, kind, started_at, ended_at, tenants, options FROM journals WHERE id = ? OR kind = ? ORDER BY number DESC
"""


@dataclass(frozen=True, slots=True)
class KnownVolume:
    """A volume that a master has, or had until ``gone_at``."""

    tenant: str
    volume: str  # kind and name, as Policy.volume
    size_mib: int | None
    since: float  # unix s
    gone_at: float | None  # unix s; None: in use


@dataclass(frozen=True, slots=True)
class Journal:
    """A bulk operation: what it was to do with whom, and what came of it so far."""

    id: str
    kind: str  # ``upgrade``
    started_at: float  # unix s
    ended_at: float | None  # None: it was stopped, or runs
    tenants: tuple[str, ...]  # in the order it goes
    options: Mapping[str, Any]  # it was begun with, as JSON takes them
    done: Mapping[str, Done]


class Ledger(SqliteFile):
    """Raises StoreError where the file cannot serve, saying what to do. Safe to use from many threads and processes."""

    layout = Layout(
        schema=_SCHEMA,
        version=1,
        readable=(1,),
        application_id=0x42744D73,  # "BtMs"
        setting="masters.state",
        program="command",
        holds="boot times, orphaned volumes and bulk operations of masters",
    )
    shared = True

    def check(self, db: sqlite3.Connection) -> None:
        for tenants, options in db.execute("SELECT tenants, options FROM journals"):
            json.loads(tenants), json.loads(options)

    def boots(self) -> dict[str, float]:
        """Seconds of each tenant's last boot."""
        with self.reading() as db:
            return dict(db.execute("SELECT tenant, boot_s FROM boots"))

    def save_boots(self, boots: Mapping[str, float]) -> None:
        with self.writing() as db:
            db.executemany("INSERT OR REPLACE INTO boots (tenant, boot_s) VALUES (?, ?)", boots.items())

    def volumes(self, *, orphans: bool = False) -> list[KnownVolume]:
        """By tenant; with ``orphans`` those alone that no master uses any more."""
        query = "SELECT tenant, volume, size_mib, since, gone_at FROM volumes"
        where = " WHERE gone_at IS NOT NULL" if orphans else ""
        with self.reading() as db:
            return [KnownVolume(*row) for row in db.execute(f"{query}{where} ORDER BY tenant, volume")]

    def volumes_used(self, used: Mapping[str, tuple[str, int | None]], now: float) -> None:
        """By tenant its volume and size; in use from now on. ``now``: unix s."""
        known = {(one.tenant, one.volume, one.size_mib) for one in self.volumes() if one.gone_at is None}
        new = [(tenant, *volume) for tenant, volume in used.items() if (tenant, *volume) not in known]
        if new:
            with self.writing() as db:
                db.executemany(_SAVE_VOLUME, [(*one, now) for one in new])

    def volume_left(self, tenant: str, now: float) -> None:
        """The tenant's master is gone; its volumes are orphans. ``now``: unix s."""
        with self.writing() as db:
            db.execute("UPDATE volumes SET gone_at = ? WHERE tenant = ? AND gone_at IS NULL", (now, tenant))

    def forget_volume(self, volume: str) -> bool:
        """The operator has wiped it; whether it was an orphan."""
        with self.writing() as db:
            found = db.execute("DELETE FROM volumes WHERE volume = ? AND gone_at IS NOT NULL", (volume,))
            return found.rowcount > 0

    def good_versions(self) -> dict[str, str]:
        """By app id the last version that became healthy."""
        with self.reading() as db:
            return dict(db.execute("SELECT app_id, version FROM good"))

    def save_good(self, versions: Mapping[str, str]) -> None:
        with self.writing() as db:
            db.executemany("INSERT OR REPLACE INTO good (app_id, version) VALUES (?, ?)", versions.items())

    def backups(self, tenant: str) -> list[Backup]:
        """Newest first, as last told by the tenant's masters."""
        query = "SELECT name, state, bytes, message FROM backups WHERE tenant = ? ORDER BY name DESC"
        with self.reading() as db:
            return [Backup(*row) for row in db.execute(query, (tenant,))]

    def save_backups(self, tenant: str, backups: Sequence[Backup]) -> None:
        """All that there are; others are forgotten."""
        with self.writing() as db:
            db.execute("DELETE FROM backups WHERE tenant = ?", (tenant,))
            db.executemany("INSERT INTO backups VALUES (?, ?, ?, ?, ?)", [(tenant, *one) for one in backups])

    def forget(self, tenant: str) -> None:
        """Boots, good version and backups of a deleted tenant; its volumes stay known."""
        with self.writing() as db:
            db.execute("DELETE FROM boots WHERE tenant = ?", (tenant,))
            db.execute("DELETE FROM backups WHERE tenant = ?", (tenant,))
            db.execute("DELETE FROM good WHERE app_id LIKE ?", (f"%/{tenant}",))

    @contextmanager
    def bulk(self, kind: str) -> Iterator[None]:
        """One bulk operation at a time, over all processes. Raises ButleryError naming the one that runs."""
        path = self._beside(".bulk")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: cannot be used: {error.strerror}") from error
        with os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ButleryError(
                    f"butlery tenants {file.read(100).strip() or 'of another process'} runs now; wait for its end, or "
                    "stop it: what it has done stays done"
                ) from error
            file.truncate()
            file.write(f"{kind} (process {os.getpid()})\n")
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    def begin(self, kind: str, tenants: Sequence[str], options: Mapping[str, Any], now: float) -> Journal:
        """``now``: unix s."""
        stamp = f"{kind}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"
        with self.writing() as db:
            same = db.execute("SELECT count(*) FROM journals WHERE id LIKE ?", (f"{stamp}%",)).fetchone()[0]
            made = Journal(f"{stamp}-{same + 1}" if same else stamp, kind, now, None, tuple(tenants), dict(options), {})
            db.execute(
                "INSERT INTO journals (id, kind, started_at, tenants, options) VALUES (?, ?, ?, ?, ?)",
                (made.id, kind, now, json.dumps(made.tenants), json.dumps(made.options)),
            )
            db.execute(
                "DELETE FROM journals WHERE kind = ? AND number NOT IN "
                "(SELECT number FROM journals WHERE kind = ? ORDER BY number DESC LIMIT ?)",
                (kind, kind, JOURNALS_KEPT),
            )
            db.execute("DELETE FROM done WHERE journal NOT IN (SELECT id FROM journals)")
        return made

    def note(self, journal: str, done: Done) -> None:
        """What came of one tenant, on disk when this returns."""
        with self.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO done (journal, tenant, outcome, message, took_s) VALUES (?, ?, ?, ?, ?)",
                (journal, done.tenant, done.outcome.value, done.message, done.took_s),
            )

    def end(self, journal: str, now: float) -> None:
        """It is through. ``now``: unix s."""
        with self.writing() as db:
            db.execute("UPDATE journals SET ended_at = ? WHERE id = ?", (now, journal))

    def journal(self, journal: str) -> Journal | None:
        return next(iter(self._journals(journal, "")), None)

    def journals(self, kind: str) -> list[Journal]:
        """Newest first."""
        return self._journals("", kind)

    def _journals(self, id_: str, kind: str) -> list[Journal]:
        with self.reading() as db:
            rows = db.execute(_JOURNALS, (id_, kind)).fetchall()
            return [
                Journal(found, of, started, ended, tuple(json.loads(tenants)), json.loads(options), _done(db, found))
                for found, of, started, ended, tenants, options in rows
            ]


def _done(db: sqlite3.Connection, journal: str) -> dict[str, Done]:
    rows = db.execute("SELECT tenant, outcome, message, took_s FROM done WHERE journal = ?", (journal,))
    return {tenant: Done(tenant, Outcome(outcome), message, took_s) for tenant, outcome, message, took_s in rows}
