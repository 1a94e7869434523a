"""Elasticsearch and the scheduler die in the midst of builds: no build notices, and each is in Elasticsearch once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from benchmarks.jenkins_client import freestyle
from framework.local.elasticsearch import ElasticsearchServer
from framework.local.spec import HostShape
from tests.acceptance.conftest import MasterFactory, SchedulerFactory
from tests.acceptance.jenkins_masters import AGENT
from tests.acceptance.scheduler_process import ADMIN_TOKEN, TENANT, SchedulerProcess, eventually
from tests.acceptance.witness import Witness
from tests.fakes.elasticsearch_server import ElasticsearchFactory
from tests.fakes.webhooks import written
from tests.integration.conftest import ClusterFactory

SHAPES = [HostShape(count=2, cpus=16, mem_mib=8000)]
PRICES = "{currency: EUR, prices: [{name: all, cpu_hour: 3600, mem_gib_hour: 0}]}"
CLI_TIMEOUT_S = 60
MOST = 500  # in one answer
WITH_JENKINS = "payments"
OF_EACH = 10  # jobs at a time
ON_AGENTS = 2  # builds of Jenkins at a time


class Submitted:
    """Jobs and builds of Jenkins of two tenants, some at a time."""

    def __init__(self, butlery: SchedulerProcess, master: MasterFactory, witness: Witness) -> None:
        self._butlery = butlery
        butlery.make_tenant()
        self.payments = master(butlery, WITH_JENKINS)
        self.payments.jenkins.create_job("maven", freestyle("maven", "true"))
        self._witness = witness
        self._long = [butlery.submit("long", witness.script, tenant=tenant) for tenant in (TENANT, WITH_JENKINS)]
        self.jobs: dict[str, str] = {}
        """Ids by name."""
        self.numbers: list[str] = []
        """Of builds of Jenkins."""

    def some(self) -> None:
        begin = len(self.jobs) // 2
        for number in range(begin, begin + OF_EACH):
            for tenant in (TENANT, WITH_JENKINS):
                name = f"{tenant}-{number:02}"
                self.jobs[name] = self._butlery.submit(name, "sleep 0.3", tenant=tenant)
        for _ in range(ON_AGENTS):
            self.numbers.append(str(len(self.numbers)))
            self.payments.jenkins.queue("maven", N=self.numbers[-1])

    def wait_ended(self) -> None:
        """None of them has noticed anything."""
        for job_id in self.jobs.values():
            self._wait_passed(job_id)
        self.payments.wait_results("maven", {number: ["SUCCESS"] for number in self.numbers})
        self.payments.wait_no_nodes()

    def wait_long_ended(self) -> None:
        """Those that ran all the time."""
        self._witness.release()
        for job_id in self._long:
            self._wait_passed(job_id)

    def _wait_passed(self, job_id: str) -> None:
        job = self._butlery.wait_ended(job_id)
        assert job["result"]["result_class"] == "passed", job


class Asking:
    """What Elasticsearch has, by itself and by the command line."""

    def __init__(self, server: ElasticsearchServer, butlery: SchedulerProcess) -> None:
        self._server = server
        self._url = butlery.url
        self._token_file = written(butlery.directory / "admin.token", ADMIN_TOKEN)

    def documents(self, kind: str, query: str = "*") -> list[dict[str, Any]]:
        """All of them, however many have the same id."""
        alias = f"{self._server.url}/butlery-{kind}"
        if httpx.post(f"{alias}/_refresh", trust_env=False).status_code == 404:
            return []
        found = httpx.get(f"{alias}/_search", params={"q": query, "size": MOST}, trust_env=False).json()["hits"]
        assert found["total"]["value"] == len(found["hits"])
        return [hit["_source"] for hit in found["hits"]]

    def ended(self) -> list[str]:
        """The builds of whose newest attempt a change says it: a launch that the kill swallowed is an attempt too."""
        changes = self.documents("changes", "state:ended")
        newest: dict[str, int] = {}
        for one in changes:
            newest[one["build"]] = max(one["attempt"], newest.get(one["build"], 0))
        return [one["build"] for one in changes if one["attempt"] == newest[one["build"]]]

    def sampled(self) -> set[str | None]:
        """Tenants, and None for the cluster."""
        return {one.get("tenant") for one in self.documents("samples")}

    def butlery(self, *arguments: str) -> Any:
        options = ("--json", "--server", self._url, "--token-file", str(self._token_file))
        done = subprocess.run(
            [sys.executable, "-m", "framework.cli", *arguments, *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLI_TIMEOUT_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return json.loads(done.stdout)


def troubles(butlery: SchedulerProcess) -> list[str]:
    return [one["trouble"] for one in butlery.get("/v1/telemetry")["consumers"] if one["trouble"]]


def test_each_build_is_there_once_whoever_dies_meanwhile(
    own_elasticsearch: ElasticsearchFactory,
    mesos_cluster: ClusterFactory,
    scheduler: SchedulerFactory,
    master: MasterFactory,
    open_dir: Path,
) -> None:
    (open_dir / "prices.yaml").write_text(PRICES)
    server = own_elasticsearch()
    telemetry = {
        "sink": "elasticsearch",
        "elasticsearch": {"urls": [server.url], "replicas": 0},
        "prices_path": str(open_dir / "prices.yaml"),
        "sample_every_s": 5,
    }
    butlery = scheduler(mesos_cluster(shapes=SHAPES), templates={"maven": AGENT}, telemetry=telemetry)
    butlery.start()
    submitted, asking = Submitted(butlery, master, Witness(open_dir)), Asking(server, butlery)
    submitted.some()
    eventually(lambda: asking.documents("builds"), "the first build in Elasticsearch")

    server.kill9()
    submitted.some()
    eventually(lambda: troubles(butlery), "a notice of Elasticsearch")
    assert butlery.call("GET", "/v1/builds/past").status_code == 503
    butlery.kill9()
    butlery.start()
    submitted.some()
    submitted.wait_ended()
    assert butlery.well()
    server.start()
    server.wait_ready()
    eventually(lambda: asking.sampled() == {None, TENANT, WITH_JENKINS}, "samples of all")
    submitted.wait_long_ended()

    ids = sorted(job["id"] for job in butlery.get("/v1/jobs", limit=MOST)["jobs"])
    assert {*submitted.jobs.values()} < {*ids}
    eventually(lambda: len(asking.documents("builds")) >= len(ids), "all builds in Elasticsearch")
    eventually(lambda: not troubles(butlery), "the end of the notice")
    built = asking.documents("builds")
    assert sorted(one["id"] for one in built) == ids
    eventually(lambda: sorted(asking.ended()) == ids, "their ends among the changes")
    assert_commands_tell(asking, ids, submitted)
    telemetry_now = butlery.get("/v1/telemetry")
    assert (telemetry_now["rejected"], telemetry_now["dropped"]) == (0, 0), telemetry_now
    butlery.stop()
    assert "Traceback" not in butlery.said()


def assert_commands_tell(asking: Asking, ids: list[str], submitted: Submitted) -> None:
    past = asking.butlery("builds", "list", "--past", "--limit", str(MOST))["builds"]
    assert sorted(one["id"] for one in past) == ids
    assert {one["result_class"] for one in past} == {"passed"}
    told = asking.butlery("builds", "stats", "--by", "tenant")
    counts = {tenant: [one["tenant"] for one in past].count(tenant) for tenant in (TENANT, WITH_JENKINS)}
    assert {group["key"]["tenant"]: group["builds"] for group in told["groups"]} == counts
    assert told["total"]["by_class"] == {"passed": len(ids)}
    assert told["total"]["cost_micros"] == {"EUR": sum(one["cost_micros"] for one in past)}
    assert told["total"]["unpriced"] == 0
    name, job_id = max(submitted.jobs.items())
    shown = asking.butlery("builds", "show", job_id)
    assert [step["step"] for step in shown["steps"]] == ["queued", "claimed", "launched", "running", "ended"]
    assert [one["state"] for one in shown["changes"]] == ["waiting", "starting", "building", "ended"]
    assert (shown["past"]["job"], shown["trouble"]) == (name, "")
    assert shown["past"]["peak_mem_mib"] > 0
    assert shown["past"]["used_cpu_ms"] >= 0
