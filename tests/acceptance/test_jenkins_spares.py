"""Agents that stand ready and agents that stay: real Mesos, executors and JVMs, and a stand-in for Jenkins."""

from __future__ import annotations

from typing import Any

from benchmarks.jenkins_client import freestyle
from framework.local.spec import HostShape
from tests.acceptance.conftest import MasterFactory, SchedulerFactory
from tests.acceptance.jenkins_masters import AGENT, MasterProcess
from tests.acceptance.scheduler_process import SchedulerProcess, eventually
from tests.integration.conftest import ClusterFactory

SHAPES = [HostShape(count=2, cpus=8, mem_mib=8192)]
TEMPLATES: dict[str, Any] = {
    "warm": {**AGENT, "spares": 1},
    "pool": {**AGENT, "lifetime": "pooled", "idle_min": 0.2},
}


def spares(butlery: SchedulerProcess) -> list[Any]:
    """Those that run."""
    return [
        one for one in butlery.get("/v1/builds", state="running", limit=100)["builds"] if one["tenant"] == "~spares"
    ]


def built(master: MasterProcess, job: str, number: str) -> str:
    """The node that a build of the job ran on."""
    master.jenkins.queue(job, N=number)
    eventually(lambda: master.results(job).get(number) == ["SUCCESS"], f"{job} {number}")
    return str(master.jenkins.builds(job)[0]["builtOn"])


def test_a_spare_serves_whoever_comes_first_and_a_pooled_agent_its_own_tenant(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, master: MasterFactory
) -> None:
    butlery = scheduler(mesos_cluster(shapes=SHAPES), templates=TEMPLATES)
    butlery.start()
    payments = master(butlery, "payments")
    for label in TEMPLATES:
        payments.jenkins.create_job(label, freestyle(label, "true"))

    [spare] = eventually(lambda: spares(butlery), "a spare that stands ready")
    assert built(payments, "warm", "1") == f"butlery-{spare['id']}.1"
    eventually(lambda: [one["id"] for one in spares(butlery)] not in ([], [spare["id"]]), "the next spare")
    [found] = butlery.get("/v1/builds", tenant="payments")["builds"]
    assert found["jenkins"]["node"] == f"butlery-{spare['id']}.1"
    shown = eventually(lambda: ended(butlery, found["id"]), "its end")
    assert shown["build"]["result"]["result_class"] == "passed"
    assert [one["task_id"] for one in shown["job"]["attempts"]] == [f"{spare['id']}.1"]

    nodes = {built(payments, "pool", number) for number in ("1", "2", "3")}
    assert len(nodes) == 1, nodes
    payments.wait_no_nodes()  # once it was idle for long enough
    pooled = [one for one in butlery.get("/v1/builds", tenant="payments")["builds"] if one["template"][:5] == "pool@"]
    eventually(lambda: all(ended(butlery, one["id"]) for one in pooled), "the end of all requests")
    told = [butlery.get(f"/v1/builds/{one['id']}/why")["summary"] for one in pooled]
    assert "passed: served 3 builds; then it was idle for 0.2 minutes" in told
    assert all(each.startswith("passed: served ") for each in told), told  # whether or not the agent was sooner
    assert butlery.get("/v1/tenants/payments/queue")["items"] == []
    butlery.stop()


def ended(butlery: SchedulerProcess, build_id: str) -> Any:
    shown = butlery.get(f"/v1/builds/{build_id}")
    return shown if shown["build"]["stage"] == "ended" else None
