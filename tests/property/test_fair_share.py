"""Who goes next: against a slow, plain reading of weighted dominant resource fairness, and over time."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from framework.core.effects import Launch
from framework.core.events import HostsObserved, OffersReceived, Submitted, Subscribed, TaskUpdate, TenantSet
from framework.core.ids import FrameworkId, HostId, OfferId, RequestId, TaskId, TenantName
from framework.core.offers import Host, Offer
from framework.core.resources import Resources
from framework.core.state import Config, State
from framework.core.step import turn
from framework.core.tasks import FailureClass, Outcome, Quota, Request, RequestState, Tenant
from framework.core.templates import Template

NOW = 1_700_000_000.0
CONFIG = Config()


def resources(largest: int) -> st.SearchStrategy[Resources]:
    return st.builds(
        Resources, st.integers(1, largest).map(lambda n: n * 100), st.integers(1, largest).map(lambda n: n * 128)
    )


@dataclass
class Wanting:
    tenant: Tenant
    needs: list[Resources]
    priorities: list[int]
    used: list[Resources] = field(default_factory=list)

    def requests(self) -> list[Request]:
        return [
            Request(
                RequestId(f"{self.tenant.name}-{i:02d}"), self.tenant.name, "job", Template(need), NOW - i % 3, priority
            )
            for i, (need, priority) in enumerate(zip(self.needs, self.priorities, strict=False))
        ]


QUOTAS = st.builds(
    Quota,
    st.none() | st.integers(1, 40).map(lambda n: n * 100),
    st.none() | st.integers(1, 40).map(lambda n: n * 128),
    st.none() | st.integers(0, 6),
)
WANTING = st.lists(
    st.builds(
        lambda weight, quota, needs, priorities: (weight, quota, needs, priorities),
        st.integers(1, 400),
        QUOTAS,
        st.lists(resources(12), max_size=12),
        st.lists(st.integers(-1, 1), min_size=12, max_size=12),
    ),
    min_size=1,
    max_size=4,
).map(
    lambda drawn: [
        Wanting(Tenant(TenantName(f"t{i}"), weight, quota), needs, priorities)
        for i, (weight, quota, needs, priorities) in enumerate(drawn)
    ]
)


def launched_by_hand(hosts: list[Host], wanting: list[Wanting]) -> set[RequestId]:
    """Always the tenant with the least dominant share for its weight; of its requests the first that may and fits."""
    free = {host.id: host.total for host in sorted(hosts, key=lambda h: (-h.total.mem_mib, -h.total.cpu_millis, h.id))}
    total = sum((host.total for host in hosts), Resources())
    waiting = {each.tenant.name: each.requests() for each in wanting}
    launched: set[RequestId] = set()
    while True:
        for each in sorted(wanting, key=lambda w: (_share(w, total) / w.tenant.weight, w.tenant.name)):
            found = _first_that_can_go(each, waiting[each.tenant.name], free)
            if found is not None:
                request, host_id = found
                free[host_id] -= request.template.resources + CONFIG.overhead
                each.used.append(request.template.resources)
                waiting[each.tenant.name].remove(request)
                launched.add(request.id)
                break
        else:
            return launched


def _share(wanting: Wanting, total: Resources) -> float:
    cpu_millis = sum(each.cpu_millis for each in wanting.used)
    mem_mib = sum(each.mem_mib for each in wanting.used)
    return max(cpu_millis / total.cpu_millis, mem_mib / total.mem_mib)


def _first_that_can_go(
    wanting: Wanting, waiting: list[Request], free: dict[HostId, Resources]
) -> tuple[Request, HostId] | None:
    quota = wanting.tenant.quota
    used = sum(wanting.used, Resources())
    for request in sorted(waiting, key=lambda r: (-r.priority, r.submitted_at, r.id)):
        after = used + request.template.resources
        if quota.builds is not None and len(wanting.used) >= quota.builds:
            continue
        if quota.cpu_millis is not None and after.cpu_millis > quota.cpu_millis:
            continue
        if quota.mem_mib is not None and after.mem_mib > quota.mem_mib:
            continue
        for host_id, left in free.items():
            if (request.template.resources + CONFIG.overhead).fits_in(left):
                return request, host_id
    return None


def started(hosts: list[Host], tenants: list[Tenant], config: Config = CONFIG) -> State:
    state = State(config)
    turn(state, [*map(TenantSet, tenants), Subscribed(FrameworkId("f")), HostsObserved(tuple(hosts))], NOW)
    return state


def named_hosts(totals: list[Resources]) -> list[Host]:
    return [Host(HostId(f"h{i}"), f"host-{i}", total) for i, total in enumerate(totals)]


@given(st.lists(resources(40), min_size=1, max_size=6), WANTING)
def test_invariant_6_no_tenant_is_starved_below_its_fair_share(totals: list[Resources], wanting: list[Wanting]) -> None:
    hosts = named_hosts(totals)
    state = started(hosts, [each.tenant for each in wanting])
    turn(state, [Submitted(request) for each in wanting for request in each.requests()], NOW)
    offers = tuple(Offer(OfferId(f"o-{host.id}"), host.id, host.hostname, host.total) for host in hosts)
    effects = turn(state, [OffersReceived(offers)], NOW)
    launches = [effect for effect in effects if isinstance(effect, Launch)]
    launched = {task.request_id for launch in launches for task in launch.tasks}
    assert launched == launched_by_hand(hosts, wanting) or not any(len(book.queue) for book in state.tenants.values())
    for launch in launches:
        left = next(host.total for host in hosts if host.id == launch.host_id)
        for task in launch.tasks:
            left -= task.resources + CONFIG.overhead
        assert Resources().fits_in(left)


class Stream:
    """A cluster that small builds would keep full for ever, each second one more than it holds."""

    def __init__(self, hosts: int, quota: Quota) -> None:
        self.hosts = named_hosts([Resources(4000, 8192)] * hosts)
        self.tenant = Tenant(TenantName("busy"), quota=quota)
        self.config = Config(starving_after_s=20.0, hold_starving_s=15.0, reconcile_every_s=1e6)
        self.state = started(self.hosts, [self.tenant], self.config)
        self.now = NOW
        self.count = 0
        self.ends: list[tuple[float, TaskId, HostId]] = []
        self.free = {host.id: host.total for host in self.hosts}
        self.needs: dict[TaskId, Resources] = {}

    def submit(self, need: Resources) -> RequestId:
        self.count += 1
        request = Request(RequestId(f"r{self.count:05d}"), self.tenant.name, "job", Template(need), self.now)
        self._turn([Submitted(request)])
        return request.id

    def second(self, lasts_s: int) -> None:
        """Some builds end, what is free is offered, and what is not used goes back."""
        self.now += 1
        for end in [each for each in self.ends if each[0] <= self.now]:
            self.ends.remove(end)
            _, task_id, host_id = end
            self.free[host_id] += self.needs.pop(task_id)
            self._turn(
                [TaskUpdate(task_id, "TASK_FINISHED", host_id, uuid=b"u", outcome=Outcome(FailureClass.PASSED))],
                lasts_s,
            )
        offers = []
        for host in self.hosts:
            free = self.free[host.id] - self.state.offers.available(host.id)
            if free.cpu_millis > 0 and free.mem_mib > 0:
                self.count += 1
                offers.append(Offer(OfferId(f"o{self.count}"), host.id, host.hostname, free))
        self._turn([OffersReceived(tuple(offers))], lasts_s)

    def _turn(self, events: list[Submitted | TaskUpdate | OffersReceived], lasts_s: int = 1) -> None:
        for effect in turn(self.state, events, self.now):
            if isinstance(effect, Launch):
                for nth, task in enumerate(effect.tasks):
                    need = task.resources + self.config.overhead
                    self.free[effect.host_id] -= need
                    self.needs[task.id] = need
                    self.ends.append((self.now + lasts_s + nth, task.id, effect.host_id))


@given(
    st.integers(1, 3),
    st.integers(2, 30),
    st.sampled_from([Quota(), Quota(builds=3), Quota(cpu_millis=4000), Quota(mem_mib=8192)]),
    st.integers(1500, 3950),
)
def test_invariant_6_a_big_request_among_endless_small_ones_is_launched_in_bounded_time(
    hosts: int, lasts_s: int, quota: Quota, big_cpu_millis: int
) -> None:
    stream = Stream(hosts, quota)
    small = Resources(450, 900)
    for _ in range(8 * hosts):
        stream.submit(small)
    for _ in range(10):
        stream.second(lasts_s)
        stream.submit(small)
    big = stream.submit(Resources(big_cpu_millis, 2048))
    ahead = len(stream.state.tenants[stream.tenant.name].queue)  # older ones may go first, 3 or more at once
    bound_s = stream.config.starving_after_s + (2 + ahead / 3) * (lasts_s + 8) + 2 * stream.config.hold_starving_s
    deadline = stream.now + bound_s
    while stream.state.requests[big].state is RequestState.WAITING:
        assert stream.now < deadline, f"still waiting after {bound_s} s"
        for _ in range(1 + 8 * hosts // lasts_s):
            stream.submit(small)
        stream.second(lasts_s)
