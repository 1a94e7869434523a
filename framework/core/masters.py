"""What is known of tenants' masters: the live requests for agents of each, by queue item, and whether it answers."""

from __future__ import annotations

from collections.abc import Iterator

from framework.core.ids import RequestId, TenantName
from framework.core.jenkins import QueueItem
from framework.core.tasks import Request


class Master:
    """One tenant's. Times are seconds since the epoch, by our clock."""

    def __init__(self) -> None:
        self.requests: dict[RequestId, Request] = {}  # live ones, the oldest first
        self.closed_until = 0.0  # no node is asked of it before then
        self.trouble = ""  # why, for its tenant
        self.looked_at = 0.0  # when it was asked for all that it holds, the last time that it answered
        self._by_item: dict[QueueItem, RequestId] = {}

    def of_item(self, item: QueueItem) -> Request | None:
        """The live request that is bound to the item."""
        request_id = self._by_item.get(item)
        return None if request_id is None else self.requests[request_id]

    def bound(self) -> list[tuple[QueueItem, Request]]:
        return [(item, self.requests[request_id]) for item, request_id in self._by_item.items()]

    def add(self, request: Request) -> None:
        self.requests[request.id] = request
        if request.jenkins is not None and request.jenkins.item is not None:
            self._by_item.setdefault(request.jenkins.item, request.id)

    def remove(self, request: Request) -> None:
        del self.requests[request.id]
        if request.jenkins is not None:
            self._unbind(request, request.jenkins.item)

    def bind(self, request: Request, item: QueueItem | None) -> None:
        """The request is for this item from now on; no other is bound to it."""
        side = request.jenkins
        if side is None:
            return
        self._unbind(request, side.item)
        side.item = item
        if item is not None:
            self._by_item[item] = request.id

    def _unbind(self, request: Request, item: QueueItem | None) -> None:
        if item is not None and self._by_item.get(item) == request.id:
            del self._by_item[item]


class Masters:
    """Of all tenants that have or had requests from their masters' queues; bounded by the tenants."""

    def __init__(self) -> None:
        self._of: dict[TenantName, Master] = {}

    def of(self, tenant: TenantName) -> Master:
        master = self._of.get(tenant)
        if master is None:
            master = self._of[tenant] = Master()
        return master

    def add(self, request: Request) -> None:
        """A live request; one that is for no agent of a master is nothing to us."""
        if request.jenkins is not None:
            self.of(request.tenant).add(request)

    def remove(self, request: Request) -> None:
        if request.jenkins is not None:
            self.of(request.tenant).remove(request)

    def open(self, tenant: TenantName, now: float) -> bool:
        """Whether nodes may be asked of the tenant's master."""
        master = self._of.get(tenant)
        return master is None or master.closed_until <= now

    def wanted(self) -> set[TenantName]:
        """Tenants whose masters have agents, or wait for some."""
        return {tenant for tenant, master in self._of.items() if master.requests}

    def __iter__(self) -> Iterator[Master]:
        return iter(self._of.values())
