"""Elasticsearch does what every history does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from framework.edges.elasticsearch.sink import ElasticsearchSink
from framework.local.elasticsearch import ElasticsearchServer
from framework.telemetry_ports import Sink
from tests.contract.history_contract import HistoryContract, HistoryFactory
from tests.integration.elasticsearch.histories import Moment, call, settings_for


class _Sink(ElasticsearchSink):
    """What it is told the time is when it tends is the time that it knows by itself."""

    moment: Moment

    def tend(self, now: float) -> None:
        self.moment.at_s = now
        super().tend(now)


class TestElasticsearch(HistoryContract):
    @pytest.fixture
    def open_history(
        self, elasticsearch_server: ElasticsearchServer, elasticsearch_prefix: str
    ) -> Iterator[HistoryFactory]:
        moment = Moment()
        opened: list[ElasticsearchSink] = []

        def open_history() -> Sink:
            while opened:
                opened.pop().close()
            sink = _Sink(settings_for(elasticsearch_server.url, elasticsearch_prefix), moment)
            sink.moment = moment
            opened.append(sink)
            return sink

        self.server, self.prefix = elasticsearch_server, elasticsearch_prefix
        yield open_history
        for sink in opened:
            sink.close()
        call(elasticsearch_server, "DELETE", f"/{elasticsearch_prefix}-*")

    def settle(self, history: Sink) -> None:
        call(self.server, "POST", f"/{self.prefix}-*/_refresh")
