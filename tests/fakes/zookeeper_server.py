"""Fixtures of a real ZooKeeper: nothing of it is faked, it only lives as long as the tests."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from framework.local import zookeeper
from framework.local.zookeeper import ZooKeeperServer

_numbers = itertools.count(1)


class ZooKeeperFactory(Protocol):
    """Starts servers that no other test gets, for tests that break them: one alone, or an ensemble of ``count``."""

    def __call__(self, count: int = 1, tick_ms: int = zookeeper.TICK_MS) -> list[ZooKeeperServer]: ...


@pytest.fixture(scope="session")
def zookeeper_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    """One server for all the tests that do it no harm."""
    server = ZooKeeperServer(tmp_path_factory.mktemp("zookeeper") / "shared")
    zookeeper.start([server])
    yield server
    server.stop()


@pytest.fixture
def zookeeper_url(zookeeper_server: ZooKeeperServer) -> str:
    """The shared server with a chroot of the test's own, which nobody has made yet."""
    return zookeeper.url([zookeeper_server], f"/test-{next(_numbers)}")


@pytest.fixture
def own_zookeeper() -> Iterator[ZooKeeperFactory]:
    started: list[ZooKeeperServer] = []
    directory = Path(tempfile.mkdtemp(prefix="butlery-zookeeper-"))

    def start(count: int = 1, tick_ms: int = zookeeper.TICK_MS) -> list[ZooKeeperServer]:
        home = directory / str(next(_numbers))
        servers = zookeeper.ensemble(home, count, tick_ms) if count > 1 else [ZooKeeperServer(home, tick_ms=tick_ms)]
        started.extend(servers)
        zookeeper.start(servers)
        return servers

    yield start
    zookeeper.stop(started)
    shutil.rmtree(directory)
