"""Telemetry as the settings say: its directory, the spool and the sink, and whoever else takes records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from framework.edges.chat import AlertsConsumer
from framework.edges.otlp import TracesConsumer
from framework.edges.spool.spool import FileSpool
from framework.edges.sqlite_history import SqliteHistory
from framework.errors import Fault, InputError, StoreError
from framework.ports import Chance, Clock
from framework.runtime.telemetry.desk import TelemetryDesk
from framework.runtime.telemetry.late_sink import LateSink
from framework.runtime.telemetry.metrics import Metrics
from framework.runtime.telemetry.prices import PriceWatch
from framework.runtime.telemetry.sizes import SizeKeeper
from framework.settings import Settings
from framework.telemetry.records import Kind
from framework.telemetry_ports import Consumer, Sink
from framework.telemetry_settings import TelemetrySettings


@contextmanager
def open_telemetry(settings: Settings, metrics: Metrics, clock: Clock, chance: Chance) -> Iterator[TelemetryDesk]:
    """Closed at the end. Raises InputError for what the settings' author must mend; nothing else keeps it from opening:

    an outside service that is away, or a disk that is full, is told by the desk.
    """
    telemetry = settings.telemetry
    directory = telemetry.path or settings.state.path.parent / "telemetry"
    with ExitStack() as stack:
        prices = PriceWatch(telemetry.prices_path, clock)
        try:
            sink = _sink(telemetry, directory, clock)
            stack.callback(sink.close)
            others = _others(telemetry, clock)
            consumers = {consumer.name: consumer.kinds for consumer in (sink, *others)}
            spool = FileSpool(directory / "spool", consumers, telemetry.spool_mib << 20, clock)
        except StoreError as error:
            hint = "; several schedulers of one machine have a telemetry.path each" if settings.state.zookeeper else ""
            raise InputError([Fault("", f"{error}{hint}")]) from error
        stack.pop_all()
    sizes = SizeKeeper(telemetry.sizing, sink.builds, clock, chance) if telemetry.sizing.apply else None
    desk = TelemetryDesk(spool, sink, others, prices, metrics, telemetry.sample_every_s, clock, chance, sizes)
    try:
        yield desk
    finally:
        desk.close()


def _sink(telemetry: TelemetrySettings, directory: Path, clock: Clock) -> Sink:
    if telemetry.sink == "elasticsearch":
        from framework.edges.elasticsearch.sink import ElasticsearchSink  # its client is large

        return ElasticsearchSink(telemetry, clock.now)
    keep_d = {
        Kind.BUILDS: telemetry.keep_builds_d,
        Kind.CHANGES: telemetry.keep_changes_d,
        Kind.SAMPLES: telemetry.keep_samples_d,
    }
    return LateSink("sqlite", lambda: SqliteHistory(directory / "history.db", keep_d))


def _others(telemetry: TelemetrySettings, clock: Clock) -> Sequence[Consumer]:
    traces = [] if telemetry.traces.url is None else [TracesConsumer(telemetry.traces, clock)]
    return [*traces, *(AlertsConsumer(alert, clock) for alert in telemetry.alerts)]
