"""The commands and settings of docs/telemetry.rst, as printed, on a real Mesos: past builds, prices, traces, alerts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from framework.local.cluster import MesosCluster
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.manual import blocks, run, write_butlery
from tests.acceptance.scheduler_process import ADMIN_TOKEN, TENANT, eventually
from tests.fakes.post_receiver import PostReceiver, post_receiver
from tests.fakes.webhooks import written

PAGE = "telemetry.rst"
TIMEOUT_S = 120


def names_of_traces(receiver: PostReceiver) -> list[str]:
    """Of the builds that were sent, each one trace however often it was told."""
    found = {
        span.trace_id: span.name
        for posted in receiver.posted
        for resource in ExportTraceServiceRequest.FromString(posted.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if not span.parent_span_id
    }
    return sorted(found.values())


def test_examples_run_as_printed(
    scheduler: SchedulerFactory, mesos_cluster: Callable[..., MesosCluster], open_dir: Path
) -> None:
    of_page = {next(iter(yaml.safe_load(text))): text for text in blocks(PAGE, "yaml")}
    settings = {key: yaml.safe_load(text)["telemetry"] for text in blocks(PAGE, "yaml")
                if "telemetry" in yaml.safe_load(text) for key in yaml.safe_load(text)["telemetry"]}  # fmt: skip
    commands = "".join(blocks(PAGE))
    with post_receiver() as traces, post_receiver() as channel:
        process = scheduler(mesos_cluster())
        folder = process.directory
        programs = folder / "programs"
        programs.mkdir()
        (folder / "prices.yaml").write_text(of_page["currency"])
        written(folder / settings["traces"]["traces"]["headers_file"], "X-Scope: builds")
        alerts = settings["alerts"]["alerts"]
        for alert in alerts:
            alert["every_s"] = 1
            written(folder / alert["url_file"], f"{channel.url}/{alert['name']}")
        alerts[1]["tenants"] = [TENANT]
        given = yaml.safe_load(process.config.read_text())
        given["telemetry"] = {
            "prices_path": "prices.yaml",
            "traces": settings["traces"]["traces"] | {"url": f"{traces.url}/v1/traces"},
            "alerts": alerts,
        }
        process.config.write_text(yaml.safe_dump(given))
        process.start()
        process.make_tenant()
        token_file = written(folder / "admin.token", ADMIN_TOKEN)
        write_butlery(programs, f"--server {process.url} --token-file {token_file}", plain="*dashboards*")

        passing = process.submit("web", "sleep 0.2")
        process.submit("nightly", "exit 3")
        eventually(lambda: len(process.get("/v1/builds/past")["builds"]) == 2, "two builds in the history")
        said = run(commands, folder, programs, TIMEOUT_S)
        for words in ("web", "nightly", "EUR", "all", "sqlite", "traces", "alerts-operators"):
            assert words in said, said
        assert (folder / "builds.csv").read_text().count("\n") == 3
        assert "EUR" in (folder / "costs.csv").read_text()
        assert (folder / "dashboards/kibana/butlery.ndjson").exists()
        said = run(f"butlery builds show {passing}\nbutlery builds why {passing}", folder, programs, TIMEOUT_S)
        assert "on_demand" in said, said

        eventually(lambda: names_of_traces(traces) == ["BUILD nightly", "BUILD web"], "two traces")
        assert traces.posted[0].headers["x-scope"] == "builds"
        eventually(lambda: channel.posted, "a message of the build that failed")
        assert {posted.path for posted in channel.posted} == {"/payments"}  # operators are told of other classes
        assert "`nightly` of `team`" in json.loads(channel.posted[0].body)["text"]
        process.stop()
    assert process.said().count("Traceback") == 0
