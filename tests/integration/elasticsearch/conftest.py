"""A sink that talks to the real Elasticsearch through a proxy of the test's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from framework.edges.elasticsearch.sink import ElasticsearchSink
from framework.local.elasticsearch import ElasticsearchServer
from tests.integration.elasticsearch.histories import Moment, call, sink_of
from tests.integration.elasticsearch.odd_proxy import OddProxy


class SinkFactory(Protocol):
    """A sink of the test's prefix, closed at the end; at first through the proxy."""

    def __call__(self, *, url: str | None = None, clock: Moment | None = None, **changes: Any) -> ElasticsearchSink: ...


@pytest.fixture
def proxy(elasticsearch_server: ElasticsearchServer) -> Iterator[OddProxy]:
    with OddProxy(elasticsearch_server.port).running() as proxy:
        yield proxy


@pytest.fixture
def new_sink(
    elasticsearch_server: ElasticsearchServer, elasticsearch_prefix: str, proxy: OddProxy
) -> Iterator[SinkFactory]:
    with ExitStack() as stack:
        stack.callback(lambda: call(elasticsearch_server, "DELETE", f"/{elasticsearch_prefix}-*"))

        def new(*, url: str | None = None, clock: Moment | None = None, **changes: Any) -> ElasticsearchSink:
            sink = sink_of(url or proxy.url, elasticsearch_prefix, clock or Moment(), **changes)
            stack.callback(sink.close)
            return sink

        yield new
