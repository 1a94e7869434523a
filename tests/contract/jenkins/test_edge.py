"""The scheduler's side of what a Jenkins answers: nodes made, told and removed, queues looked at."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from framework.core.events import SeenNode
from framework.core.ids import TaskId, TenantName, node_of
from framework.edges.jenkins.edge import JenkinsEdge
from framework.jenkins_ports import OURS, FoundItem, Look, MasterError, MasterRecord, NewNode, NodeTakenError
from framework.runtime.chance import SystemClock
from tests.contract.jenkins.client import Jenkins, node_form
from tests.contract.jenkins.conftest import Starter

TENANT = TenantName("contract")
_numbers = itertools.count(1)


@pytest.fixture
async def edge() -> AsyncIterator[JenkinsEdge]:
    edge = JenkinsEdge(SystemClock(), timeout_s=20)
    yield edge
    await edge.close()


def record_of(jenkins: Jenkins) -> MasterRecord:
    """As its init script tells it; of the process itself, as where it may have been replaced by another's."""
    assert jenkins.auth is not None
    session = jenkins.get("whoAmI/api/json").headers["X-Jenkins-Session"]
    return MasterRecord(jenkins.url, *jenkins.auth, version="2.463", session=session, direct_url=jenkins.url)


def new_node(jenkins: Jenkins, labels: str = "maven jdk") -> NewNode:
    """Its name is taken away after the test."""
    task = TaskId(f"{os.getpid() % 10**8:08d}{next(_numbers):08d}.1")
    jenkins.made(f"computer/{node_of(task)}")
    return NewNode(node_of(task), labels, f"{OURS}agent of task {task}", "agent", exclusive=True)


async def test_a_node_is_made_with_its_labels_and_its_secret_is_told(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    node = new_node(jenkins)
    secret = await edge.create_node(record_of(jenkins), node)
    assert secret == jenkins.secret(node.name)
    made = jenkins.computer(node.name)
    assert {one["name"] for one in made["assignedLabels"]} == {"maven", "jdk", node.name}
    assert (made["numExecutors"], made["jnlpAgent"], made["offline"]) == (1, True, True)
    config = jenkins.get(f"computer/{node.name}/config.xml").text
    assert "<mode>EXCLUSIVE</mode>" in config
    assert "<webSocket>true</webSocket>" in config


async def test_an_agent_connects_with_what_it_is_told(jenkins: Jenkins, edge: JenkinsEdge, tmp_path: Path) -> None:
    node = new_node(jenkins)
    await edge.create_node(record_of(jenkins), node)
    jenkins.connect(node.name, tmp_path / "agent")
    (seen,) = [one for one in (await edge.look(record_of(jenkins), TENANT, labels=False)).observed.nodes
               if one.name == node.name]  # fmt: skip
    assert (seen.online, seen.idle) == (True, True)


async def test_a_node_of_ours_is_taken_as_it_is(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    node, master = new_node(jenkins), record_of(jenkins)
    assert await edge.create_node(master, node) == await edge.create_node(master, node)


async def test_a_node_that_was_about_to_go_is_made_anew(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    node, master = new_node(jenkins), record_of(jenkins)
    await edge.create_node(master, node)
    await edge.tell(master, node.name, "out of memory", resubmit=False)
    await edge.create_node(master, node)
    assert not jenkins.computer(node.name)["temporarilyOffline"]


async def test_a_node_made_by_hand_is_left_alone(jenkins: Jenkins, edge: JenkinsEdge, tmp_path: Path) -> None:
    node, master = new_node(jenkins), record_of(jenkins)
    assert jenkins.create_node(node.name, node_form(node.name, "x", tmp_path, web_socket=True)).status_code == 302
    with pytest.raises(NodeTakenError, match="made by hand"):
        await edge.create_node(master, node)
    await edge.tell(master, node.name, "lost", resubmit=True)
    await edge.remove_node(master, node.name)
    assert not jenkins.computer(node.name)["temporarilyOffline"]
    assert node.name not in [one.name for one in (await edge.look(master, TENANT, labels=False)).observed.nodes]


async def test_a_node_that_is_not_ours_by_name_is_left_alone(
    jenkins: Jenkins, edge: JenkinsEdge, tmp_path: Path
) -> None:
    name = jenkins.node("x", tmp_path)
    await edge.remove_node(record_of(jenkins), name)
    assert jenkins.computer(name)


async def test_why_an_agent_ended_is_its_offline_cause(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    node, master = new_node(jenkins), record_of(jenkins)
    await edge.create_node(master, node)
    for _ in range(2):  # told again, it does not come back
        await edge.tell(master, node.name, "oom: used 1024 of 1024 MiB", resubmit=True)
        told = jenkins.computer(node.name)
        assert (told["temporarilyOffline"], told["offlineCauseReason"]) == (True, "oom: used 1024 of 1024 MiB")


async def test_a_node_is_gone_once_it_is_removed(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    node, master = new_node(jenkins), record_of(jenkins)
    await edge.create_node(master, node)
    for _ in range(2):
        await edge.remove_node(master, node.name)
        assert jenkins.get(f"computer/{node.name}/api/json").status_code == 404
    await edge.tell(master, node.name, "lost", resubmit=True)


async def test_a_node_with_an_odd_name_is_refused_with_the_reason(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    node = msgspec.structs.replace(new_node(jenkins), name="no/slash")
    with pytest.raises(MasterError, match="unsafe character") as raised:
        await edge.create_node(record_of(jenkins), node)
    assert raised.value.kind == "odd"


async def looked(jenkins: Jenkins, edge: JenkinsEdge, *numbers: int) -> tuple[Look, list[FoundItem]]:
    """Once these items are buildable."""
    master, deadline = record_of(jenkins), time.monotonic() + 30
    while True:
        look = await edge.look(master, TENANT, labels=True)
        found = [one for one in look.items if one.item.number in numbers]
        if len(found) == len(numbers):
            return look, sorted(found, key=lambda one: numbers.index(one.item.number))
        assert time.monotonic() < deadline, look


async def test_a_look_tells_items_with_their_labels(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    job, unlabelled = jenkins.job("maven && !windows"), jenkins.job()
    items = (jenkins.build(job), jenkins.build(unlabelled))
    look, (first, second) = await looked(jenkins, edge, *items)
    assert (first.task, first.task_url) == (job, f"job/{job}/")
    assert (first.label or "").replace(" ", "") == "maven&&!windows"
    assert (second.task, second.label) == (unlabelled, "")
    assert look.session == record_of(jenkins).session
    assert {first.item, second.item} <= look.observed.items
    assert first.item.since_ms == jenkins.item(items[0])["inQueueSince"]
    assert look.observed.tenant == TENANT
    assert abs(look.observed.asked_at - time.time()) < 60


async def test_a_look_tells_labels_of_pipelines(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    job = jenkins.pipeline("node('gpu && mesos') { sh 'true' }")
    jenkins.build(job)

    def step() -> int | None:
        waiting = jenkins.json("queue/api/json?tree=items[id,buildable,task[name]]")["items"]
        return next((one["id"] for one in waiting if one["task"].get("name") == f"part of {job} #1"), None)

    number = jenkins.eventually(step, "item of the node step")
    _, (found,) = await looked(jenkins, edge, number)
    assert (found.task, found.task_url, found.label) == (f"part of {job} #1", f"job/{job}/1/", "gpu&&mesos")


async def test_a_look_tells_nodes_of_ours_alone(jenkins: Jenkins, edge: JenkinsEdge, tmp_path: Path) -> None:
    node, master = new_node(jenkins), record_of(jenkins)
    await edge.create_node(master, node)
    other = jenkins.node("x", tmp_path)
    nodes = (await edge.look(master, TENANT, labels=False)).observed.nodes
    assert SeenNode(TaskId(node.name.removeprefix("butlery-")), node.name, online=False, idle=True) in nodes
    assert other not in [one.name for one in nodes]


async def test_versions_of_agent_jar_are_told_apart(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    jar = await edge.jar(record_of(jenkins))
    size = jenkins.get("jnlpJars/agent.jar").headers["Content-Length"]
    assert jar.startswith(f"2.463-{size}-")


async def test_a_wrong_token_is_refused_and_not_told(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    master = msgspec.structs.replace(record_of(jenkins), api_token="wrong-token-of-tests")
    with pytest.raises(MasterError, match="HTTP 401") as raised:
        await edge.look(master, TENANT, labels=False)
    assert raised.value.kind == "refused"
    assert "wrong-token-of-tests" not in str(raised.value) + repr(master)


async def test_another_process_in_its_place_does_not_see_the_token(jenkins: Jenkins, edge: JenkinsEdge) -> None:
    with pytest.raises(MasterError, match="another process") as raised:
        await edge.look(msgspec.structs.replace(record_of(jenkins), session="0ther"), TENANT, labels=False)
    assert raised.value.kind == "down"


async def test_a_master_that_is_not_there_or_starts_is_down(own_jenkins: Starter, edge: JenkinsEdge) -> None:
    started = own_jenkins({})
    master = MasterRecord(started.url, "butlery", "a token of tests", "2.463", "s", started.url)
    for record in (master, msgspec.structs.replace(master, direct_url="")):
        with pytest.raises(MasterError, match="no connection: connection refused") as raised:
            await edge.look(record, TENANT, labels=False)
        assert raised.value.kind == "down"
    started.start(ready=False)
    jenkins_starts = False
    deadline = time.monotonic() + 30
    while not jenkins_starts:
        assert time.monotonic() < deadline
        with pytest.raises(MasterError) as raised:
            await edge.look(master, TENANT, labels=False)
        assert raised.value.kind == "down"
        jenkins_starts = "503" in str(raised.value) or "another process" in str(raised.value)
