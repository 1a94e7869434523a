"""Tenants' masters as far as the core sees them: queues, nodes, agents that come and take builds, and their words.

A master gives any agent that is online and idle any item of its label. What it tells is put into ``words``, from which
whoever drives it delivers, loses, repeats and swaps them. ``Desk`` stands for what makes and removes nodes beside the
loop, and forgets all of that when the scheduler dies.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.ids import TaskId, TenantName
from framework.core.jenkins import QueueItem
from framework.core.templates import Lifetime


@dataclass
class FakeNode:
    """``served``: the builds it had; it takes one and no more, unless it is of a pool."""

    name: str
    task_id: TaskId
    label: str
    online: bool = False
    building: QueueItem | None = None
    served: int = 0
    pooled: bool = False
    cordoned: bool = False  # it is offline in its master, whose connection to its agent stands


@dataclass
class FakeMaster:
    """One tenant's. ``ended``: how often each item was built to its end; ``lost``: its build was lost in the middle."""

    tenant: TenantName
    up: bool = True
    items: dict[QueueItem, str] = field(default_factory=dict)  # that wait, with their labels
    nodes: dict[str, FakeNode] = field(default_factory=dict)
    words: list[ev.Event] = field(default_factory=list)
    ended: dict[QueueItem, int] = field(default_factory=dict)
    lost: set[QueueItem] = field(default_factory=set)
    by_hand: set[str] = field(default_factory=set)  # names of nodes that somebody else made
    most_nodes: int = 0
    count: int = 0

    def add(self, label: str) -> QueueItem:
        self.count += 1
        item = QueueItem(self.count, 1000 + self.count)
        self.items[item] = label
        return item

    def come(self, node: FakeNode) -> None:
        """The node's agent connects; where it is connected already nothing changes."""
        if self.up and not node.online:
            node.online = True
            self.words.append(ev.AgentOnline(node.task_id))

    def leave(self, node: FakeNode, cause: str) -> None:
        """The agent's connection breaks, and with it what it builds."""
        if node.online:
            node.online = False
            self.words.append(ev.AgentOffline(node.task_id, cause))
        if node.building is not None:
            self.lost.add(node.building)
            node.building, node.served = None, node.served + 1
            self.words.append(ev.AgentServed(node.task_id, "java.io.IOException"))

    def take(self, node: FakeNode, nth: int) -> None:
        """Gives the agent one of the items that its label suits."""
        suiting = [item for item, label in self.items.items() if label == node.label]
        may = node.online and not node.cordoned and node.building is None and (node.pooled or not node.served)
        if not self.up or not may or not suiting:
            return
        item = suiting[nth % len(suiting)]
        del self.items[item]
        node.building = item
        self.words.append(ev.ItemLeft(self.tenant, item, cancelled=False))
        self.words.append(ev.AgentAccepted(node.task_id, item if nth % 5 else None, f"job {item.number}", "job/x/"))
        self.words.append(ev.BuildTold(node.task_id, f"job/x/{item.number}/"))

    def finish(self, node: FakeNode) -> None:
        if node.building is None:
            return
        self.ended[node.building] = self.ended.get(node.building, 0) + 1
        self.words.append(ev.BuildTold(node.task_id, f"job/x/{node.building.number}/", "SUCCESS"))
        node.building, node.served = None, node.served + 1
        self.words.append(ev.AgentServed(node.task_id))

    def cancel(self, item: QueueItem) -> None:
        del self.items[item]
        self.words.append(ev.ItemLeft(self.tenant, item, cancelled=True))

    def make(self, effect: ef.PrepareNode) -> bool:
        """False where a node of the name was made by hand."""
        if effect.node in self.by_hand:
            return False
        side = effect.request.jenkins
        assert side is not None
        pooled = effect.request.template.lifetime is Lifetime.POOLED
        self.nodes.setdefault(effect.node, FakeNode(effect.node, effect.task_id, side.node_labels, pooled=pooled))
        self.most_nodes = max(self.most_nodes, len(self.nodes))
        return True

    def remove(self, name: str, *, told: bool) -> None:
        node = self.nodes.get(name)
        if node is not None:
            self.leave(node, "its node is removed")
            del self.nodes[name]
            if told:
                self.words.append(ev.AgentOffline(node.task_id, "removed by hand", node_gone=True))

    def observed(self, now: float) -> ev.MasterObserved:
        nodes = tuple(
            ev.SeenNode(node.task_id, node.name, node.online and not node.cordoned, node.building is None)
            for node in self.nodes.values()
        )
        return ev.MasterObserved(self.tenant, now, frozenset(self.items), nodes)


class Desk:
    """Makes and removes nodes when it is driven; what cannot be removed now is tried again."""

    def __init__(self, masters: dict[TenantName, FakeMaster]) -> None:
        self._masters = masters
        self.prepares: list[ef.PrepareNode] = []
        self.removals: list[ef.RemoveNode] = []
        self.looks: set[TenantName] = set()

    def call(self, call: ef.PrepareNode | ef.RemoveNode | ef.LookAt) -> None:
        match call:
            case ef.PrepareNode():
                self.removals = [each for each in self.removals if each.node != call.node]
                self.prepares.append(call)
            case ef.RemoveNode():
                self.prepares = [each for each in self.prepares if each.node != call.node]
                self.removals.append(call)
            case ef.LookAt():
                self.looks.add(call.tenant)

    def work(self, most: int) -> list[ev.Event]:
        """Does so much of what is to be done, and tells of it."""
        told: list[ev.Event] = []
        for prepare in self.prepares[:most]:
            self.prepares.remove(prepare)
            master = self._masters[prepare.request.tenant]
            if not master.up:
                told.append(ev.NodeFailed(prepare.task_id, "it does not answer", 2.0))
            elif master.make(prepare):
                told.append(ev.NodeReady(prepare.task_id))
            else:
                told.append(ev.NodeFailed(prepare.task_id, "a node of its name was made by hand", name_taken=True))
        for removal in self.removals[:most]:
            master = self._masters[removal.tenant]
            if master.up:
                self.removals.remove(removal)
                if not removal.cordon:
                    master.remove(removal.node, told=False)
                elif removal.node in master.nodes:
                    master.nodes[removal.node].cordoned = True
        return told

    def look(self, now: float) -> list[ev.MasterObserved]:
        """At those that the core wants looked at."""
        found = [self._masters[each].observed(now) for each in sorted(self.looks) if self._masters[each].up]
        self.looks.clear()
        return found

    def die(self) -> None:
        self.prepares.clear()
        self.removals.clear()
        self.looks.clear()
