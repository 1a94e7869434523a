"""What every SchedulerDriver must do, against a real Mesos. Subclass it in a test module and say how to make one."""

from __future__ import annotations

import asyncio

import pytest

from agents.spec import BuildResult
from framework.core.effects import Decline, Kill, Reconcile
from framework.core.events import Disconnected, ExecutorLost, ExecutorMessage, OffersReceived, Subscribed
from framework.core.ids import TaskId
from framework.core.resources import Resources
from framework.core.tasks import FailureClass
from framework.errors import MesosRefusedError, UnavailableError
from tests.contract.driver_operations import OperationsContract
from tests.contract.driver_tests import ROLE, Cluster, cpu_millis, offers_of, operate, task_name
from tests.fakes.driving import Driving, launch, launching
from tests.fakes.fault_proxy import fault_proxy

GONE = ("TASK_GONE", "TASK_UNKNOWN", "TASK_DROPPED", "TASK_LOST")


class SchedulerDriverContract(OperationsContract):
    """The life of a framework and of its tasks; operations are in the class it extends."""

    async def test_subscribes_and_gets_offers_of_every_host(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            connected = [driving.driver.connected]
            await driving.subscribed()
            connected.append(driving.driver.connected)
            assert connected == [False, True]
            hosts = {str(host["id"]): host for host in cluster.hosts()}
            for host_id in hosts:
                offer = await self.offer_of(driving, host_id, 0)
                assert offer.resources.cpu_millis > 0
                assert offer.resources.mem_mib > 0
                assert offer.hostname == hosts[host_id]["hostname"]
                assert offer.attributes == hosts[host_id]["attributes"]
            assert isinstance(driving.events[0], Subscribed)

    async def test_a_task_runs_and_ends_with_what_the_executor_measured(self, cluster: Cluster) -> None:
        result = BuildResult("oom", "over its memory", exit_code=137, peak_mem_mib=63.5, limit_mem_mib=64)
        async with self.start(cluster.url) as driving:
            offer, name = await driving.offer(), task_name()
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name, result=result.to_json().decode())))
            running = await driving.update(name, "TASK_RUNNING")
            assert (running.host_id, len(running.uuid), running.outcome) == (offer.host_id, 16, None)
            finished = await driving.update(name, "TASK_FINISHED")
            assert finished.outcome is not None
            assert finished.outcome.result_class is FailureClass.OOM
            assert (finished.outcome.exit_code, finished.outcome.peak_mem_mib) == (137, 63.5)
            lost = await driving.nth(ExecutorLost)
            assert (lost.host_id, lost.executor_id) == (offer.host_id, name)

    async def test_what_a_launch_leaves_is_offered_again(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            offer, name = await driving.offer(), task_name()
            after = len(driving.events)
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name, None)))
            rest = await driving.offer(after, lambda rest: rest.host_id == offer.host_id)
            assert rest.resources == offer.resources - Resources(cpu_millis=600, mem_mib=96)

    async def test_offers_of_one_host_are_spent_together(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            first, name = await driving.offer(), task_name()
            free = first.resources
            half = Resources(free.cpu_millis // 2, free.mem_mib // 2)
            after = len(driving.events)
            driving.driver.accept([first.id], first.host_id, launching(launch(name, None, resources=half)))
            await driving.update(name, "TASK_RUNNING")
            rest = await driving.offer(after, lambda offer: offer.host_id == first.host_id)
            after = len(driving.events)
            driving.driver.kill(Kill(TaskId(name), first.host_id, 1.0))
            freed = await driving.offer(after, lambda offer: offer.host_id == first.host_id)
            more_than_either = Resources(free.cpu_millis * 3 // 4, free.mem_mib * 3 // 4)
            name = task_name()
            driving.driver.accept(
                [rest.id, freed.id], first.host_id, launching(launch(name, resources=more_than_either))
            )
            await driving.update(name, "TASK_FINISHED")

    async def test_what_is_reserved_for_its_role_is_used_with_the_rest(self, cluster: Cluster) -> None:
        host_id = str(cluster.hosts()[0]["id"])
        await asyncio.to_thread(operate, cluster, "RESERVE_RESOURCES", host_id, ROLE)
        try:
            async with self.start(cluster.url) as driving:
                offer, name = await self.offer_of(driving, host_id, 0), task_name()
                assert offer.resources.cpu_millis == cpu_millis(cluster.hosts()[0])
                all_of_it = Resources(offer.resources.cpu_millis - 100, offer.resources.mem_mib - 32)
                driving.driver.accept([offer.id], offer.host_id, launching(launch(name, resources=all_of_it)))
                await driving.update(name, "TASK_FINISHED")
                await driving.nth(ExecutorLost)
        finally:
            await asyncio.to_thread(operate, cluster, "UNRESERVE_RESOURCES", host_id, ROLE)

    async def test_an_update_comes_again_until_it_is_acknowledged(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            driving.acknowledging = False
            offer, name = await driving.offer(), task_name()
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name)))
            running = await driving.update(name, "TASK_RUNNING")
            after = len(driving.events)
            again = await driving.update(name, "TASK_RUNNING", "TASK_FINISHED", after=after)
            assert (again.state, again.uuid) == ("TASK_RUNNING", running.uuid)
            driving.acknowledging = True
            driving.acknowledge(again)
            await driving.update(name, "TASK_FINISHED")

    async def test_kill(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            offer, name = await driving.offer(), task_name()
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name, None)))
            await driving.update(name, "TASK_RUNNING")
            driving.driver.kill(Kill(TaskId(name), offer.host_id, 0.5))
            await driving.update(name, "TASK_KILLED")

    async def test_messages_reach_the_mesos_executor_and_come_back(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            offer, name = await driving.offer(), task_name()
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name, None)))
            await driving.update(name, "TASK_RUNNING")
            told = BuildResult("passed", "as it was told").to_json()
            driving.driver.message(offer.host_id, name, told)
            finished = await driving.update(name, "TASK_FINISHED")
            assert finished.outcome is not None
            assert finished.outcome.message == "as it was told"
            answer = await driving.nth(ExecutorMessage)
            assert (answer.host_id, answer.executor_id, answer.data) == (offer.host_id, name, told)

    async def test_reconcile(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            offer, name, stranger = await driving.offer(), task_name(), task_name()
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name, None)))
            await driving.update(name, "TASK_RUNNING")
            after = len(driving.events)
            driving.driver.reconcile(Reconcile(()))
            known = await driving.update(name, "TASK_RUNNING", after=after)
            assert (known.reason, known.uuid) == ("REASON_RECONCILIATION", b"")
            driving.driver.reconcile(Reconcile(((TaskId(stranger), offer.host_id),)))
            unknown = await driving.update(stranger, *GONE)
            assert (unknown.reason, unknown.uuid) == ("REASON_RECONCILIATION", b"")

    async def test_a_launch_on_an_offer_that_is_spent_is_told_as_lost(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            offer, name = await driving.offer(), task_name()
            driving.driver.decline(Decline((offer.id,), 0.0))
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name)))
            await driving.update(name, *GONE, "TASK_ERROR")

    async def test_declined_offers_come_back_with_revive(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            await self.offers_of_all(cluster, driving)
            after = len(driving.events)
            self.decline_all(driving, 3600.0)
            driving.driver.revive()
            await self.offers_of_all(cluster, driving, after)

    async def test_suppressed_it_gets_no_offers_until_revived(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            await self.offers_of_all(cluster, driving)
            driving.driver.suppress()
            after = len(driving.events)
            self.decline_all(driving, 0.0)
            async with self.start(cluster.url, name="other") as other:
                # The other gets everything, several times over: rounds of allocation that passed the first one by.
                for _ in range(3):
                    before = len(other.events)
                    await self.offers_of_all(cluster, other)
                    other.driver.decline(Decline(tuple(offer.id for offer in offers_of(other)), 0.0))
                    await other.offer(before)
            assert not driving.of(OffersReceived, after)
            driving.driver.revive()
            await self.offers_of_all(cluster, driving, after)

    async def test_stop_keeps_the_framework_and_its_tasks(self, cluster: Cluster) -> None:
        first = Driving(self.make([cluster.url], "contract", None))
        offer, name = await first.offer(), task_name()
        first.driver.accept([offer.id], offer.host_id, launching(launch(name, None)))
        await first.update(name, "TASK_RUNNING")
        await first.driver.stop()
        await asyncio.wait_for(first.running, 10)
        assert not first.driver.connected
        framework_id = first.of(Subscribed)[0].framework_id
        async with self.start(cluster.url, framework_id) as second:
            assert await second.subscribed() == framework_id
            second.driver.reconcile(Reconcile(((TaskId(name), offer.host_id),)))
            await second.update(name, "TASK_RUNNING")
            second.driver.kill(Kill(TaskId(name), offer.host_id, 0.5))
            await second.update(name, "TASK_KILLED")

    async def test_a_lost_connection_is_told_once_and_made_again_with_the_same_id(self, cluster: Cluster) -> None:
        async with fault_proxy(cluster.port) as proxy, self.start(proxy.url) as driving:
            framework_id = await driving.subscribed()
            offer, name = await driving.offer(), task_name()
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name, None)))
            await driving.update(name, "TASK_RUNNING")
            proxy.cut()
            assert await driving.disconnected()
            assert not driving.driver.connected
            driving.driver.kill(Kill(TaskId(name), offer.host_id, 0.5))  # dropped, as the port says
            assert await driving.subscribed(2) == framework_id
            driving.driver.reconcile(Reconcile(()))
            await driving.update(name, "TASK_RUNNING", suits=lambda update: not update.uuid)
            assert len(driving.of(Disconnected)) == 1

    async def test_tasks_live_through_a_crash_of_mesos(self, own_cluster: Cluster) -> None:
        async with self.start(own_cluster.url) as driving:
            framework_id = await driving.subscribed()
            offer, name = await driving.offer(), task_name()
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name, None)))
            await driving.update(name, "TASK_RUNNING")
            own_cluster.kill9()
            await driving.disconnected()
            await asyncio.to_thread(own_cluster.restart)
            assert (
                await driving.subscribed(len(driving.of(Subscribed)) + (not driving.driver.connected)) == framework_id
            )
            driving.driver.kill(Kill(TaskId(name), offer.host_id, 0.5))
            await driving.update(name, "TASK_KILLED")

    async def test_teardown_ends_the_framework_and_every_task(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            offer, name = await driving.offer(), task_name()
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name, None)))
            await driving.update(name, "TASK_RUNNING")
            await driving.driver.teardown()
            await asyncio.wait_for(driving.running, 10)
            assert not driving.driver.connected
            framework_id = driving.of(Subscribed)[0].framework_id
        again = self.make([cluster.url], "contract", framework_id)
        with pytest.raises(MesosRefusedError, match="removed"):
            await asyncio.wait_for(again.run(lambda _: None), 30)

    async def test_teardown_without_a_subscription_is_refused(self, cluster: Cluster) -> None:
        with pytest.raises(UnavailableError):
            await self.make([cluster.url], "contract", None).teardown()

    async def test_one_that_is_taken_over_ends(self, cluster: Cluster) -> None:
        first = Driving(self.make([cluster.url], "contract", None))
        framework_id = await first.subscribed()
        async with self.start(cluster.url, framework_id) as second:
            assert await second.subscribed() == framework_id
            with pytest.raises(MesosRefusedError, match="failed over"):
                await asyncio.wait_for(first.running, 30)
            assert second.driver.connected
