"""An in-memory runtime behind the API's port: takes jobs, holds them where a test puts them, and starts nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from agents.spec import BuildSpec
from framework.core.answers import Health, HostUse, Refusal, Standing, TenantUse, WhyNot
from framework.core.ids import HostId, RequestId, TenantName, task_id
from framework.core.offers import Host
from framework.core.origin import Origin
from framework.core.resources import ZERO, Resources
from framework.core.stories import stage
from framework.core.tasks import FailureClass, Outcome, Request, RequestState, Task, TaskState, Tenant
from framework.core.templates import Template
from framework.errors import Fault, IdempotencyConflictError, InputError
from framework.jenkins_ports import DemandAnswer, DemandRecord, MasterRecord, Unserved
from framework.ports import FileChunk, JobQuery, Submission
from framework.tokens import tenant_token, token_sha256

LARGEST = Host(
    HostId("h1"), "host-1", Resources(16000, 61440, 500000, 8, 1000), {"os": "linux"}, "http://127.0.0.1:5051/slave(1)"
)


class FakeControl:
    """Implements ``framework.ports.Control``. ``failing`` is raised by every call that may raise it."""

    def __init__(self, *tenants: str) -> None:
        self.reset(*tenants)

    def reset(self, *tenants: str) -> None:
        """Forgets everything but these tenants."""
        self.jobs: dict[RequestId, Request] = {}
        self.specs: dict[RequestId, BuildSpec] = {}
        self.tasks: dict[RequestId, list[Task]] = {}
        self.files: dict[tuple[RequestId, int, str], bytes] = {}
        self.keys: dict[tuple[TenantName, str], tuple[str, RequestId]] = {}
        self.known: dict[TenantName, Tenant] = {}
        self.hashes: dict[TenantName, str] = {}
        self.masters: dict[TenantName, MasterRecord] = {}
        self.demanded: dict[TenantName, list[DemandRecord]] = {}
        self.hopeless: dict[TenantName, list[Unserved]] = {}
        self.submissions: list[Submission] = []
        self.refusals_told: list[tuple[Origin, str]] = []
        self.failing: Exception | None = None
        self.connected = True
        self.draining = False
        self.changed = asyncio.Event()
        self.waited_for = asyncio.Event()
        self.now = 1000.0
        for name in tenants:
            self.known[TenantName(name)] = Tenant(TenantName(name))
            self.hashes[TenantName(name)] = token_sha256(self.token_of(name))

    @staticmethod
    def token_of(tenant: str, number: int = 1) -> str:
        return tenant_token(TenantName(tenant), f"secret-{number}-of-{tenant}")

    async def demand(self, tenant: TenantName, records: Sequence[DemandRecord]) -> DemandAnswer:
        self._fail()
        self.demanded.setdefault(tenant, []).extend(records)
        return DemandAnswer(len(records), tuple(self.hopeless.get(tenant, ())))

    def unserved(self, tenant: TenantName) -> Sequence[Unserved]:
        return self.hopeless.get(tenant, ())

    def refused(self, origin: Origin, reason: str) -> None:
        self.refusals_told.append((origin, reason))

    # What a test does to it.

    def run(self, request_id: RequestId, log: bytes = b"") -> None:
        """Starts a new attempt."""
        job = self.jobs[request_id]
        job.attempt += 1
        job.state = RequestState.RUNNING
        job.launched_at = job.running_at = self.now
        task = Task(
            id=task_id(request_id, job.attempt),
            request_id=request_id,
            tenant=job.tenant,
            host_id=LARGEST.id,
            hostname=LARGEST.hostname,
            offer_ids=[],
            resources=job.template.resources,
            state=TaskState.RUNNING,
            launched_at=self.now,
            deadline=self.now + 60,
            running_at=self.now,
        )
        self.tasks.setdefault(request_id, []).append(task)
        self.write(request_id, log)

    def write(self, request_id: RequestId, log: bytes) -> None:
        key = (request_id, self.jobs[request_id].attempt, "build.log")
        self.files[key] = self.files.get(key, b"") + log

    def lose(self, request_id: RequestId) -> None:
        """The attempt ends by none of the build's doing, and the job waits for another."""
        self.tasks[request_id][-1].state = TaskState.ENDED
        self.jobs[request_id].state = RequestState.WAITING

    def end(self, request_id: RequestId, result: FailureClass = FailureClass.PASSED, exit_code: int = 0) -> None:
        job = self.jobs[request_id]
        job.state = RequestState.ENDED
        job.ended_at = self.now
        job.outcome = Outcome(result, f"it {result.value}", exit_code=exit_code, wall_s=1.5, peak_mem_mib=12.0)
        if request_id in self.tasks:
            self.tasks[request_id][-1].state = TaskState.ENDED
            self.tasks[request_id][-1].outcome = job.outcome
        spec = self.specs[request_id]
        self.specs[request_id] = dataclasses.replace(spec, secrets={})
        self.changed.set()

    # framework.ports.Control

    async def submit(self, submission: Submission) -> Request:
        self._fail()
        if faults := self.refusals(submission.tenant, submission.template):
            raise InputError(faults)
        key = (submission.tenant, submission.idempotency_key or "")
        if submission.idempotency_key is not None and key in self.keys:
            digest, first = self.keys[key]
            if digest != submission.digest:
                raise IdempotencyConflictError(f"key of {first}")
            return self.jobs[first]
        request_id = RequestId(f"j{len(self.jobs) + 1:06}")
        self.submissions.append(submission)
        self.jobs[request_id] = Request(
            request_id,
            submission.tenant,
            submission.job,
            submission.template,
            self.now,
            priority=submission.priority,
            retries=submission.retries,
            jenkins=submission.jenkins,
            origin=submission.origin,
        )
        self.specs[request_id] = submission.spec
        if submission.idempotency_key is not None:
            self.keys[key] = (submission.digest, request_id)
        return self.jobs[request_id]

    def refusals(self, tenant: TenantName | None, template: Template) -> list[Fault]:
        known = tenant is None or tenant in self.known
        faults = [] if known else [Fault("tenant", f"is not known: {tenant}")]
        message = f"no host could ever hold it; the largest, {LARGEST.hostname}, has {LARGEST.total}"
        faults += [
            Fault(f"constraints[{index}]", "no host has 'nowhere'")
            for index, one in enumerate(template.constraints)
            if one.field == "nowhere"
        ]
        return faults + [Fault(name, message) for name in template.resources.lacking_in(LARGEST.total)]

    async def cancel(self, request_id: RequestId, reason: str) -> Request | None:
        self._fail()
        job = self.jobs.get(request_id)
        if job is not None and job.state is not RequestState.ENDED:
            job.cancel_reason = reason
            self.end(request_id, FailureClass.CANCELLED)
        return job

    async def request(self, request_id: RequestId) -> Request | None:
        self._fail()
        return self.jobs.get(request_id)

    async def requests(self, query: JobQuery) -> list[Request]:
        self._fail()
        found = [
            job
            for job in reversed(self.jobs.values())
            if query.tenant in (None, job.tenant)
            and (not query.states or job.state.value in query.states)
            and query.job in (None, job.job)
            and (query.before is None or job.id < query.before)
        ]
        return found[: query.limit]

    async def spec(self, request_id: RequestId) -> BuildSpec | None:
        return self.specs.get(request_id)

    async def attempts(self, request_id: RequestId) -> list[Task]:
        return self.tasks.get(request_id, [])

    async def wait(self, request_id: RequestId, timeout_s: float) -> Request | None:
        self.waited_for.set()
        try:
            async with asyncio.timeout(timeout_s):
                while request_id in self.jobs and self.jobs[request_id].state is not RequestState.ENDED:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            pass
        return self.jobs.get(request_id)

    def why(self, request_id: RequestId) -> WhyNot | None:
        if self.jobs[request_id].state is not RequestState.WAITING:
            return None
        turned_away = {"mem_mib": 2, "attribute:os": 1}
        refusals = [Refusal("quota", "quota", 3, 2), Refusal("resource", "mem_mib", 2, 1)]
        refusals.append(Refusal("constraint", "attribute:os", 1, 1))
        return WhyNot(request_id, 2.5, 3, 2, turned_away, ["quota of 4 builds"], 1, "No memory.", refusals)

    def standing(self, request_id: RequestId) -> Standing | None:
        job = self.jobs.get(request_id)
        if job is None or job.state is RequestState.ENDED:
            return None
        return Standing(request_id, stage(job), 2.5, f"it is {stage(job).value}", self.why(request_id))

    def queue(self, tenant: TenantName, most: int) -> list[tuple[Request, Standing]]:
        waiting = [job for job in self.jobs.values() if job.tenant == tenant and job.jenkins is not None]
        return [(job, found) for job in waiting[:most] if (found := self.standing(job.id)) is not None]

    def of_item(self, tenant: TenantName, number: int) -> Request | None:
        for job, _ in self.queue(tenant, len(self.jobs)):
            if job.jenkins is not None and job.jenkins.item is not None and job.jenkins.item.number == number:
                return job
        return None

    def tenants(self) -> list[TenantUse]:
        return [self._use(tenant) for tenant in self.known.values()]

    def _use(self, tenant: Tenant) -> TenantUse:
        states = [job.state for job in self.jobs.values() if job.tenant == tenant.name]
        waiting, running = states.count(RequestState.WAITING), states.count(RequestState.RUNNING)
        return TenantUse(tenant, waiting, 0, running, ZERO, 0.25, 0.5)

    async def set_draining(self, draining: bool) -> None:
        self._fail()
        self.draining = draining

    async def set_tenant(self, tenant: Tenant, new_token: bool) -> str | None:
        self._fail()
        is_new = tenant.name not in self.known
        self.known[tenant.name] = tenant
        if not (is_new or new_token):
            return None
        token = self.token_of(tenant.name, 1 if is_new else 2)
        self.hashes[tenant.name] = token_sha256(token)
        return token

    def token_sha256(self, tenant: TenantName) -> str | None:
        return self.hashes.get(tenant)

    async def master(self, tenant: TenantName) -> MasterRecord | None:
        self._fail()
        return self.masters.get(tenant)

    async def set_master(self, tenant: TenantName, master: MasterRecord | None) -> None:
        self._fail()
        self.masters.pop(tenant, None)
        if master is not None:
            self.masters[tenant] = master

    def hosts(self) -> list[HostUse]:
        return [HostUse(LARGEST, Resources(2000, 4096, 0), 2, Resources(1000, 1024, 0))]

    def health(self) -> Health:
        return Health(
            self.connected, "fw-1", len(self.known), len(self.jobs), 0, 0, 1, 1, False, {"bad:1": 30.0}, ["n"]
        )

    async def read_file(
        self, request_id: RequestId, path: str, offset: int, length: int, attempt: int | None = None
    ) -> FileChunk:
        self._fail()
        number = attempt or self.jobs[request_id].attempt
        data = self.files.get((request_id, number, path))
        if data is None:
            raise FileNotFoundError(path)
        ended = self.tasks[request_id][number - 1].state is TaskState.ENDED
        if offset < 0:
            return FileChunk(len(data), b"", ended)
        return FileChunk(offset, data[offset : offset + length], ended)

    async def list_artifacts(self, request_id: RequestId) -> list[tuple[str, int]]:
        self._fail()
        newest = self.jobs[request_id].attempt
        return [
            (path.removeprefix("artifacts/"), len(data))
            for (job, attempt, path), data in self.files.items()
            if job == request_id and attempt == newest and path.startswith("artifacts/")
        ]

    def _fail(self) -> None:
        if self.failing is not None:
            raise self.failing
