"""What the core tells those who ask: plain values, made on demand from the state."""

from __future__ import annotations

import msgspec

from framework.core.ids import RequestId
from framework.core.offers import Host
from framework.core.resources import Resources
from framework.core.stories import Stage
from framework.core.tasks import Tenant


class Refusal(msgspec.Struct, frozen=True):
    """Hosts, and offers held of them, that one reason keeps from a request; whatever holds the request keeps all.

    ``group``: ``resource`` (too little of it), ``constraint`` (rules of the request, its tenant or its neighbours),
    ``host`` (nothing offered of it, or it is not to be used), ``quota``, ``breaker``, or ``other`` that holds it.
    """

    group: str
    reason: str  # as of ``WhyNot.turned_away``, or of ``framework.core.explain.Blocker``
    hosts: int
    offers: int


class WhyNot(msgspec.Struct, frozen=True):
    """Why a request waits. ``turned_away`` counts hosts by what turned the request away there, each host once a reason:

    ``cpu_millis``, ``mem_mib``, ``disk_mib``, ``gpus``, ``ports`` (too little offered), ``reserved:USE`` (too little of
    what it may draw from), ``role:ROLE`` (nothing offered to that role), ``attribute:NAME``, ``constraint:FIELD
    OPERATOR VALUE``, ``near:LABELS`` and ``apart:LABELS`` (neighbours), ``shunned:LABELS`` (a live build must be
    apart from such a one as it is), ``maintenance`` (it would reach into one), ``sharing`` (the host's shared Mesos
    executor is of another role), ``avoided`` (lost an attempt of it), ``earmarked`` (kept for a request that waits too
    long), ``no_offer`` (nothing offered of it now), ``inactive``, ``too_small:RESOURCE`` (even wholly free it could not
    hold it).
    """

    request_id: RequestId
    waiting_s: float
    hosts_looked_at: int
    offers_looked_at: int
    turned_away: dict[str, int]
    blockers: list[str]  # what holds it before any host is looked at: quota, breaker, back-off, no connection to Mesos,
    # its master; or, once it has a place, what its launch waits for: its node, or the host's next offer
    ahead: int  # requests that go before it in its own tenant
    summary: str  # all of it in one sentence for a person
    refusals: list[Refusal] = []  # what keeps most offers from it first; only where it alone was asked about


class Standing(msgspec.Struct, frozen=True):
    """How a live build stands."""

    request_id: RequestId
    stage: Stage
    for_s: float  # that it is at this stage
    summary: str  # what it waits for there
    why: WhyNot | None = None  # of one that waits for a place


class TenantUse(msgspec.Struct, frozen=True):
    """A tenant, what it uses now and what it waits for."""

    tenant: Tenant
    waiting: int
    launching: int
    running: int
    used: Resources
    dominant_share: float  # of the whole cluster, 0 to 1
    fair_share: float  # what its weight entitles it to among tenants with demand, 0 to 1


class HostUse(msgspec.Struct, frozen=True):
    """A host, and what our tasks take of it."""

    host: Host
    used: Resources
    tasks: int
    offered: Resources  # held by us now


class Health(msgspec.Struct, frozen=True):
    """The scheduler in a few numbers."""

    connected: bool
    framework_id: str | None
    tenants: int
    waiting: int
    launching: int
    running: int
    hosts: int
    offers_held: int
    suppressed: bool
    breakers: dict[str, float]  # image -> seconds until it is tried again
    notices: list[str]  # what an operator should know, such as a corrupt state file kept aside
    draining: bool = False  # launches nothing, as the operator said
