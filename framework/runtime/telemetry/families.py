"""The metrics that Prometheus is told: their names, what they mean, and what of the scheduler each is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple

import msgspec
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily

import framework
from framework.core.answers import Health, HostUse, TenantUse
from framework.core.resources import ZERO, Resources
from framework.runtime.telemetry.metrics import Counted, Histogram
from framework.telemetry_ports import TelemetryHealth, Use

MIB = 1024 * 1024


class Family(NamedTuple):
    """``name`` as its samples have it, but for the suffixes of a histogram."""

    name: str
    kind: str  # of Prometheus
    labels: tuple[str, ...]
    help: str


FAMILIES = tuple(
    Family(name, kind, tuple(labels.split()), text)
    for name, kind, labels, text in (
        ("butlery_build_info", "info", "version", "The scheduler that answers."),
        ("butlery_leader", "gauge", "", "1 where the scheduler that answers leads, 0 where it stands by."),
        ("butlery_mesos_connected", "gauge", "", "1 while the leader is subscribed to Mesos."),
        ("butlery_draining", "gauge", "", "1 while nothing new is launched, as the operator said."),
        ("butlery_notices", "gauge", "", "What an operator should look at: `butlery top` has the words."),
        ("butlery_builds", "gauge", "tenant stage", "Live builds: waiting, launching (nodes and tasks are), running."),
        ("butlery_builds_waiting", "gauge", "tenant reason", "Builds that wait, by what for, as last sampled."),
        ("butlery_builds_ended_total", "counter", "tenant result_class", "Builds that have ended."),
        ("butlery_attempts_ended_total", "counter", "result_class", "Attempts that have ended, those lost among them."),
        ("butlery_build_wait_seconds", "histogram", "tenant", "From when a build could be built until it was served."),
        (
            "butlery_build_start_seconds",
            "histogram",
            "source",
            "From launch until the agent was online or its job ran.",
        ),
        ("butlery_build_run_seconds", "histogram", "source", "From when a build began until it ended."),
        ("butlery_build_cpu_seconds_total", "counter", "tenant", "CPU time that ended builds used, where measured."),
        ("butlery_build_cost_total", "counter", "tenant currency", "What ended builds cost by the price sheet."),
        ("butlery_builds_unpriced_total", "counter", "tenant", "Ended builds of which at least a part has no price."),
        ("butlery_tenant_cpu_used_cores", "gauge", "tenant", "CPUs that a tenant's builds have."),
        ("butlery_tenant_memory_used_bytes", "gauge", "tenant", "Memory that a tenant's builds have."),
        ("butlery_tenant_dominant_share_ratio", "gauge", "tenant", "Its largest part of any resource, 0 to 1."),
        ("butlery_tenant_fair_share_ratio", "gauge", "tenant", "What its weight entitles it to now, 0 to 1."),
        ("butlery_tenant_weight", "gauge", "tenant", "Its weight in the fair share."),
        ("butlery_tenant_quota_cpu_cores", "gauge", "tenant", "The most CPUs it may have, where there is a limit."),
        ("butlery_tenant_quota_memory_bytes", "gauge", "tenant", "The most memory, where there is a limit."),
        ("butlery_tenant_quota_builds", "gauge", "tenant", "The most builds at once, where there is a limit."),
        ("butlery_hosts", "gauge", "state", "Mesos agent machines that are active, or are not."),
        ("butlery_cluster_cpu_cores", "gauge", "", "CPUs of the active hosts."),
        ("butlery_cluster_cpu_used_cores", "gauge", "", "Of these, what our builds have."),
        ("butlery_cluster_memory_bytes", "gauge", "", "Memory of the active hosts."),
        ("butlery_cluster_memory_used_bytes", "gauge", "", "Of that, what our builds have."),
        ("butlery_offers_held", "gauge", "", "Offers of Mesos that are held, to be used or declined."),
        ("butlery_image_breakers_open", "gauge", "", "Images that builds wait for to be had again."),
        ("butlery_loop_turn_seconds", "histogram", "", "What a turn of the loop takes to decide."),
        ("butlery_loop_events_queued", "gauge", "", "Events that wait for the loop's next turn."),
        ("butlery_state_commit_seconds", "histogram", "", "What saving a frame of the state takes."),
        ("butlery_telemetry_spool_records", "gauge", "consumer", "Records that a consumer has not taken yet."),
        ("butlery_telemetry_spool_bytes", "gauge", "consumer", "Their size on disk."),
        ("butlery_telemetry_behind_seconds", "gauge", "consumer", "Age of the oldest record it has not taken."),
        ("butlery_telemetry_consumer_up", "gauge", "consumer", "0 while it takes nothing: `butlery telemetry status`."),
        ("butlery_telemetry_records_taken_total", "counter", "consumer", "Records that it has taken."),
        ("butlery_telemetry_records_rejected", "gauge", "", "Records kept aside that could not be taken as they are."),
        ("butlery_telemetry_records_dropped_total", "counter", "", "Changes and samples a full spool did not take."),
    )
)
_Rows = Iterable[tuple[tuple[str, ...], float]]
_BY_NAME = {family.name: family for family in FAMILIES}


class Look(msgspec.Struct, frozen=True):
    """What all of it is made of. ``health`` and what follows it are of a leader alone."""

    counted: Counted
    leads: bool
    telemetry: TelemetryHealth | None = None
    health: Health | None = None
    tenants: Sequence[TenantUse] = ()
    hosts: Sequence[HostUse] = ()
    use: Use | None = None  # as last sampled


def families(look: Look) -> Iterator[Metric]:
    """All that are known now; a standby tells of itself and of what it counted while it led."""
    yield InfoMetricFamily("butlery_build", _BY_NAME["butlery_build_info"].help, {"version": framework.__version__})
    yield _gauge("butlery_leader", look.leads)
    yield from _counted(look.counted)
    if look.telemetry is not None:
        yield from _telemetry(look.telemetry)
    if look.health is not None:
        yield from _health(look.health)
        yield from _cluster(look.hosts)
        yield from _tenants(look.tenants)
        reasons = {} if look.use is None else look.use.reasons
        waiting = (((tenant, why), count) for tenant, one in reasons.items() for why, count in one.items())
        yield _gauges("butlery_builds_waiting", waiting)
        yield _gauge("butlery_loop_events_queued", look.counted.queued)


def _counted(counted: Counted) -> Iterator[Metric]:
    yield _counters("butlery_builds_ended_total", counted.ended.items())
    yield _counters("butlery_attempts_ended_total", _one(counted.attempts))
    yield _histograms("butlery_build_wait_seconds", _of_label(counted.waits))
    yield _histograms("butlery_build_start_seconds", _of_label(counted.starts))
    yield _histograms("butlery_build_run_seconds", _of_label(counted.runs))
    yield _counters("butlery_build_cpu_seconds_total", (((of,), ms / 1e3) for of, ms in counted.cpu_ms.items()))
    yield _counters("butlery_build_cost_total", ((of, micros / 1e6) for of, micros in counted.cost_micros.items()))
    yield _counters("butlery_builds_unpriced_total", _one(counted.unpriced))
    yield _histograms("butlery_loop_turn_seconds", [((), counted.turns)])
    yield _histograms("butlery_state_commit_seconds", [((), counted.commits)])


def _telemetry(health: TelemetryHealth) -> Iterator[Metric]:
    each = [((one.name,), one) for one in health.consumers]
    yield _gauges("butlery_telemetry_spool_records", ((of, one.depth.records) for of, one in each))
    yield _gauges("butlery_telemetry_spool_bytes", ((of, one.depth.bytes) for of, one in each))
    yield _gauges("butlery_telemetry_behind_seconds", ((of, one.behind_s) for of, one in each))
    yield _gauges("butlery_telemetry_consumer_up", ((of, not one.trouble) for of, one in each))
    yield _counters("butlery_telemetry_records_taken_total", ((of, one.taken) for of, one in each))
    yield _gauge("butlery_telemetry_records_rejected", health.rejected)
    yield _counters("butlery_telemetry_records_dropped_total", [((), health.dropped)])


def _health(health: Health) -> Iterator[Metric]:
    yield _gauge("butlery_mesos_connected", health.connected)
    yield _gauge("butlery_draining", health.draining)
    yield _gauge("butlery_notices", len(health.notices))
    yield _gauge("butlery_offers_held", health.offers_held)
    yield _gauge("butlery_image_breakers_open", len(health.breakers))


def _cluster(hosts: Sequence[HostUse]) -> Iterator[Metric]:
    active = [use for use in hosts if use.host.active]
    total: Resources = sum((use.host.total for use in active), ZERO)
    used: Resources = sum((use.used for use in active), ZERO)
    states = [(("active",), len(active)), (("inactive",), len(hosts) - len(active))]
    yield _gauges("butlery_hosts", states)
    yield _gauge("butlery_cluster_cpu_cores", total.cpu_millis / 1000)
    yield _gauge("butlery_cluster_cpu_used_cores", used.cpu_millis / 1000)
    yield _gauge("butlery_cluster_memory_bytes", total.mem_mib * MIB)
    yield _gauge("butlery_cluster_memory_used_bytes", used.mem_mib * MIB)


def _tenants(tenants: Sequence[TenantUse]) -> Iterator[Metric]:
    each = [((use.tenant.name,), use) for use in tenants]
    stages = ("waiting", "launching", "running")
    yield _gauges("butlery_builds", (((*of, stage), getattr(use, stage)) for of, use in each for stage in stages))
    yield _gauges("butlery_tenant_cpu_used_cores", ((of, use.used.cpu_millis / 1000) for of, use in each))
    yield _gauges("butlery_tenant_memory_used_bytes", ((of, use.used.mem_mib * MIB) for of, use in each))
    yield _gauges("butlery_tenant_dominant_share_ratio", ((of, use.dominant_share) for of, use in each))
    yield _gauges("butlery_tenant_fair_share_ratio", ((of, use.fair_share) for of, use in each))
    yield _gauges("butlery_tenant_weight", ((of, use.tenant.weight) for of, use in each))
    quotas = [(of, use.tenant.quota) for of, use in each]
    cpus = ((of, quota.cpu_millis / 1000) for of, quota in quotas if quota.cpu_millis is not None)
    yield _gauges("butlery_tenant_quota_cpu_cores", cpus)
    mem = ((of, quota.mem_mib * MIB) for of, quota in quotas if quota.mem_mib is not None)
    yield _gauges("butlery_tenant_quota_memory_bytes", mem)
    builds = ((of, quota.builds) for of, quota in quotas if quota.builds is not None)
    yield _gauges("butlery_tenant_quota_builds", builds)


def _gauge(name: str, value: float) -> Metric:
    return _gauges(name, [((), value)])


def _gauges(name: str, rows: _Rows) -> Metric:
    return _filled(GaugeMetricFamily, name, rows)


def _counters(name: str, rows: _Rows) -> Metric:
    return _filled(CounterMetricFamily, name, rows)


def _filled(of_kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, rows: _Rows) -> Metric:
    family = _BY_NAME[name]
    made = of_kind(name, family.help, labels=family.labels)
    for labels, value in rows:
        made.add_metric(labels, value)
    return made


def _histograms(name: str, rows: Iterable[tuple[tuple[str, ...], Histogram]]) -> Metric:
    family = _BY_NAME[name]
    made = HistogramMetricFamily(name, family.help, labels=family.labels)
    for labels, one in rows:
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*one.bounds, inf), one.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == inf else str(bound), total))
        made.add_metric(labels, buckets, one.sum)
    return made


def _one(counts: dict[str, int]) -> Iterator[tuple[tuple[str, ...], int]]:
    return (((of,), count) for of, count in counts.items())


def _of_label(histograms: dict[str, Histogram]) -> Iterator[tuple[tuple[str, ...], Histogram]]:
    return (((of,), one) for of, one in histograms.items())
