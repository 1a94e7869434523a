"""A core with a tenant, hosts and offers in a line or two, for the tests beside it."""

from __future__ import annotations

from typing import Any, TypeVar

from framework.core import events as ev
from framework.core.effects import Effect
from framework.core.ids import FrameworkId, HostId, OfferId, RequestId, TaskId, TenantName
from framework.core.offers import Host, Offer
from framework.core.resources import Resources
from framework.core.state import Config, State
from framework.core.step import turn
from framework.core.tasks import FailureClass, Outcome, Quota, Request, Task, Tenant
from framework.core.templates import Template

T0 = 1_700_000_000.0
TEAM = TenantName("team")
HOST = Resources(4000, 8192, 1000)
SMALL = Resources(500, 1024)
AnEffect = TypeVar("AnEffect")


class Rig:
    """``now`` moves only when a test moves it. ``last``: the effects of the last turn."""

    def __init__(self, hosts: int = 2, config: Config | None = None, total: Resources = HOST) -> None:
        self.now = T0
        self.config = config or Config()
        self.state = State(self.config)
        self.last: list[Effect] = []
        self._count = 0
        self.hosts = {
            HostId(f"h{i}"): Host(HostId(f"h{i}"), f"host-{i}", total, {"rack": f"r{i}"}) for i in range(hosts)
        }
        self.tenant(TEAM)
        self.send(ev.Subscribed(FrameworkId("f1")), ev.HostsObserved(tuple(self.hosts.values())))

    def send(self, *events: ev.Event) -> list[Effect]:
        self.last = turn(self.state, events, self.now)
        return self.last

    def after(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.send(ev.Tick())

    def tenant(self, name: TenantName, weight: int = 100, quota: Quota | None = None) -> None:
        self.send(ev.TenantSet(Tenant(name, weight, quota or Quota())))

    def offer(self, *hosts: str, resources: Resources | None = None) -> list[OfferId]:
        """Offers all of these hosts (of every host where none is named), or that much of each."""
        offers = []
        for host_id in [HostId(each) for each in hosts] or list(self.hosts):
            self._count += 1
            host = self.hosts[host_id]
            left = host.total - self.state.used_on(host_id) - self.state.offers.available(host_id)
            offer_id = OfferId(f"o{self._count}")
            given = resources or left
            offers.append(Offer(offer_id, host_id, host.hostname, given, host.attributes, window=host.window))
        self.send(ev.OffersReceived(tuple(offers)))
        return [offer.id for offer in offers]

    def request(self, need: Resources = SMALL, tenant: TenantName = TEAM, **template: Any) -> Request:
        self._count += 1
        fields = {name: template.pop(name) for name in ("priority", "retries") if name in template}
        return Request(
            RequestId(f"r{self._count}"),
            tenant,
            "job",
            Template(need, **template),
            self.now + self._count / 1e6,
            **fields,
        )

    def submit(self, need: Resources = SMALL, tenant: TenantName = TEAM, **template: Any) -> Request:
        request = self.request(need, tenant, **template)
        self.send(ev.Submitted(request))
        return request

    def launched(self, **template: Any) -> tuple[Request, Task]:
        """A request whose task was just sent to Mesos."""
        request = self.submit(**template)
        if self.state.live_task(request) is None:
            self.offer()
        return request, self.task(request)

    def running(self, **template: Any) -> tuple[Request, Task]:
        request, task = self.launched(**template)
        self.update(task, "TASK_RUNNING")
        return request, task

    def task(self, request: Request) -> Task:
        task = self.state.live_task(request)
        assert task is not None, f"{request.id} has no live task"
        return task

    def update(self, task: Task, state: str, result: FailureClass | None = None, **fields: Any) -> list[Effect]:
        outcome = Outcome(result, "said the Mesos executor") if result else None
        update = ev.TaskUpdate(TaskId(task.id), state, task.host_id, uuid=b"uuid", outcome=outcome, **fields)
        return self.send(update)

    def effects(self, kind: type[AnEffect]) -> list[AnEffect]:
        """Those of this kind in the last turn."""
        return [effect for effect in self.last if isinstance(effect, kind)]
