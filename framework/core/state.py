"""All that the core knows, and the few ways in which it is changed together."""

from __future__ import annotations

import msgspec

from agents.shared import SHARED_EXECUTOR_ID
from framework.core.attention import Attention
from framework.core.breakers import Breakers
from framework.core.caps import Caps
from framework.core.claims import ClaimBook
from framework.core.deadlines import Deadlines
from framework.core.groups import Groups
from framework.core.ids import FrameworkId, HostId, OfferId, RequestId, TaskId, TenantName, task_id
from framework.core.masters import Masters
from framework.core.offers import Host, OfferBook, Window
from framework.core.ordering import SparesBook, TenantBook, shape_of
from framework.core.paused import Paused
from framework.core.resources import ZERO, Resources
from framework.core.spares import Spares
from framework.core.tasks import SPARES, Request, RequestState, Task, TaskState, Tenant
from framework.core.templates import Lifetime


class Config(msgspec.Struct, frozen=True):
    """The operator's choices that deciding depends on. Defaults and reasons: ``framework.settings``."""

    overhead: Resources = Resources(cpu_millis=50, mem_mib=32)  # of the Mesos executor of one build
    shared_executor_id: str = SHARED_EXECUTOR_ID  # that new builds share; one of another version is as builds' own
    hold_idle_s: float = 5.0
    hold_starving_s: float = 600.0
    starving_after_s: float = 30.0
    refuse_s: float = 5.0
    revive_every_s: float = 0.5
    launch_timeout_s: float = 120.0
    kill_confirm_s: float = 30.0
    unreachable_s: float = 90.0
    reconcile_every_s: float = 600.0
    timeout_slack_s: float = 60.0
    max_waiting: int = 20000
    retry_base_s: float = 1.0
    retry_cap_s: float = 60.0
    max_drops: int = 10
    breaker_failures: int = 3
    breaker_open_s: float = 60.0
    breaker_max_s: float = 1800.0
    image_attempts: int = 3
    preempt_after_s: float = 15.0
    max_preemptions: int = 3
    maintenance_warn_s: float = 600.0
    roles: tuple[str, ...] = ()  # Mesos roles whose offers we ask for; empty: nobody told

    def offers_role(self, role: str | None) -> bool:
        """Whether offers for it may ever come; None: any of ours."""
        return role is None or not self.roles or role in self.roles


class Earmark(msgspec.Struct, frozen=True):
    """A host that is kept for a request which small ones would starve."""

    request_id: RequestId
    tenant: TenantName
    until: float


class Announced(msgspec.Struct, frozen=True):
    """A host's maintenance as an offer or an inverse offer told of it; Mesos repeats that while it stands."""

    window: Window
    until: float
    inverse_offer: OfferId | None = None


class Pooled(msgspec.Struct):
    """An agent that has served a build and stays for others. Times are seconds since the epoch."""

    idle_since: float | None = None  # None: it builds
    leaving_at: float | None = None  # since when it is to take no more builds
    awaited_by: RequestId | None = None


class State:
    """Mutable, owned by one thread, changed only inside ``step``. Its size is bounded by what is live."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.framework_id: FrameworkId | None = None
        self.connected = False
        self.subscribed_at = 0.0
        self.mesos_trouble = ""  # why not, as last heard
        self.suppressed = False
        self.hosts: dict[HostId, Host] = {}
        self.in_rotation: list[Host] = []  # the same, for those who look at some of them at a time
        self.rotated = 0  # how far they have come
        self.offers = OfferBook()
        self.tenants: dict[TenantName, TenantBook] = {SPARES: SparesBook()}
        self.requests: dict[RequestId, Request] = {}
        self.tasks: dict[TaskId, Task] = {}
        self.tasks_on: dict[HostId, dict[TaskId, Task]] = {}
        self.preemptible: dict[HostId, set[TaskId]] = {}  # live tasks whose templates say so
        self.groups = Groups()
        self.claims = ClaimBook()
        self.masters = Masters()
        self.offline: dict[TaskId, float] = {}  # agents that came to their masters and are not there now: since when
        self.back_at: dict[TaskId, float] = {}  # agents that were away, and when they were back
        self.breakers = Breakers(config.breaker_failures, config.breaker_open_s, config.breaker_max_s)
        self.caps = Caps()
        self.paused = Paused(config.breaker_failures, config.breaker_open_s, config.breaker_max_s)
        self.spares = Spares()
        self.pooled: dict[TaskId, Pooled] = {}
        self.versions: dict[str, str] = {}  # of the catalogue's templates, by name
        self.deadlines = Deadlines()
        self.earmarks: dict[HostId, Earmark] = {}
        self.announced: dict[HostId, Announced] = {}
        self.warned: dict[TaskId, float] = {}  # builds told of a maintenance, and of which start
        self.draining = False  # launch nothing, the operator said
        self.room_searches = 0
        self.room_sought_at = 0.0  # when builds were last looked for that could make room for others
        self.attention = Attention()
        self.dirty = False  # something changed that ``attention`` does not follow: the next round looks at all
        self.fresh_demand = False  # demand that Mesos has not been asked for since
        self.returned = False  # offers went back since the last REVIVE, so a REVIVE could bring them again
        self.unserved = False  # the last round left requests that only want resources
        self.demand_at = 0.0  # when there last were such
        self.revived_at = 0.0
        self._total = ZERO
        self._used_on: dict[HostId, Resources] = {}  # as last reckoned; void when tasks come or go
        self._shared_on: dict[HostId, int] = {}  # live builds in the host's shared Mesos executor

    @property
    def total(self) -> Resources:
        """Of all active hosts, as far as Mesos has told."""
        return self._total

    def set_hosts(self, hosts: dict[HostId, Host]) -> None:
        self.hosts = hosts
        self.in_rotation = list(hosts.values())
        total = ZERO
        for host in hosts.values():
            if host.active:
                total += host.total
        self._total = total
        in_use = {*self.tasks_on, *self.claims.hosts()} if self.claims else self.tasks_on
        self.groups.observe(hosts.values(), in_use)

    def set_tenant(self, tenant: Tenant) -> TenantBook:
        book = self.tenants.get(tenant.name)
        if book is None:
            book = self.tenants[tenant.name] = TenantBook(tenant)
        queued = [] if book.tenant.role == tenant.role else [self.requests[each] for each in book.queue]
        book.tenant = tenant
        for request in queued:  # of other offers from now on
            book.queue.remove(request.id)
            self._queue(request)
        self.dirty = True
        return book

    def enqueue(self, request: Request, now: float) -> None:
        """Puts a waiting request into its tenant's queue, or aside until its back-off is over."""
        if request.not_before > now:
            self.deadlines.set("request", request.id, request.not_before)
            return
        self._queue(request)
        self.fresh_demand = True

    def _queue(self, request: Request) -> None:
        book = self.tenants[request.tenant]
        rank = (-request.priority, request.submitted_at)  # so a retry keeps its age
        shape = shape_of(request, self.config.overhead, book.tenant.role)
        book.queue.add(request.id, shape, rank)
        self.attention.waits(request.tenant, shape)

    def dequeue(self, request: Request, now: float) -> None:
        queue = self.tenants[request.tenant].queue
        if request.id in queue:
            queue.remove(request.id)
        self.deadlines.drop("request", request.id)
        self.release_for(request, now)
        self.attention.tenants.add(request.tenant)

    def claim(self, request: Request, host_id: HostId) -> None:
        """Takes a waiting request out of its queue to launch it on the host; its tenant's use counts it from now on."""
        self.tenants[request.tenant].queue.remove(request.id)
        self.count(request, host_id)

    def count(self, request: Request, host_id: HostId) -> None:
        """Counts a request that has left its queue to be launched on the host, which ``groups`` knows."""
        template = request.template
        task = task_id(request.id, request.attempt + 1)
        self.tenants[request.tenant].take(template.resources)
        if request.jenkins is not None:
            self.claims.placed(request.tenant)
        self.groups.add(task, request, host_id)
        self.caps.take(request)
        self.paused.launched(request, task)
        if template.image is not None:
            self.breakers.launched(template.image, task)

    def uncount(self, request: Request, task: TaskId) -> None:
        """Takes ``count`` back, of a launch that was not made; the request is in no queue then."""
        template = request.template
        self.tenants[request.tenant].give_back(template.resources)
        self.groups.remove(task, request)
        self.attention.tenants |= self.caps.give_back(request)
        self.attention.tenants.add(request.tenant)
        self.paused.given_up(request, task)
        if template.image is not None:
            self.breakers.probe_ended(template.image, task)

    def hold(self, host_id: HostId, until: float) -> None:
        """Holds what is offered of the host, if anything is, until then."""
        if self.offers.of(host_id):
            self.offers.hold(host_id, until)
            self.deadlines.set("host", host_id, until)

    def release(self, host_id: HostId, now: float) -> None:
        """Ends an earmark; what was held for it may serve others."""
        earmark = self.earmarks.pop(host_id, None)
        if earmark is not None:
            del self.tenants[earmark.tenant].kept[earmark.request_id]
            self.deadlines.drop("earmark", host_id)
            self.hold(host_id, now + self.config.hold_idle_s)
            self.attention.hosts.add(host_id)
            self.attention.unkept.clear()
            self.attention.again = True

    def release_for(self, request: Request, now: float) -> None:
        """Ends the request's earmark, if it has one."""
        host_id = self.tenants[request.tenant].kept.get(request.id)
        if host_id is not None:
            self.release(host_id, now)

    def window_of(self, host_id: HostId, now: float) -> Window | None:
        """The host's maintenance that is to come or goes on, from whoever told of it."""
        host, announced = self.hosts.get(host_id), self.announced.get(host_id)
        windows = (host.window if host else None, announced.window if announced and announced.until > now else None)
        open_ones = [each for each in windows if each is not None and not each.over(now)]
        return min(open_ones, key=lambda each: each.start_at, default=None)

    def adopt(self, task: Task) -> None:
        """Takes in a task that its tenant's use and its groups already count."""
        self.tasks[task.id] = task
        self.tasks_on.setdefault(task.host_id, {})[task.id] = task
        self._used_on.pop(task.host_id, None)
        if self.shares(task):
            self._shared_on[task.host_id] = self._shared_on.get(task.host_id, 0) + 1
        if self.requests[task.request_id].template.preemptible:
            self.preemptible.setdefault(task.host_id, set()).add(task.id)
        self.deadlines.set("task", task.id, task.deadline)

    def hand_over(self, task: Task, request: Request) -> None:
        """The task, so far of another tenant's request alike, is the request's, which its own tenant's use counts."""
        self.groups.remove(task.id, self.requests[task.request_id])
        self.groups.add(task.id, request, task.host_id)
        self.tenants[task.tenant].give_back(task.resources)
        self.attention.tenants.add(task.tenant)
        task.request_id, task.tenant = request.id, request.tenant
        preemptible = self.preemptible.get(task.host_id, set())
        if not request.template.preemptible:
            preemptible.discard(task.id)
            if not preemptible:
                self.preemptible.pop(task.host_id, None)

    def remove_task(self, task: Task) -> None:
        self.spares.ended(task.id)
        if self.pooled.pop(task.id, None) is not None:
            self.deadlines.drop("pool", task.id)
        del self.tasks[task.id]
        on = self.tasks_on[task.host_id]
        del on[task.id]
        self._used_on.pop(task.host_id, None)
        if not on:
            del self.tasks_on[task.host_id]
        if self.shares(task):
            self._shared_on[task.host_id] -= 1
            if not self._shared_on[task.host_id]:
                del self._shared_on[task.host_id]
        preemptible = self.preemptible.get(task.host_id)
        if preemptible is not None:
            preemptible.discard(task.id)
            if not preemptible:
                del self.preemptible[task.host_id]
        request = self.requests[task.request_id]
        self.groups.remove(task.id, request)
        self.tenants[task.tenant].give_back(task.resources)
        self.attention.tenants |= self.caps.give_back(request)
        self.deadlines.drop("task", task.id)
        self.warned.pop(task.id, None)
        self.offline.pop(task.id, None)
        self.back_at.pop(task.id, None)
        self.deadlines.drop("agent", task.id)
        self.attention.tenants.add(task.tenant)

    def used_on(self, host_id: HostId) -> Resources:
        """What our tasks and their Mesos executors take of the host."""
        on = self.tasks_on.get(host_id)
        if on is None:
            return ZERO
        used = self._used_on.get(host_id)
        if used is None:
            used = ZERO if host_id not in self._shared_on else self.config.overhead
            for task in on.values():
                used += task.resources if self.shares(task) else task.resources + self.config.overhead
            self._used_on[host_id] = used
        return used

    def shares(self, task: Task) -> bool:
        """Whether it is in the Mesos executor that new builds would share."""
        its_own = task.mesos_executor_id == task.id  # as of most
        return not its_own and task.mesos_executor_id == self.shared_executor_id(task.host_id, task.role)

    def shared_executor_id(self, host_id: HostId, role: str) -> str:
        """Of the Mesos executor that new builds of the host share which are launched on the role's offers.

        Each host's has an id of its own, for where one process plays several hosts Mesos shows the sandboxes of one id
        as one; and each role's, so that a scheduler which takes over tells Mesos the role that it was started in.
        """
        of_host = f"{self.config.shared_executor_id}~{host_id}"
        return of_host if role == "*" else f"{of_host}~{role.replace('/', '~')}"  # Mesos takes no slash in an id

    def sharing(self, host_id: HostId) -> str | None:
        """The role of the Mesos executor that builds of the host share now; None where none of them is live."""
        if host_id not in self._shared_on:
            return None
        tasks = self.tasks_on[host_id].values()
        return next(task.role for task in tasks if self.shares(task))

    def serving(self, host_id: HostId) -> bool:
        """Whether Mesos knows the Mesos executor that builds of the host share, so that one more does not pay for it.

        A host out of sight may have lost it, and launches are lost with a connection; those of this one Mesos took
        before it offered more of the host.
        """
        if host_id not in self._shared_on:
            return False
        return any(
            self.shares(task)
            and task.unseen_since is None
            and (
                task.running_at is not None
                or (task.state is TaskState.LAUNCHING and task.launched_at >= self.subscribed_at)
            )
            for task in self.tasks_on[host_id].values()
        )

    def await_agent(self, task: Task) -> None:
        """Notes when the agent that the task is, where it runs, should have come to its master."""
        request = self.requests[task.request_id]
        side, within_s = request.jenkins, request.template.connect_timeout_s
        if side is not None and side.online_at is None and within_s is not None and task.running_at is not None:
            self.deadlines.set("agent", task.id, task.running_at + within_s)

    def live_task(self, request: Request) -> Task | None:
        return self.tasks.get(request.given or task_id(request.id, request.attempt))

    def know(self, request: Request) -> None:
        """It is live."""
        self.requests[request.id] = request
        if request.tenant == SPARES:
            self.spares.requests[request.id] = request
        self.masters.add(request)

    def forget(self, request: Request) -> None:
        """It has ended."""
        del self.requests[request.id]
        self.spares.requests.pop(request.id, None)
        self.masters.remove(request)

    def waiting(self) -> int:
        return len(self.requests) - len(self.tasks)


def restore(
    config: Config,
    framework_id: FrameworkId | None,
    tenants: list[Tenant],
    requests: list[Request],
    tasks: list[Task],
    now: float,
    draining: bool = False,
) -> State:
    """The state as it was saved. Tasks keep their deadlines; what became of them Mesos is asked after subscribing."""
    state = State(config)
    state.framework_id = framework_id
    state.draining = draining
    for tenant in tenants:
        state.set_tenant(tenant)
    requests = sorted(requests, key=lambda each: (each.submitted_at, each.id))
    for request in requests:
        state.know(request)
    for task in sorted(tasks, key=lambda each: (each.launched_at, each.id)):
        if task.state is not TaskState.ENDED:
            state.tenants[task.tenant].take(task.resources)
            state.groups.know(task.host_id, task.hostname, None)
            state.groups.add(task.id, state.requests[task.request_id], task.host_id)
            state.caps.take(state.requests[task.request_id])
            state.adopt(task)
            state.await_agent(task)
            if task.running_at is not None:
                state.spares.runs(task, state.requests[task.request_id])
            _rest(state, task, now)
    for request in requests:
        if request.state is RequestState.PREPARING:  # its claim is forgotten, and its node made anew or swept
            request.state = RequestState.WAITING
        if request.state is RequestState.WAITING:
            request.claimed_at = None
            state.enqueue(request, now)
    return state


def _rest(state: State, task: Task, now: float) -> None:
    """An agent of a pool that is not known to build is idle from now on."""
    request = state.requests[task.request_id]
    side = request.jenkins
    if request.template.lifetime is Lifetime.POOLED and side is not None and side.builds and side.accepted_at is None:
        state.pooled[task.id] = Pooled(idle_since=now)
        state.deadlines.set("pool", task.id, now + request.template.idle_s)
