"""Answers from the state, made when somebody asks, so that they are never out of date and cost nothing otherwise."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from framework.core import pools, preemption
from framework.core.answers import Health, HostUse, Refusal, TenantUse, WhyNot
from framework.core.fit import bars, may_take, need_on, unclaimed
from framework.core.ids import RequestId
from framework.core.offers import Host, HostOffers
from framework.core.ordering import TenantBook, TenantQueue
from framework.core.placement import Shape
from framework.core.resources import ZERO
from framework.core.state import State
from framework.core.tasks import SPARES, Request, RequestState


class Looked:
    """What is the same for several requests of a tenant that are asked about at once, while nothing changes."""

    def __init__(self) -> None:
        self.turned_away: dict[Shape, Counter[str]] = {}
        self._places: dict[RequestId, int] = {}

    def ahead_of(self, queue: TenantQueue, request_id: RequestId) -> int:
        """As the queue says."""
        if not self._places:
            self._places = {each: place for place, each in enumerate(queue.in_order())}
        return self._places[request_id]


def why_not(state: State, request_id: RequestId, now: float, looked: Looked | None = None) -> WhyNot | None:
    """Why the request waits, or is not launched yet; None where that is not so (unknown, launched or ended).

    Who asks of many at once gives ``looked``: all hosts are looked at once a shape then, as each look takes some 5 ms
    with 300 of them.
    """
    request = state.requests.get(request_id)
    if request is not None and request.state is RequestState.PREPARING:
        return _prepares(state, request, now)
    if request is None or request.state is not RequestState.WAITING:
        return None
    queue = state.tenants[request.tenant].queue
    held_by = blockers_of(state, request, now)
    blockers = [each.text for each in held_by]
    turned_away = turned_away_of(state, request, now, looked)
    ahead = 0
    if request_id in queue:
        ahead = queue.ahead_of(request_id) if looked is None else looked.ahead_of(queue, request_id)
    return WhyNot(
        request_id=request_id,
        waiting_s=now - request.submitted_at,
        hosts_looked_at=len(state.hosts),
        offers_looked_at=len(state.offers),
        turned_away=dict(turned_away),
        blockers=blockers,
        ahead=ahead,
        summary=_summary(state, blockers, turned_away, ahead),
        refusals=[] if looked is not None else _refusals(state, request, now, held_by, turned_away),
    )


def _refusals(
    state: State, request: Request, now: float, held_by: list[Blocker], turned_away: Counter[str]
) -> list[Refusal]:
    offers: Counter[str] = Counter()
    for host_id in state.offers.hosts():
        host = state.hosts.get(host_id)
        for held in state.offers.of(host_id):
            if host is not None:
                offers.update(dict.fromkeys(_refused(state, request, host, held, now), len(held.offers)))
    hosts = len(state.hosts)
    found = [
        Refusal(_GROUPS.get(kind, "other"), kind, hosts, len(state.offers))
        for kind in dict.fromkeys(blocker.kind for blocker in held_by)
    ]
    for reason in turned_away | offers:
        group = _GROUPS.get(reason.partition(":")[0], "resource")
        found.append(Refusal(group, reason, turned_away[reason], offers[reason]))
    return sorted(found, key=lambda one: (-one.offers, -one.hosts, one.reason))


def _refused(state: State, request: Request, host: Host, held: HostOffers, now: float) -> list[str]:
    """Every reason why the request does not take these offers now; empty where it could."""
    reasons = _barred(state, request, host, now)
    role = state.tenants[request.tenant].tenant.role
    lacks = [f"role:{role}"] if role not in (None, held.role) else _lacks(state, request, held)
    return list(dict.fromkeys(reasons + [reason for reason in lacks if f"too_small:{reason}" not in reasons]))


def turned_away_of(state: State, request: Request, now: float, looked: Looked | None = None) -> Counter[str]:
    """Hosts, as ``WhyNot`` counts them, by what turns away the waiting request."""
    shape = state.tenants[request.tenant].queue.shape(request.id)
    found = None if looked is None or shape is None else looked.turned_away.get(shape)
    if found is None:
        found = Counter(reason for host in state.hosts.values() for reason in _turned_away(state, request, host, now))
        if looked is not None and shape is not None:
            looked.turned_away[shape] = found
    return found


def held_back(state: State, request: Request, now: float) -> str | None:
    """Why a request that waits is left waiting by what failed before it; the words stay the same while it is."""
    if request.state is not RequestState.WAITING:
        return None
    image = request.template.image
    if image is not None and not state.breakers.allows(image, now):
        return f"image {image} could not be had: {state.breakers.last_message(image)}"
    return state.paused.reason(request, now)


def _prepares(state: State, request: Request, now: float) -> WhyNot:
    claim = state.claims.of(request.id)
    making = f"its node is made in the Jenkins of {request.tenant}"
    if claim is None:
        text = f"node: a spare is kept for it while {making}"
    elif claim.uncovered_at is not None:
        stands = "its node stands" if claim.ready_at is not None else making
        text = f"offer: {stands}; for {now - claim.uncovered_at:.1f} s host {claim.hostname} has not been offered again"
    elif claim.ready_at is not None:
        text = f"node: its node stands; about to be launched on host {claim.hostname}"
    else:
        text = f"node: its place on host {claim.hostname} is kept while {making}, for {now - claim.claimed_at:.1f} s"
    return WhyNot(request.id, now - request.submitted_at, 0, len(state.offers), {}, [text], 0, text)


class Blocker(NamedTuple):
    """What holds a waiting request before any host is looked at: in one word, and for a person."""

    kind: str  # disconnected, draining, pool, back_off, quota, making_room, breaker, cap, paused, master
    text: str


def _at_master(state: State, request: Request, now: float) -> list[Blocker]:
    """What keeps nodes from being made for it."""
    if request.jenkins is None:
        return []
    master = state.masters.of(request.tenant)
    if master.closed_until > now:
        return [Blocker("master", f"master: {master.trouble}; tried again in {master.closed_until - now:.0f} s")]
    if state.claims.room(request.tenant) > 0:
        return []
    return [Blocker("master", f"master: {state.claims.making(request.tenant)} nodes are made in it already")]


def blockers_of(state: State, request: Request, now: float) -> list[Blocker]:
    """What holds the waiting request, whatever is free on hosts; what holds most of all first."""
    book = state.tenants[request.tenant]
    found = [] if state.connected else [Blocker("disconnected", "no connection to Mesos")]
    if state.draining:
        text = "the scheduler is draining and launches nothing until: butlery scheduler drain --off"
        found.append(Blocker("draining", text))
    left = request.not_before - now
    if left > 0 and pools.awaits(state, request):
        found.append(Blocker("pool", f"an idle agent of its pool may be given it within {left:.1f} s"))
    elif left > 0:
        text = f"back-off: attempt {request.attempt + 1} may start in {left:.1f} s, attempt {request.attempt} failed"
        found.append(Blocker("back_off", text))
    need = request.template.resources
    over = book.over_quota(need.cpu_millis, need.mem_mib)
    if over is not None:
        used = {"builds": book.builds, "cpu_millis": book.used_cpu_millis, "mem_mib": book.used_mem_mib}[over]
        found.append(Blocker("quota", f"quota: {over} {used} of {getattr(book.tenant.quota, over)} in use"))
    elder = book.quota_kept_for
    if elder is not None and book.queue.goes_before(elder, request.id):
        text = f"quota: what is left is kept for request {elder}, which has waited too long for it"
        found.append(Blocker("quota", text))
    ending = preemption.ending_for(state, request.id)
    if ending is not None:
        text = f"room is being made for it on host {ending[0]}: {ending[1]} builds of other tenants are ending"
        found.append(Blocker("making_room", text))
    image = request.template.image
    if image is not None and not state.breakers.allows(image, now):
        left = state.breakers.open(now)[image]
        said = state.breakers.last_message(image)
        text = f"breaker: image {image} could not be had ({said}); tried again in {left:.0f} s"
        found.append(Blocker("breaker", text))
    found += (Blocker("cap", text) for text in state.caps.why(request))
    found += (Blocker("paused", text) for text in state.paused.why(request, now))
    return found + _at_master(state, request, now)


def _turned_away(state: State, request: Request, host: Host, now: float) -> list[str]:
    """Every reason for which the host does not take the request now; empty where it could."""
    if not host.active:
        return ["inactive"]
    reasons = _barred(state, request, host, now)
    offered = state.offers.of(host.id)
    if not offered:
        return [*reasons, "no_offer"]
    role = state.tenants[request.tenant].tenant.role
    lacks = [_lacks(state, request, held) for held in offered if role in (None, held.role)]
    if not lacks:
        return [*reasons, f"role:{role}"]
    return reasons + [reason for reason in min(lacks, key=len) if f"too_small:{reason}" not in reasons]


def _barred(state: State, request: Request, host: Host, now: float) -> list[str]:
    """What keeps the request from the host, whatever is offered of it."""
    reasons = bars(state, request, host.id, host.hostname, host.attributes, now)
    reasons += [f"too_small:{name}" for name in need_on(state, request, host.id).lacking_in(host.total)]
    earmark = state.earmarks.get(host.id)
    if earmark is not None and earmark.request_id != request.id:
        reasons.append("earmarked")
    return reasons


def _lacks(state: State, request: Request, held: HostOffers) -> list[str]:
    """What these offers have too little of, or else what keeps the request from them."""
    lacking = need_on(state, request, held.host_id).lacking_in(sum(unclaimed(state, held), ZERO))
    if lacking:
        return list(lacking)
    reason = may_take(state, request, held)
    return [] if reason is None else [reason]


_GROUPS = {
    "quota": "quota",
    "breaker": "breaker",
    **dict.fromkeys(("attribute", "constraint", "near", "apart", "shunned", "role", "sharing"), "constraint"),
    **dict.fromkeys(("no_offer", "inactive", "maintenance", "avoided", "earmarked"), "host"),
}
"""Of blockers, else ``other``; of what turns hosts away, else ``resource``."""


_WORDS = {
    "cpu_millis": "too little CPU offered",
    "mem_mib": "too little memory offered",
    "disk_mib": "too little disk offered",
    "avoided": "lost an earlier attempt of it",
    "earmarked": "kept for a request that has waited longer",
    "gpus": "too few GPUs offered",
    "ports": "too few ports offered",
    "no_offer": "nothing free and offered",
    "maintenance": "to go into maintenance before it would be done",
    "sharing": "with a shared Mesos executor of another role",
    "inactive": "not active",
}


_SENTENCES = {
    "attribute": "without the attribute {} it wants",
    "too_small": "too small in {} even when free",
    "constraint": "where its constraint {} does not hold",
    "near": "without a live build of {} that it must be near",
    "apart": "with a live build of {} that it must be apart from",
    "shunned": "with a live build that must be apart from one of {}",
    "role": "not offered to its tenant's role {}",
    "reserved": "too little left where reserved resources are used so: {}",
}


def _summary(state: State, blockers: list[str], turned_away: Counter[str], ahead: int) -> str:
    if blockers:
        return "; ".join(blockers)
    if not state.hosts:
        return "Mesos has told of no host yet"
    parts = [f"{count} {_words(reason)}" for reason, count in turned_away.most_common()]
    text = f"of {len(state.hosts)} hosts: {', '.join(parts)}" if parts else "about to be placed"
    return f"{text}; {ahead} of its tenant's requests go before it" if ahead else text


def _words(reason: str) -> str:
    kind, _, what = reason.partition(":")
    sentence = _SENTENCES.get(kind)
    return _WORDS[reason] if sentence is None else sentence.format(what)


def tenant_uses(state: State) -> list[TenantUse]:
    """Every tenant, by name. Fair shares are of those that use or want something."""
    counts: Counter[tuple[str, RequestState]] = Counter(
        (request.tenant, request.state) for request in state.requests.values()
    )
    books = {name: book for name, book in sorted(state.tenants.items()) if name != SPARES}
    wanting = sum(book.tenant.weight for book in books.values() if book.builds or _waits(counts, book))
    uses = []
    for name, book in books.items():
        uses.append(
            TenantUse(
                tenant=book.tenant,
                waiting=_waits(counts, book),
                launching=counts[name, RequestState.LAUNCHING] + counts[name, RequestState.PREPARING],
                running=counts[name, RequestState.RUNNING] + counts[name, RequestState.ENDING],
                used=book.used,
                dominant_share=book.share(state.total),
                fair_share=book.tenant.weight / wanting if wanting and (book.builds or _waits(counts, book)) else 0.0,
            )
        )
    return uses


def _waits(counts: Counter[tuple[str, RequestState]], book: TenantBook) -> int:
    return counts[book.tenant.name, RequestState.WAITING]


def host_uses(state: State) -> list[HostUse]:
    """Every host, by name, with what our tasks and their Mesos executors take of it."""
    uses = []
    for host in sorted(state.hosts.values(), key=lambda each: (each.hostname, each.id)):
        tasks = len(state.tasks_on.get(host.id, ()))
        uses.append(HostUse(host, state.used_on(host.id), tasks, state.offers.available(host.id)))
    return uses


def health(state: State, notices: list[str], now: float) -> Health:
    """``notices`` are those of others; why Mesos is not connected goes with them."""
    if not state.connected and state.mesos_trouble:
        notices = [*notices, f"no connection to Mesos: {state.mesos_trouble}"]
    notices = [*notices, *state.paused.notices(now)]
    counts = Counter(request.state for request in state.requests.values())
    return Health(
        connected=state.connected,
        framework_id=state.framework_id,
        tenants=len(state.tenants) - 1,  # without the owner of spares
        waiting=counts[RequestState.WAITING],
        launching=counts[RequestState.LAUNCHING] + counts[RequestState.PREPARING],
        running=counts[RequestState.RUNNING] + counts[RequestState.ENDING],
        hosts=len(state.hosts),
        offers_held=len(state.offers),
        suppressed=state.suppressed,
        breakers=state.breakers.open(now),
        notices=notices,
        draining=state.draining,
    )
