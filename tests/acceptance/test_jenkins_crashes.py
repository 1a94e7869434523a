"""What becomes of tenants' builds as a master, the scheduler, an agent or its host dies under them."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from benchmarks.jenkins_client import parameter_of, pipeline
from framework.core.ids import task_of_node
from framework.local.spec import HostShape
from tests.acceptance.conftest import MasterFactory, SchedulerFactory
from tests.acceptance.jenkins_masters import AGENT, MasterProcess, witnessed
from tests.acceptance.scheduler_process import SchedulerProcess, eventually
from tests.acceptance.test_jenkins_builds import builds_of, wait_ended
from tests.acceptance.witness import Witness
from tests.integration.conftest import ClusterFactory

SHAPES = [HostShape(count=2, cpus=1.2, mem_mib=4096)]
TEMPLATES = {"maven": {**AGENT, "cpus": 0.35, "timeout_s": 600}}
"""Of which three fit on a host with their Mesos executors."""
ROOM = 6
PIPELINE = """
node('maven') {{
  sh 'touch {directory}/begun-$NODE_NAME; while [ ! -e {directory}/go ]; do sleep 1; done'
}}
"""


def start(butlery: SchedulerProcess, master: MasterFactory, witness: Witness, count: int) -> MasterProcess:
    """A master whose queue holds ``count`` builds, of which as many run as there is room for."""
    butlery.start()
    payments = master(butlery, "payments")
    payments.jenkins.create_job("build", witnessed(witness, "maven"))
    for number in range(count):
        payments.jenkins.queue("build", N=str(number))
    running = min(count, ROOM)
    eventually(lambda: len(started(witness, count)) == running, f"{running} builds that run")
    return payments


def started(witness: Witness, count: int) -> list[int]:
    return [number for number in range(count) if witness.started(f"build-{number}")]


def assert_each_served_once(payments: MasterProcess, witness: Witness, count: int) -> None:
    witness.release()
    payments.wait_results("build", {str(number): ["SUCCESS"] for number in range(count)})
    assert [len(witness.started(f"build-{number}")) for number in range(count)] == [1] * count
    payments.wait_no_nodes()


def agents_of(node: str) -> list[int]:
    """Pids of the JVM that is the node's agent."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"-jar" in arguments and node.encode() in arguments:
                found.append(int(entry.name))
    return found


def test_kill_9_of_the_scheduler_with_builds_that_run_and_items_that_wait(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, master: MasterFactory, open_dir: Path
) -> None:
    butlery, witness = scheduler(mesos_cluster(shapes=SHAPES), templates=TEMPLATES), Witness(open_dir)
    payments = start(butlery, master, witness, 10)
    butlery.kill9()
    payments.jenkins.queue("build", N="10")  # while nobody listens
    for number in started(witness, 10)[:2]:
        witness.release(f"build-{number}")
    eventually(lambda: sum(map(len, payments.results("build").values())) >= 2, "builds that end meanwhile")
    butlery.start()
    assert_each_served_once(payments, witness, 11)
    ended = wait_ended(butlery, "payments", 11)
    assert [build["result"]["result_class"] for build in ended] == ["passed"] * 11
    butlery.stop()


def test_kill_9_of_a_master_under_running_agents(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, master: MasterFactory, open_dir: Path
) -> None:
    """A Pipeline goes on, on an agent; whatever else there was is gone, also from Mesos; new builds are served."""
    butlery = scheduler(mesos_cluster(shapes=SHAPES), templates=TEMPLATES)
    butlery.start()
    witness = Witness(open_dir)
    payments = master(butlery, "payments")
    payments.jenkins.create_job("pipeline", pipeline(PIPELINE.format(directory=open_dir)))
    payments.jenkins.create_job("build", witnessed(witness, "maven"))
    payments.jenkins.queue("pipeline", N="1")
    payments.jenkins.queue("build", N="1")
    eventually(lambda: [*open_dir.glob("begun-*")] and witness.started("build-1"), "both builds")
    payments.kill9()
    payments.start()
    payments.jenkins.queue("build", N="2")
    eventually(lambda: witness.started("build-2"), "a build of the new master")
    witness.release()
    (open_dir / "go").touch()
    eventually(lambda: payments.results("build").get("2") == ["SUCCESS"], "its end")
    payments.wait_no_nodes()
    eventually(
        lambda: all(build["state"] == "ended" for build in builds_of(butlery, "payments")), "the end of all requests"
    )
    butlery.stop()


def wait_told_lost(payments: MasterProcess, build: Mapping[str, Any]) -> None:
    number = str(parameter_of(build, "N"))
    eventually(lambda: payments.results("build")[number][0] == "FAILURE", f"the end of {build}")
    eventually(
        lambda: "[butlery]" in payments.jenkins.log("build", build["number"]), f"the reason in the log of {build}"
    )


def test_an_agent_that_dies_under_its_build_is_replaced_and_the_job_is_told(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, master: MasterFactory, open_dir: Path
) -> None:
    cluster = mesos_cluster(shapes=SHAPES, fresh=True)
    butlery, witness = scheduler(cluster, templates=TEMPLATES), Witness(open_dir)
    payments = start(butlery, master, witness, 3)
    first, second, third = payments.jenkins.builds("build")
    (pid,) = agents_of(first["builtOn"])
    os.kill(pid, signal.SIGKILL)
    payments.jenkins.delete_node(third["builtOn"])
    for build in (first, third):
        wait_told_lost(payments, build)
    request = str(task_of_node(second["builtOn"])).partition(".")[0]
    lost = butlery.job(request)["attempts"][-1]["host"]
    host = next(one for one in butlery.get("/v1/hosts")["hosts"] if one["hostname"] == lost)
    told = {"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": host["id"]}}}
    answer = httpx.post(f"{cluster.url}/api/v1", json=told, trust_env=False)
    assert answer.status_code == 200, answer.text
    witness.release()
    numbers = [str(parameter_of(build, "N")) for build in (first, second, third)]
    eventually(
        lambda: all(payments.results("build")[number][-1] == "SUCCESS" for number in numbers), "all builds after all"
    )
    payments.wait_no_nodes()
    butlery.stop()
