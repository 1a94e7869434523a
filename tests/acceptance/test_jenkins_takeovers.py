"""Builds of masters' queues and of pushes while two schedulers hand the lead over, and what they stand on dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from framework.local.cluster import MesosCluster
from framework.local.spec import HostShape
from framework.local.zookeeper import ZooKeeperServer
from framework.serverless_settings import Kind
from tests.acceptance.conftest import MasterFactory, SchedulerFactory
from tests.acceptance.forges_running import commit, forges, runner
from tests.acceptance.jenkins_masters import AGENT, witnessed
from tests.acceptance.scheduler_process import TENANT, SchedulerProcess, eventually
from tests.acceptance.test_jenkins_spares import spares
from tests.acceptance.test_schedulers import TAKEOVER_S, Pair, leads, roles, wait_leading, zookeeper
from tests.acceptance.witness import Witness
from tests.fakes import forge_messages as messages
from tests.fakes.forges import TOKEN, FakeForge
from tests.fakes.webhooks import section
from tests.integration.conftest import ClusterFactory

__all__ = ["zookeeper"]

SHAPES = [HostShape(count=2, cpus=1.6, mem_mib=6144)]
TEMPLATES: dict[str, Any] = {
    "maven": {**AGENT, "cpus": 0.35, "timeout_s": 600},
    "warm": {**AGENT, "spares": 1},
    "small": {"cpus": 0.05, "mem_mib": 128, "timeout_s": 300},
}
JENKINSFILE = (
    "node {{ sh 'touch {begun}; while [ ! -e {go} ]; do sleep 1; done; cat .butlery/Jenkinsfile | head -c 4' }}\n"
)


@pytest.fixture
def forge() -> Iterator[FakeForge]:
    with forges() as made:
        yield made["github"]


class Crew:
    """Two schedulers, two masters that tell the one that does not lead at first, and a webhook."""

    def __init__(
        self,
        mesos: MesosCluster,
        make: SchedulerFactory,
        master: MasterFactory,
        zookeeper: ZooKeeperServer,
        forge: FakeForge,
        open_dir: Path,
    ) -> None:
        self.mesos, self.forge, self.open_dir, self.witness = mesos, forge, open_dir, Witness(open_dir)
        serverless = {"image": None, "command": runner(open_dir / "runner"), "label": "small"}
        made = partial(make, templates=TEMPLATES, serverless=serverless, api={"allow_file_urls": True})
        self.pair = Pair(made, mesos, zookeeper)
        kind: Kind = "github"
        git_url = f"file://{open_dir}/{{repository}}"
        for one in (self.pair.first, self.pair.second):
            hook = section(
                one.directory, TOKEN, name=kind, kind=kind, tenant=TENANT, api_url=forge.url, git_url=git_url
            )
            settings = yaml.safe_load(one.config.read_text())
            one.config.write_text(yaml.safe_dump({**settings, "webhooks": [hook]}))
        self.pair.start()
        self.masters = {name: master(self.pair.second, name) for name in ("payments", "web")}
        for each in self.masters.values():
            for job in (each.tenant, "lost"):
                each.jenkins.create_job(job, witnessed(self.witness, "maven"))
        self.queued: dict[str, int] = {}
        self.go = open_dir / "go"

    def queue(self, tenant: str, count: int) -> None:
        begin = self.queued.get(tenant, 0)
        for number in range(begin, begin + count):
            self.masters[tenant].jenkins.queue(tenant, N=str(number))
        self.queued[tenant] = begin + count

    def started(self) -> int:
        return sum(
            bool(self.witness.started(f"{tenant}-{number}"))
            for tenant, count in self.queued.items()
            for number in range(count)
        )

    def push(self, through: SchedulerProcess, name: str) -> tuple[str, str]:
        """The commit and its build, which waits to be let go. The repository has files where ours are put."""
        text = JENKINSFILE.format(begun=self.open_dir / f"begun-{name}", go=self.go)
        theirs = {".butlery/Jenkinsfile": "theirs", ".butlery/parameters": "theirs"}
        made = commit(self.open_dir / messages.REPOSITORY, {"Jenkinsfile": text, name: "", **theirs})
        message = messages.push("github", commit=made)

        def sent() -> httpx.Response | None:
            answer = httpx.post(
                f"{through.url}/v1/webhooks/github",
                content=message.body,
                headers=message.headers,
                timeout=60,
                trust_env=False,
            )
            assert answer.status_code in (202, 503), answer.text
            return answer if answer.status_code == 202 else None

        [job] = eventually(sent, "the taking of a push", TAKEOVER_S).json()["jobs"]
        return made, str(job)

    def assert_all_served_once(self, leader: SchedulerProcess, pushes: dict[str, str]) -> None:
        self.witness.release()
        self.go.touch()
        for tenant, count in self.queued.items():
            self.masters[tenant].wait_results(tenant, {str(number): ["SUCCESS"] for number in range(count)})
            ran = [len(self.witness.started(f"{tenant}-{number}")) for number in range(count)]
            assert ran == [1] * count, tenant
        for made, job in pushes.items():
            assert leader.wait_ended(job)["result"]["result_class"] == "passed", leader.logged(job)
            self.wait_told(made)
        assert not self.forge.faults
        for each in self.masters.values():
            each.wait_no_nodes()
        eventually(lambda: self.live() == {one["id"] for one in spares(leader)}, "no task but the spare's")

    def wait_told(self, made: str) -> None:
        """The end of this commit's build, once."""
        eventually(lambda: self.forge.states(made)[-1:] == ["success"], "the end told")
        assert self.forge.states(made).count("success") == 1

    def live(self) -> set[str]:
        """Requests of the tasks that Mesos knows as live."""
        state = httpx.get(f"{self.mesos.url}/state", trust_env=False).json()
        return {task["id"].partition(".")[0] for framework in state["frameworks"] for task in framework["tasks"]}


@pytest.fixture
def crew(
    mesos_cluster: ClusterFactory,
    scheduler: SchedulerFactory,
    master: MasterFactory,
    zookeeper: ZooKeeperServer,
    forge: FakeForge,
    open_dir: Path,
) -> Crew:
    return Crew(mesos_cluster(shapes=SHAPES, fresh=True), scheduler, master, zookeeper, forge, open_dir)


def test_kill_9_of_the_leader_as_agents_run_and_items_wait(crew: Crew) -> None:
    first, second, web = crew.pair.first, crew.pair.second, crew.masters["web"]
    pushes = dict([crew.push(second, "one")])
    eventually((crew.open_dir / "begun-one").exists, "the push's build")
    eventually(lambda: spares(first), "a spare")
    crew.queue("payments", 4)
    web.jenkins.queue("lost", N="1")
    eventually(lambda: crew.started() >= 3 and crew.witness.started("lost-1"), "builds that run")
    crew.queue("payments", 4)
    first.kill9()
    web.kill9()
    crew.queue("payments", 1)  # while nobody leads
    web.start()
    wait_leading(second)
    crew.queue("web", 1)
    pushes |= dict([crew.push(second, "two")])
    first.start()
    eventually(lambda: roles(crew.pair), "a standby", TAKEOVER_S)
    crew.assert_all_served_once(second, pushes)


def test_stepping_down_and_zookeeper_and_mesos_that_die(crew: Crew, zookeeper: ZooKeeperServer) -> None:
    first, second = crew.pair.first, crew.pair.second
    pushes = dict([crew.push(second, "one")])
    crew.queue("payments", 3)
    crew.queue("web", 3)
    assert first.call("POST", "/v1/leader/step-down").status_code == 200
    crew.queue("payments", 2)
    wait_leading(second)
    eventually(lambda: crew.started() >= 4, "builds that run")
    zookeeper.kill9()
    crew.queue("web", 2)
    zookeeper.start()
    zookeeper.wait_ready()
    leader, standby = eventually(lambda: roles(crew.pair), "a leader", TAKEOVER_S)
    crew.mesos.kill9()
    crew.queue("payments", 1)
    crew.mesos.restart()
    eventually(lambda: leads(leader), "Mesos", TAKEOVER_S)
    pushes |= dict([crew.push(standby, "two")])
    crew.assert_all_served_once(leader, pushes)


def test_a_leader_that_hangs_takes_no_node_away_when_it_wakes(crew: Crew) -> None:
    first, second = crew.pair.first, crew.pair.second
    eventually(lambda: spares(first), "a spare")
    crew.queue("payments", 2)
    eventually(lambda: crew.started() == 2, "builds that run")
    crew.queue("web", 6)
    os.kill(first.pid, signal.SIGSTOP)  # with claims in the making
    try:
        wait_leading(second)
        crew.queue("payments", 2)
        eventually(lambda: crew.started() >= 5, "builds of the new leader's agents")
    finally:
        os.kill(first.pid, signal.SIGCONT)
    eventually(lambda: roles(crew.pair), "the old leader's notice", TAKEOVER_S)
    crew.assert_all_served_once(second, {})
