"""The runtime of the Marathon-compatible server: save, then call, then acknowledge; nothing is lost, nothing blocks."""

from __future__ import annotations

import asyncio

import pytest

from framework.core.effects import Acknowledge, Kill, SaveFrameworkId
from framework.core.events import TaskUpdate
from framework.core.ids import TaskId
from framework.errors import FrameworkRemovedError, MesosRefusedError, StoreError, StoreFullError, UnavailableError
from framework.local.marathon import runtime as runtime_module
from framework.local.marathon.control import AppLockedError
from framework.local.marathon.core.effects import SaveInstance, SaveRoot
from framework.local.marathon.definition.app import App, Group, SecretRef, SecretSource
from framework.local.marathon.happenings import DeploymentTold, GroupChanged, InstanceChanged
from framework.local.marathon.records import Condition
from tests.fakes import samples
from tests.fakes.clockwork import eventually, quiet
from tests.fakes.mesos_edges import Accepted
from tests.unit.marathon.groups.trees import app
from tests.unit.marathon.runtime.conftest import Rig, Saved, root_of


def conditions(rig: Rig, app_id: str) -> list[Condition]:
    return [one.condition for one in rig.runtime.view.instances(app_id)]


async def running(rig: Rig, one: App) -> TaskId:
    await rig.subscribe()
    await rig.deploy(one)
    await rig.offer()
    (task_id,) = await rig.launched(1)
    await rig.update(task_id, "TASK_RUNNING")
    return task_id


async def test_an_app_is_saved_then_launched_then_acknowledged(rig: Rig) -> None:
    task_id = await running(rig, app("/a"))
    await eventually(lambda: not rig.runtime.view.deployments(), "the deployment's end")
    assert conditions(rig, "/a") == [Condition.RUNNING]
    accepted = rig.journal.index(rig.calls(Accepted)[0])
    frames = [(place, each) for place, each in enumerate(rig.journal) if isinstance(each, Saved)]
    provisioned = [
        place
        for place, each in frames
        if any(isinstance(save, SaveInstance) and save.instance.task_id == task_id for save in each.frame)
    ]
    assert provisioned[0] < accepted
    acknowledged = rig.journal.index(rig.calls(Acknowledge)[0])
    assert provisioned[1] < acknowledged
    assert any(isinstance(save, SaveFrameworkId) for _, each in frames for save in each.frame)


async def test_a_deployment_is_on_disk_when_its_caller_is_answered(rig: Rig) -> None:
    await rig.deploy(app("/a"))
    assert any(isinstance(save, SaveRoot) for each in rig.calls(Saved) for save in each.frame)
    assert root_of(rig).apps["/a"].version == root_of(rig).version
    assert await rig.runtime.versions("/a") == [root_of(rig).version]
    assert await rig.runtime.app_at("/a", root_of(rig).version) == root_of(rig).apps["/a"]
    assert await rig.runtime.group_versions("/") == [root_of(rig).version]
    assert await rig.runtime.group_at("/", root_of(rig).version) == root_of(rig)


async def test_subscribers_are_told_in_order_after_it_is_saved(rig: Rig) -> None:
    seen: list[str] = []
    end = rig.runtime.subscribe(lambda happening, at: seen.append(type(happening).__name__))
    await running(rig, app("/a"))
    await eventually(lambda: not rig.runtime.view.deployments(), "the deployment's end")
    told = [each.kind for each in rig.told if isinstance(each, DeploymentTold)]
    assert told[0] == "deployment_info"
    assert told[-1] == "deployment_success"
    assert [each.condition for each in rig.told if isinstance(each, InstanceChanged)][-1] is Condition.RUNNING
    assert seen == [type(each).__name__ for each in rig.told]
    end()
    before = len(seen)
    await rig.deploy(app("/b", instances=0))
    await eventually(lambda: len(rig.told) > before, "more to be told")
    assert len(seen) == before


async def test_after_a_crash_its_tasks_run_on_and_deployments_go_on(rig: Rig) -> None:
    task_id = await running(rig, app("/a"))
    deployment = await rig.deploy(app("/b"))
    await rig.crash()
    await rig.start()
    assert rig.driver.framework_id == "f-1"
    assert [each.id for each in rig.runtime.view.deployments()] == [deployment]
    assert [one.task_id for one in rig.runtime.view.instances("/a")] == [task_id]
    await rig.subscribe()
    await rig.offer()
    assert len(await rig.launched(2)) == 2
    assert rig.runtime.view.instance(rig.runtime.view.instances("/a")[0].id) is not None


async def test_while_nothing_can_be_saved_nothing_is_called_and_nobody_waits(rig: Rig) -> None:
    await rig.subscribe()
    rig.store.failing = StoreFullError("the disk is full")
    with pytest.raises(UnavailableError, match="the disk is full"):
        await rig.deploy(app("/a"))
    with pytest.raises(UnavailableError, match="the disk is full"):
        await rig.deploy(app("/b"))
    with pytest.raises(UnavailableError):
        await rig.runtime.kill(["x"], wipe=False)
    await rig.offer()
    await quiet()
    assert rig.tasks() == []
    rig.store.failing = None
    rig.clock.advance(10)
    await rig.launched(1)  # what was asked for is done after all
    await rig.deploy(app("/b"))


async def test_updates_that_nobody_can_save_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "MAX_PENDING_EVENTS", 5)
    await rig.subscribe()
    rig.store.failing = StoreFullError("full")
    with pytest.raises(UnavailableError):
        await rig.deploy(app("/a"))
    for number in range(20):
        rig.driver.tell(TaskUpdate(TaskId(f"t{number}"), "TASK_RUNNING", samples.HOST.id, uuid=b"u" * 16))
    assert len(rig.runtime._events) == 5
    rig.store.failing = None
    rig.clock.advance(6)
    await eventually(lambda: not rig.runtime._events, "them to be taken in")
    await rig.deploy(app("/b"))


async def test_too_many_changes_at_once_are_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "MAX_ASKING", 2)
    asked = [asyncio.create_task(rig.deploy(app(f"/a{number}", instances=0))) for number in range(4)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(each, UnavailableError) for each in done) == 2
    assert sum(isinstance(each, str) for each in done) == 2


async def test_a_state_that_is_lost_ends_the_server(rig: Rig) -> None:
    rig.store.failing = StoreError("corrupt")
    with pytest.raises(UnavailableError):
        await rig.deploy(app("/a"))
    with pytest.raises(StoreError, match="corrupt"):
        await rig.running
    assert rig.driver.stopped
    with pytest.raises(UnavailableError):
        await rig.deploy(app("/a"))


async def test_a_change_that_raises_changes_nothing(rig: Rig) -> None:
    def change(_root: Group, _version: str) -> Group:
        raise KeyError("mine")

    before = root_of(rig)
    with pytest.raises(KeyError):
        await rig.runtime.deploy(change)
    assert root_of(rig) is before


async def test_subscribers_are_told_of_a_change_that_is_refused(rig: Rig) -> None:
    await rig.deploy(app("/team/a"))
    with pytest.raises(AppLockedError):
        await rig.deploy(app("/team/a", cmd="new"))
    await eventually(lambda: any(isinstance(each, GroupChanged) and each.reason for each in rig.told), "the refusal")
    assert [(each.group_id, bool(each.reason)) for each in rig.told if isinstance(each, GroupChanged)] == [
        ("/team", False),
        ("/team", True),
    ]


async def test_a_dry_run_plans_and_changes_nothing(rig: Rig) -> None:
    before = root_of(rig)
    steps = rig.runtime.plan(Group(id="/", apps={"/a": app("/a")}, groups={}, version=before.version))
    assert [action.app.id for step in steps for action in step.actions] == ["/a", "/a"]
    assert root_of(rig) is before
    assert rig.calls(Saved) == []


async def test_versions_only_grow_over_restarts_and_clocks_that_go_back(rig: Rig) -> None:
    await rig.deploy(app("/a", instances=0))
    last = root_of(rig).version
    await rig.crash()
    rig.clock.advance(-1000)
    await rig.start()
    assert rig.runtime.new_version() > last


async def test_a_launch_that_cannot_be_made_fails_alone(rig: Rig) -> None:
    await rig.subscribe()
    wanting = app("/wants", env={"K": SecretRef(secret="s")}, secrets={"s": SecretSource(source="none")})
    await rig.deploy(wanting, app("/fine"))
    await rig.offer()
    (task_id,) = await rig.launched(1)
    assert task_id.startswith("fine.")
    await eventually(lambda: rig.runtime.view.last_failure("/wants"), "its failure")
    failure = rig.runtime.view.last_failure("/wants")
    assert failure is not None
    assert "none" in failure.message
    assert rig.runtime.view.queue()[0].app.id == "/wants"
    assert await rig.runtime.reset_delay("/wants")
    assert not await rig.runtime.reset_delay("/unknown")


async def test_killed_tasks_are_launched_anew(rig: Rig) -> None:
    task_id = await running(rig, app("/a"))
    await rig.runtime.kill([rig.runtime.view.instances("/a")[0].id], wipe=False)
    await eventually(lambda: [call.task_id for call in rig.calls(Kill)] == [task_id], "the kill")
    await rig.update(task_id, "TASK_KILLED")
    await rig.offer()
    assert len(await rig.launched(2)) == 2


async def test_roles_are_taken_up_as_apps_have_them(rig: Rig) -> None:
    await rig.subscribe()
    await rig.deploy(app("/dev/a", role="dev"))
    await eventually(lambda: ("update_framework", ("*", "dev"), ()) in rig.journal, "the role")
    await rig.deploy(app("/dev/b", role="dev"))
    await quiet()
    assert len([each for each in rig.journal if isinstance(each, tuple) and each[0] == "update_framework"]) == 1


async def test_a_framework_that_mesos_removed_is_made_anew(rig: Rig) -> None:
    await running(rig, app("/a"))
    rig.driver.refuse(FrameworkRemovedError("removed"))
    await quiet()
    rig.clock.advance(1)
    await eventually(lambda: len(rig.drivers) == 2 and rig.driver.running, "another driver")
    assert rig.driver.framework_id is None
    assert rig.store.load().framework_id is None


async def test_what_mesos_refuses_for_good_ends_the_server(rig: Rig) -> None:
    rig.driver.refuse(MesosRefusedError("who are you"))
    with pytest.raises(MesosRefusedError):
        await rig.running


async def test_abdication_is_an_orderly_end(rig: Rig) -> None:
    await rig.runtime.abdicate()
    await asyncio.wait_for(rig.running, 20)
    assert rig.driver.stopped
    assert "teardown" not in rig.journal
