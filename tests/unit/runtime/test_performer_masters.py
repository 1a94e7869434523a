"""What the core wants of masters goes to whoever makes nodes; what agents connect with, into their launches alone."""

from __future__ import annotations

import json
import logging

import pytest

from agents.spec import AGENT_SECRET, AgentSpec, BuildSpec
from framework.core import effects as ef
from framework.core.events import Event, NodeFailed, TaskUpdate
from framework.core.ids import OfferId, TaskId, TenantName
from framework.core.tasks import Task, TaskState
from framework.jenkins_ports import AgentAccess
from framework.runtime.performer import UNSERVED_S, Performer
from tests.fakes import samples
from tests.fakes.memory_store import MemoryStore
from tests.fakes.mesos_edges import Accepted, FakeDriver
from tests.unit.runtime.conftest import AGENT

SECRET = "0f" * 32


class FakeKeeper:
    """Notes what it is asked; has what is in ``known`` at hand."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.known: dict[TaskId, AgentAccess] = {}

    def prepare(self, effect: ef.PrepareNode) -> None:
        self.asked.append(effect)

    def remove(self, effect: ef.RemoveNode) -> None:
        self.asked.append(effect)

    def look_at(self, tenant: TenantName) -> None:
        self.asked.append(tenant)

    def access(self, task_id: TaskId) -> AgentAccess | None:
        return self.known.get(task_id)

    def forget(self, task_id: TaskId) -> None:
        self.known.pop(task_id, None)


class Bench:
    """A performer with a keeper; ``task`` is of an agent whose node stands."""

    def __init__(self, *, served: bool = True) -> None:
        self.store, self.keeper = MemoryStore(), FakeKeeper()
        self.journal: list[object] = []
        self.events: list[Event] = []
        request = samples.request("r1")
        spec = samples.spec(agent=AgentSpec(jvm_options=["-Xmx64m"]), secrets={"TOKEN": "x"})
        self.store.commit((), [samples.new(request, spec)])
        self.request, self.task = request, samples.task(request, state=TaskState.LAUNCHING)
        self.keeper.known[self.task.id] = AgentAccess("http://jenkins/", "butlery-r1.1", SECRET, "jar-1")
        driver = FakeDriver(None, self.journal)
        self.performer = Performer(driver, self.store, AGENT, self.events.append, self.keeper if served else None)

    def launch(self, *tasks: Task) -> ef.Launch:
        return ef.Launch((OfferId("o1"),), samples.HOST.id, tasks or (self.task,))


def check(spec: BuildSpec) -> None:
    assert spec.agent is not None
    assert (spec.agent.url, spec.agent.node, spec.agent.jar) == ("http://jenkins/", "butlery-r1.1", "jar-1")
    assert spec.agent.jvm_options == ["-Xmx64m"]
    assert spec.secrets == {"TOKEN": "x", AGENT_SECRET: SECRET}


async def test_an_agent_is_launched_with_what_it_connects_with() -> None:
    bench = Bench()
    await bench.performer.perform([bench.launch()])
    (accepted,) = [each for each in bench.journal if isinstance(each, Accepted)]
    (launch,) = accepted.launches
    check(BuildSpec.from_json(launch.data))
    assert SECRET not in repr((launch.labels, launch.executor, launch.name))
    assert not bench.keeper.known, "it is kept no longer than that"
    saved = bench.store.payload(bench.request.id)
    assert saved is not None and AGENT_SECRET not in saved.secrets


async def test_a_secret_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bench = Bench()
    await bench.performer.perform([bench.launch(), ef.Assign(bench.task, bench.request)])
    assert not [record for record in caplog.records if SECRET in repr(record.__dict__)]


async def test_one_whose_node_nobody_knows_is_not_launched_and_tried_again() -> None:
    bench = Bench()
    bench.keeper.known.clear()
    await bench.performer.perform([bench.launch()])
    (accepted,) = [each for each in bench.journal if isinstance(each, Accepted)]
    assert not accepted.launches, "so its offers go back"
    (told,) = bench.events
    assert isinstance(told, TaskUpdate)
    assert (told.task_id, told.state) == (bench.task.id, "TASK_DROPPED")


async def test_a_spare_is_sent_what_it_is_to_be() -> None:
    bench = Bench()
    await bench.performer.perform([ef.Assign(bench.task, bench.request)])
    ((kind, host_id, executor_id, data),) = [each for each in bench.journal if isinstance(each, tuple)]
    assert (kind, host_id, executor_id) == ("message", bench.task.host_id, bench.task.id)
    given = json.loads(data)["assign"]
    assert given["task_id"] == bench.task.id
    assert given["spec"]["agent"]["node"] == "butlery-r1.1"
    assert given["spec"]["secrets"][AGENT_SECRET] == SECRET


async def test_what_masters_are_asked_goes_to_whoever_asks_them() -> None:
    bench = Bench()
    asked: list[ef.Effect] = [
        ef.PrepareNode(bench.task.id, bench.request, "butlery-r1.1"),
        ef.RemoveNode(samples.TEAM, "butlery-r1.1", "oom"),
        ef.LookAt(samples.TEAM),
    ]
    await bench.performer.perform(asked)
    assert bench.keeper.asked == [*asked[:2], samples.TEAM]


async def test_where_no_masters_are_served_no_node_is_waited_for() -> None:
    bench = Bench(served=False)
    prepare = ef.PrepareNode(bench.task.id, bench.request, "butlery-r1.1")
    await bench.performer.perform([prepare, ef.RemoveNode(samples.TEAM, "n"), ef.LookAt(samples.TEAM)])
    assert bench.events == [NodeFailed(bench.task.id, "this scheduler serves no masters", UNSERVED_S)]
