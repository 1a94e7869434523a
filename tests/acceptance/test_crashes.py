"""Crashes of the scheduler and of Mesos: builds run on, every result comes, nothing runs twice."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import httpx

from framework.local.spec import HostShape
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.scheduler_process import SchedulerProcess, eventually
from tests.acceptance.witness import Witness, alive
from tests.integration.conftest import ClusterFactory

SHAPES = [HostShape(count=2, cpus=16, mem_mib=8000)]


def submit_waiting(scheduler: SchedulerProcess, witness: Witness, count: int) -> dict[str, str]:
    """Ids by name of builds that run until they are released; all run when this returns."""
    jobs = {name: scheduler.submit(name, witness.script) for name in (f"build-{number:02}" for number in range(count))}
    scheduler.wait_running(jobs.values())
    eventually(lambda: all(witness.started(name) for name in jobs), "the builds' first lines")
    return jobs


def assert_each_ran_once(scheduler: SchedulerProcess, witness: Witness, jobs: dict[str, str]) -> None:
    for name, job_id in jobs.items():
        job = scheduler.wait_ended(job_id)
        assert job["result"]["result_class"] == "passed", job
        assert [attempt["state"] for attempt in job["attempts"]] == ["ended"], str(job["attempts"])
        assert len(witness.started(name)) == 1, name
        assert witness.ended(name) == witness.started(name), name


def test_kill_9_of_the_scheduler_with_50_builds_running(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, open_dir: Path
) -> None:
    butlery, witness = scheduler(mesos_cluster(shapes=SHAPES)), Witness(open_dir)
    butlery.start()
    butlery.make_tenant()
    jobs = submit_waiting(butlery, witness, 50)
    pids = {name: witness.started(name)[0] for name in jobs}

    butlery.kill9()
    meanwhile = [*jobs][:5]
    for name in meanwhile:
        witness.release(name)
    eventually(lambda: all(witness.ended(name) for name in meanwhile), "the end of those that end meanwhile")
    assert all(alive(pid) for name, pid in pids.items() if name not in meanwhile)

    butlery.start()
    for name in meanwhile:
        assert butlery.wait_ended(jobs[name])["result"]["result_class"] == "passed"
    later = [job_id for name, job_id in jobs.items() if name not in meanwhile]
    assert butlery.states(later) == ["running"] * 45
    assert all(alive(pid) for name, pid in pids.items() if name not in meanwhile)
    new = butlery.submit("after-the-crash", "true")
    assert butlery.wait_ended(new)["result"]["result_class"] == "passed"

    witness.release()
    assert_each_ran_once(butlery, witness, jobs)
    assert {name: witness.started(name)[0] for name in jobs} == pids
    butlery.stop()


def test_an_orderly_stop_answers_who_waits_and_leaves_builds_alone(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, open_dir: Path
) -> None:
    butlery, witness = scheduler(mesos_cluster(shapes=SHAPES)), Witness(open_dir)
    butlery.start()
    butlery.make_tenant()
    jobs = submit_waiting(butlery, witness, 3)
    calls = [butlery.begin("GET", f"/v1/jobs/{job_id}/wait?timeout_s=60") for job_id in jobs.values()]
    assert butlery.well()  # asked later than those, on connections that stand, so those are under way
    butlery.stop()
    answers = [call.getresponse() for call in calls]
    assert [(answer.status, json.load(answer)["state"]) for answer in answers] == [(200, "running")] * 3
    for call in calls:
        call.close()
    assert all(alive(witness.started(name)[0]) for name in jobs)
    butlery.start()
    witness.release()
    assert_each_ran_once(butlery, witness, jobs)
    butlery.stop()


def test_kill_9_of_mesos_with_builds_running(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, open_dir: Path
) -> None:
    cluster = mesos_cluster(shapes=SHAPES, fresh=True)
    butlery, witness = scheduler(cluster), Witness(open_dir)
    butlery.start()
    butlery.make_tenant()
    jobs = submit_waiting(butlery, witness, 12)

    cluster.kill9()
    eventually(lambda: not butlery.well(), "the scheduler's notice of the loss")
    assert butlery.states(jobs.values()) == ["running"] * 12
    waits = butlery.submit("meanwhile", "true")
    witness.release("build-00")
    eventually(lambda: witness.ended("build-00"), "the end of the one that ends meanwhile")
    cluster.restart()
    butlery.wait_ready()
    assert butlery.wait_ended(waits)["result"]["result_class"] == "passed"

    witness.release()
    assert_each_ran_once(butlery, witness, jobs)
    butlery.stop()


def test_kill_9_at_random_moments_of_a_stream_of_builds(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, open_dir: Path
) -> None:
    prices = open_dir / "prices.yaml"
    prices.write_text("{currency: EUR, prices: [{name: all, cpu_hour: 36, mem_gib_hour: 0}]}")
    butlery = scheduler(mesos_cluster(shapes=SHAPES), telemetry={"prices_path": str(prices)})
    witness = Witness(open_dir)
    witness.release()
    chance = random.Random(4)
    butlery.start()
    butlery.make_tenant()
    jobs: dict[str, str] = {}
    names = [f"build-{number:03}" for number in range(100)]
    crashes = 0
    crash_at = time.monotonic() + chance.uniform(0.2, 1.0)
    while len(jobs) < len(names):
        name = names[len(jobs)]
        try:
            jobs[name] = butlery.submit(name, witness.script, key=name)
        except httpx.TransportError:
            butlery.wait_ready()
        if time.monotonic() > crash_at and crashes < 5:
            butlery.kill9()
            crashes += 1
            butlery.start(ready=False)
            crash_at = time.monotonic() + chance.uniform(1.0, 3.0)
    while crashes < 8:  # and while they run
        time.sleep(chance.uniform(0.5, 2.0))
        butlery.kill9()
        crashes += 1
        butlery.start()
    for name, job_id in jobs.items():
        job = butlery.wait_ended(job_id)
        assert job["result"]["result_class"] == "passed", job
        assert len(witness.started(name)) == 1, (name, job)
        assert witness.ended(name) == witness.started(name)
    listed = butlery.get("/v1/jobs", limit=500)["jobs"]
    assert sorted(job["id"] for job in listed) == sorted(jobs.values())
    assert_each_is_in_history_once(butlery, jobs)
    butlery.stop()


def assert_each_is_in_history_once(butlery: SchedulerProcess, jobs: dict[str, str]) -> None:
    """Also in the sums, and with a cost."""
    eventually(
        lambda: len(butlery.get("/v1/builds/past", limit=1000)["builds"]) >= len(jobs), "all builds in the history", 60
    )
    past = butlery.get("/v1/builds/past", limit=1000)["builds"]
    assert sorted(build["id"] for build in past) == sorted(jobs.values())
    assert {build["job"] for build in past} == set(jobs)
    total = butlery.get("/v1/builds/stats")["total"]
    assert (total["builds"], total["by_class"], total["unpriced"]) == (len(jobs), {"passed": len(jobs)}, 0)
