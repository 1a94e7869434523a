"""Whether a host would do for a request, apart from whose turn it is: for those who ask about one host at a time."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from framework.core.claims import Claim
from framework.core.constraints import allows, counts, value_of
from framework.core.ids import HostId, TaskId
from framework.core.offers import Host, HostOffers, drawn
from framework.core.pieces import ReservedUse
from framework.core.resources import ZERO, Resources
from framework.core.rules import rules_of
from framework.core.state import State
from framework.core.tasks import Request
from framework.core.templates import Template


class Allotment(NamedTuple):
    """How what is offered of a host is divided among its claims."""

    roles: dict[TaskId, str]  # of the offers that hold a claim; others have none
    left: dict[str, tuple[Resources, Resources]]  # by role: unreserved, and reserved for it
    sharing: str | None  # the role of the Mesos executor that builds of the host share or will
    serving: bool  # whether one that is launched now would not pay for it


def allot(state: State, host_id: HostId) -> Allotment:
    """Those whose nodes stand come first, in the order in which they were made."""
    left = {held.role: (held.available - held.reserved, held.reserved) for held in state.offers.of(host_id)}
    sharing, serving = state.sharing(host_id), state.serving(host_id)
    roles: dict[TaskId, str] = {}
    for claim in sorted(state.claims.on(host_id), key=_readiness):
        request = state.requests[claim.request_id]
        template, only = request.template, state.tenants[request.tenant].tenant.role
        need = template.resources if template.shared and serving else template.resources + state.config.overhead
        for role in sorted(left, key=lambda each: (each != claim.role, each)):
            if only not in (None, role) or (template.shared and sharing not in (None, role)):
                continue
            after = drawn(*left[role], need, template.reserved)
            if all(map(ZERO.fits_in, after)):
                left[role], roles[claim.task_id] = after, role
                if template.shared:
                    sharing, serving = role, True
                break
    return Allotment(roles, left, sharing, serving)


def _readiness(claim: Claim) -> tuple[float, float, TaskId]:
    return (math.inf if claim.ready_at is None else claim.ready_at, claim.claimed_at, claim.task_id)


def unclaimed(state: State, held: HostOffers) -> tuple[Resources, Resources]:
    """What of these offers no claim holds: unreserved, and reserved for their role."""
    if state.claims.held(held.host_id) is None:
        return held.available - held.reserved, held.reserved
    return beside_claims(state, held).left[held.role]


def beside_claims(state: State, offered: HostOffers) -> Allotment:
    """As ``allot``, as far as it is about what is left of these offers; at once where all claims fit in them."""
    host_id, role = offered.host_id, offered.role
    held, overhead = state.claims.held(host_id), state.config.overhead
    if held is None or held.choosy or offered.reserved != ZERO or len(state.offers.of(host_id)) > 1:
        return allot(state, host_id)
    sharing, serving = state.sharing(host_id), state.serving(host_id)
    executors = held.own + (held.shared > 0 and not serving)
    need = held.need + Resources(*(executors * each for each in msgspec.structs.astuple(overhead)))
    if not need.fits_in(offered.available) or (held.shared and sharing not in (None, role)):
        return allot(state, host_id)
    left = {role: (offered.available - need, ZERO)}
    return Allotment({}, left, role, True) if held.shared else Allotment({}, left, sharing, serving)


def need_on(state: State, request: Request, host_id: HostId) -> Resources:
    """What the request takes of the host, with the Mesos executor's own where one would have to be started for it."""
    template = request.template
    if template.shared and state.serving(host_id):
        return template.resources
    return template.resources + state.config.overhead


def bars(
    state: State, request: Request, host_id: HostId, hostname: str, attributes: dict[str, str], now: float
) -> list[str]:
    """Every reason, once, as ``WhyNot`` names them, why the request may not go to the host, had it all the room."""
    book = state.tenants[request.tenant]
    shape = book.queue.shape(request.id)
    rules = shape.rules if shape is not None else rules_of(request, book.tenant.role)
    reasons = [] if rules is None else list(dict.fromkeys(rules.reasons(state.groups, host_id, hostname, attributes)))
    window = state.window_of(host_id, now)
    if window is not None and now + request.template.timeout_s + request.template.grace_s > window.start_at:
        reasons.append("maintenance")
    return reasons


def may_take(state: State, request: Request, held: HostOffers) -> str | None:
    """What keeps the request from these offers though they are large enough; None where it can be drawn from them."""
    role = state.tenants[request.tenant].tenant.role
    if role is not None and held.role != role:
        return f"role:{role}"
    if request.template.shared and state.sharing(held.host_id) not in (None, held.role):
        return "sharing"
    need = need_on(state, request, held.host_id)
    if request.template.reserved in (ReservedUse.ONLY, ReservedUse.NEVER):
        left = drawn(*unclaimed(state, held), need, request.template.reserved)
        return None if all(map(ZERO.fits_in, left)) else f"reserved:{request.template.reserved}"
    return None


def could_ever(state: State, template: Template, host: Host) -> bool:
    """Whether the host, were it wholly free, could hold such a request, wherever other builds are."""
    return host.could_hold(template.resources + state.config.overhead, template.attributes) and all(
        counts(each) or allows(each, value_of(each.field, host.hostname, host.attributes))
        for each in template.constraints
    )
