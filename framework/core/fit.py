"""Whether a host would do for a request, apart from whose turn it is: for those who ask about one host at a time."""

from __future__ import annotations

from framework.core.constraints import allows, counts, value_of
from framework.core.ids import HostId
from framework.core.offers import Host, HostOffers, drawn
from framework.core.pieces import ReservedUse
from framework.core.resources import ZERO, Resources
from framework.core.rules import rules_of
from framework.core.state import State
from framework.core.tasks import Request
from framework.core.templates import Template


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
        left = drawn(held.available - held.reserved, held.reserved, need, request.template.reserved)
        return None if all(map(ZERO.fits_in, left)) else f"reserved:{request.template.reserved}"
    return None


def could_ever(state: State, template: Template, host: Host) -> bool:
    """Whether the host, were it wholly free, could hold such a request, wherever other builds are."""
    return host.could_hold(template.resources + state.config.overhead, template.attributes) and all(
        counts(each) or allows(each, value_of(each.field, host.hostname, host.attributes))
        for each in template.constraints
    )
