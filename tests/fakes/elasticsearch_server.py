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

_numbers = itertools.count(1)


class ElasticsearchFactory(Protocol):
    """Starts a server that no other test gets, for tests that break it; ``settings`` are more of its own."""

    def __call__(self, **settings: object) -> ElasticsearchServer: ...


@pytest.fixture(scope="session")
def elasticsearch_package() -> Path:
    """Where Elasticsearch is, fetched if this machine does not have it yet."""
    return elasticsearch.ensure(print)


@pytest.fixture(scope="session")
def elasticsearch_server(
    elasticsearch_package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ElasticsearchServer]:
    """One server for all the tests that do it no harm and keep to a prefix of their own."""
    server = ElasticsearchServer(tmp_path_factory.mktemp("elasticsearch") / "shared", elasticsearch_package)
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
def own_elasticsearch(elasticsearch_package: Path) -> Iterator[ElasticsearchFactory]:
    started: list[ElasticsearchServer] = []
    directory = Path(tempfile.mkdtemp(prefix="butlery-elasticsearch-"))

    def start(**settings: object) -> ElasticsearchServer:
        server = ElasticsearchServer(directory / str(next(_numbers)), elasticsearch_package, settings=settings)
        started.append(server)
        server.start()
        server.wait_ready()
        return server

    yield start
    for server in started:
        server.stop()
    shutil.rmtree(directory)
