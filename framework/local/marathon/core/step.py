"""``step(state, event, now) -> effects``: all that the core ever does by itself. What users ask is in ``deploying``."""

from __future__ import annotations

from collections.abc import Iterable

from framework.local.marathon.core.effects import Effect
from framework.local.marathon.core.events import Event
from framework.local.marathon.core.state import State


def resume(state: State, now: float) -> list[Effect]:
    """Once after the start, before the first event: running deployments go on, checks are started again."""
    raise NotImplementedError


def step(state: State, event: Event, now: float) -> list[Effect]:
    """One event, one turn. ``now`` is seconds since the epoch."""
    return turn(state, (event,), now)


def turn(state: State, events: Iterable[Event], now: float) -> list[Effect]:
    """Takes in all events, then decides once. The effects make up one frame: saves first, then calls in this order."""
    raise NotImplementedError
