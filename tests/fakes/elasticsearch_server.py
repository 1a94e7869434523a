"""Fixtures of a real Elasticsearch 7.17: nothing of it is faked, it only lives as long as the tests."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from framework.local import elasticsearch
from framework.local.elasticsearch import ElasticsearchServer

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
"""Bytes. With less left its indices would be shut for want of room, as on any disk."""

_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For Java: half of the CPU time of a minute's tests is that of its optimizing compiler and collector."""

_numbers = itertools.count(1)


class ElasticsearchFactory(Protocol):
    """Starts a server that no other test gets, for tests that break it; ``settings`` are more of its own."""

    def __call__(self, **settings: object) -> ElasticsearchServer: ...


@pytest.fixture(scope="session")
def elasticsearch_package() -> Path:
    """Where Elasticsearch is, fetched if this machine does not have it yet."""
    return elasticsearch.ensure(print)


@pytest.fixture(scope="session")
def elasticsearch_directory() -> Iterator[Path]:
    """For the servers' data: in memory where there is room, as each new index is a dozen waits for a disk."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    directory = Path(tempfile.mkdtemp(prefix="butlery-elasticsearch-", dir=_MEMORY if roomy else None))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def elasticsearch_server(elasticsearch_package: Path, elasticsearch_directory: Path) -> Iterator[ElasticsearchServer]:
    """One server for all the tests that do it no harm and keep to a prefix of their own."""
    server = ElasticsearchServer(elasticsearch_directory / "shared", elasticsearch_package, java_options=_SHORT_LIVED)
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture
def elasticsearch_prefix() -> str:
    """What the names of the test's own indices begin with."""
    return f"test{next(_numbers)}"


@pytest.fixture
def own_elasticsearch(elasticsearch_package: Path, elasticsearch_directory: Path) -> Iterator[ElasticsearchFactory]:
    started: list[ElasticsearchServer] = []

    def start(**settings: object) -> ElasticsearchServer:
        server = ElasticsearchServer(
            elasticsearch_directory / str(next(_numbers)),
            elasticsearch_package,
            settings=settings,
            java_options=_SHORT_LIVED,
        )
        started.append(server)
        server.start()
        server.wait_ready()
        return server

    yield start
    for server in started:
        server.stop()
