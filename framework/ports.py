"""Protocols through which the core's effects are performed and time and chance come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from agents.spec import BuildSpec
from framework.core.answers import Health, HostUse, Standing, TenantUse, WhyNot
from framework.core.effects import Save
from framework.core.ids import FrameworkId, RequestId, TenantName
from framework.core.jenkins import JenkinsSide
from framework.core.origin import Origin
from framework.core.tasks import Request, Task, Tenant
from framework.core.templates import Template
from framework.errors import Fault, IdempotencyConflictError
from framework.jenkins_ports import DemandAnswer, DemandRecord, MasterRecord, Unserved


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
    draining: bool = False


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

    commit_every_s: float
    """Least time between two writes; the runtime gathers what comes meanwhile into one frame. 0: no need to."""

    def load(self) -> Snapshot: ...

    def commit(
        self, frame: Sequence[Save], batch: Sequence[NewRequest] = ()
    ) -> list[RequestId | IdempotencyConflictError]:
        """All of the frame and of the batch, new requests with their payloads, or nothing; on disk when it returns.

        For each of the batch the id of the request that stands for it: an earlier one's where tenant and idempotency
        key are known, or the error where that one's ``digest`` differs. Raises DeposedError where another may write
        now.
        """
        ...

    def repeat_of(
        self, tenant: TenantName, idempotency_key: str, digest: str
    ) -> RequestId | IdempotencyConflictError | None:
        """What ``commit`` would answer where the tenant's key is known; None where it is not."""
        ...

    def payload(self, request_id: RequestId) -> BuildSpec | None:
        """The build as it was submitted; without its secrets once the request has ended. None where unknown."""
        ...

    def request(self, request_id: RequestId) -> Request | None: ...

    def requests(self, query: JobQuery) -> list[Request]: ...

    def tasks_of(self, request_id: RequestId) -> list[Task]:
        """Every attempt, the first first."""
        ...

    def ended_since(self, at_s: float) -> Iterator[Request]:
        """Requests that ended then (seconds since the epoch) or later, the earliest first, as far back as they are

        kept. Read piece by piece, so that writes go on beside it.
        """
        ...

    def set_token(self, tenant: TenantName, token_sha256: str) -> None: ...

    def master(self, tenant: TenantName) -> MasterRecord | None: ...

    def set_master(self, tenant: TenantName, master: MasterRecord | None) -> None:
        """None forgets it. Nothing is saved for a tenant that is not known."""
        ...

    @property
    def notices(self) -> list[str]:
        """What an operator should know, such as a corrupt file kept aside."""
        ...

    def close(self) -> None: ...


class Leader(msgspec.Struct, frozen=True):
    """The scheduler that leads, as it told when it was elected."""

    url: str  # of its API, for the others
    name: str  # of its machine and process
    version: str
    epoch: int  # of its leadership: each is larger than all before
    since: float


class Election(Protocol):
    """Which of several schedulers that share a store may write to it and speak to Mesos."""

    async def lead(self) -> int:
        """Stands for election and returns once we lead, with the epoch; the store takes our writes from then on.

        Waits for as long as it takes, over every loss of the connection.
        """
        ...

    async def deposed(self) -> str:
        """Returns, once we lead no more for certain, the reason. A connection that is only suspended deposes nobody:

        meanwhile the store raises StoreFullError.
        """
        ...

    async def step_down(self) -> None:
        """Gives the leadership up, so that another is elected at once; we stand again with the next ``lead``."""
        ...

    @property
    def leader(self) -> Leader | None:
        """Who leads, as last heard; None where nobody does."""
        ...

    @property
    def connected(self) -> bool: ...

    async def confirm(self) -> None:
        """Returns where we lead, asked for anew: before every subscription to Mesos, as a deposed scheduler's would end

        the new leader's. Raises DeposedError, and UnavailableError where it cannot be known now.
        """
        ...

    @property
    def standbys(self) -> int:
        """How many others stand for election, as last heard."""
        ...

    async def close(self) -> None: ...


class SharedStore(Store, Protocol):
    """A store of which one leader writes and others follow: reads, ``load`` among them, answer from a copy that is at

    most seconds old, and for one who has just been elected holds all that was written before.
    """

    @property
    def revision(self) -> int:
        """Grows with every frame taken into the copy, whoever wrote it."""
        ...


class Submission(msgspec.Struct, frozen=True):
    """A job as a tenant asked for it, checked field by field."""

    tenant: TenantName
    job: str
    template: Template
    spec: BuildSpec  # its task_id is empty; the runtime names it at launch
    priority: int = 0
    retries: int = 2
    idempotency_key: str | None = None
    jenkins: JenkinsSide | None = None  # of the request, where it is for an agent of a master
    origin: Origin | None = None  # where a webhook brought it
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

    def standing(self, request_id: RequestId) -> Standing | None:
        """How a live build stands; None where it is not live."""
        ...

    def queue(self, tenant: TenantName, most: int) -> list[tuple[Request, Standing]]:
        """The tenant's items whose agents are not online yet, the oldest first."""
        ...

    def of_item(self, tenant: TenantName, number: int) -> Request | None:
        """The live request for this item of the queue of the tenant's master."""
        ...

    def tenants(self) -> list[TenantUse]: ...

    async def set_draining(self, draining: bool) -> None:
        """Whether nothing new is to be launched; durable when it returns. Raises UnavailableError."""
        ...

    async def set_tenant(self, tenant: Tenant, new_token: bool) -> str | None:
        """Creates or changes a tenant; the token where one was made (always for a new tenant), told this once.

        Raises InputError for a role that is none of ours, UnavailableError.
        """
        ...

    def token_sha256(self, tenant: TenantName) -> str | None: ...

    async def master(self, tenant: TenantName) -> MasterRecord | None: ...

    async def set_master(self, tenant: TenantName, master: MasterRecord | None) -> None:
        """Durable when it returns; None forgets it. Raises UnavailableError."""
        ...

    async def demand(self, tenant: TenantName, records: Sequence[DemandRecord]) -> DemandAnswer:
        """What a tenant's master tells of its queue; durable when it returns.

        Raises RateLimitedError, UnavailableError.
        """
        ...

    def unserved(self, tenant: TenantName) -> Sequence[Unserved]:
        """Items of the tenant's queue that no agent will come for, as things are."""
        ...

    def refused(self, origin: Origin, reason: str) -> None:
        """Has the forge told that a commit is not built, and why."""
        ...

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


class Seat(Protocol):
    """Where this scheduler stands among those that share its state; one that shares it with nobody leads."""

    @property
    def control(self) -> Control:
        """What answers now. A standby's reads answer from its copy of the state; what only the leader can do or knows

        raises UnavailableError.
        """
        ...

    @property
    def leads(self) -> bool:
        """Whether ``control`` is the leader's."""
        ...

    @property
    def leader(self) -> Leader | None: ...

    @property
    def url(self) -> str:
        """Of this scheduler's own API, for the others."""
        ...

    @property
    def standbys(self) -> int:
        """How many others could take over, as last heard."""
        ...

    async def step_down(self, force: bool) -> None:
        """Hands the leadership over, and returns once we lead no more; builds run on.

        Raises NoStandbyError where nobody could take over, unless it is forced, and UnavailableError.
        """
        ...


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Cancellable:
        """As the event loop's, by this clock; a hundredth of a task that sleeps."""
        ...


class Cancellable(Protocol):
    def cancel(self) -> object: ...


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
