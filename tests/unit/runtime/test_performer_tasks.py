"""What a launch of the core becomes on the wire: groups, Mesos executors of their own and shared ones, ports, notes."""

from __future__ import annotations

import json

from agents.shared import SHARED_EXECUTOR_ID
from agents.spec import BuildSpec, ContainerSpec
from framework.core.effects import AcceptInverse, DeclineInverse, Effect, Launch, Tell
from framework.core.ids import OfferId
from framework.core.pieces import ReservedUse
from framework.core.resources import Resources
from framework.core.tasks import Task, TaskState
from framework.mesos_ports import LaunchGroup, LaunchTasks
from framework.runtime.performer import Performer
from tests.fakes import samples
from tests.fakes.memory_store import MemoryStore
from tests.fakes.mesos_edges import Accepted, FakeDriver
from tests.unit.runtime.conftest import AGENT

DATABASE = ContainerSpec("db", "exec postgres", 200, 512, 10, image="postgres:16", env={"A": "1"})


async def performed(*effects: Effect, store: MemoryStore) -> list[object]:
    journal: list[object] = []
    await Performer(FakeDriver(None, journal), store, AGENT, lambda _: None).perform(effects)
    return [entry for entry in journal if entry != "drain"]


def launched(store: MemoryStore, name: str, spec: BuildSpec | None = None) -> Task:
    request = samples.request(name)
    store.commit((), [samples.new(request, spec)])
    return samples.task(request, state=TaskState.LAUNCHING)


def launch(*tasks: Task) -> Launch:
    return Launch((OfferId("o1"),), samples.HOST.id, tasks)


async def test_an_agent_of_several_containers_is_one_group_in_which_the_one_that_builds_is_last() -> None:
    store = MemoryStore()
    plain, other = launched(store, "r1"), launched(store, "r3")
    spec = samples.spec(containers=[DATABASE], secrets={"TOKEN": "x"}, artifacts=["*.xml"], gpus=1)
    group = launched(store, "r2", spec)
    group.resources, group.ports = Resources(700, 768, 11, 1, 2), [31000, 31001]
    group.reserved = ReservedUse.FIRST
    (accepted,) = await performed(launch(plain, group, other), store=store)
    assert isinstance(accepted, Accepted)
    first, second, third = accepted.operations
    assert isinstance(first, LaunchTasks)
    assert isinstance(second, LaunchGroup)
    assert isinstance(third, LaunchTasks)
    side, main = second.tasks
    assert (side.task_id, main.task_id) == ("r2.1~db", "r2.1")
    assert (side.resources, main.resources) == (Resources(200, 512, 10), Resources(500, 256, 0, 1, 2))
    assert side.executor == main.executor
    assert main.executor.resources.disk_mib == 1, "Mesos takes no group without"
    assert main.executor.id == "r2.1"
    assert (side.ports, main.ports, main.reserved) == ((), (31000, 31001), ReservedUse.FIRST)
    beside, builds = BuildSpec.from_json(side.data), BuildSpec.from_json(main.data)
    assert (beside.container, beside.command, beside.image) == ("db", "exec postgres", "postgres:16")
    assert (beside.mem_mib, beside.env, beside.secrets) == (512, {"A": "1"}, {"TOKEN": "x"})
    assert (beside.task_id, beside.artifacts, beside.containers, beside.gpus) == ("r2.1~db", [], [], 0)
    assert beside.ports == [31000, 31001], "it may be the one that listens there"
    assert (builds.container, builds.containers, builds.ports, builds.gpus) == ("", [DATABASE], [31000, 31001], 1)


async def test_a_shared_mesos_executor_is_the_same_in_every_part_for_all_its_builds() -> None:
    store = MemoryStore()
    tasks = [launched(store, "r1", samples.spec(job="a")), launched(store, "r2", samples.spec(job="b"))]
    for task in tasks:
        task.mesos_executor_id = SHARED_EXECUTOR_ID
    (accepted,) = await performed(launch(*tasks), store=store)
    assert isinstance(accepted, Accepted)
    one, other = (each.executor for each in accepted.launches)
    assert one == other
    assert one.id == SHARED_EXECUTOR_ID


async def test_notes_and_inverse_offers_reach_mesos() -> None:
    accept, decline = AcceptInverse((OfferId("i1"),)), DeclineInverse((OfferId("i2"),), 5.0)
    task = samples.task(samples.request("r1"))
    tell = Tell(task.id, task.host_id, SHARED_EXECUTOR_ID, "the host goes")
    taken, declined, message = await performed(accept, decline, tell, store=MemoryStore())
    assert (taken, declined) == (accept, decline)
    assert isinstance(message, tuple)
    assert message[:3] == ("message", task.host_id, SHARED_EXECUTOR_ID)
    assert json.loads(message[3]) == {"tell": {"task_id": task.id, "text": "the host goes"}}
