"""What every SchedulerDriver must do with what is offered: reserve it, make volumes of it, share it, give it back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from agents.spec import BuildResult
from framework.core.effects import AcceptInverse, Decline, DeclineInverse, Kill
from framework.core.events import ExecutorLost, InverseOfferRescinded, InverseOffersReceived, OffersReceived
from framework.core.ids import HostId, OfferId, TaskId
from framework.core.offers import InverseOffer, Offer, Window
from framework.core.pieces import PER_UNIT, Piece, Reservation, ReservedUse, Volume
from framework.core.resources import Resources
from framework.mesos_ports import (
    CreateVolumes,
    DestroyVolumes,
    GrowVolume,
    LaunchGroup,
    LaunchTasks,
    Operation,
    Reserve,
    ShrinkVolume,
    Unreserve,
)
from tests.contract.driver_tests import ROLE, Cluster, DriverTests, ask, offers_of, operate, task_name
from tests.fakes.driving import DEADLINE_S, OF_MESOS_EXECUTOR, Driving, launch, launching
from tests.fakes.fault_proxy import fault_proxy

SMALL = Resources(cpu_millis=200, mem_mib=32)


@dataclass
class Using:
    """One host's offers, used one after the other."""

    driving: Driving
    host_id: HostId
    offer: Offer

    async def accept(self, *operations: Operation) -> Offer:
        """What is offered of the host after that."""
        after = len(self.driving.events)
        self.driving.driver.accept([self.offer.id], self.host_id, operations)
        self.offer = await self.driving.offer(after, lambda offer: offer.host_id == self.host_id)
        return self.offer

    async def until(self, suits: Callable[[Offer], bool]) -> Offer:
        """Until such a one comes; those that came before are given back, as any may hold a part of it."""
        async with asyncio.timeout(DEADLINE_S):
            while not suits(self.offer):
                after = len(self.driving.events)
                others = [offer.id for offer in offers_of(self.driving) if offer.host_id == self.host_id]
                self.driving.driver.decline(Decline(tuple(others), 0.0))
                self.offer = await self.driving.offer(after, lambda offer: offer.host_id == self.host_id)
        return self.offer

    async def until_free(self, resources: Resources) -> Offer:
        return await self.until(lambda offer: offer.resources == resources)

    async def until_kept(self, volume: Piece) -> Offer:
        return await self.until(lambda offer: offer.pieces == (volume,))

    async def finished(self, *operation_ids: str) -> None:
        for each in operation_ids:
            update = await self.driving.operation(each)
            assert (update.state, update.host_id, update.message) == ("OPERATION_FINISHED", self.host_id, "")
            assert len(update.uuid) == 16


async def using(driving: Driving) -> Using:
    offer = await driving.offer()
    return Using(driving, offer.host_id, offer)


def write(text: str) -> tuple[str, str]:
    """Into the volume; the executor answers with what was there before."""
    return "kept/note", BuildResult("passed", text).to_json().decode()


class OperationsContract(DriverTests):
    @property
    def ours(self) -> tuple[Reservation, ...]:
        return (Reservation(ROLE, True, self.principal, (("of", "test"), ("of", "tests"), ("plain", None))),)

    @property
    def disk(self) -> Piece:
        return Piece("disk", 100 * PER_UNIT, reservations=self.ours)

    @property
    def volume(self) -> Piece:
        return replace(self.disk, volume=Volume("contract", "kept", self.principal))

    async def test_a_volume_over_several_accepts_keeps_what_is_written(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            host = await using(driving)
            free = host.offer.resources
            reserved = await host.accept(Reserve((self.disk,), "reserve"))
            assert (reserved.resources, reserved.reserved) == (free, Resources(disk_mib=100))
            created = await host.accept(CreateVolumes((self.volume,), "create"))
            assert created.pieces == (self.volume,)
            assert created.resources == free - Resources(disk_mib=100)
            first, second = task_name(), task_name()
            await host.accept(LaunchTasks((launch(first, pieces=(self.volume,), write=write("as it was")),)))
            await driving.update(first, "TASK_FINISHED")
            await host.until_kept(self.volume)
            await host.accept(LaunchTasks((launch(second, pieces=(self.volume,), write=write("later")),)))
            finished = await driving.update(second, "TASK_FINISHED")
            assert finished.outcome is not None
            assert finished.outcome.message == "as it was"
            await host.until_kept(self.volume)
            destroyed = await host.accept(DestroyVolumes((self.volume,), "destroy"))
            assert (destroyed.reserved, destroyed.pieces) == (Resources(disk_mib=100), ())
            assert (await host.accept(Unreserve((self.disk,), "unreserve"))).reserved == Resources()
            await host.finished("reserve", "create", "destroy", "unreserve")

    async def test_operations_of_one_accept_build_on_each_other(self, cluster: Cluster) -> None:
        cpus, mem = Piece("cpus", 300, reservations=self.ours), Piece("mem", 64 * PER_UNIT, reservations=self.ours)
        async with self.start(cluster.url) as driving:
            host, name = await using(driving), task_name()
            free = host.offer.resources
            only = launch(name, pieces=(self.volume,), resources=SMALL, reserved=ReservedUse.ONLY, write=write("x"))
            await host.accept(
                Reserve((cpus, mem, self.disk), "all.reserve"),
                CreateVolumes((self.volume,), "all.create"),
                LaunchTasks((only,)),
            )
            await driving.update(name, "TASK_FINISHED")
            await host.until_free(free - Resources(disk_mib=100))
            assert host.offer.reserved == Resources(cpu_millis=300, mem_mib=64)
            given_back = await host.accept(
                DestroyVolumes((self.volume,), "all.destroy"), Unreserve((cpus, mem, self.disk), "all.unreserve")
            )
            assert (given_back.resources, given_back.reserved) == (free, Resources())
            await host.finished("all.reserve", "all.create", "all.destroy", "all.unreserve")

    async def test_a_volume_grows_and_shrinks(self, cluster: Cluster) -> None:
        more = replace(self.disk, thousandths=28 * PER_UNIT)
        large = replace(self.volume, thousandths=128 * PER_UNIT)
        async with self.start(cluster.url) as driving:
            host = await using(driving)
            await host.accept(Reserve((self.disk, more)), CreateVolumes((self.volume,)))
            await host.accept(GrowVolume(self.volume, more, "grow"))
            await host.finished("grow")
            await host.until_kept(large)
            await host.accept(ShrinkVolume(large, 28 * PER_UNIT, "shrink"))
            await host.finished("shrink")
            await host.until(lambda offer: offer.pieces == (self.volume,) and offer.reserved == Resources(disk_mib=28))
            await host.accept(DestroyVolumes((self.volume,)), Unreserve((self.disk, more), "done"))
            await host.finished("done")

    async def test_operations_that_cannot_be_are_told(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            host, name = await using(driving), task_name()
            spent = host.offer
            await host.accept(Unreserve((self.disk,), "no.reservation"))
            failed = await driving.operation("no.reservation")
            assert (failed.state, failed.uuid, bool(failed.message)) == ("OPERATION_ERROR", b"", True)
            driving.driver.accept(
                [spent.id], host.host_id, [Reserve((self.disk,), "no.offer"), *launching(launch(name))]
            )
            assert (await driving.operation("no.offer")).state in ("OPERATION_DROPPED", "OPERATION_ERROR")
            await driving.update(name, "TASK_DROPPED", "TASK_LOST", "TASK_ERROR")

    async def test_operations_are_told_again_when_asked_for_until_acknowledged(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            host = await using(driving)
            driving.acknowledging = False
            await host.accept(Reserve((self.disk,), "known"))
            finished = await driving.operation("known")
            for asked in ([("known", host.host_id)], []):
                after = len(driving.events)
                driving.driver.reconcile_operations(asked)
                again = await driving.operation("known", after)
                assert (again.state, again.uuid) == ("OPERATION_FINISHED", b"")
            driving.driver.acknowledge_operation(finished)
            async with asyncio.timeout(DEADLINE_S):
                while again.state != "OPERATION_UNKNOWN":  # once the host has heard of it
                    after = len(driving.events)
                    driving.driver.reconcile_operations([("known", host.host_id)])
                    again = await driving.operation("known", after)
            await host.accept(Unreserve((self.disk,)))

    async def test_each_use_of_what_is_reserved(self, cluster: Cluster) -> None:
        """The operator reserved 0.5 CPU and 64 MiB: to their last thousandth, that is what tasks are told to take."""
        host_id = str(cluster.hosts()[0]["id"])
        await asyncio.to_thread(operate, cluster, "RESERVE_RESOURCES", host_id, ROLE)
        try:
            async with self.start(cluster.url) as driving:
                offer = await self.offer_of(driving, host_id, 0)
                reserved = Resources(cpu_millis=500, mem_mib=64)
                assert offer.reserved == reserved
                host = Using(driving, offer.host_id, offer)
                for use, left in (
                    (ReservedUse.FIRST, reserved - SMALL - OF_MESOS_EXECUTOR),
                    (ReservedUse.ONLY, reserved - SMALL - OF_MESOS_EXECUTOR),
                    (ReservedUse.LAST, reserved),
                    (ReservedUse.NEVER, reserved),
                ):
                    name = task_name()
                    rest = await host.accept(LaunchTasks((launch(name, None, resources=SMALL, reserved=use),)))
                    assert (use, rest.reserved) == (use, left)
                    assert rest.resources == offer.resources - SMALL - OF_MESOS_EXECUTOR
                    await driving.update(name, "TASK_RUNNING")
                    driving.driver.kill(Kill(TaskId(name), host.host_id, 0.5))
                    await driving.update(name, "TASK_KILLED")
                    await host.until_free(offer.resources)
        finally:
            await asyncio.to_thread(operate, cluster, "UNRESERVE_RESOURCES", host_id, ROLE)

    async def test_ports_are_taken_by_their_numbers(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            host, name = await using(driving), task_name()
            first, last = host.offer.port_ranges[0]
            assert host.offer.resources.ports == sum(end - begin + 1 for begin, end in host.offer.port_ranges) > 3
            wanted = replace(SMALL, ports=2)
            rest = await host.accept(LaunchTasks((launch(name, None, resources=wanted, ports=(first + 1, first + 2)),)))
            assert rest.port_ranges[:2] == ((first, first), (first + 3, last))
            await driving.update(name, "TASK_RUNNING")

    async def test_a_group_runs_whole_or_not_at_all(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            host = await using(driving)
            free = host.offer.resources
            names = [task_name() for _ in range(4)]
            group = [launch(name, None, mesos_executor_id=names[0], resources=SMALL) for name in names]
            too_large = replace(group[3], resources=free)
            await host.accept(LaunchGroup((group[2], too_large)))
            for name in names[2:]:
                await driving.update(name, "TASK_ERROR", "TASK_DROPPED")
            assert host.offer.resources == free
            rest = await host.accept(LaunchGroup((group[0], group[1])))
            for name in names[:2]:
                await driving.update(name, "TASK_RUNNING")
            assert free.cpu_millis - rest.resources.cpu_millis == 2 * 200 + 100, "the Mesos executor counts once"
            driving.driver.shutdown(host.host_id, names[0])
            for name in names[:2]:
                await driving.update(name, "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_GONE")

    async def test_a_shared_mesos_executor_counts_once(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            host = await using(driving)
            free = host.offer.resources
            await self._share(driving, host, [task_name() for _ in range(4)])
            ended = await driving.nth(ExecutorLost)
            assert (ended.host_id, ended.executor_id) == (host.host_id, "shared")
            await host.until_free(free)

    async def test_a_shared_mesos_executor_started_with_what_is_reserved(self, cluster: Cluster) -> None:
        host_id = str(cluster.hosts()[0]["id"])
        await asyncio.to_thread(operate, cluster, "RESERVE_RESOURCES", host_id, ROLE)
        try:
            async with self.start(cluster.url) as driving:
                offer = await self.offer_of(driving, host_id, 0)
                host = Using(driving, offer.host_id, offer)
                await self._share(driving, host, [task_name() for _ in range(4)], ReservedUse.FIRST)
                await driving.nth(ExecutorLost)
        finally:
            await asyncio.to_thread(operate, cluster, "UNRESERVE_RESOURCES", host_id, ROLE)

    async def _share(
        self, driving: Driving, host: Using, names: Sequence[str], use: ReservedUse = ReservedUse.LAST
    ) -> None:
        """Two tasks at once, a third later, and a fourth that is sent when something else is free."""
        free = host.offer.resources
        tasks = [launch(name, None, mesos_executor_id="shared", resources=SMALL, reserved=use) for name in names]
        await host.accept(LaunchTasks(tuple(tasks[:2])))
        assert free - host.offer.resources == SMALL + SMALL + OF_MESOS_EXECUTOR
        await host.accept(LaunchTasks((tasks[2],)))
        assert free - host.offer.resources == SMALL + SMALL + SMALL + OF_MESOS_EXECUTOR
        for name in names[:3]:
            await driving.update(name, "TASK_RUNNING")
        driving.driver.kill(Kill(TaskId(names[0]), host.host_id, 0.5))
        await driving.update(names[0], "TASK_KILLED")
        await host.until_free(free - SMALL - SMALL - OF_MESOS_EXECUTOR)
        await host.accept(LaunchTasks((tasks[3],)))
        await driving.update(names[3], "TASK_RUNNING")
        for name in names[1:]:
            driving.driver.kill(Kill(TaskId(name), host.host_id, 0.5))
            await driving.update(name, "TASK_KILLED")

    async def test_shutdown_ends_a_mesos_executor_and_its_tasks(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            host, names = await using(driving), [task_name() for _ in range(2)]
            await host.accept(LaunchTasks(tuple(launch(name, None, mesos_executor_id="shared") for name in names)))
            for name in names:
                await driving.update(name, "TASK_RUNNING")
            driving.driver.shutdown(host.host_id, "shared")
            for name in names:
                await driving.update(name, "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_GONE")
            assert (await driving.nth(ExecutorLost)).executor_id == "shared"

    async def test_each_offer_is_of_one_role_and_each_role_is_suppressed_by_itself(self, cluster: Cluster) -> None:
        roles = (ROLE, "second")
        async with self.start(cluster.url, roles=roles) as driving:
            for quiet, asking in (roles, roles[::-1]):
                driving.driver.suppress((quiet,))
                after = len(driving.events)
                driving.driver.decline(Decline(tuple(offer.id for offer in offers_of(driving)), 0.0))
                driving.driver.revive((asking,))
                offer = await driving.offer(after, lambda offer, asking=asking: offer.role == asking)  # type: ignore[misc]
                name = task_name()
                driving.driver.accept([offer.id], offer.host_id, launching(launch(name)))
                await driving.update(name, "TASK_FINISHED")

    async def test_roles_and_what_is_suppressed_outlive_the_connection(self, cluster: Cluster) -> None:
        async with fault_proxy(cluster.port) as proxy, self.start(proxy.url) as driving:
            framework_id = await driving.subscribed()
            await driving.offer(0, lambda offer: offer.role == ROLE)
            driving.driver.update_framework(("third", "fourth"), ("third",))
            await driving.offer(0, lambda offer: offer.role == "fourth")
            after = len(driving.events)
            proxy.cut()
            assert await driving.subscribed(2) == framework_id
            await self.offers_of_all(cluster, driving, after)
            assert {offer.role for event in driving.of(OffersReceived, after) for offer in event.offers} == {"fourth"}

    async def test_a_hint_of_what_is_wanted_harms_nothing(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            await driving.subscribed()
            driving.driver.request_resources([Resources(cpu_millis=1000, mem_mib=64)])
            await driving.offer()

    async def test_what_is_left_is_not_offered_again_for_a_while(self, cluster: Cluster) -> None:
        async with self.start(cluster.url) as driving:
            offer, name = await driving.offer(), task_name()
            after = len(driving.events)
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name, None)), 3600.0)
            await driving.update(name, "TASK_RUNNING")
            async with self.start(cluster.url, name="other") as other:
                await other.offer(0, lambda each: each.host_id == offer.host_id)
            assert offer.host_id not in [
                each.host_id for event in driving.of(OffersReceived, after) for each in event.offers
            ]

    async def test_maintenance(self, cluster: Cluster) -> None:
        start_at = float(int(time.time())) + 3600.0
        async with self.start(cluster.url) as driving:
            host, name = await using(driving), task_name()
            await host.accept(LaunchTasks((launch(name, None),)))
            await driving.update(name, "TASK_RUNNING")
            window = Window(start_at, 60.0)
            after = len(driving.events)
            try:
                await asyncio.to_thread(schedule, cluster, host.offer.hostname, window)
                asked = await self._asked(driving, after)
                assert (asked.host_id, asked.window) == (host.host_id, window)
                told = await driving.offer(after, lambda offer: offer.host_id == host.host_id and bool(offer.window))
                assert told.window == window
                after = len(driving.events)
                driving.driver.decline_inverse(DeclineInverse((asked.id,), 0.0))
                again = await self._asked(driving, after)
                driving.driver.accept_inverse(AcceptInverse((again.id,)))
                last = await self._asked(driving, len(driving.events))
            finally:
                await asyncio.to_thread(schedule, cluster, host.offer.hostname, None)
            assert await driving.until(lambda: self._rescinded(driving, last.id)) is not None

    async def _asked(self, driving: Driving, after: int) -> InverseOffer:
        event = await driving.until(lambda: next(iter(driving.of(InverseOffersReceived, after)), None))
        return event.offers[0]

    def _rescinded(self, driving: Driving, offer_id: OfferId) -> InverseOfferRescinded | None:
        return next((each for each in driving.of(InverseOfferRescinded) if each.offer_id == offer_id), None)


def schedule(cluster: Cluster, hostname: str, window: Window | None) -> None:
    """As the operator of Mesos, plans the host's maintenance, or none."""
    windows: list[dict[str, Any]] = []
    if window is not None and window.duration_s is not None:
        unavailability = {
            "start": {"nanoseconds": int(window.start_at) * 10**9},
            "duration": {"nanoseconds": int(window.duration_s) * 10**9},
        }
        machine = {"hostname": hostname, "ip": "127.0.0.1"}
        windows = [{"machine_ids": [machine], "unavailability": unavailability}]
    ask(cluster, "UPDATE_MAINTENANCE_SCHEDULE", {"schedule": {"windows": windows}})
