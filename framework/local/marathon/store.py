"""What the server keeps, in one SQLite file.

The tree of groups is kept as its changes: each group and each app's version with the first root (``since``) that it is
in and the first that it is not (``until``; none: it is in the newest). So a frame costs by what it changes, and each
of the last ``MAX_VERSIONS`` roots can be made again. Of an app that there is its own last versions stay besides,
however many roots other apps have made since.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from framework.core.effects import SaveFrameworkId
from framework.core.ids import FrameworkId
from framework.edges.sqlite_file import Layout, SqliteFile
from framework.local.marathon.core.effects import (
    DropDeployment,
    DropFailure,
    DropInstance,
    Save,
    SaveDeployment,
    SaveFailure,
    SaveInstance,
    SaveRoot,
)
from framework.local.marathon.core.state import Snapshot
from framework.local.marathon.definition import paths
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.read import EMPTY
from framework.local.marathon.records import Deployment, Instance, Step, TaskFailure

MAX_VERSIONS = 50
"""Roots that are kept, and versions of each app that there is, as Marathon's ``--zk_max_versions`` has it."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE roots (number INTEGER PRIMARY KEY, version TEXT NOT NULL UNIQUE);
CREATE TABLE groups (
    id TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER, record BLOB NOT NULL,
    PRIMARY KEY (id, since)
) WITHOUT ROWID;
CREATE INDEX groups_gone ON groups (until) WHERE until IS NOT NULL;
CREATE TABLE members (
    app_id TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER, version TEXT NOT NULL, PRIMARY KEY (app_id, since)
) WITHOUT ROWID;
CREATE INDEX members_gone ON members (until) WHERE until IS NOT NULL;
CREATE TABLE apps (id TEXT NOT NULL, version TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (id, version));
CREATE TABLE instances (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, app_id TEXT NOT NULL, version TEXT NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX instances_of_app ON instances (app_id, version);
CREATE TABLE deployments (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, current INTEGER NOT NULL, record BLOB NOT NULL
);
CREATE TABLE failures (app_id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
"""
_LAYOUT = Layout(
    schema=_SCHEMA,
    version=1,
    readable=(1,),
    application_id=0x42744D61,  # "BtMa"
    setting="local.directory",
    program="Marathon-compatible server",
    holds="the apps and groups in it",
)
_LOST = "lost"
"""Key of what was told when an earlier file could not be used."""


class _GroupRecord(msgspec.Struct, frozen=True):
    """A group without what is in it. ``version``: None where it is that of whatever root the group is in."""

    dependencies: tuple[str, ...]
    enforce_role: bool | None
    version: str | None


_encode = msgspec.json.encode
_app = msgspec.json.Decoder(App).decode
_group = msgspec.json.Decoder(_GroupRecord).decode
_instance = msgspec.json.Decoder(Instance).decode
_deployment = msgspec.json.Decoder(Deployment).decode
_failure = msgspec.json.Decoder(TaskFailure).decode


class MarathonStore(SqliteFile):
    """Synchronous; the runtime calls it off the loop's thread, reads beside one write at a time.

    Every method raises StoreFullError where a retry can help, else StoreError.
    """

    layout = _LAYOUT

    def __init__(self, path: Path) -> None:
        self._root = EMPTY  # as last written
        self._steps: dict[str, tuple[Step, ...]] = {}  # of the deployments that are written
        super().__init__(path)
        if self.notices:
            with self.writing() as db:
                db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_LOST, self.notices[0]))

    def load(self) -> Snapshot:
        with self.reading() as db:
            found = self._load(db)
        self._root = found.root
        self._steps = {each.id: each.steps for each in found.deployments}
        return found

    def check(self, db: sqlite3.Connection) -> None:
        self._load(db)

    def _load(self, db: sqlite3.Connection) -> Snapshot:
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        framework_id = meta.get("framework_id") or self.framework_id_beside()
        instances = db.execute("SELECT record FROM instances ORDER BY number").fetchall()
        older = db.execute(
            "SELECT record FROM apps WHERE (id, version) IN (SELECT app_id, version FROM instances) "
            "AND NOT EXISTS (SELECT 1 FROM members WHERE app_id = apps.id AND until IS NULL "
            "AND version = apps.version)"
        ).fetchall()
        deployments = db.execute("SELECT record, current FROM deployments ORDER BY number").fetchall()
        failures = db.execute("SELECT record FROM failures").fetchall()
        return Snapshot(
            framework_id=FrameworkId(framework_id) if framework_id else None,
            root=_group_at(db, "/", None) or EMPTY,
            instances=tuple([_instance(record) for (record,) in instances]),
            apps=tuple([_app(record) for (record,) in older]),
            deployments=tuple(
                [msgspec.structs.replace(_deployment(record), current=current) for record, current in deployments]
            ),
            failures=tuple([_failure(record) for (record,) in failures]),
            lost_some=_LOST in meta,
        )

    def commit(self, frame: Sequence[Save]) -> None:
        """All of the frame or nothing, on disk when it returns."""
        root, steps = self._root, dict(self._steps)
        unused: set[tuple[str, str]] = set()  # apps of which somebody may have been the last to need that version
        with self.writing() as db:
            for save in frame:
                match save:
                    case SaveInstance():
                        unused |= _save_instance(db, save.instance)
                    case DropInstance():
                        unused |= _drop_instance(db, save.instance_id)
                    case SaveRoot():
                        unused |= _save_root(db, root, save)
                        root = save.root
                    case SaveDeployment():
                        _save_deployment(db, save.deployment, steps)
                    case DropDeployment():
                        db.execute("DELETE FROM deployments WHERE id = ?", (save.deployment_id,))
                        steps.pop(save.deployment_id, None)
                    case SaveFailure():
                        db.execute(
                            "INSERT OR REPLACE INTO failures (app_id, record) VALUES (?, ?)",
                            (save.failure.app_id, _encode(save.failure)),
                        )
                    case DropFailure():
                        db.execute("DELETE FROM failures WHERE app_id = ?", (save.app_id,))
                    case SaveFrameworkId():
                        self.save_framework_id(db, save.framework_id)
            _forget_apps(db, unused)
        self._root, self._steps = root, steps

    def versions(self, app_id: str) -> list[str]:
        """Of the app that are known, the newest first."""
        with self.reading() as db:
            rows = db.execute("SELECT version FROM apps WHERE id = ? ORDER BY version DESC", (app_id,)).fetchall()
        return [version for (version,) in rows]

    def app_at(self, app_id: str, version: str) -> App | None:
        with self.reading() as db:
            row = db.execute("SELECT record FROM apps WHERE id = ? AND version = ?", (app_id, version)).fetchone()
        return _app(row[0]) if row else None

    def group_versions(self, group_id: str) -> list[str]:
        """Of the kept roots that it is in, the newest first."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT roots.version FROM groups JOIN roots ON since <= number AND (until IS NULL OR number < until) "
                "WHERE id = ? ORDER BY number DESC",
                (group_id,),
            ).fetchall()
        return [version for (version,) in rows]

    def group_at(self, group_id: str, version: str) -> Group | None:
        """As it was in the root of that version; None where that is not kept or had none."""
        with self.reading() as db:
            row = db.execute("SELECT number FROM roots WHERE version = ?", (version,)).fetchone()
            return _group_at(db, group_id, row[0]) if row else None


def _save_instance(db: sqlite3.Connection, instance: Instance) -> set[tuple[str, str]]:
    before = db.execute("SELECT app_id, version FROM instances WHERE id = ?", (instance.id,)).fetchall()
    db.execute(
        "INSERT INTO instances (id, app_id, version, record) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET version = excluded.version, record = excluded.record",
        (instance.id, instance.app_id, instance.version, _encode(instance)),
    )
    return {(app_id, version) for app_id, version in before if version != instance.version}


def _drop_instance(db: sqlite3.Connection, instance_id: str) -> set[tuple[str, str]]:
    return set(db.execute("DELETE FROM instances WHERE id = ? RETURNING app_id, version", (instance_id,)).fetchall())


def _save_deployment(db: sqlite3.Connection, deployment: Deployment, steps: dict[str, tuple[Step, ...]]) -> None:
    if steps.get(deployment.id) is deployment.steps:  # one of 2000 apps is some megabytes
        db.execute("UPDATE deployments SET current = ? WHERE id = ?", (deployment.current, deployment.id))
        return
    db.execute(
        "INSERT INTO deployments (id, current, record) VALUES (?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET current = excluded.current, record = excluded.record",
        (deployment.id, deployment.current, _encode(deployment)),
    )
    steps[deployment.id] = deployment.steps


def _save_root(db: sqlite3.Connection, before: Group, save: SaveRoot) -> set[tuple[str, str]]:
    """Returns the apps' versions that no kept root has any more, as far as it can tell."""
    number = db.execute("INSERT INTO roots (version) VALUES (?) RETURNING number", (save.root.version,)).fetchone()[0]
    changed = [app.id for app in save.apps]
    db.executemany(
        "UPDATE members SET until = ? WHERE app_id = ? AND until IS NULL",
        [(number, app_id) for app_id in (*changed, *save.removed)],
    )
    db.executemany(
        "INSERT OR REPLACE INTO apps (id, version, record) VALUES (?, ?, ?)",
        [(app.id, app.version, _encode(app)) for app in save.apps],
    )
    db.executemany(
        "INSERT INTO members (app_id, since, version) VALUES (?, ?, ?)",
        [(app.id, number, app.version) for app in save.apps],
    )
    gone, new = _group_changes(before if number > 1 else None, save.root)
    db.executemany("UPDATE groups SET until = ? WHERE id = ? AND until IS NULL", [(number, each) for each in gone])
    db.executemany(
        "INSERT INTO groups (id, since, record) VALUES (?, ?, ?)",
        [(group_id, number, _encode(record)) for group_id, record in new],
    )
    db.execute("DELETE FROM roots WHERE number <= ?", (number - MAX_VERSIONS,))
    oldest = number - MAX_VERSIONS + 1
    db.execute("DELETE FROM groups WHERE until <= ?", (oldest,))
    unused = set(db.execute("DELETE FROM members WHERE until <= ? RETURNING app_id, version", (oldest,)).fetchall())
    for app_id, kept in (*((each, MAX_VERSIONS) for each in changed), *((each, 0) for each in save.removed)):
        unused.update(db.execute(_BEYOND, (app_id, kept)).fetchall())
    return unused


_BEYOND = "SELECT id, version FROM apps WHERE id = ? ORDER BY version DESC LIMIT -1 OFFSET ?"


def _group_changes(before: Group | None, after: Group) -> tuple[list[str], list[tuple[str, _GroupRecord]]]:
    """Ids of the groups that are gone or changed, and those that are new or changed; what is shared is skipped."""
    gone: list[str] = []
    new: list[tuple[str, _GroupRecord]] = []
    earlier, version = before.version if before else "", after.version
    waiting: list[tuple[Group | None, Group | None]] = [(before, after)]
    while waiting:
        old, now = waiting.pop()
        if old is now:
            continue
        told = _record_of(old, earlier) if old else None
        tells = _record_of(now, version) if now else None
        if told != tells:
            if old is not None:
                gone.append(old.id)
            if now is not None and tells is not None:
                new.append((now.id, tells))
        olds, nows = old.groups if old else {}, now.groups if now else {}
        waiting += [(olds.get(group_id), nows.get(group_id)) for group_id in {**olds, **nows}]
    return gone, new


def _record_of(group: Group, root_version: str) -> _GroupRecord:
    version = None if group.version == root_version else group.version
    return _GroupRecord(group.dependencies, group.enforce_role, version)


def _forget_apps(db: sqlite3.Connection, unused: Iterable[tuple[str, str]]) -> None:
    """But for those that a root or an instance still has, and the last ones of an app that there is."""
    db.executemany(
        "DELETE FROM apps WHERE id = ?1 AND version = ?2 "
        "AND NOT EXISTS (SELECT 1 FROM members WHERE app_id = ?1 AND version = ?2) "
        "AND NOT EXISTS (SELECT 1 FROM instances WHERE app_id = ?1 AND version = ?2) "
        "AND NOT (EXISTS (SELECT 1 FROM members WHERE app_id = ?1 AND until IS NULL) "
        "AND (SELECT count(*) FROM apps WHERE id = ?1 AND version > ?2) < ?3)",
        [(app_id, version, MAX_VERSIONS) for app_id, version in unused],
    )


def _group_at(db: sqlite3.Connection, group_id: str, number: int | None) -> Group | None:
    """With all below it, as in the root of that number, or in the newest; None where there is none."""
    below = "/" if group_id == "/" else f"{group_id}/"
    named = {"id": group_id, "below": below, "beyond": below[:-1] + chr(ord("/") + 1), "number": number}
    if number is None:
        row = db.execute("SELECT max(number) FROM roots").fetchone()
        named["number"] = row[0]
    version = db.execute("SELECT version FROM roots WHERE number = :number", named).fetchone()
    rows = db.execute(
        "SELECT id, record FROM groups WHERE (id = :id OR (id > :below AND id < :beyond)) "
        "AND since <= :number AND (until IS NULL OR :number < until)",
        named,
    ).fetchall()
    apps = db.execute(
        "SELECT record FROM members JOIN apps ON apps.id = members.app_id AND apps.version = members.version "
        "WHERE app_id > :below AND app_id < :beyond AND since <= :number AND (until IS NULL OR :number < until)",
        named,
    ).fetchall()
    return _made(group_id, version[0], rows, (_app(record) for (record,) in apps)) if version else None


def _made(group_id: str, version: str, rows: Sequence[tuple[str, bytes]], apps: Iterator[App]) -> Group | None:
    apps_of: dict[str, dict[str, App]] = {}
    for app in apps:
        apps_of.setdefault(paths.parent(app.id), {})[app.id] = app
    groups_of: dict[str, dict[str, Group]] = {}
    for each, record in sorted(rows, key=lambda row: (len(row[0]), row[0]), reverse=True):  # those below others first
        raw = _group(record)
        made = Group(
            id=each,
            apps=apps_of.get(each, {}),
            groups=groups_of.get(each, {}),
            dependencies=raw.dependencies,
            version=raw.version or version,
            enforce_role=raw.enforce_role,
        )
        if each == group_id:
            return made
        groups_of.setdefault(paths.parent(each), {})[each] = made
    return None
