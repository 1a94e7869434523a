"""The scheduler's side of masters, without a scheduler."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from framework.core.effects import PrepareNode, RemoveNode
from framework.core.events import Event, NodeFailed
from framework.core.ids import RequestId, TaskId, TenantName, node_of
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.tasks import Request
from framework.jenkins_ports import MasterError
from framework.runtime.confirming import Confirm, Confirming
from framework.runtime.jenkins.keeper import Keeper
from framework.runtime.jenkins.poller import Poller
from framework.runtime.jenkins.troubles import Troubles
from tests.fakes import samples
from tests.fakes.clockwork import ManualClock
from tests.fakes.driving import SeededChance
from tests.fakes.master_edge import FakeMasters, record_of

PAYMENTS, BLOG = TenantName("payments"), TenantName("blog")
CALLS_AT_ONCE = 4
DOWN = MasterError("down", "no connection: connection refused")
E = TypeVar("E")


class Rig:
    """A keeper and a poller over masters of two tenants."""

    def __init__(self, confirm: Confirm | None = None) -> None:
        self.masters = FakeMasters()
        self.clock = ManualClock()
        self.events: list[Event] = []
        self.busy: set[TenantName] = set()
        self.troubles = Troubles(self.clock)
        self.poller = Poller(self.masters, self.events.append, self.troubles, 5.0, 60.0, self.clock, SeededChance())
        self.keeper = Keeper(
            self.masters, self.events.append, self.poller.look_soon, self.troubles, CALLS_AT_ONCE, self.clock,
            SeededChance(), None if confirm is None else Confirming(confirm, self.clock, SeededChance()),
        )  # fmt: skip

    def know(self, *tenants: TenantName, session: str = "s1") -> None:
        for tenant in tenants:
            self.keeper.know(tenant, record_of(tenant, session))

    def prepare(self, number: int, tenant: TenantName = PAYMENTS, label: str = "maven") -> PrepareNode:
        task = task_of(number)
        side = JenkinsSide(QueueItem(number, 1), "app", "job/app/", label, "maven jdk", 0.0)
        request = Request(
            RequestId(task.partition(".")[0]), tenant, "app", samples.request("r-1").template, 0.0, jenkins=side
        )
        effect = PrepareNode(task, request, node_of(task))
        self.keeper.prepare(effect)
        return effect

    def remove(self, number: int, tenant: TenantName = PAYMENTS, reason: str = "") -> None:
        self.keeper.remove(RemoveNode(tenant, node_of(task_of(number)), reason))

    def failed(self) -> list[NodeFailed]:
        return [event for event in self.events if isinstance(event, NodeFailed)]

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def task_of(number: int) -> TaskId:
    return TaskId(f"{number:016d}.1")
