"""Agents get the size that their job's history says: real Mesos, its executors, JVMs, and a stand-in for Jenkins."""

from __future__ import annotations

from typing import Any

from benchmarks.jenkins_client import freestyle
from framework.local.spec import HostShape
from tests.acceptance.conftest import MasterFactory, SchedulerFactory
from tests.acceptance.jenkins_masters import AGENT
from tests.acceptance.scheduler_process import SchedulerProcess, eventually
from tests.integration.conftest import ClusterFactory

GIVEN_MIB = 1024
ONE_BUILD = {"coverage": 0.5, "confidence": 0.5}
"""That is as little as can be asked for, and takes one build."""


def listed(butlery: SchedulerProcess) -> dict[str, Any]:
    """Builds by the names of their nodes."""
    return {one["jenkins"]["node"]: one for one in butlery.get("/v1/builds", limit=100)["builds"]}


def test_agents_of_a_jobs_own_size_serve_that_job_alone(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, master: MasterFactory
) -> None:
    butlery = scheduler(
        mesos_cluster(shapes=[HostShape(count=1, cpus=8, mem_mib=8192)]),
        templates={"maven": {**AGENT, "mem_mib": GIVEN_MIB}},
        telemetry={"sizing": {"apply": True, **ONE_BUILD}},
    )
    butlery.start()
    payments = master(butlery, "payments")
    payments.jenkins.create_job("measured", freestyle("maven", "head -c 20000000 /dev/zero > file"))
    payments.jenkins.create_job("new", freestyle("maven", "true"))
    numbers = iter(range(1, 100))

    def built() -> Any:
        """The newest build of the measured job, once it has ended."""
        number = str(next(numbers))
        payments.jenkins.queue("measured", N=number)
        payments.wait_results("measured", {str(before): ["SUCCESS"] for before in range(1, int(number) + 1)})
        return listed(butlery)[payments.jenkins.builds("measured")[0]["builtOn"]]

    first = built()
    assert first["sized"] is None

    def sized_one() -> Any:
        found = built()
        return None if found["sized"] is None else found

    sized = eventually(sized_one, "a size of its own", every_s=1.0)
    assert sized["sized"] == {
        "cpus": sized["sized"]["cpus"],
        "mem_mib": GIVEN_MIB // 4,
        "template_cpus": AGENT["cpus"],
        "template_mem_mib": GIVEN_MIB,
    }
    past = eventually(lambda: butlery.get(f"/v1/builds/{sized['id']}")["past"], "its record")
    assert past["limit_mem_mib"] == GIVEN_MIB // 4
    assert past["asked_mem_mib"] == GIVEN_MIB // 4
    assert 19 < past["peak_disk_mib"] < 60

    begin = next(numbers)
    for number in range(begin, begin + 3):
        payments.jenkins.queue("new", N=str(number))
        payments.jenkins.queue("measured", N=str(number))
    for job in ("measured", "new"):
        payments.wait_results(
            job, {str(number): ["SUCCESS"] for number in range(1 if job == "measured" else begin, begin + 3)}
        )
    found = listed(butlery)
    for job, has_own in (("measured", True), ("new", False)):
        nodes = [one["builtOn"] for one in payments.jenkins.builds(job)][:3]
        assert [found[node]["sized"] is not None for node in nodes] == [has_own] * 3
    [size, *_] = butlery.get("/v1/builds/sizes", job="measured")["jobs"]
    assert size["mem_mib"] < GIVEN_MIB
    butlery.stop()
