"""Sinks on a real Elasticsearch, of a prefix and with a clock of the test's own."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from framework.edges.elasticsearch.sink import ElasticsearchSink
from framework.local.elasticsearch import ElasticsearchServer
from framework.telemetry.records import Record
from framework.telemetry_settings import ElasticsearchSettings, TelemetrySettings
from tests.fakes.records import DAY_MS, FIRST_DAY_MS, batch

TIMEOUT_S = 30.0


class Moment:
    """A clock that stands still until it is set, in seconds since the epoch."""

    def __init__(self, at_s: float = (FIRST_DAY_MS + 20 * DAY_MS) / 1000) -> None:
        self.at_s = at_s

    def __call__(self) -> float:
        return self.at_s


def settings_for(url: str, prefix: str, **changes: Any) -> TelemetrySettings:
    """``changes`` of the section ``elasticsearch``, its secrets too, or with ``keep_`` in front of telemetry's own."""
    secrets = {name: SecretStr(changes.pop(name)) for name in ("password", "api_key") if name in changes}
    own = {name: changes.pop(name) for name in list(changes) if name.startswith("keep_")}
    plain: dict[str, Any] = {"urls": [url], "prefix": prefix, "replicas": 0, "timeout_s": TIMEOUT_S}
    search = ElasticsearchSettings(**(plain | changes))
    for name, secret in secrets.items():
        setattr(search, f"_{name}", secret)
    return TelemetrySettings(sink="elasticsearch", elasticsearch=search, **own)


def sink_of(url: str, prefix: str, clock: Moment | None = None, **changes: Any) -> ElasticsearchSink:
    settings = settings_for(url, prefix, **changes)
    return ElasticsearchSink(settings, clock) if clock is not None else ElasticsearchSink(settings)


def take(sink: ElasticsearchSink, records: Sequence[Record], *, again: bool = False) -> None:
    assert sink.take([batch(records, again=again)]) == []


def call(server: ElasticsearchServer | str, method: str, path: str, body: object = None) -> Any:
    """As an operator would with curl; the answer's JSON. Raises OSError for one that is not good."""
    url = server if isinstance(server, str) else server.url
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url + path, data=data, method=method, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
        return json.load(answer)
