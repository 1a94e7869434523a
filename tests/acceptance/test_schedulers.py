"""Several schedulers on one state in ZooKeeper: takeovers, hand-overs, losses; builds run on and nothing runs twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from framework.local.spec import HostShape
from framework.local.zookeeper import ZooKeeperServer
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.scheduler_process import ADMIN_TOKEN, TENANT, SchedulerProcess, eventually
from tests.acceptance.test_crashes import assert_each_ran_once, submit_waiting
from tests.acceptance.test_teardown import teardown
from tests.acceptance.witness import Witness, alive
from tests.integration.conftest import ClusterFactory

SHAPES = [HostShape(count=2, cpus=16, mem_mib=8000)]
SESSION_S = 4.0
TAKEOVER_S = 60.0
"""Patience of a test: a session's timeout and some seconds, on a machine that is busy with other things."""


@pytest.fixture
def zookeeper() -> Iterator[ZooKeeperServer]:
    directory = Path(tempfile.mkdtemp(prefix="butlery-zookeeper-"))
    server = ZooKeeperServer(directory / "server")
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


class Pair:
    """Two schedulers; the first one leads."""

    def __init__(self, make: SchedulerFactory, mesos: Any, zookeeper: ZooKeeperServer) -> None:
        state = {"zookeeper": f"zk://{zookeeper.address}/butlery", "session_timeout_s": SESSION_S}
        self.first, self.second = (make(mesos, state=state) for _ in range(2))

    def start(self) -> None:
        self.first.start()
        self.second.start()
        eventually(lambda: leads(self.first) and stands_by(self.second), "a leader and a standby")
        self.first.make_tenant()
        wait_for_standby(self.first)


@pytest.fixture
def pair(mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, zookeeper: ZooKeeperServer) -> Pair:
    made = Pair(scheduler, mesos_cluster(shapes=SHAPES), zookeeper)
    made.start()
    return made


def wait_for_standby(leader: SchedulerProcess) -> None:
    eventually(lambda: leader.get("/v1/leader")["standbys"] == 1, "the leader's notice of its standby")


def leads(scheduler: SchedulerProcess) -> bool:
    """Whether it leads and is connected to Mesos."""
    return is_well_as(scheduler, "leader")


def stands_by(scheduler: SchedulerProcess) -> bool:
    """Whether it is a standby that knows who leads."""
    return is_well_as(scheduler, "standby")


def is_well_as(scheduler: SchedulerProcess, wanted: str) -> bool:
    health = scheduler.call("GET", "/v1/health")
    return health.status_code == 200 and health.json()["role"] == wanted


def wait_leading(scheduler: SchedulerProcess) -> None:
    eventually(lambda: leads(scheduler), "the takeover", TAKEOVER_S)


def assert_it_builds(scheduler: SchedulerProcess, name: str) -> None:
    """Taken as soon as it can be."""
    job_id = eventually(lambda: taken(scheduler, name, "true"), "the taking of a build", TAKEOVER_S)
    assert scheduler.wait_ended(job_id)["result"]["result_class"] == "passed"


def launches_of(scheduler: SchedulerProcess) -> int:
    return scheduler.said().count('"launched"')


def test_kill_9_of_the_leader(pair: Pair, open_dir: Path) -> None:
    witness = Witness(open_dir)
    jobs = submit_waiting(pair.first, witness, 20)
    pids = {name: witness.started(name)[0] for name in jobs}
    framework_id = pair.first.get("/v1/status")["framework_id"]

    pair.first.kill9()
    meanwhile = [*jobs][:3]
    for name in meanwhile:
        witness.release(name)
    assert set(pair.second.states(jobs.values())) == {"running"}  # its copy answers at once
    wait_leading(pair.second)
    assert pair.second.get("/v1/status")["framework_id"] == framework_id
    for name in meanwhile:
        assert pair.second.wait_ended(jobs[name])["result"]["result_class"] == "passed"
    assert all(alive(pid) for name, pid in pids.items() if name not in meanwhile)
    assert_it_builds(pair.second, "after-the-takeover")
    witness.release()
    assert_each_ran_once(pair.second, witness, jobs)


def test_a_leader_that_hangs_past_its_session_launches_nothing_when_it_wakes(pair: Pair, open_dir: Path) -> None:
    witness = Witness(open_dir)
    jobs = submit_waiting(pair.first, witness, 3)
    os.kill(pair.first.pid, signal.SIGSTOP)
    try:
        wait_leading(pair.second)
        before = launches_of(pair.first)
        more = {name: pair.second.submit(name, witness.script) for name in ("later-1", "later-2")}
        pair.second.wait_running(more.values())
    finally:
        os.kill(pair.first.pid, signal.SIGCONT)
    eventually(lambda: stands_by(pair.first), "the old leader's notice", TAKEOVER_S)
    assert_it_builds(pair.first, "through-the-old-one")  # which passes it on
    assert launches_of(pair.first) == before
    wait_leading(pair.second)
    witness.release()
    assert_each_ran_once(pair.second, witness, jobs | more)
    assert pair.first.get("/v1/leader")["leader"]["url"] == pair.second.url


def test_zookeeper_restarts_under_a_leader(pair: Pair, zookeeper: ZooKeeperServer, open_dir: Path) -> None:
    witness = Witness(open_dir)
    jobs = submit_waiting(pair.first, witness, 3)
    zookeeper.kill9()
    eventually(lambda: suspended(pair.first), "the leader's notice that nothing can be saved")
    assert (
        pair.first.call("POST", "/v1/jobs", json={"tenant": "team", "name": "no", "command": "true"}).status_code == 503
    )
    assert pair.first.states(jobs.values()) == ["running"] * 3
    witness.release("build-00")
    eventually(lambda: witness.ended("build-00"), "the end of the one that ends meanwhile")
    zookeeper.start()
    zookeeper.wait_ready()
    leader, other = eventually(lambda: roles(pair), "a leader", TAKEOVER_S)
    assert_it_builds(leader, "afterwards")
    assert_it_builds(other, "through-the-standby")
    witness.release()
    assert_each_ran_once(leader, witness, jobs)


def suspended(scheduler: SchedulerProcess) -> bool:
    """A tenant is set, which has to be saved."""
    return scheduler.call("PUT", "/v1/tenants/team", json={}).status_code == 503


def roles(pair: Pair) -> tuple[SchedulerProcess, SchedulerProcess] | None:
    """The leader and the standby, once they are."""
    for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
        if leads(one) and stands_by(other):
            return one, other
    return None


def test_zookeeper_is_lost_for_good(pair: Pair, zookeeper: ZooKeeperServer, open_dir: Path) -> None:
    witness = Witness(open_dir)
    jobs = submit_waiting(pair.first, witness, 3)
    pids = [witness.started(name)[0] for name in jobs]
    for scheduler in (pair.first, pair.second):
        scheduler.wait_running(jobs.values())
    zookeeper.kill9()
    eventually(lambda: suspended(pair.first), "the leader's notice that nothing can be saved")
    for scheduler in (pair.first, pair.second):
        assert scheduler.states(jobs.values()) == ["running"] * 3
        assert scheduler.call("POST", "/v1/leader/step-down").status_code in (409, 503)
    assert all(alive(pid) for pid in pids)
    pair.second.stop()
    pair.first.stop()
    assert all(alive(pid) for pid in pids)
    witness.release()
    eventually(lambda: all(witness.ended(name) for name in jobs), "the builds' own end")


def test_stepping_down_under_load_loses_nothing(pair: Pair, open_dir: Path) -> None:
    witness = Witness(open_dir)
    witness.release()
    jobs: dict[str, str] = {}

    def submit_some(through: SchedulerProcess) -> None:
        for _ in range(10):
            name = f"build-{len(jobs):03}"
            jobs[name] = eventually(partial(taken, through, name, witness.script), "the taking of a build", TAKEOVER_S)

    submit_some(pair.first)
    submit_some(pair.second)
    for old, new in ((pair.first, pair.second), (pair.second, pair.first)):
        answer = old.call("POST", "/v1/leader/step-down")
        assert answer.status_code == 200, answer.text
        submit_some(old)
        submit_some(new)
        wait_leading(new)
        wait_for_standby(new)
    assert_each_ran_once(pair.second, witness, jobs)


def taken(scheduler: SchedulerProcess, name: str, script: str) -> str | None:
    """The id of the job, which the name is the idempotency key of; None where nobody leads just now."""
    job = {"tenant": TENANT, "name": name, "script": script, "cpus": 0.1, "mem_mib": 64}
    answer = scheduler.call("POST", "/v1/jobs", json=job, headers={"Idempotency-Key": name})
    assert answer.status_code in (201, 503), answer.text
    return str(answer.json()["id"]) if answer.status_code == 201 else None


def test_what_a_standby_answers_and_passes_on(pair: Pair, open_dir: Path) -> None:
    standby, witness = pair.second, Witness(open_dir)
    token = standby.make_tenant("blue")
    blue = {"Authorization": f"Bearer {token}"}
    job = {
        "name": "of-blue",
        "script": witness.script + "echo said; mkdir -p out; head -c 3000000 /dev/zero > out/big",
        "artifacts": ["out/*"],
        "cpus": 0.1,
        "mem_mib": 64,
    }
    answer = standby.call("POST", "/v1/jobs", json=job, headers=blue)
    assert answer.status_code == 201, answer.text
    job_id = answer.json()["id"]
    path = f"/v1/jobs/{job_id}"
    assert standby.call("GET", path, headers=blue).status_code == 200
    assert standby.call("GET", path, headers={"Authorization": "Bearer bt~blue~wrong"}).status_code == 401
    standby.wait_running([job_id])
    assert standby.call("GET", f"{path}/why", headers=blue).json()["waiting"] is False
    assert len(standby.get("/v1/hosts")["hosts"]) == 2
    assert standby.get("/v1/status")["role"] == "standby"
    eventually(lambda: tenants_of(standby) == {"team", "blue"}, "the standby's notice of a new tenant")
    faults = standby.call("POST", "/v1/jobs", json={"tenant": "team"})
    assert (faults.status_code, faults.headers["content-type"]) == (422, "application/problem+json")
    witness.release()
    assert standby.wait_ended(job_id)["result"]["result_class"] == "passed"
    assert "said" in standby.logged(job_id)
    big = standby.call("GET", f"{path}/artifacts/out/big", headers=blue)
    assert (big.status_code, len(big.content)) == (200, 3_000_000)
    refused = standby.call("POST", "/v1/leader/step-down", headers=blue)
    assert refused.status_code == 403


def tenants_of(scheduler: SchedulerProcess) -> set[str]:
    return {tenant["name"] for tenant in scheduler.get("/v1/tenants")["tenants"]}


def test_a_new_version_is_rolled_out(pair: Pair, open_dir: Path) -> None:
    """The old one leads; the new one stands by; step-down; the old one is stopped."""
    witness = Witness(open_dir)
    jobs = submit_waiting(pair.first, witness, 5)
    assert pair.second.call("POST", "/v1/leader/step-down").status_code == 200
    pair.first.stop()
    wait_leading(pair.second)
    alone = pair.second.call("POST", "/v1/leader/step-down")
    assert (alone.status_code, alone.json()["type"]) == (409, "urn:butlery:problem:no-standby")
    assert pair.second.call("POST", "/v1/leader/step-down?force=true").status_code == 200
    wait_leading(pair.second)
    assert_it_builds(pair.second, "of-the-new-version")
    witness.release()
    assert_each_ran_once(pair.second, witness, jobs)


def test_a_build_s_log_is_followed_over_a_takeover(pair: Pair, open_dir: Path) -> None:
    witness = Witness(open_dir)
    job_id = pair.first.submit("build-0", f"echo first\n{witness.script}\necho last\n")
    pair.first.wait_running([job_id])
    output = open_dir / "followed"
    with output.open("wb") as stdout:
        following = subprocess.Popen(
            [sys.executable, "-m", "framework.cli", "jobs", "logs", job_id, "--follow"],
            env=pair.second.environment | {"BUTLERY_SERVER": pair.second.url, "BUTLERY_TOKEN": ADMIN_TOKEN},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
        )
    try:
        eventually(lambda: b"first" in output.read_bytes(), "the first line")
        pair.first.kill9()
        wait_leading(pair.second)
        witness.release("build-0")
        assert following.wait(TAKEOVER_S) == 0
    finally:
        following.kill()
        following.wait()
    assert output.read_text().split() == ["first", "last"]


def test_draining_outlives_a_takeover(pair: Pair, open_dir: Path) -> None:
    witness = Witness(open_dir)
    jobs = submit_waiting(pair.first, witness, 2)
    answer = pair.second.call("PUT", "/v1/drain")
    assert answer.json() == {"draining": True, "waiting": 0, "launching": 0, "running": 2}
    waits = pair.first.submit("waits", "true")
    pair.first.stop()
    wait_leading(pair.second)
    assert pair.second.get("/v1/status")["draining"]
    assert "drain" in pair.second.get(f"/v1/jobs/{waits}/why")["summary"]
    witness.release()
    assert_each_ran_once(pair.second, witness, jobs)
    assert pair.second.states([waits]) == ["waiting"]
    assert pair.second.call("DELETE", "/v1/drain").json()["draining"] is False
    assert pair.second.wait_ended(waits)["result"]["result_class"] == "passed"


def test_two_clusters_on_one_path(
    pair: Pair, scheduler: SchedulerFactory, mesos_cluster: ClusterFactory, zookeeper: ZooKeeperServer
) -> None:
    state = {"zookeeper": f"zk://{zookeeper.address}/butlery", "cluster": "another"}
    stranger = scheduler(mesos_cluster(shapes=SHAPES), state=state)
    ended = stranger.run_to_its_end()
    assert ended.returncode == 2
    assert "another cluster" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_framework_is_not_torn_down_under_schedulers(pair: Pair) -> None:
    refused = teardown(pair.first, "--yes")
    assert refused.returncode == 2
    assert "stop every scheduler first" in refused.stderr
    pair.first.stop()
    pair.second.stop()
    done = teardown(pair.first, "--yes")
    assert done.returncode == 0, done.stderr


def test_builds_that_share_a_mesos_executor_live_with_those_of_another_version(pair: Pair, open_dir: Path) -> None:
    """Each of the two has a Mesos executor file of its own, as versions have."""
    witness = Witness(open_dir)
    old = [pair.first.submit(name, witness.script, mesos_executor="shared") for name in ("old-1", "old-2")]
    pair.first.wait_running(old)
    assert pair.second.call("POST", "/v1/leader/step-down").status_code == 200
    wait_leading(pair.second)
    new = [pair.second.submit(name, witness.script, mesos_executor="shared") for name in ("new-1", "new-2", "new-3")]
    pair.second.wait_running(new)
    witness.release()
    for job_id in (*old, *new):
        job = pair.second.wait_ended(job_id)
        assert (job["attempt"], job["result"]["result_class"]) == (1, "passed"), job
