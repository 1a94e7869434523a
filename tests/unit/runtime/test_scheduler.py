"""A scheduler's life: start, losses of Mesos and of itself, stop."""

from __future__ import annotations

import msgspec
import pytest

from framework.core.effects import Kill, Reconcile, SaveFrameworkId
from framework.core.events import Disconnected, Subscribed
from framework.core.ids import FrameworkId, HostId
from framework.core.tasks import FailureClass
from framework.errors import FrameworkRemovedError, MesosRefusedError, UnavailableError
from framework.runtime.scheduler import HOSTS_EVERY_S, HOSTS_RETRY_BASE_S
from tests.fakes import samples
from tests.fakes.clockwork import eventually, quiet
from tests.unit.runtime.conftest import Rig


async def test_a_build_from_submission_to_its_end(ready: Rig) -> None:
    request_id, task_id = await ready.run_one()
    assert await ready.state_of(request_id) == "running"
    await ready.update(task_id, "TASK_FINISHED", FailureClass.PASSED)
    request = await ready.control.request(request_id)
    assert request is not None
    assert request.outcome is not None
    assert (request.state, request.outcome.result_class) == ("ended", "passed")


async def test_the_framework_id_is_kept_for_the_next_start(ready: Rig) -> None:
    assert ready.driver.framework_id is None
    await ready.stop()
    await ready.start()
    assert ready.driver.framework_id == "f-1"


async def test_stop_leaves_the_framework_and_its_tasks_alone(ready: Rig) -> None:
    await ready.run_one()
    await ready.stop()
    assert ready.driver.stopped
    assert "teardown" not in ready.journal
    assert ready.calls(Kill) == []
    with pytest.raises(UnavailableError, match="stopping"):
        await ready.submit()


async def test_stop_answers_those_who_wait(ready: Rig) -> None:
    (request_id,) = await ready.submit()
    ready.scheduler.stop()
    waited = await ready.control.wait(request_id, 1000.0)
    assert waited is not None
    assert waited.state == "waiting"


async def test_after_a_crash_it_asks_for_its_tasks_and_goes_on(ready: Rig) -> None:
    request_id, task_id = await ready.run_one()
    await ready.crash()
    await ready.start()
    assert ready.driver.framework_id == "f-1"
    before = len(ready.calls(Reconcile))
    await ready.subscribe(tenant=None)
    asked = [reconcile.tasks for reconcile in ready.calls(Reconcile)[before:]]
    assert asked == [((task_id, samples.HOST.id),), ()]
    await ready.update(task_id, "TASK_FINISHED", FailureClass.PASSED)
    assert await ready.state_of(request_id) == "ended"


async def test_tokens_survive_a_restart(rig: Rig) -> None:
    await rig.subscribe(tenant=None)
    token = await rig.control.set_tenant(samples.tenant(), new_token=False)
    assert token is not None
    digest = rig.control.token_sha256(samples.TEAM)
    await rig.stop()
    await rig.start()
    assert rig.control.token_sha256(samples.TEAM) == digest


async def test_a_running_task_that_the_state_does_not_know_is_killed(ready: Rig) -> None:
    ready.tell(samples.task(samples.request("r-of-old")).id, "TASK_RUNNING")
    await eventually(lambda: ready.calls(Kill))
    assert ready.calls(Kill) == [Kill(samples.task(samples.request("r-of-old")).id, samples.HOST.id, 0.0)]


async def test_a_removed_framework_comes_back_as_a_new_one(ready: Rig) -> None:
    request_id, _ = await ready.run_one()
    ready.driver.refuse(FrameworkRemovedError("Framework has been removed"))
    await eventually(lambda: not ready.control.health().connected)
    ready.clock.advance(1.0)
    await eventually(lambda: len(ready.drivers) == 2 and ready.driver.running, "a new driver")
    assert ready.driver.framework_id is None
    assert SaveFrameworkId(None) in [save for frame in ready.calls(tuple) for save in frame]
    assert await ready.state_of(request_id) == "waiting"  # none of the build's doing: it gets another attempt
    ready.driver.tell(Subscribed(FrameworkId("f-2")))
    ready.clock.advance(60.0)
    await ready.offer()
    assert (await ready.launched(2))[-1] == f"{request_id}.2"


async def test_removal_over_and_over_makes_no_storm(ready: Rig) -> None:
    async def remove_again() -> None:
        number = len(ready.drivers)
        ready.driver.refuse(FrameworkRemovedError("Framework has been removed"))
        await quiet(5)
        assert len(ready.drivers) == number
        ready.clock.advance(2.0)
        await eventually(lambda: len(ready.drivers) > number and ready.driver.running)

    for _ in range(5):
        await remove_again()


async def test_removal_before_any_subscription_makes_no_storm_either(ready: Rig) -> None:
    """However long ago it is that a subscription stood."""
    ready.clock.advance(3600.0)
    waits_s = []
    for number in range(1, 9):
        ready.driver.refuse(FrameworkRemovedError("Framework has been removed"))
        await quiet(5)
        refused_at = ready.clock.now()
        while len(ready.drivers) == number:
            ready.clock.advance(1.0)
            await quiet(5)
        waits_s.append(ready.clock.now() - refused_at)
    assert waits_s[-1] > 5


async def test_a_refusal_that_no_retry_cures_ends_the_run(ready: Rig) -> None:
    ready.driver.refuse(MesosRefusedError("Mesos 0.28 is too old"))
    with pytest.raises(MesosRefusedError, match="too old"):
        await ready.running


async def test_stop_ends_even_where_the_framework_is_being_removed(ready: Rig) -> None:
    ready.driver.refuse(FrameworkRemovedError("Framework has been removed"))
    await quiet(5)
    await ready.stop()
    assert len(ready.drivers) == 1


async def test_hosts_are_asked_for_again_and_again(rig: Rig) -> None:
    async def asked_after(seconds: float) -> bool:
        await quiet(5)
        before = rig.cluster.asked
        rig.clock.advance(seconds)
        await quiet(5)
        return rig.cluster.asked > before

    assert not await asked_after(HOSTS_EVERY_S - 0.1)
    rig.cluster.known = ()
    assert await asked_after(0.1)
    assert await asked_after(HOSTS_RETRY_BASE_S)  # it did not answer, so sooner
    assert not await asked_after(HOSTS_RETRY_BASE_S / 2)  # each time a little later
    rig.cluster.known = (samples.HOST, msgspec.structs.replace(samples.HOST, id=HostId("h2")))
    assert await asked_after(2 * HOSTS_RETRY_BASE_S)
    assert len(rig.control.hosts()) == 2
    assert not await asked_after(HOSTS_EVERY_S - 0.1)
    asked = rig.cluster.asked
    rig.driver.tell(Subscribed(FrameworkId("f-1")))  # perhaps to another master: at once
    await eventually(lambda: rig.cluster.asked > asked)


async def test_a_lost_connection_is_told_as_not_well(ready: Rig) -> None:
    ready.driver.tell(Disconnected("cable"))
    await eventually(lambda: not ready.control.health().connected)
