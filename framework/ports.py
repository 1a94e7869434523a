"""Protocols through which the core's effects are performed and time and chance come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from agents.spec import BuildSpec
from framework.core.answers import Health, HostUse, TenantUse, WhyNot
from framework.core.effects import Acknowledge, Decline, Kill, Reconcile, Save
from framework.core.events import Event
from framework.core.ids import FrameworkId, HostId, OfferId, RequestId, TaskId, TenantName
from framework.core.offers import Host
from framework.core.resources import Resources
from framework.core.tasks import Request, Task, Tenant
from framework.core.templates import Template
from framework.errors import Fault, IdempotencyConflictError

Emit = Callable[[Event], None]
"""Where an edge puts what happened; never blocks, called on the loop's thread only."""


class TaskLaunch(msgspec.Struct, frozen=True):
    """One task with a Mesos executor of its own, whose id is the task's."""

    task_id: TaskId
    name: str
    resources: Resources
    executor_resources: Resources
    command: str  # starts the Mesos executor on the host, by /bin/sh
    uris: tuple[str, ...] = ()  # fetched into the sandbox first
    environment: dict[str, str] = {}  # of the Mesos executor; seen in Mesos' state, so no secrets
    data: bytes = b""  # TaskInfo.data; not seen there
    labels: dict[str, str] = {}


class SchedulerDriver(Protocol):
    """Mesos' v1 scheduler API. Calls are put on the wire in order and return at once; while no subscription stands they

    are dropped (the core reconciles after the next one), which ``connected`` tells.
    """

    @property
    def connected(self) -> bool: ...

    async def run(self, emit: Emit) -> None:
        """Subscribes, and again after every loss, until ``stop``. Raises UnavailableError never: losses are retried;

        raises MesosRefusedError where Mesos says that no retry can help (framework removed, not authorised).
        """
        ...

    async def stop(self) -> None:
        """Closes the connection and keeps the framework, so that its tasks run on."""
        ...

    async def teardown(self) -> None:
        """Ends the framework and every task of it: on the operator's own command only."""
        ...

    def accept(self, offer_ids: Sequence[OfferId], host_id: HostId, launches: Sequence[TaskLaunch]) -> None: ...

    def decline(self, call: Decline) -> None: ...

    def revive(self) -> None: ...

    def suppress(self) -> None: ...

    def kill(self, call: Kill) -> None: ...

    def acknowledge(self, call: Acknowledge) -> None: ...

    def reconcile(self, call: Reconcile) -> None: ...

    def message(self, host_id: HostId, executor_id: str, data: bytes) -> None: ...

    async def drain(self) -> None:
        """Returns once Mesos has taken so much of the calls made that there is room for more; within a bounded time."""
        ...


class ClusterView(Protocol):
    """Mesos' operator side: hosts and sandboxes."""

    async def hosts(self) -> tuple[Host, ...]:
        """Raises UnavailableError."""
        ...

    async def read_file(
        self, host_url: str, framework_id: FrameworkId, task_id: TaskId, path: str, offset: int, length: int
    ) -> tuple[int, bytes]:
        """Reads a file of the task's sandbox; offset -1 asks for its size.

        Returns the offset (or the size, with offset -1) and the bytes. Raises FileNotFoundError, UnavailableError.
        """
        ...

    async def list_files(
        self, host_url: str, framework_id: FrameworkId, task_id: TaskId, path: str
    ) -> list[tuple[str, int]]:
        """Names relative to ``path`` and sizes in bytes of the files below it. Raises as ``read_file``."""
        ...


class TenantRecord(msgspec.Struct, frozen=True):
    """A tenant as it is stored: with the SHA-256 of its token, never the token."""

    tenant: Tenant
    token_sha256: str | None = None


class Snapshot(msgspec.Struct):
    """What lives: all the state the core starts from."""

    framework_id: FrameworkId | None
    tenants: list[TenantRecord]
    requests: list[Request]  # not ended
    tasks: list[Task]  # not ended


class NewRequest(msgspec.Struct, frozen=True):
    """A request to be saved for the first time, with what is to be built."""

    request: Request
    spec: BuildSpec
    idempotency_key: str | None
    digest: str


class JobQuery(msgspec.Struct, frozen=True):
    """Which requests to list, newest first."""

    tenant: TenantName | None = None
    states: tuple[str, ...] = ()
    job: str | None = None
    before: RequestId | None = None  # for paging: only older ones
    limit: int = 100


class Store(Protocol):
    """Durable state. Synchronous; the runtime calls it off the loop's thread, reads beside one write at a time.

    Every method raises StoreFullError where a retry can help, else StoreError.
    """

    def load(self) -> Snapshot: ...

    def commit(self, frame: Sequence[Save]) -> None:
        """All of the frame or nothing, on disk when it returns."""
        ...

    def add_submissions(self, batch: Sequence[NewRequest]) -> list[RequestId | IdempotencyConflictError]:
        """Saves requests with their payloads, all in one write.

        For each the id of the request that stands for it: an earlier one's where tenant and idempotency key are known,
        or the error where that one's ``digest`` differs.
        """
        ...

    def repeat_of(
        self, tenant: TenantName, idempotency_key: str, digest: str
    ) -> RequestId | IdempotencyConflictError | None:
        """What ``add_submissions`` would answer where the tenant's key is known; None where it is not."""
        ...

    def payload(self, request_id: RequestId) -> BuildSpec | None:
        """The build as it was submitted; without its secrets once the request has ended. None where unknown."""
        ...

    def request(self, request_id: RequestId) -> Request | None: ...

    def requests(self, query: JobQuery) -> list[Request]: ...

    def tasks_of(self, request_id: RequestId) -> list[Task]:
        """Every attempt, the first first."""
        ...

    def set_token(self, tenant: TenantName, token_sha256: str) -> None: ...

    @property
    def notices(self) -> list[str]:
        """What an operator should know, such as a corrupt file kept aside."""
        ...

    def close(self) -> None: ...


class Submission(msgspec.Struct, frozen=True):
    """A job as a tenant asked for it, checked field by field."""

    tenant: TenantName
    job: str
    template: Template
    spec: BuildSpec  # its task_id is empty; the runtime names it at launch
    priority: int = 0
    retries: int = 2
    idempotency_key: str | None = None
    digest: str = ""  # of what the tenant sent, to tell a repeat from another job under the same key


class FileChunk(msgspec.Struct, frozen=True):
    """Part of a file of a task's sandbox."""

    offset: int
    data: bytes
    ended: bool  # the task has ended, so once nothing more is read nothing more will come


class Control(Protocol):
    """What the HTTP API asks of the runtime. Where a method waits it does so on the loop, for a bounded time."""

    async def submit(self, submission: Submission) -> Request:
        """Durably taken when it returns; a repeat of an idempotency key returns the first one's request.

        Raises InputError (unknown tenant; resources beyond every host or the quota, the largest host named),
        IdempotencyConflictError, UnavailableError (state cannot be saved now; too many waiting).
        """
        ...

    def refusals(self, tenant: TenantName | None, template: Template) -> list[Fault]:
        """What ``submit`` would refuse such a request for; a tenant that is not known yet (None) is not judged."""
        ...

    async def cancel(self, request_id: RequestId, reason: str) -> Request | None:
        """The request as it is then; None where unknown. One that has ended is left as it was."""
        ...

    async def request(self, request_id: RequestId) -> Request | None: ...

    async def requests(self, query: JobQuery) -> list[Request]: ...

    async def spec(self, request_id: RequestId) -> BuildSpec | None:
        """What was submitted, without task id; its secrets are gone once the request has ended. None where unknown."""
        ...

    async def attempts(self, request_id: RequestId) -> list[Task]: ...

    async def wait(self, request_id: RequestId, timeout_s: float) -> Request | None:
        """Returns when the request has ended, or as it is after ``timeout_s``."""
        ...

    def why(self, request_id: RequestId) -> WhyNot | None:
        """None where it is not waiting."""
        ...

    def tenants(self) -> list[TenantUse]: ...

    async def set_tenant(self, tenant: Tenant, new_token: bool) -> str | None:
        """Creates or changes a tenant; the token where one was made (always for a new tenant), told this once."""
        ...

    def token_sha256(self, tenant: TenantName) -> str | None: ...

    def hosts(self) -> list[HostUse]: ...

    def health(self) -> Health: ...

    async def read_file(
        self, request_id: RequestId, path: str, offset: int, length: int, attempt: int | None = None
    ) -> FileChunk:
        """A part of a file in the sandbox of the newest (or that) attempt, such as ``build.log``.

        Raises FileNotFoundError, UnavailableError (host away).
        """
        ...

    async def list_artifacts(self, request_id: RequestId) -> list[tuple[str, int]]:
        """Paths and sizes in bytes. Raises as ``read_file``."""
        ...


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Chance(Protocol):
    def uniform(self, low: float, high: float) -> float: ...

    def token(self) -> str:
        """An unguessable URL-safe secret of at least 192 bits."""
        ...

    def uuid4(self) -> bytes: ...


def jittered(chance: Chance, attempt: int, base_s: float, cap_s: float) -> float:
    """Seconds to wait before retry ``attempt`` (from 0): exponential, full jitter over its upper half."""
    ceiling = min(cap_s, base_s * float(2 ** min(attempt, 30)))
    return chance.uniform(ceiling / 2, ceiling)
