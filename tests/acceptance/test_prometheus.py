"""A real Prometheus scrapes a real scheduler; what the dashboards and alerts ask of it, it has."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from framework.cli.dashboards import FILES
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.prometheus_server import PrometheusServer, checked_by_promtool
from tests.acceptance.scheduler_process import ADMIN_TOKEN, TENANT, SchedulerProcess, eventually
from tests.fakes.dashboard_files import asked, expressions
from tests.integration.conftest import ClusterFactory

TOKEN = "prometheus-alone-has-this-token"
PRICES = """\
currency: EUR
prices:
  - name: all
    cpu_hour: 3600
    mem_gib_hour: 3600
    disk_gib_hour: 3600
"""


@pytest.fixture
def scraped(mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, open_dir: Path) -> SchedulerProcess:
    """A scheduler that has built something that passed, something that failed, and has something that waits."""
    (open_dir / "token").write_text(TOKEN + "\n")
    (open_dir / "token").chmod(0o600)
    (open_dir / "prices.yaml").write_text(PRICES)
    telemetry = {
        "metrics": {"token_file": str(open_dir / "token")},
        "prices_path": str(open_dir / "prices.yaml"),
        "sample_every_s": 5,
    }
    made = scheduler(mesos_cluster(), telemetry=telemetry)
    made.start()
    made.make_tenant(quota={"cpus": 4, "mem_mib": 4096, "builds": 2})
    for script in ("exit 0", "exit 1"):
        made.wait_ended(made.submit("short", script))
    made.wait_running([made.submit("long", "sleep 600") for _ in range(2)])
    made.submit("waits", "exit 0")
    return made


@pytest.fixture
def prometheus(scraped: SchedulerProcess, tmp_path: Path) -> Iterator[PrometheusServer]:
    """Configured as our example says, but for where the scheduler is and its token's file."""
    (job,) = yaml.safe_load((FILES / "prometheus" / "butlery-scrape.yml").read_text())
    job["authorization"]["credentials_file"] = str(scraped.directory.parent / "token")
    job["static_configs"] = [{"targets": [f"127.0.0.1:{scraped.port}"]}]
    server = PrometheusServer(tmp_path / "prometheus", [job])
    try:
        server.start()
        yield server
    finally:
        server.stop()


def test_a_real_prometheus_reads_all_that_dashboards_and_alerts_ask_for(
    scraped: SchedulerProcess, prometheus: PrometheusServer
) -> None:
    def found(expression: str) -> float | None:
        result = prometheus.query(expression)
        return float(result[0]["value"][1]) if result else None

    eventually(lambda: found('up{job="butlery"}') == 1, "the first scrape")
    (target,) = prometheus.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    of_tenant = f'tenant="{TENANT}"'
    eventually(lambda: found(f'butlery_builds_waiting{{{of_tenant}, reason="quota"}}') == 1, "a sample of what waits")
    assert found("butlery_leader") == found("butlery_mesos_connected") == found('butlery_hosts{state="active"}') == 1
    assert found(f'butlery_builds{{{of_tenant}, stage="running"}}') == 2
    assert found(f'butlery_builds_ended_total{{{of_tenant}, result_class="passed"}}') == 1
    assert found(f'butlery_builds_ended_total{{{of_tenant}, result_class="failed"}}') == 1
    assert found(f"butlery_build_wait_seconds_count{{{of_tenant}}}") == 2
    assert (found(f'butlery_build_cost_total{{{of_tenant}, currency="EUR"}}') or 0) > 0
    assert found(f"butlery_tenant_quota_memory_bytes{{{of_tenant}}}") == 4096 * 1024 * 1024
    assert (found("butlery_telemetry_records_taken_total") or 0) > 0
    assert found("time() - process_start_time_seconds < 600") is not None

    there = prometheus.names()
    for where, expression in expressions():
        prometheus.query(expression)
        missing = asked(expression).metrics - there - {"butlery_builds_unpriced_total"}  # each of ours has its price
        assert not missing, f"{where}: {missing}"
    page = httpx.get(f"{scraped.url}/metrics", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}, trust_env=False)
    promtool = checked_by_promtool(page.text)
    assert (promtool.returncode, promtool.stdout + promtool.stderr) == (0, "")
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert [
        rule["name"] for rule in rules if rule["state"] == "firing" and rule["labels"]["severity"] == "critical"
    ] == []


def test_promtool_finds_no_fault_with_the_alerts() -> None:
    rules = str(FILES / "prometheus" / "butlery-alerts.yml")
    checked = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr
