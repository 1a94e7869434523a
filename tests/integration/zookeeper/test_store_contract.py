"""The behaviour that every store has, of the one in a real ZooKeeper; and what those see that follow it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from framework.ports import Store
from tests.contract.store_contract import StoreContract, StoreFactory
from tests.integration.zookeeper.clients import Client, until


class TestZooKeeperStore(StoreContract):
    @pytest.fixture
    def open_store(self, zookeeper_url: str) -> Iterator[StoreFactory]:
        opened: list[Client] = []

        def open_again() -> Store:
            if opened:
                opened.pop().close()
            opened.append(Client(zookeeper_url))
            opened[0].lead()
            return opened[0].store

        yield open_again
        for client in opened:
            client.close()


class TestFollowedZooKeeperStore(StoreContract):
    """What one leader wrote, the next one knows that has followed all the while; and both have checkpoints."""

    @pytest.fixture
    def open_store(self, zookeeper_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreFactory]:
        monkeypatch.setattr("framework.edges.zookeeper.store.CHECKPOINT_FRAMES", 2)
        leads, follows = Client(zookeeper_url, "first"), Client(zookeeper_url, "second")
        started = False

        def open_again() -> Store:
            nonlocal leads, follows, started
            if started:
                written = leads.store.revision
                leads.close()
                until(lambda: follows.store.revision >= written, "the frames of the other")
                leads, follows = follows, Client(zookeeper_url, "next")
            started = True
            leads.lead()
            return leads.store

        yield open_again
        leads.close()
        follows.close()
