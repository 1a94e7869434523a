"""The history in SQLite: all that every history does, and what it does beyond that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from framework.edges.sqlite_history import SqliteHistory, taking
from framework.telemetry.records import Kind
from tests.contract.history_contract import HistoryContract, HistoryFactory

KEEP_D = {Kind.BUILDS: 400, Kind.CHANGES: 30, Kind.SAMPLES: 90}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry" / "history.db"


@pytest.fixture
def open_history(path: Path) -> Iterator[HistoryFactory]:
    opened: list[SqliteHistory] = []

    def open_it() -> SqliteHistory:
        for history in opened:
            history.close()
        opened[:] = [SqliteHistory(path, KEEP_D)]
        return opened[0]

    yield open_it
    for history in opened:
        history.close()


class TestSqliteHistory(HistoryContract):
    """As builds come: those of one test are too few to be summed up."""

    @pytest.fixture
    def open_history(self, open_history: HistoryFactory) -> HistoryFactory:
        return open_history


class TestSqliteHistorySummedUp(TestSqliteHistory):
    """Every few builds are summed up, so that most are and some are not."""

    @pytest.fixture(autouse=True)
    def often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(taking, "SUMMED_AT_ONCE", 7)
