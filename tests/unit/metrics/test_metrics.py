"""What is counted, what is told of it, and in which form."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from framework.core.answers import TenantUse
from framework.core.ids import TenantName
from framework.core.resources import Resources
from framework.core.tasks import Quota, Tenant
from framework.errors import UnavailableError
from framework.runtime.telemetry.exposition import Exposition
from framework.runtime.telemetry.families import FAMILIES
from framework.runtime.telemetry.metrics import Metrics
from framework.telemetry_ports import ConsumerHealth, SpoolDepth, TelemetryHealth, Use
from tests.fakes.clockwork import ManualClock
from tests.fakes.control import FakeControl
from tests.fakes.records import build, change
from tests.fakes.seats import FakeSeat
from tests.fakes.telemetry import FakeTelemetry

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class SomeTelemetry(FakeTelemetry):
    def __init__(self) -> None:
        super().__init__()
        self.use = Use(1000.0, [], {"shop": {"quota": 4}})

    async def health(self) -> TelemetryHealth:
        depth = SpoolDepth(records=7, bytes=900, oldest_at=990.0)
        consumers = [
            ConsumerHealth("sqlite", depth, taken=70, trouble="", behind_s=10.0),
            ConsumerHealth("traces", depth, taken=60, trouble="nobody answers", behind_s=10.0),
        ]
        return TelemetryHealth("sqlite", consumers, rejected=2, dropped=3, notices=[])


def one_of_each() -> Metrics:
    """Has counted something of everything that can be."""
    metrics = Metrics()
    served = {"wait_ms": 1500, "launched_at_ms": 1000, "connected_at_ms": 2000, "used_cpu_ms": 2500}
    metrics.ended(build("b1", cost_micros=1_250_000, currency="EUR", **served))
    metrics.ended(build("b2", run_ms=None, result_class="oom", cost_micros=None))
    metrics.changed(change("b1", "ended", result_class="passed"))
    metrics.changed(change("b1", "starting"))
    metrics.turned(0.002)
    metrics.committed(-5.0)
    metrics.queues(["event", "event"])
    return metrics


class BusyControl(FakeControl):
    """Has a tenant that uses something."""

    def tenants(self) -> list[TenantUse]:
        tenant = Tenant(TenantName('o"dd\\ten\nant'), 50, Quota(cpu_millis=2500, mem_mib=2, builds=9))
        return [TenantUse(tenant, 1, 2, 3, Resources(cpu_millis=1500, mem_mib=1), 0.5, 0.25)]


def seat() -> FakeSeat:
    return FakeSeat(BusyControl("shop"))


def samples(text: str, *, as_openmetrics: bool = False) -> Samples:
    parse = openmetrics_families if as_openmetrics else text_string_to_metric_families
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


async def told(exposition: Exposition, accept: str = "") -> Samples:
    body, media_type = await exposition.page(accept)
    assert media_type.startswith("application/openmetrics-text" if accept else "text/plain; version=0.0.4")
    return samples(body.decode(), as_openmetrics=bool(accept))


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"])
async def test_everything_is_told_in_base_units(accept: str) -> None:
    found = await told(Exposition(one_of_each(), seat(), SomeTelemetry(), ManualClock()), accept)
    assert value(found, "butlery_leader") == 1
    assert value(found, "butlery_builds_ended_total", tenant="shop", result_class="oom") == 1
    assert value(found, "butlery_attempts_ended_total", result_class="passed") == 1
    assert value(found, "butlery_build_wait_seconds_bucket", tenant="shop", le="1.0") == 0
    assert value(found, "butlery_build_wait_seconds_bucket", tenant="shop", le="5.0") == 1
    assert value(found, "butlery_build_wait_seconds_bucket", tenant="shop", le="+Inf") == 1
    assert value(found, "butlery_build_wait_seconds_sum", tenant="shop") == 1.5
    assert value(found, "butlery_build_start_seconds_sum", source="jenkins") == 1.0
    assert value(found, "butlery_build_run_seconds_count", source="jenkins") == 1
    assert value(found, "butlery_build_cpu_seconds_total", tenant="shop") == 2.5
    assert value(found, "butlery_build_cost_total", tenant="shop", currency="EUR") == 1.25
    assert value(found, "butlery_builds_unpriced_total", tenant="shop") == 1
    assert value(found, "butlery_builds_waiting", tenant="shop", reason="quota") == 4
    assert value(found, "butlery_state_commit_seconds_sum") == 0  # the wall clock was set back
    assert value(found, "butlery_loop_events_queued") == 2
    assert value(found, "butlery_telemetry_consumer_up", consumer="traces") == 0
    assert value(found, "butlery_telemetry_spool_bytes", consumer="sqlite") == 900
    assert value(found, "butlery_telemetry_records_taken_total", consumer="sqlite") == 70
    assert value(found, "butlery_cluster_cpu_cores") == 16
    assert value(found, "butlery_hosts", state="active") == 1
    odd = 'o"dd\\ten\nant'
    assert value(found, "butlery_builds", tenant=odd, stage="running") == 3
    assert value(found, "butlery_tenant_memory_used_bytes", tenant=odd) == 1024 * 1024
    assert value(found, "butlery_tenant_quota_cpu_cores", tenant=odd) == 2.5
    assert value(found, "process_cpu_seconds_total") > 0


async def test_every_family_is_told_with_its_labels() -> None:
    body, _ = await Exposition(one_of_each(), seat(), SomeTelemetry(), ManualClock()).page("")
    found = {family.name: family for family in text_string_to_metric_families(body.decode())}
    for family in FAMILIES:
        told_as = found[family.name.removesuffix("_total")]
        assert told_as.documentation == family.help
        labels = {frozenset(sample.labels) - {"le"} for sample in told_as.samples}
        assert labels == {frozenset(family.labels)}, family.name
    ours = {name for name in found if name.startswith("butlery_")}
    assert ours == {family.name.removesuffix("_total") for family in FAMILIES}


async def test_a_standby_tells_of_itself_alone() -> None:
    stands_by = seat()
    stands_by.leads = False
    found = await told(Exposition(one_of_each(), stands_by, SomeTelemetry(), ManualClock()))
    assert value(found, "butlery_leader") == 0
    assert value(found, "butlery_builds_ended_total", tenant="shop", result_class="oom") == 1  # while it led
    names = {name for name, _ in found}
    assert not names & {"butlery_builds", "butlery_builds_waiting", "butlery_hosts", "butlery_mesos_connected"}
    assert {"butlery_build_info", "butlery_telemetry_spool_records", "process_resident_memory_bytes"} <= names


async def test_all_else_is_told_while_the_disk_of_telemetry_hangs() -> None:
    class Hanging(SomeTelemetry):
        async def health(self) -> TelemetryHealth:
            raise UnavailableError("the disk does not answer")

    found = {name for name, _ in await told(Exposition(one_of_each(), seat(), Hanging(), ManualClock()))}
    assert "butlery_builds" in found and "butlery_telemetry_spool_records" not in found


async def test_a_page_is_told_to_all_who_ask_within_a_second() -> None:
    clock, metrics = ManualClock(), one_of_each()
    exposition = Exposition(metrics, seat(), None, clock)
    first, _ = await exposition.page("")
    metrics.turned(0.1)
    assert (await exposition.page(""))[0] is first
    clock.advance(1.0)
    again = samples((await exposition.page(""))[0].decode())
    assert value(again, "butlery_loop_turn_seconds_count") == 2


def test_what_was_counted_stays_as_it_was() -> None:
    metrics = one_of_each()
    before = metrics.counted()
    metrics.ended(build("b3", wait_ms=0))
    assert (before.ended, before.waits["shop"].counts[0]) == ({("shop", "passed"): 1, ("shop", "oom"): 1}, 0)
