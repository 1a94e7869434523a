"""Tenants' masters as a test has them, behind ``framework.jenkins_ports.MasterEdge``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from framework.core.events import MasterObserved, SeenNode
from framework.core.ids import TenantName, task_of_node
from framework.core.jenkins import QueueItem
from framework.jenkins_ports import FoundItem, Look, MasterError, MasterRecord, NewNode, NodeTakenError


def record_of(tenant: str, session: str = "s1") -> MasterRecord:
    return MasterRecord(f"http://{tenant}.example", "butlery", f"token-of-{tenant}", "2.463", session)


class FakeMasters:
    """Of one scheduler, by URL. What is asked is in ``asked``; a master in ``failing`` answers with that."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        self._now = now
        self.nodes: dict[str, dict[str, NewNode]] = {}
        self.items: dict[str, dict[QueueItem, str]] = {}  # label by item
        self.failing: dict[str, MasterError] = {}
        self.held: asyncio.Event | None = None  # calls wait for it
        self.asked: list[tuple[str, str, str]] = []  # what, master, node
        self.told: list[tuple[str, str, bool]] = []
        self.at_once = self.most_at_once = 0

    def of(self, tenant: str) -> dict[str, NewNode]:
        return self.nodes.setdefault(record_of(tenant).url, {})

    def fail(self, tenant: str, error: MasterError | None) -> None:
        if error is None:
            self.failing.pop(record_of(tenant).url, None)
        else:
            self.failing[record_of(tenant).url] = error

    def count(self, what: str) -> int:
        return sum(asked == what for asked, _, _ in self.asked)

    async def create_node(self, master: MasterRecord, node: NewNode) -> str:
        await self._called("create", master, node.name)
        nodes = self.nodes.setdefault(master.url, {})
        if nodes.setdefault(node.name, node).description != node.description:
            raise NodeTakenError(f"there is a node {node.name} that was made by hand")
        return f"secret of {node.name}"

    async def remove_node(self, master: MasterRecord, name: str) -> None:
        await self._called("remove", master, name)
        self.nodes.setdefault(master.url, {}).pop(name, None)

    async def tell(self, master: MasterRecord, name: str, reason: str, *, resubmit: bool) -> None:
        await self._called("tell", master, name)
        self.told.append((name, reason, resubmit))

    async def cordon(self, master: MasterRecord, name: str, reason: str) -> None:
        await self._called("cordon", master, name)
        self.told.append((name, reason, False))

    async def look(self, master: MasterRecord, tenant: TenantName, *, labels: bool) -> Look:
        asked_at = self._now()
        await self._called("look", master, "")
        items = [FoundItem(item, "job", "job/job/", label) for item, label in self.items.get(master.url, {}).items()]
        nodes = [
            SeenNode(task, name, online=False, idle=True)
            for name in self.nodes.get(master.url, {})
            if (task := task_of_node(name)) is not None
        ]
        observed = MasterObserved(tenant, asked_at, frozenset(one.item for one in items), tuple(nodes))
        return Look(master.session, tuple(items), observed)

    async def jar(self, master: MasterRecord) -> str:
        await self._called("jar", master, "")
        return f"jar-of-{master.version}"

    async def close(self) -> None:
        pass

    async def _called(self, what: str, master: MasterRecord, name: str) -> None:
        self.asked.append((what, master.url, name))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.held is not None:
                await self.held.wait()
            else:
                await asyncio.sleep(0)
            if (error := self.failing.get(master.url)) is not None:
                raise error
        finally:
            self.at_once -= 1
