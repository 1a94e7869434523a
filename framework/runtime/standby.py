"""What a scheduler that does not lead answers: reads from its copy of the state, nothing that only a leader knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn

from agents.spec import BuildSpec
from framework.core import explain
from framework.core.answers import Health, HostUse, TenantUse, WhyNot
from framework.core.ids import RequestId, TenantName
from framework.core.origin import Origin
from framework.core.state import Config, State
from framework.core.tasks import Request, RequestState, Task, Tenant
from framework.core.templates import Template
from framework.errors import Fault, StoreFullError, UnavailableError
from framework.jenkins_ports import DemandRecord, MasterRecord
from framework.ports import Clock, FileChunk, JobQuery, Store, Submission
from framework.runtime.saved import restored, tokens_of

FOLLOW_EVERY_S = 0.2
"""Between looks whether the copy has changed as a whole, for tokens and counts; a request is read when asked for."""
FOLLOW_SHARE = 0.1
"""Of one CPU's time at most; so with much that is live it is looked at less often."""
FOLLOW_AT_LEAST_EVERY_S = 30.0
"""However long a look seems to have taken: the wall clock may be set, or the machine sleep, meanwhile."""
WAIT_EVERY_S = 0.5
"""Between looks at a request that somebody waits for."""

Revision = Callable[[], int]
"""As ``framework.ports.SharedStore.revision``; what never changes for a store that nobody else writes to."""


class StandbyControl:
    """``framework.ports.Control`` of a standby. ``follow`` keeps it up to date."""

    def __init__(self, store: Store, revision: Revision, config: Config, clock: Clock) -> None:
        self._store = store
        self._revision = revision
        self._config = config
        self._clock = clock
        self._state = State(config)
        self._tokens: dict[TenantName, str] = {}
        self._unread = "the state has not been read yet"

    async def follow(self) -> None:
        """For ever. Raises StoreError where the state cannot be read, now or later."""
        seen: int | None = None
        while True:
            revision, begun_at = self._revision(), self._clock.now()
            if revision != seen:
                try:
                    self._state, self._tokens = await asyncio.to_thread(self._read)
                except StoreFullError as error:
                    self._unread = str(error)
                else:
                    seen, self._unread = revision, ""
            took_s = self._clock.now() - begun_at
            await self._clock.sleep(min(FOLLOW_AT_LEAST_EVERY_S, max(FOLLOW_EVERY_S, took_s / FOLLOW_SHARE)))

    def _read(self) -> tuple[State, dict[TenantName, str]]:
        found = self._store.load()
        return restored(self._config, found, self._clock.now()), tokens_of(found)

    async def submit(self, submission: Submission) -> NoReturn:  # noqa: ARG002 the port's signature
        raise _not_leading()

    def refusals(self, tenant: TenantName | None, template: Template) -> list[Fault]:  # noqa: ARG002
        raise _not_leading()

    async def cancel(self, request_id: RequestId, reason: str) -> NoReturn:  # noqa: ARG002
        raise _not_leading()

    async def request(self, request_id: RequestId) -> Request | None:
        return await asyncio.to_thread(self._store.request, request_id)

    async def requests(self, query: JobQuery) -> list[Request]:
        return await asyncio.to_thread(self._store.requests, query)

    async def spec(self, request_id: RequestId) -> BuildSpec | None:
        return await asyncio.to_thread(self._store.payload, request_id)

    async def attempts(self, request_id: RequestId) -> list[Task]:
        return await asyncio.to_thread(self._store.tasks_of, request_id)

    async def wait(self, request_id: RequestId, timeout_s: float) -> Request | None:
        until = self._clock.now() + timeout_s
        while True:
            found = await self.request(request_id)
            left_s = until - self._clock.now()
            if found is None or found.state is RequestState.ENDED or left_s <= 0:
                return found
            await self._clock.sleep(min(WAIT_EVERY_S, left_s))

    def why(self, request_id: RequestId) -> WhyNot | None:  # noqa: ARG002
        raise _not_leading()

    def standing(self, request_id: RequestId) -> NoReturn:  # noqa: ARG002
        raise _not_leading()

    def queue(self, tenant: TenantName, most: int) -> NoReturn:  # noqa: ARG002
        raise _not_leading()

    def of_item(self, tenant: TenantName, number: int) -> NoReturn:  # noqa: ARG002
        raise _not_leading()

    def tenants(self) -> list[TenantUse]:
        return explain.tenant_uses(self._state)

    async def set_draining(self, draining: bool) -> NoReturn:  # noqa: ARG002
        raise _not_leading()

    async def set_tenant(self, tenant: Tenant, new_token: bool) -> NoReturn:  # noqa: ARG002
        raise _not_leading()

    def token_sha256(self, tenant: TenantName) -> str | None:
        return self._tokens.get(tenant)

    async def master(self, tenant: TenantName) -> MasterRecord | None:
        return await asyncio.to_thread(self._store.master, tenant)

    async def set_master(self, tenant: TenantName, master: MasterRecord | None) -> NoReturn:  # noqa: ARG002
        raise _not_leading()

    async def demand(self, tenant: TenantName, records: Sequence[DemandRecord]) -> NoReturn:  # noqa: ARG002
        raise _not_leading()

    def unserved(self, tenant: TenantName) -> NoReturn:  # noqa: ARG002
        raise _not_leading()

    def refused(self, origin: Origin, reason: str) -> NoReturn:  # noqa: ARG002
        raise _not_leading()

    def hosts(self) -> list[HostUse]:
        raise _not_leading()

    def health(self) -> Health:
        notices = [*self._store.notices, *([self._unread] if self._unread else [])]
        return explain.health(self._state, notices, self._clock.now())

    async def read_file(
        self,
        request_id: RequestId,  # noqa: ARG002
        path: str,  # noqa: ARG002
        offset: int,  # noqa: ARG002
        length: int,  # noqa: ARG002
        attempt: int | None = None,  # noqa: ARG002
    ) -> FileChunk:
        raise _not_leading()

    async def list_artifacts(self, request_id: RequestId) -> list[tuple[str, int]]:  # noqa: ARG002
        raise _not_leading()


def _not_leading() -> UnavailableError:
    return UnavailableError("this scheduler does not lead; the one that does is about to be known")
