"""Builds of tenants' queues on one-shot agents: real Mesos, executors and JVMs, and stand-ins for Jenkins."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx

from benchmarks.jenkins_client import freestyle, pipeline
from framework.local.cluster import MesosCluster
from framework.local.spec import HostShape
from tests.acceptance.conftest import MasterFactory, SchedulerFactory
from tests.acceptance.jenkins_masters import AGENT, witnessed
from tests.acceptance.scheduler_process import PATIENCE_S, SchedulerProcess, eventually
from tests.acceptance.witness import Witness
from tests.integration.conftest import ClusterFactory

SHAPES = [HostShape(count=2, cpus=8, mem_mib=8192)]
TEMPLATES: dict[str, Any] = {"maven": {**AGENT, "labels": ["maven", "jdk17"]}, "plain": {**AGENT, "default": True}}
PIPELINE = """
node('maven') {
  sh 'echo built on $NODE_NAME'
}
"""


def builds_of(scheduler: SchedulerProcess, tenant: str) -> list[Any]:
    return list(scheduler.get("/v1/jobs", tenant=tenant, limit=100)["jobs"])


def test_each_item_has_an_agent_of_its_own_and_nothing_is_left(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, master: MasterFactory
) -> None:
    cluster = mesos_cluster(shapes=SHAPES)
    butlery = scheduler(cluster, templates=TEMPLATES)
    butlery.start()
    payments, web = master(butlery, "payments"), master(butlery, "web")
    for one in (payments, web):
        one.jenkins.create_job("maven", freestyle("maven && !windows || gpu", "echo built on $NODE_NAME"))
        one.jenkins.create_job("any", freestyle(None, "true"))
        one.jenkins.create_job("pipeline", pipeline(PIPELINE))
    for number in ("1", "2"):
        for one in (payments, web):
            for job in ("maven", "any", "pipeline"):
                one.jenkins.queue(job, N=number)
    for one in (payments, web):
        for job in ("maven", "any", "pipeline"):
            one.wait_results(job, {"1": ["SUCCESS"], "2": ["SUCCESS"]})
        one.wait_no_nodes()
        nodes = [build["builtOn"] for job in ("maven", "any") for build in one.jenkins.builds(job)]
        assert len({*nodes}) == 4, nodes
        assert nodes[0] in one.jenkins.log("maven", 2)
        assert not [node for node in nodes if one.node_secret(node) in told_by(cluster, butlery)]
        ended = wait_ended(butlery, one.tenant, 6)
        assert [build["result"]["result_class"] for build in ended] == ["passed"] * 6
        assert all(len(build["attempts"]) == 1 for build in ended)
    assert "payments" in told_by(cluster, butlery)
    assert payments.jenkins.api_token not in told_by(cluster, butlery)
    butlery.stop()


def told_by(cluster: MesosCluster, butlery: SchedulerProcess) -> str:
    """What anybody sees of tasks, and what the scheduler logged."""
    return httpx.get(f"{cluster.url}/state", trust_env=False).text + butlery.said()


def wait_ended(butlery: SchedulerProcess, tenant: str, count: int) -> list[Any]:
    """The tenant's requests, once there are so many and all have ended."""

    def found() -> list[Any] | None:
        builds = [butlery.job(build["id"]) for build in builds_of(butlery, tenant)]
        return builds if len(builds) == count and all(build["state"] == "ended" for build in builds) else None

    ended: list[Any] = eventually(found, f"the end of {tenant}'s {count} requests")
    return ended


def test_a_label_that_nobody_serves_is_told_where_the_tenant_looks(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, master: MasterFactory
) -> None:
    butlery = scheduler(mesos_cluster(shapes=SHAPES), templates=TEMPLATES)
    butlery.start()
    payments = master(butlery, "payments")
    payments.jenkins.create_job("odd", freestyle("mavne", "true"))
    payments.jenkins.queue("odd", N="1")
    why = eventually(
        lambda: next((item["why"] for item in payments.jenkins.items() if "maven" in (item["why"] or "")), None),
        "the reason in the queue",
    )
    assert "mavne" in why
    payments.jenkins.create_job("broken", freestyle("maven && (", "true"))
    payments.jenkins.queue("broken", N="1")
    eventually(lambda: "maven && (" in str([item["why"] for item in payments.jenkins.items()]), "what is no expression")
    assert payments.jenkins.nodes() == []
    payments.jenkins.create_job("good", freestyle("maven", "true"))
    payments.jenkins.queue("good", N="1")
    payments.wait_results("good", {"1": ["SUCCESS"]})
    butlery.stop()


def test_masters_that_refuse_or_do_not_answer_slow_only_their_own(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, master: MasterFactory
) -> None:
    butlery = scheduler(mesos_cluster(shapes=SHAPES), templates=TEMPLATES, jenkins={"call_timeout_s": 2})
    butlery.start()
    refusing, silent, good = (master(butlery, name) for name in ("refusing", "silent", "good"))
    with socket.create_server(("127.0.0.1", 0)) as nobody:  # takes connections and never says a word
        deaf = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        spoilt = {"refusing": {"api_token": "0" * 34}, "silent": {"url": deaf, "direct_url": deaf}}
        for one in (refusing, silent):
            told = {**(one.told() or {}), **spoilt[one.tenant]}
            answer = butlery.call("PUT", f"/v1/tenants/{one.tenant}/master", json=told)
            assert answer.status_code in (200, 204), answer.text
        for one in (refusing, silent, good):
            one.jenkins.create_job("maven", freestyle("maven", "true"))
            for number in range(4):
                one.jenkins.queue("maven", N=str(number))
        good.wait_results("maven", {str(number): ["SUCCESS"] for number in range(4)})
        for one in (refusing, silent):
            assert one.results("maven") == {}
            wait_mentioned(butlery, builds_of(butlery, one.tenant)[0]["id"], one.tenant)
    butlery.stop()


def wait_mentioned(butlery: SchedulerProcess, request_id: str, words: str) -> None:
    """In why the request waits."""

    def why() -> str:
        return str(butlery.get(f"/v1/jobs/{request_id}/why")["summary"])

    eventually(lambda: words in why(), f"{words} in why it waits, which is: {why()}", PATIENCE_S / 4)


def test_a_node_that_was_made_by_hand_is_left_alone(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, master: MasterFactory, open_dir: Path
) -> None:
    butlery, witness = scheduler(mesos_cluster(shapes=SHAPES), templates=TEMPLATES), Witness(open_dir)
    butlery.start()
    payments = master(butlery, "payments", quota={"builds": 1})
    payments.jenkins.create_job("maven", witnessed(witness, "maven"))
    payments.jenkins.queue("maven", N="1")
    eventually(lambda: witness.started("maven-1"), "the build that uses up the quota")
    payments.jenkins.queue("maven", N="2")
    found = eventually(lambda: waiting(butlery, "payments"), "the request that waits for it")
    own = f"butlery-{found[0]['id']}.1"
    payments.jenkins.create_node(own, "elsewhere")
    payments.jenkins.create_node("butlery-by-hand", "elsewhere")
    witness.release()
    payments.wait_results("maven", {"1": ["SUCCESS"], "2": ["SUCCESS"]})
    eventually(lambda: sorted(payments.jenkins.nodes()) == sorted([own, "butlery-by-hand"]), "the end of ours alone")
    butlery.stop()


def waiting(butlery: SchedulerProcess, tenant: str) -> list[Any]:
    return [build for build in builds_of(butlery, tenant) if build["state"] == "waiting"]


def test_a_template_whose_agents_never_connect_is_paused_and_says_so(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, master: MasterFactory
) -> None:
    broken = {**AGENT, "java": "/nonexistent/java", "retries": 1}
    butlery = scheduler(mesos_cluster(shapes=SHAPES), templates={**TEMPLATES, "broken": broken})
    butlery.start()
    payments = master(butlery, "payments")
    payments.jenkins.create_job("broken", freestyle("broken", "true"))
    for number in range(8):
        payments.jenkins.queue("broken", N=str(number))
    eventually(lambda: "broken" in str(butlery.get("/v1/status")["notices"]), "the notice that it is paused")
    builds = [butlery.job(build["id"]) for build in builds_of(butlery, "payments")]
    assert "/nonexistent/java" in str([build["attempts"] for build in builds])
    payments.jenkins.create_job("maven", freestyle("maven", "true"))
    payments.jenkins.queue("maven", N="1")
    payments.wait_results("maven", {"1": ["SUCCESS"]})
    butlery.stop()
