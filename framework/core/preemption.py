"""Room for a tenant below its fair share: builds marked preemptible are ended for it, of tenants that stay at theirs.

Fair shares are of the cluster, by weight among the tenants that use or want something; a tenant's own share is its
dominant one. What is being ended counts as gone already, and what a host is kept for as taken. No room is made for
requests that take only what is reserved, or nothing of it: which of it a build gives back nobody knows.
"""

from __future__ import annotations

from framework.core import earmarks
from framework.core.effects import Effect, Report, Tell
from framework.core.endings import kill
from framework.core.fit import need_on, unclaimed
from framework.core.ids import HostId, RequestId, TenantName
from framework.core.offers import Host
from framework.core.pieces import ReservedUse
from framework.core.resources import RESOURCE_NAMES, ZERO, Resources
from framework.core.state import State
from framework.core.tasks import SPARES, FailureClass, Request, Task, TaskState

EVERY_S = 1.0
"""Least time between two searches, each of which looks at every live task, and so between two times that builds end."""


class Shares:
    """What each tenant has of the cluster against what it is due, as builds are ended and hosts are kept one by one."""

    def __init__(self, state: State) -> None:
        self._total = state.total
        books = [book for name, book in state.tenants.items() if name != SPARES]  # which are due nothing
        wanting = [book for book in books if book.builds or len(book.queue)]
        weights = sum(book.tenant.weight for book in wanting)
        self.due = {book.tenant.name: book.tenant.weight / weights for book in wanting}
        self._used = {name: book.used for name, book in state.tenants.items()}
        for task in state.tasks.values():
            if task.state is TaskState.KILLING:
                self._used[task.tenant] -= task.resources
        for earmark in state.earmarks.values():
            self.grant(state.requests[earmark.request_id])

    def grant(self, request: Request) -> None:
        self._used[request.tenant] += request.template.resources

    def take(self, task: Task) -> None:
        self._used[task.tenant] -= task.resources

    def of(self, tenant: TenantName, less: Resources = ZERO) -> float:
        return (self._used[tenant] - less).dominant_share(self._total)

    def below(self, tenant: TenantName, less: Resources) -> bool:
        return self.of(tenant, less) < self.due.get(tenant, 0.0)

    def stays_at_due(self, tenant: TenantName, less: Resources) -> bool:
        """Whether the tenant has its share still when that much is taken from it."""
        return self.of(tenant, less) >= self.due.get(tenant, 0.0)


def make_room(state: State, starved: list[RequestId], now: float) -> list[Effect]:
    """Ends builds for those of the starved that have waited long enough, and notes when to look again.

    ``starved``: the first request of each shape that no offer fits.
    """
    if not state.preemptible or not starved:
        return []
    if state.room_sought_at + EVERY_S > now:
        state.deadlines.set("preempt", "", state.room_sought_at + EVERY_S)
        return []
    state.room_sought_at = now
    state.room_searches += 1
    shares = Shares(state)
    ripe = _ripe(state, starved, shares, now)
    if not ripe:
        return []
    under_way = {task.made_room_for: task.host_id for task in state.tasks.values() if task.made_room_for is not None}
    kept = {earmark.request_id: host_id for host_id, earmark in state.earmarks.items()}
    effects: list[Effect] = []
    ranked: list[HostId] | None = None
    for request in ripe:
        kept_on = kept.get(request.id)
        if request.id in under_way:
            if kept_on is None:
                _keep_again(state, request, under_way[request.id], now)
            continue
        if kept_on is None and earmarks.room(state) <= 0:
            continue
        if kept_on is not None and _kept_since(state, kept_on) + state.config.preempt_after_s > now:
            continue
        if request.template.reserved in (ReservedUse.ONLY, ReservedUse.NEVER):
            continue
        own = ZERO if kept_on is None else request.template.resources
        if shares.below(request.tenant, own) and earmarks.may_go(state, request, now):
            if ranked is None:
                ranked = _ranked(state, request, shares, now)
            effects += _make_room_for(state, request, kept_on, ranked, shares, now)
    return effects


def _keep_again(state: State, request: Request, host_id: HostId, now: float) -> None:
    """Keeps the host where builds end for the request, which a restart of ours had forgotten."""
    host = state.hosts.get(host_id)
    if host is None or host_id in state.earmarks or earmarks.room(state) <= 0:
        return
    if earmarks.suits(state, request, host, now):
        earmarks.mark(state, host, request, now)


def ending_for(state: State, request_id: RequestId) -> tuple[str, int] | None:
    """The host where room is made for the request, and by how many builds' end; None where it is not."""
    for host_id, earmark in state.earmarks.items():
        if earmark.request_id == request_id:
            ending = [task for task in _on(state, host_id) if task.made_room_for == request_id]
            if ending:
                return ending[0].hostname, len(ending)
    return None


def _ripe(state: State, starved: list[RequestId], shares: Shares, now: float) -> list[Request]:
    """What has waited long enough, of one tenant below its share and of one shape, the first first.

    With several such shapes each has its turn, as a search for one looks at every host; notes when to look again.
    """
    poor = {name for name, book in state.tenants.items() if book.share(state.total) < shares.due.get(name, 0.0)}
    heads = [head for head in starved if state.requests[head].tenant in poor]
    times = [at for head in heads if (at := _ripe_at(state, head)) > now]
    heads = [head for head in heads if _ripe_at(state, head) <= now]
    if len(heads) > 1:
        times.append(now + EVERY_S)
    if times:
        state.deadlines.set("preempt", "", min(times))
    if not heads:
        return []
    head = sorted(heads)[state.room_searches % len(heads)]
    most = earmarks.room(state) + len(state.earmarks)
    alike = state.tenants[state.requests[head].tenant].queue.like(head, most)
    return [state.requests[each] for each in alike if _ripe_at(state, each) <= now]


def _ripe_at(state: State, request_id: RequestId) -> float:
    request = state.requests[request_id]
    return max(request.submitted_at, request.not_before) + state.config.preempt_after_s


def _kept_since(state: State, host_id: HostId) -> float:
    return state.earmarks[host_id].until - state.config.hold_starving_s


def _ranked(state: State, request: Request, shares: Shares, now: float) -> list[HostId]:
    """The hosts where room can be made for such a request: where the fewest builds have to end, then the youngest."""
    keys: list[tuple[int, float, HostId]] = []
    for host_id in state.preemptible:
        host = state.hosts.get(host_id)
        victims = None if host is None else _victims(state, request, host, shares)
        if host is not None and victims is not None and earmarks.suits(state, request, host, now):
            keys.append((len(victims), sum(now - _began(task) for task in victims), host_id))
    return [host_id for _, _, host_id in sorted(keys)]


def _make_room_for(
    state: State, request: Request, kept_on: HostId | None, ranked: list[HostId], shares: Shares, now: float
) -> list[Effect]:
    """Ends the cheapest builds that make room on one host, if there are such, and keeps the host."""
    for host_id in ranked:
        host = state.hosts[host_id]
        if host_id in state.earmarks and host_id != kept_on:
            continue
        chosen = _victims(state, request, host, shares)
        if chosen is not None:
            break
    else:
        return []
    told = f"{shares.of(request.tenant):.1%} of the cluster against a fair share of {shares.due[request.tenant]:.1%}"
    if kept_on is None:
        shares.grant(request)
    else:
        state.release(kept_on, now)
    earmarks.mark(state, host, request, now)
    effects: list[Effect] = []
    for task in chosen:
        shares.take(task)
        effects += _end(state, task, request, told, now)
    if chosen:
        text = f"{len(chosen)} builds of other tenants are ended to make room for it: its tenant has {told}"
        effects.append(Report("info", text, request.tenant, request.id, host=host.hostname))
    return effects


def _end(state: State, task: Task, request: Request, told: str, now: float) -> list[Effect]:
    task.made_room_for = request.id
    reason = f"made room for build {request.id} of tenant {request.tenant}, which has {told}"
    note = f"this build is ended and tried again later, at no cost of its retries: it {reason}"
    tell = Tell(task.id, task.host_id, task.mesos_executor_id or task.id, note)
    return [tell, *kill(state, task, FailureClass.PREEMPTED, reason, now)]


def _victims(state: State, request: Request, host: Host, shares: Shares) -> list[Task] | None:
    """The cheapest choice on the host; None where no build's end would let the request fit."""
    wanted = earmarks.only_role(state, request, host.id)
    tasks = _on(state, host.id)
    offered = {held.role: sum(unclaimed(state, held), ZERO) for held in state.offers.of(host.id)}
    choices = []
    for role in sorted({task.role for task in tasks} if wanted is None else {wanted}):  # which cannot be used together
        of_role = [task for task in tasks if task.role == role]
        victims = _fewest(state, request, host.id, of_role, offered.get(role, ZERO), shares)
        if victims is not None:
            choices.append(victims)
    return min(choices, key=len, default=None)


def _fewest(
    state: State, request: Request, host_id: HostId, tasks: list[Task], free: Resources, shares: Shares
) -> list[Task] | None:
    """The fewest and youngest of the tasks that may end whose end is enough: none where what ends by itself is."""
    need = need_on(state, request, host_id)
    choice = sorted((t for t in tasks if _may_end(state, t, request)), key=lambda each: (-_began(each), each.id))
    for task in tasks:
        if task.state is TaskState.KILLING:
            free += _freed(state, task)
    victims: list[Task] = []
    taken: dict[TenantName, Resources] = {}
    while not need.fits_in(free):
        victim, most = None, 0.0
        worths: dict[tuple[TenantName, Resources, Resources], float] = {}  # most builds of a host are alike
        for task in choice:
            freed = _freed(state, task)
            alike = (task.tenant, task.resources, freed)
            worth = worths.get(alike)
            if worth is None:
                after = taken.get(task.tenant, ZERO) + task.resources
                affordable = shares.stays_at_due(task.tenant, after)
                worth = worths[alike] = _covered(need - free, freed) if affordable else 0.0
            if worth > most:
                victim, most = task, worth
        if victim is None:
            return None
        choice.remove(victim)
        victims.append(victim)
        taken[victim.tenant] = taken.get(victim.tenant, ZERO) + victim.resources
        free += _freed(state, victim)
    for victim in sorted(victims, key=_began):  # the oldest first, of what later ones made needless
        if need.fits_in(free - _freed(state, victim)):
            victims.remove(victim)
            free -= _freed(state, victim)
    return victims


def _may_end(state: State, task: Task, request: Request) -> bool:
    if task.state not in (TaskState.LAUNCHING, TaskState.RUNNING) or task.tenant == request.tenant:
        return False
    its = state.requests[task.request_id]
    return its.template.preemptible and its.preemptions < state.config.max_preemptions


def _on(state: State, host_id: HostId) -> list[Task]:
    return list(state.tasks_on.get(host_id, {}).values())


def _began(task: Task) -> float:
    return task.launched_at if task.running_at is None else task.running_at


def _freed(state: State, task: Task) -> Resources:
    """What its end gives back: where its Mesos executor serves others too, that lives on."""
    return task.resources + (state.config.overhead if task.mesos_executor_id in ("", task.id) else ZERO)


def _covered(lacking: Resources, freed: Resources) -> float:
    """The part of what is lacking that would be there, summed over the resources."""
    covered = 0.0
    for name in RESOURCE_NAMES:
        lack: int = getattr(lacking, name)
        if lack > 0:
            covered += min(getattr(freed, name), lack) / lack
    return covered
