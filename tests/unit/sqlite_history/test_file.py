"""The history's file: who may have it, what becomes of a bad one, and that neither reader nor writer waits."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from framework.edges.sqlite_history import SqliteHistory, history, sweeping
from framework.errors import StoreError, UnavailableError
from framework.telemetry.records import Kind
from framework.telemetry_ports import BuildQuery, Dimension, OperatorError, RunsQuery, SampleQuery, StatsQuery
from tests.fakes.records import DAY_MS, FIRST_DAY_MS, batch, build, change, sample

KEEP_D = {Kind.BUILDS: 400, Kind.CHANGES: 30, Kind.SAMPLES: 90}
FOREVER_S = 100.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry" / "history.db"


@contextmanager
def opened(path: Path) -> Iterator[SqliteHistory]:
    with closing(SqliteHistory(path, KEEP_D)) as found:
        yield found


def ids(found: SqliteHistory) -> list[str]:
    return [one.id for one in found.builds(BuildQuery()).builds]


# Bad files.


def test_a_file_that_is_not_sound_is_kept_aside_and_that_is_told(path: Path) -> None:
    with opened(path) as found:
        found.take([batch([build("r1")])])
    path.write_bytes(b"garbage" * 1000)
    with opened(path) as found:
        assert ids(found) == []
        (notice,) = found.notices
        assert f"telemetry.path {path} was corrupt" in notice
        assert "the past builds in it are not known now" in notice
        found.take([batch([build("r2")])])
    assert len(list(path.parent.glob("history.db.corrupt-*Z"))) == 1
    with opened(path) as found:
        assert (ids(found), found.notices) == (["r2"], [])


def test_what_turns_out_corrupt_in_use_is_looked_through_at_the_next_start(path: Path) -> None:
    with opened(path) as found:
        found.take([batch([build(f"r{n}", FIRST_DAY_MS + n, message="m" * 2000) for n in range(200)])])
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\x5a\xa5" * (size // 4))
    with opened(path) as found:
        assert found.notices == []  # every page is not looked at at each start: that would take minutes
        with pytest.raises(OperatorError, match=r"is corrupt .*start the scheduler again, it keeps the file aside"):
            for _ in range(50):
                found.builds(BuildQuery(limit=10_000))
                found.take([batch([build(f"new-{os.urandom(4).hex()}")])])
    with opened(path) as found:
        assert "was corrupt" in found.notices[0]
        assert ids(found) == []
    with opened(path) as found:
        assert found.notices == []


def test_a_file_that_somebody_removes_takes_no_more_until_there_is_another(path: Path) -> None:
    with opened(path) as found:
        shutil.rmtree(path.parent)
        for _ in range(2):
            with pytest.raises(OperatorError, match="somebody has removed it; a restart of the scheduler"):
                found.take([batch([build("r1")])])
            with opened(path):  # somebody's other file in its place
                pass
    with opened(path) as found:
        found.take([batch([build("r1")])])
        assert ids(found) == ["r1"]


def test_a_file_that_another_has_is_refused(path: Path) -> None:
    with opened(path), pytest.raises(StoreError, match="another scheduler is using it"):
        SqliteHistory(path, KEEP_D)
    with opened(path) as found:
        assert found.notices == []


def test_another_programs_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StoreError, match="another program's database"):
        SqliteHistory(path, KEEP_D)


def test_a_full_disk_takes_nothing_of_a_batch_and_all_of_it_later(path: Path) -> None:
    many = batch([build(f"r{n}", FIRST_DAY_MS + n, message="m" * 2000) for n in range(500)])
    with opened(path) as found:
        found.take([batch([build("first", FIRST_DAY_MS + 10_000)])])
        with found.writing() as db:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            db.execute(f"PRAGMA max_page_count = {pages + 20}")
        with pytest.raises(UnavailableError, match="cannot be saved now"):
            found.take([many])
        assert ids(found) == ["first"]
        with found.writing() as db:
            db.execute("PRAGMA max_page_count = 1000000")
        assert found.take([many]) == []
        assert len(found.builds(BuildQuery(limit=1000, job="acme/shop")).builds) == 501


# Nobody waits for another.


def test_questions_are_answered_while_records_are_written(path: Path) -> None:
    with opened(path) as found:
        found.take([batch([build("r1")])])
        with found.writing() as db:
            db.execute("DELETE FROM builds")
            assert ids(found) == ["r1"]
            assert found.stats(StatsQuery(0, FIRST_DAY_MS + 1)).total.builds == 1


def test_more_questions_than_readers_are_all_answered(path: Path) -> None:
    wrong: list[Exception] = []
    with opened(path) as found:
        found.take([batch([build(f"r{n}", FIRST_DAY_MS + n, job=f"j{n % 50}") for n in range(900)])])

        def ask() -> None:
            try:
                for _ in range(5):
                    assert len(found.builds(BuildQuery(limit=1000)).builds) >= 900
                    assert found.stats(StatsQuery(0, FIRST_DAY_MS + DAY_MS, (Dimension.JOB,))).total.builds >= 900
            except Exception as error:  # noqa: BLE001 whatever it is, it is told below
                wrong.append(error)

        askers = [threading.Thread(target=ask) for _ in range(3 * history.READERS)]
        for asker in askers:
            asker.start()
        for n in range(20):
            found.take([batch([build(f"new{n}", FIRST_DAY_MS + n)])])
        for asker in askers:
            asker.join(FOREVER_S)
    assert wrong == []


def test_a_question_that_takes_too_long_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "ANSWER_TIMEOUT_S", 0.0)
    monkeypatch.setattr(history, "_STEPS", 100)
    with opened(path) as found:
        found.take([batch([build(f"r{n}", FIRST_DAY_MS + n) for n in range(500)])])
        with pytest.raises(UnavailableError, match="ask for a shorter time"):
            found.builds(BuildQuery(limit=10_000))
        monkeypatch.setattr(history, "ANSWER_TIMEOUT_S", FOREVER_S)
        assert len(found.builds(BuildQuery(limit=10_000)).builds) == 500


def test_whoever_asks_when_it_is_closed_is_told_so(path: Path) -> None:
    with opened(path) as found:
        pass
    with pytest.raises(UnavailableError, match="is closed"):
        found.builds(BuildQuery())


# What is old goes.


def test_what_is_old_goes_a_piece_at_a_time_and_its_room_is_used_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "PIECE", 10)
    monkeypatch.setattr(sweeping, "ROUND", 10)
    monkeypatch.setattr(history, "TEND_S", 0.0)

    def month(number: int) -> None:
        since_ms = FIRST_DAY_MS + number * 30 * DAY_MS
        days = [since_ms + n * DAY_MS // 75 for n in range(300)]
        name = f"job-{number}"
        found.take([batch([build(f"{number}-{n}", at_ms, job=name) for n, at_ms in enumerate(days)])])
        found.take([batch([change(f"{number}-{n}", "ended", at_ms, message=name) for n, at_ms in enumerate(days)])])
        found.take([batch([sample(at_ms, f"t{n % 7}") for n, at_ms in enumerate(days)])])

    def counts() -> dict[str, int]:
        tables = ("builds", "documents", "sums", "changes", "samples", "names")
        with found.reading() as db:
            return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}

    with closing(SqliteHistory(path, dict.fromkeys(Kind, 30))) as found:
        month(0)
        whole = counts()
        sizes = []
        for number in range(1, 8):
            month(number)
            now = (FIRST_DAY_MS + (number + 1) * 30 * DAY_MS) / 1000
            assert found.stats(StatsQuery(0, int(now * 1000))).total.builds <= 600
            for _ in range(400):  # each comes to one piece
                found.tend(now)
            left = counts()
            assert left["builds"] == left["documents"] == left["changes"] == left["samples"] == 300
            assert left["names"] == whole["names"]
            assert found.stats(StatsQuery(0, int(now * 1000))).total.builds == 300
            found.empty_journal()
            sizes.append(path.stat().st_size)
    assert sizes[-1] <= sizes[1]


def test_what_is_too_old_when_it_comes_is_not_taken(path: Path) -> None:
    with opened(path) as found:
        found.tend((FIRST_DAY_MS + 500 * DAY_MS) / 1000)
        old = [batch([build("r1")]), batch([change("r1", "ended")]), batch([sample()])]
        assert found.take(old) == []
        assert ids(found) == []
        with found.reading() as db:
            assert db.execute("SELECT count(*) FROM builds").fetchone() == (0,)
        assert found.samples(SampleQuery(0, FIRST_DAY_MS + 1)) == []
        assert found.runs(RunsQuery(0, FIRST_DAY_MS + 1)) == []


def test_builds_are_counted_once_when_all_before_them_have_gone(path: Path) -> None:
    with opened(path) as found:
        found.take([batch([build(f"old{n}") for n in range(5)])])
        found.tend((FIRST_DAY_MS + 500 * DAY_MS) / 1000)
        late_ms = FIRST_DAY_MS + 499 * DAY_MS
        for n in range(3):
            found.take([batch([build(f"new{n}", late_ms + n)])])
            assert found.stats(StatsQuery(0, late_ms + DAY_MS, (Dimension.TENANT,))).total.builds == n + 1
        found.tend((FIRST_DAY_MS + 500 * DAY_MS) / 1000)
        assert found.stats(StatsQuery(0, late_ms + DAY_MS, (Dimension.TENANT,))).groups[0].builds == 3
