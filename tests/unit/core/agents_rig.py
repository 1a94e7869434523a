"""A core with requests from a master's queue, for the tests of their claims and agents."""

from __future__ import annotations

from typing import Any

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.claims import Claim
from framework.core.ids import RequestId, TaskId, TenantName, node_of
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.resources import Resources
from framework.core.tasks import Request, Task
from framework.core.templates import Template
from tests.unit.core.rig import SMALL, TEAM, Rig

CONNECT_S = 60.0


class AgentsRig(Rig):
    """Items are numbered from 1, and their requests' ids follow from that."""

    def __init__(self, hosts: int = 2, **made: Any) -> None:
        super().__init__(hosts, **made)
        self.items = 0

    def item(self, tenant: TenantName = TEAM, need: Resources = SMALL, label: str = "maven", **made: Any) -> Request:
        """A request of a new queue item, sent in."""
        self.items += 1
        retries = made.pop("retries", 2)
        side = JenkinsSide(QueueItem(self.items, 1), f"job {self.items}", f"job/{self.items}/", label, label, self.now)
        template = Template(need, name=label, version="1", connect_timeout_s=CONNECT_S, **made)
        request_id = RequestId(f"q{self.items:015}")
        submitted_at = self.now + self.items / 1e6
        request = Request(request_id, tenant, side.task, template, submitted_at, retries=retries, jenkins=side)
        self.send(ev.Submitted(request))
        return request

    def claim(self, request: Request) -> Claim:
        claim = self.state.claims.of(request.id)
        assert claim is not None, f"{request.id} has no claim"
        return claim

    def claimed(self, **made: Any) -> Request:
        """A request whose node is being made."""
        request = self.item(**made)
        if self.state.claims.of(request.id) is None:
            self.offer()
        self.claim(request)
        return request

    def ready(self, *requests: Request) -> None:
        """The nodes of these stand."""
        self.send(*(ev.NodeReady(self.claim(each).task_id) for each in requests))

    def agent(self, **made: Any) -> tuple[Request, Task]:
        """An agent that runs and has not come to its master yet."""
        request = self.claimed(**made)
        self.ready(request)
        task = self.task(request)
        self.update(task, "TASK_RUNNING")
        return request, task

    def online(self, **made: Any) -> tuple[Request, Task]:
        request, task = self.agent(**made)
        self.send(ev.AgentOnline(task.id))
        return request, task

    def accept(self, task: Task, request: Request) -> None:
        """The agent takes the item that the request is for."""
        item = self.item_of(request)
        self.send(ev.ItemLeft(request.tenant, item, cancelled=False))
        self.send(ev.AgentAccepted(task.id, item, f"job {item.number}", f"job/{item.number}/"))

    def building(self, **made: Any) -> tuple[Request, Task]:
        request, task = self.online(**made)
        self.accept(task, request)
        return request, task

    def look(self, *nodes: tuple[TaskId, bool, bool], items: tuple[Request, ...] = (), asked_at: float = 0) -> None:
        """A look at the master finds nodes (online, idle) and these requests' items."""
        seen = tuple(ev.SeenNode(task_id, node_of(task_id), online, idle) for task_id, online, idle in nodes)
        waiting = frozenset(self.item_of(each) for each in items)
        self.send(ev.MasterObserved(TEAM, asked_at or self.now, waiting, seen))

    def item_of(self, request: Request) -> QueueItem:
        item = self.side(request).item
        assert item is not None
        return item

    def side(self, request: Request) -> JenkinsSide:
        assert request.jenkins is not None
        return request.jenkins

    def removed(self) -> list[ef.RemoveNode]:
        return self.effects(ef.RemoveNode)
