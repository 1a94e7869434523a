"""The launch queue: apps with instances to be launched, their back-off, and what the API tells of both."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from framework.core.offers import Offer
from framework.local.marathon.control import QueueEntry, UnusedOffer
from framework.local.marathon.definition.app import App
from framework.local.marathon.matching.reasons import FUNNEL

if TYPE_CHECKING:
    from framework.local.marathon.core.state import State

REASONS_AT_ONCE = 4000
"""Offers judged for one answer, over all apps; with more apps each is told of fewer hosts."""


class Delay(msgspec.Struct, frozen=True):
    """An app's back-off: nothing of it is launched before ``until``."""

    config: str  # version of the app's last change of its configuration
    delay_s: float
    since: float
    until: float


class Waiting(msgspec.Struct):
    """Of an app in the queue: how many offers were looked at for it, and how many could not be used."""

    since: float
    processed: int = 0
    unused: int = 0
    last_used_at: float | None = None
    last_unused_at: float | None = None


def delay_of(state: State, app: App, now: float) -> float:
    """Seconds that are left of the app's back-off."""
    delay = state.delays.get(app.id)
    if delay is None or delay.config != app.version_info.last_config_change_at:
        return 0.0
    return max(0.0, delay.until - now)


def back_off(state: State, app: App, launched_at: float | None, now: float) -> None:
    """A task of the app did not stay up.

    The first delay is ``backoffSeconds``, each further one longer by ``backoffFactor``, up to ``maxLaunchDelaySeconds``
    (Marathon's RateLimiter). Of tasks that were launched before the present delay began only one counts: a host that
    is lost with a hundred of them is one failure.
    """
    config = app.version_info.last_config_change_at
    last = state.delays.get(app.id)
    if last is None or last.config != config or last.until + app.max_launch_delay_seconds < now:
        delay_s = float(app.backoff_seconds)
    elif launched_at is not None and launched_at < last.since:
        return
    else:
        delay_s = last.delay_s * app.backoff_factor
    delay_s = min(delay_s, float(app.max_launch_delay_seconds))
    state.delays[app.id] = Delay(config, delay_s, now, now + delay_s)


def entries(state: State) -> list[QueueEntry]:
    """What waits, with the reasons of the offers that came last; of each app those of its oldest instance."""
    waiting = [app_id for app_id in state.waiting if state.book(app_id).scheduled]
    offers = list(state.seen.values())[: max(2, REASONS_AT_ONCE // max(1, len(waiting)))]
    return [_entry(state, app_id, offers) for app_id in waiting]


def _entry(state: State, app_id: str, offers: list[tuple[Offer, float]]) -> QueueEntry:
    book, stats = state.book(app_id), state.waiting[app_id]
    instance = book.instances[next(iter(book.scheduled))]
    app = state.spec(instance)
    siblings = [one for one in state.placed(app) if one is not instance]
    unused = []
    for offer, came_at in offers:
        reasons = state.matching.reasons(app, instance, siblings, offer, state.now)
        if reasons:
            amounts = (offer.resources, offer.reserved, offer.port_ranges, offer.pieces)
            unused.append(
                UnusedOffer(offer.id, offer.host_id, offer.hostname, amounts, offer.attributes, reasons, came_at)
            )
    return QueueEntry(
        app=app,
        count=len(book.scheduled),
        role=app.role,
        delay_s=delay_of(state, app, state.now),
        since=stats.since,
        processed=stats.processed,
        unused=stats.unused,
        last_used_at=stats.last_used_at,
        last_unused_at=stats.last_unused_at,
        last_offers=_funnel(unused, len(offers)),
        unused_offers=tuple(unused),
    )


def _funnel(unused: list[UnusedOffer], processed: int) -> tuple[tuple[str, int, int], ...]:
    """Reason by reason how many offers it turned away of those that came so far; each counts for its first one."""
    declined = Counter(one.reasons[0] for one in unused)
    steps = []
    for reason in FUNNEL:
        steps.append((reason, declined[reason], processed))
        processed -= declined[reason]
    return tuple(steps)
