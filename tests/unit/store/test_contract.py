"""The behaviour that every store has, of each that there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from framework.edges.sqlite import SqliteStore
from framework.ports import Store
from tests.contract.store_contract import StoreContract, StoreFactory
from tests.fakes.memory_store import MemoryStore


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Iterator[StoreFactory]:
        opened: list[SqliteStore] = []

        def open_again() -> Store:
            if opened:
                opened.pop().close()
            opened.append(SqliteStore(tmp_path / "state" / "state.db"))
            return opened[0]

        yield open_again
        for store in opened:
            store.close()


class TestMemoryStore(StoreContract):
    """The fake is held to the same behaviour, so that tests with it mean something."""

    @pytest.fixture
    def open_store(self) -> StoreFactory:
        store = MemoryStore()
        return lambda: store
