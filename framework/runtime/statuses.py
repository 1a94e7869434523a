"""Commits' statuses at their forges, as their builds go: in order, tried again, and told once a restart is over too.

What is to be told is derived from saved requests, so nothing of it is lost: one whose end the forge was not told of is
found again by the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import TypeVar

import msgspec

from framework.core.effects import SaveRequest
from framework.core.ids import RequestId, TenantName
from framework.core.origin import Origin
from framework.core.tasks import FailureClass, Request, RequestState
from framework.errors import StoreError
from framework.forge_ports import CommitState, CommitStatus, Forge, ForgeError
from framework.log import get_logger
from framework.ports import Chance, Clock, JobQuery, Store, jittered
from framework.runtime.waiting import until_set

log = get_logger(__name__)

AT_ONCE = 4
"""Calls to one forge; forges ask for few at a time."""
MAX_DUE = 10_000
"""Commits of one webhook that wait to be told of. Of more the oldest are left for the next start to find."""
RETRY_BASE_S = 1.0
RETRY_CAP_S = 300.0
GIVE_UP_S = 6 * 3600.0
"""From the first failure in a row to tell of a commit; a forge's bad day is over by then."""
LOOK_BACK_S = 24 * 3600.0
"""How old requests may be whose end is told after a restart."""
_PAGE = 500

_OWN_DOING = frozenset(
    (
        FailureClass.FAILED,
        FailureClass.OOM,
        FailureClass.TIMEOUT,
        FailureClass.PIDS,
        FailureClass.LOG_LIMIT,
        FailureClass.DISK,
    )
)


class _Due(msgspec.Struct):
    """What a commit's status shall be."""

    origin: Origin
    status: CommitStatus
    request_id: RequestId | None  # None: of a commit that is not built
    ended: bool
    attempt: int = 0
    not_before: float = 0.0
    failing_since: float | None = None


Commit = tuple[str, str]
"""Repository and hash."""


class Statuses:
    """For the event loop's own thread. ``run`` once."""

    def __init__(
        self,
        forges: Mapping[str, Forge],
        tenants: Collection[TenantName],
        store: Store,
        url: str,
        clock: Clock,
        chance: Chance,
    ) -> None:
        """``forges`` by webhook, those alone that take statuses; ``tenants`` are all webhooks'; ``url`` of our API."""
        self._tenants = tenants
        self._store = store
        self._url = url
        self._clock = clock
        self._outboxes = {name: _Outbox(name, forge, clock, chance, self._told) for name, forge in forges.items()}

    @property
    def notices(self) -> list[str]:
        return [outbox.notice for outbox in self._outboxes.values() if outbox.notice]

    def changed(self, request: Request) -> None:
        """A request of a webhook, as it is saved."""
        origin = request.origin
        outbox = self._outboxes.get(origin.hook) if origin is not None else None
        if origin is None or outbox is None or origin.told:
            return
        state, reason = _standing(request)
        status = CommitStatus(state, reason, f"{self._url}/v1/jobs/{request.id}", context_of(origin.hook))
        outbox.put(_Due(origin, status, request.id, request.state is RequestState.ENDED))

    def refused(self, origin: Origin, reason: str) -> None:
        """A commit that is not built."""
        outbox = self._outboxes.get(origin.hook)
        if outbox is not None:
            status = CommitStatus(CommitState.ERROR, reason, f"{self._url}/docs", context_of(origin.hook))
            outbox.put(_Due(origin, status, None, True))

    async def run(self) -> None:
        """For ever; to be told of the requests that have not ended before."""
        if not self._outboxes:
            return
        for request in await self._untold():
            self.changed(request)
        async with asyncio.TaskGroup() as group:
            for outbox in self._outboxes.values():
                for _ in range(AT_ONCE):
                    group.create_task(outbox.run())

    async def _untold(self) -> list[Request]:
        """Ended requests whose forge may not know it, the oldest first."""
        try:
            found = await asyncio.to_thread(lambda: list(self._ended_since(self._clock.now() - LOOK_BACK_S)))
        except StoreError as error:
            log.warning("builds that ended before cannot be told of", reason=str(error))
            return []
        return sorted(found, key=lambda request: request.id)

    def _ended_since(self, begin: float) -> Iterator[Request]:
        """Of each commit's builds the newest, where that has not been told of."""
        seen: set[tuple[str, str, str]] = set()
        for tenant in sorted(set(self._tenants)):
            before: RequestId | None = None
            while True:
                query = JobQuery(tenant, (RequestState.ENDED.value,), before=before, limit=_PAGE)
                page = [request for request in self._store.requests(query) if request.submitted_at >= begin]
                for request in page:
                    origin = request.origin
                    if origin is not None and (commit := (origin.hook, origin.repository, origin.commit)) not in seen:
                        seen.add(commit)
                        if not origin.told:
                            yield request
                if len(page) < _PAGE:
                    break
                before = page[-1].id

    async def _told(self, request_id: RequestId) -> None:
        """Notes down that there is nothing more to tell; where it cannot be, the next start tells it again."""
        try:
            await asyncio.to_thread(self._note, request_id)
        except StoreError as error:
            log.warning("it cannot be noted that a forge knows a build's end", request=request_id, reason=str(error))

    def _note(self, request_id: RequestId) -> None:
        request = self._store.request(request_id)
        if request is not None and request.origin is not None:
            origin = msgspec.structs.replace(request.origin, told=True)
            self._store.commit([SaveRequest(msgspec.structs.replace(request, origin=origin))])


class _Outbox:
    """What one webhook's forge is to be told: of each commit the newest only, and that after what was told before."""

    def __init__(
        self, hook: str, forge: Forge, clock: Clock, chance: Chance, told: Callable[[RequestId], Awaitable[None]]
    ) -> None:
        self.notice = ""
        self._hook = hook
        self._forge = forge
        self._clock = clock
        self._chance = chance
        self._told = told
        self._due: dict[Commit, _Due] = {}
        self._busy: set[Commit] = set()
        self._newest: dict[Commit, RequestId] = {}
        self._last: dict[Commit, CommitStatus] = {}
        self._wake = asyncio.Event()

    def put(self, due: _Due) -> None:
        """Takes the place of what the commit was to be told; a build of it that began later goes before."""
        commit = (due.origin.repository, due.origin.commit)
        if due.request_id is not None:
            if due.request_id < self._newest.get(commit, ""):
                return
            _remember(self._newest, commit, due.request_id)
        before = self._due.pop(commit, None)
        if before is not None:
            due.attempt, due.not_before, due.failing_since = before.attempt, before.not_before, before.failing_since
        self._due[commit] = due
        if len(self._due) > MAX_DUE:
            del self._due[next(iter(self._due))]
            self._tell(f"has more than {MAX_DUE} commits to be told of; the oldest are told after the next start")
        self._wake.set()

    async def run(self) -> None:
        """One of several workers, for ever."""
        while True:
            commit = self._next()
            if commit is None:
                self._wake.clear()
                await until_set(self._wake, self._clock, self._pause_s())
                continue
            self._busy.add(commit)
            try:
                await self._post(commit, self._due[commit])
            finally:
                self._busy.discard(commit)
                self._wake.set()

    def _next(self) -> Commit | None:
        now = self._clock.now()
        ready = (commit for commit, due in self._due.items() if commit not in self._busy and due.not_before <= now)
        return next(ready, None)

    def _pause_s(self) -> float:
        times = [due.not_before for commit, due in self._due.items() if commit not in self._busy]
        return min(RETRY_CAP_S, max(0.01, min(times, default=self._clock.now() + RETRY_CAP_S) - self._clock.now()))

    async def _post(self, commit: Commit, due: _Due) -> None:
        try:
            if self._last.get(commit) != due.status:
                await self._forge.tell(due.origin, due.status)
        except ForgeError as error:
            self._failed(commit, due, error)
            return
        _remember(self._last, commit, due.status)
        self.notice = ""
        if self._due.get(commit) is due:
            del self._due[commit]
        elif (after := self._due.get(commit)) is not None:
            after.attempt, after.not_before, after.failing_since = 0, 0.0, None
        if due.ended and due.request_id is not None:
            await self._told(due.request_id)

    def _failed(self, commit: Commit, due: _Due, error: ForgeError) -> None:
        now = self._clock.now()
        newest = self._due.get(commit, due)
        newest.failing_since = newest.failing_since or now
        newest.attempt += 1
        self._tell(f"the status of {due.origin.commit[:12]} of {due.origin.repository} cannot be set: {error}")
        if not error.retryable or now - newest.failing_since > GIVE_UP_S:
            if self._due.get(commit) is due:
                del self._due[commit]
            return
        pause_s = jittered(self._chance, newest.attempt - 1, RETRY_BASE_S, RETRY_CAP_S)
        newest.not_before = now + max(pause_s, min(error.retry_after_s or 0.0, RETRY_CAP_S))

    def _tell(self, text: str) -> None:
        if not self.notice:
            log.warning(text, webhook=self._hook)
        self.notice = f"webhook {self._hook}: {text}"


Value = TypeVar("Value")


def _remember(memory: dict[Commit, Value], commit: Commit, value: Value) -> None:
    """Of the last ``MAX_DUE`` commits."""
    memory.pop(commit, None)
    memory[commit] = value
    if len(memory) > MAX_DUE:
        del memory[next(iter(memory))]


def context_of(hook: str) -> str:
    """What a webhook's statuses are known by at its forge."""
    return f"butlery/{hook}"


def _standing(request: Request) -> tuple[CommitState, str]:
    """How a request stands, and in words."""
    outcome = request.outcome
    if request.state is RequestState.ENDED and outcome is not None:
        ended = outcome.result_class
        if ended is FailureClass.PASSED:
            return CommitState.PASSED, "passed" + (f" in {outcome.wall_s:.0f} s" if outcome.wall_s is not None else "")
        reason = f"{ended.value}: {outcome.message}" if outcome.message else ended.value
        if ended is FailureClass.CANCELLED:
            return CommitState.CANCELLED, reason
        return (CommitState.FAILED if ended in _OWN_DOING else CommitState.ERROR), reason
    if request.state in (RequestState.RUNNING, RequestState.ENDING):
        return CommitState.RUNNING, "runs"
    return CommitState.QUEUED, "waits for its turn"
