"""Nodes of a master that ends, comes back, is another process, or has its nodes taken away by hand."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from framework.core.effects import PrepareNode, RemoveNode
from framework.core.events import Event, MasterObserved, NodeFailed, NodeReady
from framework.core.ids import RequestId, TaskId, TenantName, node_of
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.tasks import Request
from framework.edges.jenkins.edge import JenkinsEdge
from framework.jenkins_ports import Look, MasterRecord
from framework.runtime.chance import SystemChance, SystemClock
from framework.runtime.jenkins.keeper import Keeper
from framework.runtime.jenkins.poller import Poller
from framework.runtime.jenkins.troubles import Troubles
from masters.names import Variable
from tests.contract.jenkins.client import Jenkins, node_form
from tests.contract.jenkins.started import StartedJenkins
from tests.fakes import samples

TENANT = TenantName("payments")
PATIENCE_S = 30.0


class Side:
    """The scheduler's side of one master: what is kept there, and what is seen."""

    def __init__(self, started: StartedJenkins) -> None:
        clock, chance = SystemClock(), SystemChance()
        self.events: list[Event] = []
        self.looks: list[Look] = []
        self.edge = JenkinsEdge(clock, timeout_s=5)
        troubles = Troubles(clock)
        self.poller = Poller(self.edge, self.events.append, troubles, 0.3, 0.5, clock, chance)
        self.keeper = Keeper(self.edge, self.events.append, self.poller.look_soon, troubles, 4, clock, chance)
        self._started = started
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def jenkins(self) -> Jenkins:
        return self._started.client()

    def know(self) -> None:
        """As the master tells when it has started."""
        jenkins = self.jenkins
        assert jenkins.auth is not None
        session = jenkins.get("whoAmI/api/json").headers["X-Jenkins-Session"]
        record = MasterRecord(jenkins.url, *jenkins.auth, version="2.463", session=session, direct_url=jenkins.url)
        self.keeper.know(TENANT, record)
        self.poller.know(TENANT, record)

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self.keeper.run()),
            asyncio.create_task(self.poller.run(self._found, lambda: {TENANT})),
        ]
        await asyncio.sleep(0)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.edge.close()

    async def _found(self, _: TenantName, look: Look) -> None:
        self.looks.append(look)

    def prepare(self, number: int) -> str:
        task = task_of(number)
        side = JenkinsSide(QueueItem(number, 1), "app", "job/app/", "maven", "maven", 0.0)
        template = samples.request("r-1").template
        request = Request(RequestId(task.partition(".")[0]), TENANT, "app", template, 0.0, jenkins=side)
        self.keeper.prepare(PrepareNode(task, request, node_of(task)))
        return node_of(task)

    def remove(self, number: int, reason: str = "") -> None:
        self.keeper.remove(RemoveNode(TENANT, node_of(task_of(number)), reason))

    def ready(self) -> set[TaskId]:
        return {event.task_id for event in self.events if isinstance(event, NodeReady)}

    def failed(self) -> list[NodeFailed]:
        return [event for event in self.events if isinstance(event, NodeFailed)]

    def seen(self) -> set[str]:
        """Nodes of ours as of the newest look."""
        observed = [event for event in self.events if isinstance(event, MasterObserved)]
        return {node.name for node in observed[-1].nodes} if observed else set()


def task_of(number: int) -> TaskId:
    return TaskId(f"{number:016d}.1")


async def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        await asyncio.sleep(0.02)


@pytest.fixture(params=["with our scripts", "without"])
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartedJenkins]:
    variables = {Variable.ADMIN_PASSWORD: "a password of tests"}
    if request.param == "with our scripts":  # which find nobody to tell
        variables |= {Variable.SCHEDULER_URL: "http://127.0.0.1:1", Variable.TENANT_TOKEN: "a token of tests"}
    started = StartedJenkins(tmp_path / "home", variables=variables)
    started.start("--boot-s", "0")
    yield started
    started.stop()


@pytest.fixture
async def side(started: StartedJenkins) -> AsyncIterator[Side]:
    side = Side(started)
    side.know()
    await side.start()
    yield side
    await side.stop()


async def test_many_nodes_at_once_and_gone_again(side: Side) -> None:
    nodes = {side.prepare(number) for number in range(60)}
    await eventually(lambda: len(side.ready()) == 60, "60 nodes")
    secrets = {access.secret for number in range(60) if (access := side.keeper.access(task_of(number))) is not None}
    assert len(secrets) == 60
    await eventually(lambda: side.seen() == nodes, "a look that tells them")
    for number in range(60):
        side.remove(number)
    await eventually(lambda: side.seen() == set(), "the end of all nodes")
    assert side.failed() == []


async def test_a_master_that_is_killed_and_another_process_in_its_place(side: Side, started: StartedJenkins) -> None:
    kept, lost = side.prepare(1), side.prepare(2)
    await eventually(lambda: len(side.ready()) == 2, "two nodes")
    started.end(signal.SIGKILL)
    side.remove(2, "lost with its host")
    side.prepare(3)
    await eventually(lambda: side.failed(), "the word that it is away")
    assert side.failed()[0].retry_after_s > 0
    started.start("--boot-s", "0")
    looks = len(side.looks)
    side.prepare(4)
    await asyncio.sleep(0.5)
    assert task_of(4) not in side.ready(), "it may be another tenant's master"
    assert len(side.looks) == looks
    side.know()
    await eventually(lambda: lost not in side.seen() and kept in side.seen(), "the removal that waited")
    side.prepare(5)
    await eventually(lambda: task_of(5) in side.ready(), "a node of the new process")
    assert side.looks[-1].session == side.jenkins.get("whoAmI/api/json").headers["X-Jenkins-Session"]


async def test_a_scheduler_that_starts_anew_takes_over_the_nodes_that_stand(
    side: Side, started: StartedJenkins
) -> None:
    side.prepare(1)
    await eventually(side.ready, "a node")
    before = side.keeper.access(task_of(1))
    later = Side(started)
    later.know()
    await later.start()
    later.prepare(1)
    await eventually(later.ready, "the same node")
    assert later.keeper.access(task_of(1)) == before
    await later.stop()


async def test_items_are_seen_with_their_labels(side: Side) -> None:
    job = side.jenkins.pipeline("node('gpu && mesos') { sh 'true' }")
    side.jenkins.build(job)
    await eventually(lambda: side.looks and side.looks[-1].items, "the item of its step")
    (found,) = side.looks[-1].items
    assert (found.task, found.task_url, found.label) == (f"part of {job} #1", f"job/{job}/1/", "gpu&&mesos")
    assert side.looks[-1].observed.items == {found.item}


async def test_nodes_taken_away_by_hand_are_seen_and_need_no_removal(side: Side) -> None:
    node = side.prepare(1)
    await eventually(lambda: node in side.seen(), "the node")
    side.jenkins.post(f"computer/{node}/doDelete")
    await eventually(lambda: node not in side.seen(), "a look without it")
    side.remove(1, "lost")
    side.prepare(2)
    await eventually(lambda: task_of(2) in side.ready(), "another node")
    assert side.failed() == []


async def test_a_node_by_hand_with_a_name_of_ours(side: Side, tmp_path: Path) -> None:
    node = node_of(task_of(1))
    assert side.jenkins.create_node(node, node_form(node, "x", tmp_path, web_socket=True)).status_code == 302
    side.prepare(1)
    await eventually(side.failed, "the word that it is taken")
    assert side.failed()[0].name_taken
    side.remove(1)
    side.prepare(2)
    await eventually(side.ready, "another node")
    assert side.jenkins.computer(node)
    assert node not in side.seen()
