"""When requests ended, as SQLite keeps it for those who were not told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from framework.core.effects import Save
from framework.edges import sqlite
from framework.edges.sqlite import ENDINGS_KEPT_S, SqliteStore
from tests.fakes import samples


def end(store: SqliteStore, request_id: str, ended_at: float) -> None:
    request = samples.request(request_id)
    store.commit((), [samples.new(request)])
    frame: list[Save] = [*samples.ended(request)]
    request.ended_at = ended_at
    store.commit(frame)


def test_what_ended_long_ago_is_forgotten_little_by_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_FORGET_EVERY", 10)
    monkeypatch.setattr(sqlite, "_FORGET_AT_ONCE", 15)
    with closing(SqliteStore(tmp_path / "state.db")) as store:
        for number in range(39):
            end(store, f"r{number:02}", 1000.0 + number)
        assert len(list(store.ended_since(0.0))) == 39
        end(store, "r39", 2000.0 + ENDINGS_KEPT_S)
        assert [one.id for one in store.ended_since(0.0)][:2] == ["r15", "r16"]
        for number in range(40, 60):
            end(store, f"r{number}", 2000.0 + ENDINGS_KEPT_S)
        assert [one.id for one in store.ended_since(0.0)] == [f"r{number}" for number in range(39, 60)]
        assert store.request(samples.request("r00").id) is not None, "the request itself is kept"


def test_a_file_that_knew_no_endings_begins_to(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "state.db")) as store:
        end(store, "r1", 1000.0)
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.execute("DROP TABLE endings")
    with closing(SqliteStore(tmp_path / "state.db")) as store:
        end(store, "r2", 1001.0)
        assert [one.id for one in store.ended_since(0.0)] == ["r2"]
