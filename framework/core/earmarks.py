"""Hosts kept for requests that have waited too long, so that small builds cannot starve a big one for ever.

A kept host fills only by draining: what its builds free is held until the request fits. That ends, because builds have
timeouts, and because looking again at which host to keep never trades one for another that lacks more.
"""

from __future__ import annotations

from collections.abc import Iterator

from framework.core import claiming
from framework.core.effects import Effect, Report
from framework.core.fit import bars, may_take, need_on, unclaimed
from framework.core.ids import HostId, RequestId, TenantName
from framework.core.offers import Host, HostOffers
from framework.core.ordering import Rank
from framework.core.resources import ZERO
from framework.core.state import Earmark, State
from framework.core.tasks import Request

_KEPT_AT_MOST = 10
"""One host in this many, and always one: what is kept idle for big requests must not starve everybody else."""

_LOOKED_AT = 32  # hosts that suit, to choose the best of; looking at thousands would find one that is hardly better

_AGAIN_AFTER_S = 30.0
"""Between two searches for the same request that find no host, where no kept one comes free and no host changes."""

Claimed = dict[tuple[HostId, str], list[Request]]
"""What goes where, by the host and the role of its offers."""


def serve(state: State, hosts: set[HostId], tenants: set[TenantName], now: float) -> Claimed:
    """Claims every kept host whose offers now hold its request, for it; of ``hosts``, and those kept for ``tenants``.

    Those where the request may not go any more, as a build has ended that it must be near, are kept no longer. The
    tenants and hosts of what was claimed or is free again are among them afterwards.
    """
    claimed: Claimed = {}
    kept = {host_id for name in tenants for host_id in state.tenants[name].kept.values()} | (
        hosts & state.earmarks.keys()
    )
    for host_id in sorted(kept):
        request, host = state.requests[state.earmarks[host_id].request_id], state.hosts.get(host_id)
        if host is not None and not suits(state, request, host, now):
            state.release(host_id, now)
            hosts.add(host_id)
            tenants.add(request.tenant)
            continue
        for held in state.offers.of(host_id):
            if _holds(state, held, request, now) and may_go(state, request, now):
                state.groups.know(host_id, held.hostname, held.attributes)
                state.claim(request, host_id)
                state.release(host_id, now)
                claimed[host_id, held.role] = [request]
                hosts.add(host_id)
                tenants.add(request.tenant)
                break
    return claimed


def _holds(state: State, held: HostOffers, request: Request, now: float) -> bool:
    return (
        need_on(state, request, held.host_id).fits_in(sum(unclaimed(state, held), ZERO))
        and may_take(state, request, held) is None
        and not bars(state, request, held.host_id, held.hostname, held.attributes, now)
    )


def divided(state: State, hosts: set[HostId]) -> list[tuple[HostId, str]]:
    """What is offered of kept ones of ``hosts`` for other roles than the only one of use, or else than the best.

    Given back it may come for that one, while offers of several roles never serve a request together.
    """
    found: list[tuple[HostId, str]] = []
    for host_id in sorted(hosts & state.earmarks.keys()):
        request = state.requests[state.earmarks[host_id].request_id]

        def worth(held: HostOffers) -> tuple[float, str]:
            host = state.hosts.get(held.host_id)
            total = host.total if host else held.available
            return (held.available.dominant_share(total), held.role)

        roles = [held.role for held in sorted(state.offers.of(host_id), key=worth)]
        wanted = only_role(state, request, host_id)
        of_use = roles[-1:] if wanted is None else [wanted]
        found += [(host_id, role) for role in roles if role not in of_use]
    return found


def only_role(state: State, request: Request, host_id: HostId) -> str | None:
    """The role whose offers alone the request can take there; None where any will do."""
    role = state.tenants[request.tenant].tenant.role
    return state.sharing(host_id) if role is None and request.template.shared else role


def keep(state: State, now: float) -> list[Effect]:
    """Keeps hosts for those that lack only room and have waited too long: first the tenant with the smallest standing,

    then the oldest request. Notes when the next will have. One for which there is no host to keep lets others have
    their turn, and is looked at again after a while: its search has looked at every host.
    """
    most = room(state)
    if most <= 0:
        return []
    total = state.total
    tenants = sorted(
        (state.tenants[name].standing(total), name)
        for name in state.attention.starving
        if state.config.offers_role(state.tenants[name].tenant.role)
    )
    before = state.attention.unkept
    unkept: dict[RequestId, float] = {}
    state.attention.unkept = unkept
    effects: list[Effect] = []
    soonest: float | None = None
    for _, name in tenants:
        kept = state.tenants[name].kept
        waiting: list[tuple[Rank, RequestId]] = []
        for request_id in state.attention.starving[name]:
            if request_id in kept:
                continue
            request = state.requests[request_id]
            ripe = request.submitted_at + state.config.starving_after_s
            if request_id in before:
                ripe = unkept[request_id] = before[request_id]
            if ripe > now:
                soonest = ripe if soonest is None else min(soonest, ripe)
            else:
                waiting.append(((-request.priority, request.submitted_at), request_id))
        for _, request_id in sorted(waiting):
            request = state.requests[request_id]
            host = _host_to_keep(state, request, None, now)
            if host is None:
                unkept[request_id] = again_at = now + _AGAIN_AFTER_S
                soonest = again_at if soonest is None else min(soonest, again_at)
                continue
            mark(state, host, request, now)
            effects.append(_report(host, request, now))
            most -= 1
            if most <= 0:
                return effects  # one is looked for again when a kept host is no longer
    if soonest is not None:
        state.deadlines.set("starving", "", soonest)
    return effects


def look_again(state: State, host_id: HostId, now: float) -> list[Effect]:
    """The earmark has lasted its time: where its request still wants it, keeps this host or a nearer one."""
    request = state.requests[state.earmarks[host_id].request_id]
    state.release(host_id, now)
    if not may_go(state, request, now):
        return []
    host = _host_to_keep(state, request, host_id, now)
    if host is None:
        return []
    mark(state, host, request, now)
    return [] if host.id == host_id else [_report(host, request, now)]


def may_go(state: State, request: Request, now: float) -> bool:
    """Whether nothing but room keeps the request from being launched."""
    need, image = request.template.resources, request.template.image
    book = state.tenants[request.tenant]
    if not state.config.offers_role(book.tenant.role) or book.over_quota(need.cpu_millis, need.mem_mib) is not None:
        return False
    if request.jenkins is not None and claiming.room(state, request.tenant, now) <= 0:
        return False
    return image is None or state.breakers.allows(image, now)


def room(state: State) -> int:
    """How many hosts more may be kept."""
    return max(1, len(state.hosts) // _KEPT_AT_MOST) - len(state.earmarks)


def mark(state: State, host: Host, request: Request, now: float) -> None:
    """Keeps the host for the request."""
    until = now + state.config.hold_starving_s
    state.earmarks[host.id] = Earmark(request.id, request.tenant, until)
    state.tenants[request.tenant].kept[request.id] = host.id
    if state.offers.of(host.id):
        state.attention.hosts.add(host.id)  # ``divided``
    state.deadlines.set("earmark", host.id, until)


def _report(host: Host, request: Request, now: float) -> Report:
    text = f"host kept for a request that has waited {now - request.submitted_at:.0f} s"
    return Report("info", text, tenant=request.tenant, request_id=request.id, host=host.hostname)


def suits(state: State, request: Request, host: Host, now: float) -> bool:
    """Whether the request may go to the host as things stand and, were it wholly free, would fit there."""
    return (
        host.active
        and need_on(state, request, host.id).fits_in(host.total)
        and not bars(state, request, host.id, host.hostname, host.attributes, now)
    )


def _host_to_keep(state: State, request: Request, current: HostId | None, now: float) -> Host | None:
    """Of some hosts that could hold the request when free, and of ``current``, the one that lacks the least now.

    Hosts where our own builds' end would be enough go first: what other frameworks hold may never come free.
    """
    best: tuple[bool, float, bool, HostId] | None = None
    for host in _some(state, request, current, now):
        need = need_on(state, request, host.id)
        offered = state.offers.available(host.id)
        others = not need.fits_in(offered + state.used_on(host.id))
        candidate = (others, (need - offered).dominant_share(host.total), host.id != current, host.id)
        if best is None or candidate < best:
            best = candidate
    return state.hosts[best[3]] if best else None


def _some(state: State, request: Request, current: HostId | None, now: float) -> Iterator[Host]:
    """Hosts that suit the request and are kept for none: ``current``, and of the others the next in turn, so that all

    are looked at by and by.
    """
    first = None if current is None else state.hosts.get(current)
    if first is not None and first.id not in state.earmarks and suits(state, request, first, now):
        yield first
    found, start, count = 0, state.rotated, len(state.in_rotation)
    for nth in range(count):
        host = state.in_rotation[(start + nth) % count]
        if host.id == current or host.id in state.earmarks or not suits(state, request, host, now):
            continue
        yield host
        found += 1
        if found == _LOOKED_AT:
            state.rotated = (start + nth + 1) % count
            return
