"""What attempts cost: by the attributes of their hosts, which may be gone when they end."""

from __future__ import annotations

from collections.abc import Mapping

from framework.core.ids import HostId
from framework.core.offers import Host
from framework.core.resources import Resources
from framework.core.state import State
from framework.core.tasks import Request, Task
from framework.runtime.telemetry.prices import PriceWatch
from framework.telemetry.pooled import CostOf
from framework.telemetry.prices import Cost

_GONE_AT_MOST = 1000
"""Hosts that are remembered beyond twice those that there are."""


class Costs:
    """Reads of the state what other threads may read too: hosts are replaced as a whole."""

    def __init__(self, state: State, prices: PriceWatch) -> None:
        self._state = state
        self._prices = prices
        self._seen: Mapping[HostId, Host] = {}
        self._attributes: dict[HostId, Mapping[str, str]] = {}

    @property
    def priced(self) -> bool:
        """Whether anything has a price."""
        return self._prices.sheet is not None

    @property
    def blind(self) -> bool:
        """Whether things have prices, and which hosts there are is yet to be told."""
        self.know_hosts()
        return self.priced and not self._attributes

    def of_task(self, task: Task) -> Cost | None:
        """Of one that has ended; None where nothing has a price."""
        ended_at = task.launched_at if task.ended_at is None else task.ended_at
        return self._of(task.host_id, task.resources, task.launched_at, ended_at)

    def of_agent(self, request: Request, host_id: HostId | None) -> CostOf:
        """Of the request's agent, from one time to another."""
        return lambda begun_at, over_at: self._of(host_id, request.template.resources, begun_at, over_at)

    def _of(self, host_id: HostId | None, resources: Resources, begun_at: float, over_at: float) -> Cost | None:
        sheet = self._prices.sheet
        if sheet is None:
            return None
        self.know_hosts()
        attributes = self._attributes.get(host_id) if host_id is not None else None
        if attributes is None:
            return Cost(None, sheet.currency, "")
        return sheet.cost(attributes, resources, begun_at, over_at)

    def know_hosts(self) -> None:
        """To be called as long as they are there."""
        hosts = self._state.hosts
        if hosts is not self._seen:
            self._seen = hosts
            now: dict[HostId, Mapping[str, str]] = {host.id: host.attributes for host in hosts.values()}
            merged = {**self._attributes, **now}
            self._attributes = merged if len(merged) <= 2 * len(now) + _GONE_AT_MOST else now
