"""How claims come and go: placed, their nodes made, launched in company; or given up, and their requests wait again."""

from __future__ import annotations

from framework.core.claims import Claim
from framework.core.effects import Effect, PrepareNode, RemoveNode, Report, SaveRequest
from framework.core.endings import kill
from framework.core.events import NodeFailed
from framework.core.fit import allot
from framework.core.ids import HostId, TaskId, TenantName, task_id
from framework.core.launching import launch
from framework.core.nodes import node_name
from framework.core.pieces import ReservedUse
from framework.core.promises import release, wait_again
from framework.core.state import State
from framework.core.tasks import FailureClass, Request, RequestState

TOGETHER_S = 0.05
"""A ready claim waits so long for others of its host: an ACCEPT uses up all that is offered of it, and Mesos offers the

rest again only with its next allocation, a second later by default.
"""
COVER_S = 10.0
"""A claim waits so long for its host's next offer, after the one that it was placed on is gone."""
NODE_S = 60.0
"""For a node to be made; whoever makes it gives up much sooner, so that this finds what was lost."""
CLOSED_S = 1.0
"""Least time that a master is left alone which could not make a node, whatever it says of why."""


def room(state: State, tenant: TenantName, now: float) -> int:
    """How many more nodes may be asked of the tenant's master now."""
    return state.claims.room(tenant) if state.masters.open(tenant, now) else 0


def claim(state: State, host_id: HostId, role: str, requests: list[Request], now: float) -> list[Effect]:
    """Requests that were placed on the host, and counted, hold their places while their nodes are made."""
    held = next(each for each in state.offers.of(host_id) if each.role == role)
    effects: list[Effect] = []
    for request in requests:
        its_id = task_id(request.id, request.attempt + 1)
        node = node_name(request, its_id)
        template = request.template
        choosy = template.reserved is ReservedUse.ONLY or state.tenants[request.tenant].tenant.role is not None
        state.claims.add(
            Claim(
                task_id=its_id,
                request_id=request.id,
                tenant=request.tenant,
                host_id=host_id,
                hostname=held.hostname,
                role=role,
                node=node,
                claimed_at=now,
                need=template.resources,
                shared=template.shared,
                choosy=choosy,
            )
        )
        state.deadlines.set("claim", its_id, now + NODE_S)
        request.state = RequestState.PREPARING
        request.claimed_at = now
        if state.earmarks:
            state.release_for(request, now)
        effects.append(PrepareNode(its_id, request, node))
    state.offers.changed.add(host_id)
    return effects


def node_ready(state: State, found: Claim, now: float) -> None:
    if found.ready_at is None:
        state.claims.ready(found, now)
        _set_deadline(state, found)
        state.masters.of(found.tenant).trouble = ""
        state.attention.tenants.add(found.tenant)  # which may have another made


def node_failed(state: State, event: NodeFailed, now: float) -> list[Effect]:
    """Its request waits again; and a master that could not make it is left alone for a while."""
    found = state.claims.get(event.task_id)
    if found is None:
        return _spare_failed(state, event, now)
    if found.ready_at is not None:
        return []
    _forget(state, found)
    request = state.requests[found.request_id]
    saves: list[Effect] = []
    if event.name_taken:
        request.attempt += 1  # for another name
        saves.append(SaveRequest(request))
    close(state, found.tenant, event.reason, now + max(event.retry_after_s, CLOSED_S), now)
    _wait_again(state, request, now)
    return [*saves, _report(found, event.reason)]


def _spare_failed(state: State, event: NodeFailed, now: float) -> list[Effect]:
    promised_to = state.spares.promised.get(event.task_id)
    if promised_to is None:
        return []
    request = state.requests[promised_to]
    close(state, request.tenant, event.reason, now + max(event.retry_after_s, CLOSED_S), now)
    if event.name_taken:  # the spare can never have another
        return kill(state, state.tasks[event.task_id], FailureClass.CANCELLED, event.reason, now)
    return wait_again(state, request, now)


def close(state: State, tenant: TenantName, reason: str, until: float, now: float) -> None:
    """Asks no more nodes of the tenant's master for a while, in which no host is kept for its requests either."""
    master = state.masters.of(tenant)
    master.trouble = reason
    kept = state.tenants[tenant].kept
    for request_id in [each for each in kept if state.requests[each].jenkins is not None]:
        state.release(kept[request_id], now)
    if until > master.closed_until:
        master.closed_until = until
        state.deadlines.set("master", tenant, until)


def give_up(state: State, found: Claim, reason: str, now: float) -> list[Effect]:
    """Its node goes, and its request waits again, for a node of another name, as this one may go late."""
    _forget(state, found)
    request = state.requests[found.request_id]
    request.attempt += 1
    _wait_again(state, request, now)
    return [SaveRequest(request), RemoveNode(found.tenant, found.node), _report(found, reason)]


def waits_no_more(state: State, request: Request, now: float) -> list[Effect]:
    """Takes a request that is not launched out of wherever it waits; what was kept or made for it goes."""
    found = state.claims.of(request.id)
    if found is not None:
        _forget(state, found)
        return [RemoveNode(found.tenant, found.node)]
    if request.state is RequestState.PREPARING:
        return release(state, request)
    state.dequeue(request, now)
    return []


def give_up_all(state: State, reason: str, now: float) -> list[Effect]:
    return [effect for found in state.claims for effect in give_up(state, found, reason, now)]


def on_lost_host(state: State, host_id: HostId, now: float) -> list[Effect]:
    reason = "its host is gone"
    return [effect for found in state.claims.on(host_id) for effect in give_up(state, found, reason, now)]


def due(state: State, its_id: TaskId, now: float) -> list[Effect]:
    """The claim has waited too long, for its node or for an offer."""
    found = state.claims.get(its_id)
    if found is None:
        return []
    if found.uncovered_at is not None and found.uncovered_at + COVER_S <= now:
        return give_up(state, found, f"nothing of its host was offered within {COVER_S:.0f} s", now)
    reason = f"its node was not made within {NODE_S:.0f} s"
    close(state, found.tenant, reason, now + CLOSED_S, now)
    return give_up(state, found, reason, now)


def launch_ready(state: State, now: float) -> list[Effect]:
    """Launches claims whose nodes stand and that the offers of their hosts hold, all of a host together."""
    if not state.claims:
        return []
    hosts = state.claims.due | {each for each in state.attention.hosts if state.claims.held(each) is not None}
    state.claims.due = set()
    effects: list[Effect] = []
    for host_id in sorted(hosts):
        claims = state.claims.on(host_id)
        stand = [each for each in claims if each.ready_at is not None]
        first = min((each.ready_at for each in stand if each.ready_at is not None), default=None)
        if first is None:
            continue
        if len(stand) < len(claims) and now < first + TOGETHER_S:
            state.deadlines.set("claims", host_id, first + TOGETHER_S)
            continue
        state.deadlines.drop("claims", host_id)
        effects += _launch_on(state, host_id, stand, now)
    return effects


def _launch_on(state: State, host_id: HostId, claims: list[Claim], now: float) -> list[Effect]:
    effects: list[Effect] = []
    by_role: dict[str, list[Claim]] = {}
    roles = allot(state, host_id).roles
    for each in claims:
        role = roles.get(each.task_id)
        if role is not None:
            by_role.setdefault(role, []).append(each)
        else:  # though the offers may be what they were: its tenant may take those of another role by now
            state.offers.changed.add(host_id)
    for role, these in sorted(by_role.items()):
        requests: list[Request] = []
        for each in these:
            bar = _bar(state, each, now)
            if bar is not None:
                effects += give_up(state, each, bar, now)
                continue
            request = state.requests[each.request_id]
            _begin(request, each)
            state.claims.remove(each)
            state.deadlines.drop("claim", each.task_id)
            requests.append(request)
        if requests:
            state.demand_at = now
            effects += launch(state, host_id, role, requests, now)
    return effects


def _bar(state: State, found: Claim, now: float) -> str | None:
    """What has come up since it was placed that keeps it from being launched there."""
    template, window = state.requests[found.request_id].template, state.window_of(found.host_id, now)
    if window is not None and now + template.timeout_s + template.grace_s > window.start_at:
        return "its host is to go into maintenance"
    over = state.tenants[found.tenant].over_quota(0, 0, 0)
    return None if over is None else f"its tenant's quota of {over} is less than what it has"


def _begin(request: Request, found: Claim) -> None:
    side = request.jenkins
    assert side is not None, "only requests of masters claim"  # noqa: S101
    side.node, side.node_at = found.node, found.ready_at


def cover(state: State, now: float) -> None:
    """Notes which claims no offer holds any more or holds again, of hosts where something has changed."""
    changed, state.offers.changed = state.offers.changed, set()
    if not state.claims:
        return
    for host_id in changed:
        claims = state.claims.on(host_id)
        if not claims:
            continue
        roles = allot(state, host_id).roles
        for each in claims:
            if each.task_id in roles:
                if each.uncovered_at is not None and each.ready_at is not None:
                    state.deadlines.set("claims", host_id, now + TOGETHER_S)
                each.uncovered_at = None
                state.claims.uncovered.discard(each.task_id)
            elif each.uncovered_at is None:
                each.uncovered_at = now
                state.claims.uncovered.add(each.task_id)
                state.fresh_demand = True
            _set_deadline(state, each)


def _set_deadline(state: State, found: Claim) -> None:
    times = [] if found.ready_at is not None else [found.claimed_at + NODE_S]
    if found.uncovered_at is not None:
        times.append(found.uncovered_at + COVER_S)
    if times:
        state.deadlines.set("claim", found.task_id, min(times))
    else:
        state.deadlines.drop("claim", found.task_id)


def _wait_again(state: State, request: Request, now: float) -> None:
    request.state = RequestState.WAITING
    request.claimed_at = None
    state.enqueue(request, now)


def _forget(state: State, found: Claim) -> None:
    state.claims.remove(found)
    state.uncount(state.requests[found.request_id], found.task_id)
    state.deadlines.drop("claim", found.task_id)
    if state.offers.of(found.host_id):
        state.attention.hosts.add(found.host_id)  # what it held may serve others
        state.offers.changed.add(found.host_id)
        state.claims.due.add(found.host_id)


def _report(found: Claim, reason: str) -> Report:
    text = f"its place is given up: {reason}"
    return Report("info", text, found.tenant, found.request_id, found.task_id, host=found.hostname)
