"""Keeps so many agents ready as the templates say: makes what is missing, ends what nobody would be given any more."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from msgspec import structs

from framework.catalog.matching import CatalogTemplate, Chosen, Templates
from framework.catalog.parts import agent_spec, agent_template
from framework.core import admission
from framework.core.events import CancelAsked
from framework.core.tasks import SPARES, Request
from framework.errors import UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, NewRequest
from framework.runtime.chance import new_request_id
from framework.runtime.loop import Loop

log = get_logger(__name__)

LOOK_EVERY_S = 0.5
"""A spare that is given away is missed for so long at most."""
REPLACE_AFTER_S = 2.0
"""A spare's start takes CPU for which the agent that the one before it has just become has better use."""
AT_ONCE = 50
"""Asked for in one look, so that a template with thousands does not hold up what tenants ask for."""
SAVE_TIMEOUT_S = 15.0
LASTS_S = 1e9
"""A spare waits for as long as it takes."""


class SparesKeeper:
    """``run`` it beside the loop."""

    def __init__(self, loop: Loop, templates: Templates, clock: Clock, chance: Chance) -> None:
        self._loop = loop
        self._templates = templates
        self._clock = clock
        self._chance = chance
        self._refused: dict[str, str] = {}  # by template: why no spare of it can be had
        self._whole_at: dict[str, float] = {}  # by template: when none was missing, the last time

    def notices(self) -> list[str]:
        """For the operator."""
        return [f"spares of template {name} cannot be had: {why}" for name, why in sorted(self._refused.items())]

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Once. What is saved already counts, so that nothing is made twice."""
        wanted = {one.name: one for one in self._templates.catalog.templates.values() if one.settings.spares}
        live: dict[str, int] = {}
        for request in self._loop.state.spares.requests.values():
            name = request.template.name
            why = self._needless(request, wanted.get(name), live.get(name, 0))
            if why is None:
                live[name] = live.get(name, 0) + 1
            elif request.cancel_reason is None:
                self._loop.emit(CancelAsked(request.id, why))
        self._refused = {name: why for name, why in self._refused.items() if name in wanted}
        self._whole_at = {name: at for name, at in self._whole_at.items() if name in wanted}
        now = self._clock.now()
        for name, template in wanted.items():
            missing = min(template.settings.spares - live.get(name, 0), AT_ONCE)
            if missing <= 0:
                self._whole_at[name] = now
            elif now - self._whole_at.get(name, 0.0) >= REPLACE_AFTER_S:
                await self._make(template, missing)

    def _needless(self, request: Request, template: CatalogTemplate | None, live: int) -> str | None:
        """Why nobody would be given the spare; those that are promised to somebody go with whoever gets them."""
        state = self._loop.state
        task = state.live_task(request)
        if request.cancel_reason is not None:
            return request.cancel_reason
        if task is not None and task.id in state.spares.promised:
            return None
        if template is None or request.template.version != template.version:
            return "its template was changed"
        if task is not None and state.window_of(task.host_id, self._clock.now()) is not None:
            return "its host is to go into maintenance"
        return None if live < template.settings.spares else "there are enough"

    async def _make(self, template: CatalogTemplate, count: int) -> None:
        chosen = Chosen(template, template.settings, ())
        made = structs.replace(
            agent_template(chosen), connect_timeout_s=None, timeout_s=LASTS_S, preemptible=True, idle_s=0.0
        )
        faults = admission.faults(self._loop.state, SPARES, made)
        if faults:
            why = "; ".join(fault.message for fault in faults)
            if self._refused.get(template.name) != why:
                log.warning("spares cannot be had", template=template.name, reason=why)
            self._refused[template.name] = why
            return
        self._refused.pop(template.name, None)
        job = f"spare of {template.name}"
        spec = replace(agent_spec(chosen, SPARES, job), standby=True, timeout_s=LASTS_S)
        now, retries = self._clock.now(), template.settings.retries
        requests = [
            Request(new_request_id(self._clock, self._chance), SPARES, job, made, now, retries=retries)
            for _ in range(count)
        ]
        with suppress(UnavailableError):  # of which the loop has told; the next look finds them missing
            await self._loop.submit_all([NewRequest(request, spec, None, "") for request in requests], SAVE_TIMEOUT_S)
