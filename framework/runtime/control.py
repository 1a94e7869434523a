"""What the HTTP API asks for, answered from the loop's state and the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from agents.shared import folder_of
from agents.spec import BuildSpec
from framework.core import admission, explain, standing
from framework.core.answers import Health, HostUse, Standing, TenantUse, WhyNot
from framework.core.events import CancelAsked, DrainSet, TenantSet
from framework.core.ids import HostId, RequestId, TenantName
from framework.core.origin import Origin
from framework.core.tasks import Request, RequestState, Task, TaskState, Tenant
from framework.core.templates import Template
from framework.errors import Fault, IdempotencyConflictError, InputError, UnavailableError
from framework.jenkins_ports import DemandAnswer, DemandRecord, MasterRecord, Unserved
from framework.mesos_ports import ClusterView
from framework.ports import Chance, Clock, FileChunk, JobQuery, NewRequest, Store, Submission
from framework.runtime.chance import new_request_id
from framework.runtime.jenkins.desk import MastersDesk
from framework.runtime.loop import Loop
from framework.runtime.statuses import Statuses
from framework.tokens import tenant_token, token_sha256

SAVE_TIMEOUT_S = 15.0

T = TypeVar("T")


class RuntimeControl:
    """``framework.ports.Control`` over one loop."""

    def __init__(
        self,
        loop: Loop,
        store: Store,
        cluster: ClusterView,
        tokens: dict[TenantName, str],
        clock: Clock,
        chance: Chance,
        desk: MastersDesk | None = None,
        statuses: Statuses | None = None,
    ) -> None:
        """``tokens`` holds the SHA-256 of each tenant's token."""
        self._loop = loop
        self._store = store
        self._cluster = cluster
        self._tokens = tokens
        self._drawing = asyncio.Lock()
        self._clock = clock
        self._chance = chance
        self._desk = desk
        self._statuses = statuses

    async def submit(self, submission: Submission) -> Request:
        refusal = self._refusal(submission)
        if refusal is not None:
            first = await self._first_of(submission)  # which was taken, as whoever asks again must learn
            if first is None:
                raise refusal
            return first
        request = Request(
            id=new_request_id(self._clock, self._chance),
            tenant=submission.tenant,
            job=submission.job,
            template=submission.template,
            submitted_at=self._clock.now(),
            priority=submission.priority,
            retries=submission.retries,
            jenkins=submission.jenkins,
            origin=submission.origin,
        )
        new = NewRequest(request, submission.spec, submission.idempotency_key, submission.digest)
        request_id = await self._loop.submit(new, SAVE_TIMEOUT_S)
        taken = await self.request(request_id)
        return taken or request

    def _refusal(self, submission: Submission) -> InputError | UnavailableError | None:
        faults = self.refusals(submission.tenant, submission.template)
        if faults:
            return InputError(faults)
        state = self._loop.state
        if state.waiting() >= state.config.max_waiting:
            return UnavailableError(f"{state.waiting()} builds wait already; try again when some have started")
        return None

    async def _first_of(self, submission: Submission) -> Request | None:
        """The request that came with the same idempotency key. Raises IdempotencyConflictError."""
        tenant, key, digest = submission.tenant, submission.idempotency_key, submission.digest
        if key is None:
            return None
        known = await asyncio.to_thread(self._store.repeat_of, tenant, key, digest)
        if isinstance(known, IdempotencyConflictError):
            raise known
        return None if known is None else await self.request(known)

    def refusals(self, tenant: TenantName | None, template: Template) -> list[Fault]:
        return admission.faults(self._loop.state, tenant, template)

    async def cancel(self, request_id: RequestId, reason: str) -> Request | None:
        if request_id in self._loop.state.requests:
            await self._loop.settled(CancelAsked(request_id, reason), SAVE_TIMEOUT_S)
        return await self.request(request_id)

    async def request(self, request_id: RequestId) -> Request | None:
        live = self._loop.state.requests.get(request_id)
        return live or await asyncio.to_thread(self._store.request, request_id)

    async def requests(self, query: JobQuery) -> list[Request]:
        """Live ones as they are now: that one is being prepared is not saved."""
        found = await asyncio.to_thread(self._store.requests, query)
        return [self._loop.state.requests.get(one.id, one) for one in found]

    async def spec(self, request_id: RequestId) -> BuildSpec | None:
        return await asyncio.to_thread(self._store.payload, request_id)

    async def attempts(self, request_id: RequestId) -> list[Task]:
        return await asyncio.to_thread(self._store.tasks_of, request_id)

    async def wait(self, request_id: RequestId, timeout_s: float) -> Request | None:
        await self._loop.ended(request_id, timeout_s)
        return await self.request(request_id)

    def why(self, request_id: RequestId) -> WhyNot | None:
        return explain.why_not(self._loop.state, request_id, self._clock.now())

    def standing(self, request_id: RequestId) -> Standing | None:
        return standing.standing(self._loop.state, request_id, self._clock.now())

    def queue(self, tenant: TenantName, most: int) -> list[tuple[Request, Standing]]:
        return list(standing.queue(self._loop.state, tenant, most, self._clock.now()))

    def of_item(self, tenant: TenantName, number: int) -> Request | None:
        return standing.of_item(self._loop.state, tenant, number)

    def tenants(self) -> list[TenantUse]:
        return explain.tenant_uses(self._loop.state)

    async def set_draining(self, draining: bool) -> None:
        await self._loop.settled(DrainSet(draining), SAVE_TIMEOUT_S)

    async def set_tenant(self, tenant: Tenant, new_token: bool) -> str | None:
        if faults := admission.faults_of_tenant(self._loop.state, tenant):
            raise InputError(faults)
        await self._loop.settled(TenantSet(tenant), SAVE_TIMEOUT_S)
        if not new_token and tenant.name in self._tokens:
            return None
        token = tenant_token(tenant.name, self._chance.token())
        digest = token_sha256(token)
        async with self._drawing:  # so that of two at once the same one stays here and in the store
            await asyncio.to_thread(self._store.set_token, tenant.name, digest)
            self._tokens[tenant.name] = digest
        return token

    def token_sha256(self, tenant: TenantName) -> str | None:
        return self._tokens.get(tenant)

    async def master(self, tenant: TenantName) -> MasterRecord | None:
        return await asyncio.to_thread(self._store.master, tenant)

    async def set_master(self, tenant: TenantName, master: MasterRecord | None) -> None:
        if await self.master(tenant) != master:  # a master that starts tells it again, mostly as before
            if master is None:
                await self._end_agents(tenant)
            await asyncio.to_thread(self._store.set_master, tenant, master)
            if self._desk is not None:
                self._desk.know(tenant, master)

    async def _end_agents(self, tenant: TenantName) -> None:
        """Nobody would ever see them idle, nor what they wait for gone."""
        live = self._loop.state.masters.of(tenant).requests
        asked = [CancelAsked(request_id, "its Jenkins is gone") for request_id in live]
        if asked:
            await self._loop.settled_all(asked, SAVE_TIMEOUT_S)

    async def demand(self, tenant: TenantName, records: Sequence[DemandRecord]) -> DemandAnswer:
        if self._desk is None:
            raise UnavailableError("this scheduler serves no masters")
        return await self._desk.intake.take(tenant, records)

    def unserved(self, tenant: TenantName) -> Sequence[Unserved]:
        return () if self._desk is None else self._desk.intake.unserved(tenant)

    def refused(self, origin: Origin, reason: str) -> None:
        if self._statuses is not None:
            self._statuses.refused(origin, reason)

    def hosts(self) -> list[HostUse]:
        return explain.host_uses(self._loop.state)

    def health(self) -> Health:
        notices = list(self._store.notices)
        if self._desk is not None:
            notices += self._desk.notices()
        if self._loop.saving_fails:
            notices.append(f"the state cannot be saved: {self._loop.saving_fails}")
        notices += self._statuses.notices if self._statuses is not None else ()
        return explain.health(self._loop.state, notices, self._clock.now())

    async def read_file(
        self, request_id: RequestId, path: str, offset: int, length: int, attempt: int | None = None
    ) -> FileChunk:
        async def read(host_url: str, task: Task) -> FileChunk:
            framework_id = self._loop.state.framework_id
            if framework_id is None:
                raise UnavailableError("not subscribed to Mesos yet")
            ended = task.state is TaskState.ENDED
            folder = folder_of(task.id, _mesos_executor_id(task))
            found = await self._cluster.read_file(
                host_url, framework_id, _mesos_executor_id(task), folder + path, offset, length
            )
            return FileChunk(*found, ended=ended)

        return await self._at_sandbox(request_id, attempt, read)

    async def list_artifacts(self, request_id: RequestId) -> list[tuple[str, int]]:
        async def browse(host_url: str, task: Task) -> list[tuple[str, int]]:
            framework_id = self._loop.state.framework_id
            if framework_id is None:
                raise UnavailableError("not subscribed to Mesos yet")
            folder = folder_of(task.id, _mesos_executor_id(task))
            return await self._cluster.list_files(
                host_url, framework_id, _mesos_executor_id(task), f"{folder}artifacts"
            )

        return await self._at_sandbox(request_id, None, browse)

    async def _at_sandbox(
        self, request_id: RequestId, attempt: int | None, use: Callable[[str, Task], Awaitable[T]]
    ) -> T:
        request = await self.request(request_id)
        if request is None:
            raise FileNotFoundError(f"no build {request_id}")
        number = request.attempt if attempt is None else attempt
        if number == 0 and request.state is not RequestState.ENDED:
            raise FileNotFoundError(f"build {request_id} has not started yet")
        task = await self._task(request_id, number)
        if task is None:
            raise FileNotFoundError(f"build {request_id} has no attempt {number}")
        return await use(self._host_url(task.host_id, task.hostname), task)

    async def _task(self, request_id: RequestId, number: int) -> Task | None:
        request = self._loop.state.requests.get(request_id)
        live = None if request is None else self._loop.state.live_task(request)
        if live is not None and live.attempt == number:
            return live
        return next((task for task in await self.attempts(request_id) if task.attempt == number), None)

    def _host_url(self, host_id: HostId, hostname: str) -> str:
        host = self._loop.state.hosts.get(host_id)
        if host is None or not host.url:
            raise UnavailableError(f"host {hostname} is not known to Mesos now")
        return host.url


def _mesos_executor_id(task: Task) -> str:
    return task.mesos_executor_id or task.id  # empty in what was saved before Mesos executors could be shared
