"""What masters tell of their queues becomes requests and the core's events: one request for each item."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from typing import NamedTuple, TypeAlias

import msgspec

from framework.catalog.matching import Catalog, NoTemplate, Templates
from framework.catalog.parts import AgentParts, agent_parts
from framework.core import admission, explain
from framework.core.events import (
    AgentAccepted,
    AgentOffline,
    AgentOnline,
    AgentServed,
    BuildTold,
    Event,
    ItemLeft,
)
from framework.core.ids import RequestId, TaskId, TenantName, task_of_node
from framework.core.jenkins import QueueItem
from framework.core.tasks import Request
from framework.errors import IdempotencyConflictError
from framework.jenkins_ports import DemandAnswer, DemandRecord, FoundItem, Look, RateLimitedError, Sizes, Unserved
from framework.ports import Chance, Clock, NewRequest, Store, jittered
from framework.runtime.chance import new_request_id
from framework.runtime.jenkins.story import Share, Sifted, Story
from framework.runtime.loop import Loop
from framework.telemetry.making import job_of

SAVE_TIMEOUT_S = 10.0
"""Less than a master's init script waits for its answer."""
MAX_ITEMS = 20_000
"""Of one master that are known at once: twice what its init script keeps, and some 10 MiB."""
MAX_AGAIN = 5
"""Requests for one item after the first, where that ended and the item waits on."""
AGAIN_BASE_S = 5.0
AGAIN_CAP_S = 300.0
AGAIN_AT_ONCE = 100
"""Items of one look whose ended requests are looked up; the next look has the others."""
LEFT_KEPT_S = 120.0
"""How long an item that left is remembered, for looks that were asked before."""
LABELS_PER_S = 10.0
"""Labels of one master that are judged, ten seconds' worth at once: one that nothing serves takes up to 6 ms, with some

hundred templates, in which nobody else is served.
"""
MAX_LABELS = 500
"""Of one master whose templates are known; there are far fewer of them in use than jobs."""
MAX_TOLD = 500
"""Unserved items in one answer."""
TELL_ALL_S = 20.0
"""Of what keeps items waiting, to a master that is never silent; its queue shows it for 60 s."""
MAX_TEXT = 300
MAX_LABEL = 2000

Told = Callable[[TenantName], None]


class _Bound(msgspec.Struct):
    """An item and the request that stands for it."""

    request: RequestId
    number: int  # of the requests for this item, from 0
    at: float
    not_before: float = 0.0  # of another request for it


class _Wanted(NamedTuple):
    item: QueueItem
    task: str
    task_url: str
    label: str | None  # None: nobody tells
    buildable_at: float
    number: int = 0
    fits: bool = False  # an agent that is for its job alone serves no other


_Refusal: TypeAlias = str
_Choice: TypeAlias = AgentParts | _Refusal


class _Master:
    """What is known of one tenant's master."""

    def __init__(self, share: Share, judging: Share) -> None:
        self.share = share
        self.judging = judging
        self.judged: dict[str, AgentParts | NoTemplate] = {}  # by label
        self.judged_by: Catalog | None = None
        self.story = Story()
        self.lock = asyncio.Lock()
        self.items: dict[QueueItem, _Bound] = {}
        self.unserved: dict[QueueItem, Unserved] = {}
        self.left: dict[QueueItem, float] = {}  # when, the oldest first
        self.told_all_at = 0.0

    def leave(self, item: QueueItem, now: float) -> None:
        self.items.pop(item, None)
        self.unserved.pop(item, None)
        self.left.pop(item, None)
        self.left[item] = now
        while self.left:
            oldest = next(iter(self.left))
            if len(self.left) <= MAX_ITEMS and self.left[oldest] > now - LEFT_KEPT_S:
                break
            del self.left[oldest]


class DemandIntake:
    """``framework.jenkins_ports.Intake``. ``heard`` is told of masters that tell something, ``look_soon`` of those

    whose story has a gap.
    """

    def __init__(
        self,
        loop: Loop,
        store: Store,
        templates: Templates,
        heard: Told,
        look_soon: Told,
        events_per_s: float,
        clock: Clock,
        chance: Chance,
        sizes: Sizes | None = None,
    ) -> None:
        self._loop = loop
        self._store = store
        self._templates = templates
        self._heard = heard
        self._look_soon = look_soon
        self._events_per_s = events_per_s
        self._clock = clock
        self._chance = chance
        self._sizes = sizes
        self._masters: dict[TenantName, _Master] = {}
        for request in loop.state.requests.values():
            if request.jenkins is not None and request.jenkins.item is not None:
                items = self._master(request.tenant).items
                items[request.jenkins.item] = _Bound(request.id, 0, clock.now())

    def busy(self) -> AbstractSet[TenantName]:
        """Whose masters have items that a request is for, or that nobody serves."""
        return {tenant for tenant, master in self._masters.items() if master.items or master.unserved}

    def unserved(self, tenant: TenantName) -> Sequence[Unserved]:
        master = self._masters.get(tenant)
        return () if master is None else tuple(master.unserved.values())

    async def take(self, tenant: TenantName, records: Sequence[DemandRecord]) -> DemandAnswer:
        master, now = self._master(tenant), self._clock.now()
        master.share.take(len(records), now)
        self._heard(tenant)
        async with master.lock:
            return await self._take(tenant, master, records, now)

    async def found(self, tenant: TenantName, look: Look) -> None:
        master = self._master(tenant)
        async with master.lock:
            master.story.seen(look.session, look.observed.asked_at)
            self._forget_gone(master, look)
            wanted = await self._missing(tenant, master, look)
            for begin in range(0, len(wanted), MAX_TOLD):
                await self._submit(tenant, master, wanted[begin : begin + MAX_TOLD])
                await asyncio.sleep(0)  # where all are refused nobody else would be served

    def forget(self, tenant: TenantName) -> None:
        """Its master is gone."""
        self._masters.pop(tenant, None)

    def _master(self, tenant: TenantName) -> _Master:
        master = self._masters.get(tenant)
        if master is None:
            now = self._clock.now()
            master = self._masters[tenant] = _Master(Share(self._events_per_s, now), Share(LABELS_PER_S, now))
        return master

    # What is told

    async def _take(
        self, tenant: TenantName, master: _Master, records: Sequence[DemandRecord], now: float
    ) -> DemandAnswer:
        sifted = master.story.sift(records)
        if sifted.session == master.story.session:
            master.story.arrived(sifted.records, now)
        wanted: dict[QueueItem, _Wanted] = {}
        left: list[QueueItem] = []
        events: list[Event] = []
        for record in sifted.records:
            item = None if record.item is None else QueueItem(record.item, record.in_queue_since_ms)
            if record.event == "buildable":
                if item is not None and item not in master.items:
                    at = master.story.happened_at(record.sent_ms, now)
                    name, url = _line(record.task), record.task_url[:MAX_TEXT]
                    fits = record.fits and name == record.task
                    wanted[item] = _Wanted(item, name, url, record.label or "", at, fits=fits)
            elif record.event == "left":
                if item is not None:
                    wanted.pop(item, None)
                    left.append(item)
                    if item in master.items:
                        events.append(ItemLeft(tenant, item, record.cancelled))
            elif (task := self._task(tenant, record.node)) is not None:
                event = _of_agent(record, task, item)
                if event is not None:
                    events.append(event)
        await self._submit(tenant, master, list(wanted.values()), events)
        for item in left:
            master.leave(item, now)
        self._went_on(tenant, master, sifted, now)
        return DemandAnswer(len(sifted.records), self._to_tell(tenant, master, sifted, now))

    def _went_on(self, tenant: TenantName, master: _Master, sifted: Sifted, now: float) -> None:
        begun = sifted.session != master.story.session
        master.story.went_on(sifted, now)
        if begun:
            master.story.arrived(sifted.records, now)
        if sifted.missed:
            self._look_soon(tenant)

    def _task(self, tenant: TenantName, node: str | None) -> TaskId | None:
        """The node's task, if that is live and the tenant's own."""
        task_id = None if node is None else task_of_node(node)
        if task_id is None:
            return None
        state = self._loop.state
        task = state.tasks.get(task_id)
        if task is not None:
            return task_id if task.tenant == tenant else None
        request = state.requests.get(RequestId(task_id.partition(".")[0]))
        return task_id if request is not None and request.tenant == tenant else None

    def _to_tell(self, tenant: TenantName, master: _Master, sifted: Sifted, now: float) -> tuple[Unserved, ...]:
        """Of the items that were told of; now and then of all, as others may have been found, or held back, since."""
        items: Iterable[QueueItem]
        silent = any(record.event in ("alive", "ready") for record in sifted.records)
        if silent or not 0 <= now - master.told_all_at < TELL_ALL_S:
            master.told_all_at = now
            items = itertools.chain(master.unserved, master.items)
        else:
            items = dict.fromkeys(
                QueueItem(record.item, record.in_queue_since_ms)
                for record in sifted.records
                if record.event == "buildable" and record.item is not None
            )
        told = (master.unserved.get(item) or self._held_back(tenant, item, now) for item in items)
        return tuple(itertools.islice((one for one in told if one is not None), MAX_TOLD))

    def _held_back(self, tenant: TenantName, item: QueueItem, now: float) -> Unserved | None:
        """An item whose request waits for what failed before it."""
        state = self._loop.state
        request = state.masters.of(tenant).of_item(item)
        reason = None if request is None else explain.held_back(state, request, now)
        if request is None or request.jenkins is None or reason is None:
            return None
        return Unserved(item, request.jenkins.task, request.jenkins.label, reason)

    # What is found

    @staticmethod
    def _forget_gone(master: _Master, look: Look) -> None:
        asked_at, there = look.observed.asked_at, look.observed.items
        for item in [one for one, bound in master.items.items() if bound.at < asked_at and one not in there]:
            del master.items[item]
        for item in [one for one in master.unserved if one not in there]:
            del master.unserved[item]

    async def _missing(self, tenant: TenantName, master: _Master, look: Look) -> list[_Wanted]:
        """Items that wait and that no live request is for."""
        now, asked_at = self._clock.now(), look.observed.asked_at
        core = self._loop.state.masters.of(tenant)
        wanted: list[_Wanted] = []
        again: list[tuple[FoundItem, _Bound]] = []
        for one in look.items:
            bound = master.items.get(one.item)
            if master.left.get(one.item, 0.0) >= asked_at or (bound is not None and bound.at >= asked_at):
                continue
            request = core.of_item(one.item)
            if bound is None:
                wanted.append(_found(one, now))
            elif request is not None:
                bound.request = request.id  # it may have another's item now
            elif bound.not_before <= now:
                again.append((one, bound))
        for one, bound in again[:AGAIN_AT_ONCE]:
            number = await self._next_number(tenant, master, one, bound, asked_at)
            if number is not None:
                wanted.append(_found(one, now, number))
        return wanted

    async def _next_number(
        self, tenant: TenantName, master: _Master, one: FoundItem, bound: _Bound, asked_at: float
    ) -> int | None:
        """Of the next request for an item whose request ended or serves another; None where none is to be made now."""
        ended = None
        if bound.request not in self._loop.state.requests:
            ended = await asyncio.to_thread(self._store.request, bound.request)
            if ended is not None and (ended.ended_at or 0.0) >= asked_at:
                return None  # the item may have gone with it
        if bound.number < MAX_AGAIN or (ended is not None and self._changed(tenant, master, one, ended)):
            return bound.number + 1
        reason = f"{MAX_AGAIN + 1} requests for an agent ended before it was served; no more are made"
        if ended is not None and ended.outcome is not None and ended.outcome.message:
            reason += f". The last: {ended.outcome.message[:MAX_TEXT]}"
        master.unserved[one.item] = Unserved(one.item, _line(one.task), one.label or "", reason)
        return None

    def _changed(self, tenant: TenantName, master: _Master, one: FoundItem, ended: Request) -> bool:
        """Whether another template, or another content of it, would serve the item now, which may mend it."""
        if one.label is None or len(one.label) > MAX_LABEL:
            return False
        try:
            parts = self._judged(tenant, master, one.label)
        except RateLimitedError:
            return False  # the next look has its turn
        return isinstance(parts, AgentParts) and ended.template.kind != parts.template.kind

    # What is requested

    async def _submit(
        self, tenant: TenantName, master: _Master, wanted: Sequence[_Wanted], events: Sequence[Event] = ()
    ) -> None:
        """Requests agents for the items, or says why none will come; takes the events in. Raises UnavailableError."""
        now = self._clock.now()
        choices: dict[str | None, _Choice] = {}
        news: list[NewRequest] = []
        requested: list[_Wanted] = []
        refused: list[Unserved] = []
        state = self._loop.state
        room = state.config.max_waiting - state.waiting()
        for one in wanted:
            choice = choices.get(one.label)
            if choice is None:
                choice = choices[one.label] = self._choice(tenant, master, one)
            if not isinstance(choice, _Refusal):
                if len(master.items) + len(news) >= MAX_ITEMS:
                    choice = f"{MAX_ITEMS} items of this master wait for agents already"
                elif len(news) >= room:
                    choice = f"{state.waiting()} builds wait for agents already; it is asked for when some have started"
            if isinstance(choice, _Refusal):
                refused.append(Unserved(one.item, one.task, (one.label or "")[:MAX_LABEL], choice))
            else:
                news.append(self._new_request(tenant, one, self._sized(tenant, one, choice), now))
                requested.append(one)
        if news or events:
            taken = await self._loop.take_all(news, events, SAVE_TIMEOUT_S)
            for one, request_id in zip(requested, taken, strict=True):
                if isinstance(request_id, IdempotencyConflictError):  # a job of the API came with this key
                    refused.append(Unserved(one.item, one.task, one.label or "", str(request_id)))
                    continue
                pause_s = jittered(self._chance, one.number - 1, AGAIN_BASE_S, AGAIN_CAP_S) if one.number else 0.0
                master.items[one.item] = _Bound(request_id, one.number, now, now + pause_s)
                master.unserved.pop(one.item, None)
        for each in refused[: MAX_ITEMS - len(master.unserved)]:
            master.unserved[each.item] = each

    def _choice(self, tenant: TenantName, master: _Master, one: _Wanted) -> _Choice:
        """What a request for the item is made of, and so for all of its label."""
        if one.label is None:
            return "its Jenkins does not tell which label it wants: it has no init script of Butlery's"
        if len(one.label) > MAX_LABEL:
            return f"its label is longer than {MAX_LABEL} characters"
        try:
            parts = self._judged(tenant, master, one.label)
        except RateLimitedError:
            return "its Jenkins tells of so many labels at once that this one has to wait for its turn"
        if isinstance(parts, NoTemplate):
            return parts.reason
        faults = admission.faults(self._loop.state, tenant, parts.template)
        if faults:
            return f"template {parts.template.name}: {'; '.join(fault.message for fault in faults)}"
        return parts

    def _judged(self, tenant: TenantName, master: _Master, label: str) -> AgentParts | NoTemplate:
        """Raises RateLimitedError."""
        catalog = self._templates.catalog
        if master.judged_by is not catalog or len(master.judged) >= MAX_LABELS:
            master.judged, master.judged_by = {}, catalog
        found = master.judged.get(label)
        if found is None:
            master.judging.take(1, self._clock.now())
            chosen = catalog.match(label, tenant)
            found = chosen if isinstance(chosen, NoTemplate) else agent_parts(chosen, tenant, label)
            master.judged[label] = found
        return found

    def _sized(self, tenant: TenantName, one: _Wanted, parts: AgentParts) -> AgentParts:
        """Of the size that its job's history says, where no other job's build can come to such an agent."""
        if self._sizes is None or not one.fits or not parts.sizable:
            return parts
        found = self._sizes.size(tenant, job_of(one.task), parts)
        if found.template.resources.fits_in(parts.template.resources):
            return found
        return parts if admission.faults(self._loop.state, tenant, found.template) else found

    def _new_request(self, tenant: TenantName, one: _Wanted, parts: AgentParts, now: float) -> NewRequest:
        request = Request(
            id=new_request_id(self._clock, self._chance),
            tenant=tenant,
            job=one.task,
            template=parts.template,
            submitted_at=now,
            retries=parts.retries,
            jenkins=msgspec.structs.replace(
                parts.jenkins, item=one.item, task=one.task, task_url=one.task_url, buildable_at=one.buildable_at
            ),
        )
        spec = copy(parts.spec)
        spec.job = one.task
        return NewRequest(request, spec, f"queue:{one.item.key}#{one.number}", "")


def _of_agent(record: DemandRecord, task: TaskId, item: QueueItem | None) -> Event | None:
    """What a record about a node of ours means; None where it means nothing to the core."""
    match record.event:
        case "accepted":
            return AgentAccepted(task, item, _line(record.task), record.task_url[:MAX_TEXT])
        case "served":
            return AgentServed(task, None if record.problem is None else _line(record.problem))
        case "started":
            return BuildTold(task, record.url[:MAX_TEXT], None)
        case "finished":
            return BuildTold(task, record.url[:MAX_TEXT], (record.result or "")[:MAX_TEXT])
        case "online":
            return AgentOnline(task)
        case "offline":
            return AgentOffline(task, _line(record.cause))
    return None


def _found(one: FoundItem, now: float, number: int = 0) -> _Wanted:
    return _Wanted(one.item, _line(one.task), one.task_url[:MAX_TEXT], one.label, now, number)


def _line(text: str) -> str:
    """Text of a master on one line, fit for a terminal."""
    text = text[:MAX_TEXT]
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
