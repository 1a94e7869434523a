"""What a change of the templates means for requests that wait."""

from __future__ import annotations

import re

from framework.core.agents import cancel
from framework.core.effects import Effect, LookAt
from framework.core.events import CatalogSet
from framework.core.ids import TenantName
from framework.core.state import State
from framework.core.tasks import Request, RequestState

CHANGED = "its template, which was paused, was changed: its item is looked at anew"


def changed(state: State, event: CatalogSet, now: float) -> list[Effect]:
    """Requests keep what they came with, but for those whose template is paused and has another content now: their

    items are to be served by that.
    """
    state.caps.limit(event.limits)
    state.versions = event.versions
    state.dirty = True
    effects: list[Effect] = []
    tenants: set[TenantName] = set()
    for request in [each for each in state.requests.values() if _outdated(state, each)]:
        if not state.paused.allows(request, now):
            effects += cancel(state, request, CHANGED, now)
            tenants.add(request.tenant)
    return [*effects, *(LookAt(tenant) for tenant in sorted(tenants))]


def _outdated(state: State, request: Request) -> bool:
    """Whether it waits for an agent of a template that has another content now; what its label changes goes along."""
    if request.jenkins is None or request.state is not RequestState.WAITING:
        return False
    template = request.template
    return state.versions.get(template.name, template.version) != re.split("[+~]", template.version)[0]
