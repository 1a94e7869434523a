"""Protocols and values between the runtime, tenants' masters and whoever tells of their queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import msgspec

from framework.catalog.parts import AgentParts
from framework.core.effects import PrepareNode, RemoveNode
from framework.core.events import MasterObserved
from framework.core.ids import TaskId, TenantName
from framework.core.jenkins import QueueItem
from framework.errors import ButleryError


class MasterRecord(msgspec.Struct, frozen=True):
    """How a tenant's master is spoken to, as it told itself when it started. ``repr`` leaves out the secret."""

    url: str  # where people and agents find it, wherever it runs
    user: str
    api_token: str  # secret
    version: str  # of its Jenkins
    session: str  # of its process: another with each start
    direct_url: str = ""  # of the process itself, which wakes and keeps awake nobody; empty: as ``url``

    def __repr__(self) -> str:
        return f"MasterRecord({self.url!r}, {self.user!r}, version={self.version!r}, session={self.session!r})"


class MasterError(ButleryError):
    """A master does not do what it was asked.

    ``kind``: ``down`` (no connection, or it starts), ``slow`` (no answer in time), ``refused`` (401, 403), ``full``
    (429, 5xx), ``odd`` (not what a Jenkins answers).
    """

    retryable = True

    def __init__(self, kind: Literal["down", "slow", "refused", "full", "odd"], message: str) -> None:
        self.kind = kind
        super().__init__(message)


class NodeTakenError(ButleryError):
    """The master has a node of this name that is not ours."""


OURS = "butlery: "
"""How the description of every node of ours begins; the name of its task follows in it."""
SIZED_FOR = ", sized for "
"""In the description of a node that is for the builds of one job: what follows, to the end, is that job's name."""


class NewNode(msgspec.Struct, frozen=True):
    """A node to be made, of one Jenkins executor."""

    name: str
    labels: str  # with spaces between
    description: str  # begins with ``OURS``
    remote_root: str
    exclusive: bool  # only for builds that name one of its labels
    web_socket: bool = True
    tunnel: str | None = None


class FoundItem(msgspec.Struct, frozen=True):
    """An item of the queue that is buildable."""

    item: QueueItem
    task: str
    task_url: str
    label: str | None  # None: the master does not say; empty: the job has none


class Look(msgspec.Struct, frozen=True):
    """What a master's queue and nodes hold."""

    session: str
    items: tuple[FoundItem, ...]
    observed: MasterObserved


class MasterEdge(Protocol):
    """Tenants' masters over HTTP. Every method raises MasterError, within a bounded time; safe to call at once."""

    async def create_node(self, master: MasterRecord, node: NewNode) -> str:
        """The secret of the node, which stands then; one of ours of this name is taken as it is.

        Raises NodeTakenError.
        """
        ...

    async def remove_node(self, master: MasterRecord, name: str) -> None:
        """Gone when it returns, also where it was before."""
        ...

    async def tell(self, master: MasterRecord, name: str, reason: str, *, resubmit: bool) -> None:
        """Writes why an agent ended: as its node's offline cause, and into the log of the build that ran there."""
        ...

    async def cordon(self, master: MasterRecord, name: str, reason: str) -> None:
        """Has the node given no further build; one that runs there goes on. Nothing where it is cordoned or gone."""
        ...

    async def look(self, master: MasterRecord, tenant: TenantName, *, labels: bool) -> Look:
        """``labels``: also of items whose label the queue's own page does not tell, at the cost of one more call."""
        ...

    async def jar(self, master: MasterRecord) -> str:
        """Tells versions of the master's agent.jar apart: at most 100 of ``[A-Za-z0-9.+_-]``."""
        ...

    async def close(self) -> None: ...


class AgentAccess(msgspec.Struct, frozen=True):
    """What an agent connects with. ``repr`` leaves out the secret."""

    url: str  # of the master
    node: str
    secret: str
    jar: str  # tells versions of the master's agent.jar apart, for the hosts' cache

    def __repr__(self) -> str:
        return f"AgentAccess({self.url!r}, {self.node!r}, jar={self.jar!r})"


class NodeKeeper(Protocol):
    """Makes and removes nodes beside the loop; what became of them comes as events.

    A node that is to be removed before it was made is not made, and no event tells of it.
    """

    def prepare(self, effect: PrepareNode) -> None: ...

    def remove(self, effect: RemoveNode) -> None: ...

    def look_at(self, tenant: TenantName) -> None: ...

    def access(self, task_id: TaskId) -> AgentAccess | None:
        """Of a node that stands, from NodeReady until ``forget``."""
        ...

    def forget(self, task_id: TaskId) -> None: ...


Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""What JSON's readers agree on."""


DemandEvent = Literal[
    "ready", "buildable", "left", "accepted", "served", "started", "finished", "online", "offline", "alive"
]


class DemandRecord(msgspec.Struct, frozen=True):
    """One line of what a master's init script tells (``masters/image/init.groovy.d/butlery-50-demand.groovy``).

    ``ready`` begins a master's story: all items that are buildable follow it. Times are by the master's own clock.
    """

    event: DemandEvent
    session: Annotated[str, msgspec.Meta(max_length=100)] = ""  # of the master's process; several are remembered
    seq: Whole = 0  # grows by one with each record of a session; 0: not counted
    sent_ms: Whole = 0
    item: Whole | None = None
    in_queue_since_ms: Whole = 0
    task: str = ""
    task_url: str = ""
    label: str | None = None
    cancelled: bool = False
    node: str | None = None
    problem: str | None = None
    cause: str = ""
    url: str = ""
    result: str | None = None
    version: str = ""
    fits: bool = False  # the master keeps agents that are sized for one job (``SIZED_FOR``) from the builds of others


class Unserved(msgspec.Struct, frozen=True):
    """An item that no agent will come for, as things are."""

    item: QueueItem
    task: str
    label: str
    reason: str  # for the tenant


class DemandAnswer(msgspec.Struct, frozen=True):
    """What the init script is told: how much was taken, and items that its queue should show a reason for."""

    taken: int  # records that were new
    unserved: tuple[Unserved, ...] = ()
    skipped: int = 0  # lines whose event is not known here


class RateLimitedError(ButleryError):
    """A master sends more than its share; it is to wait for so long."""

    retryable = True

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"more events than its share; again in {retry_after_s:.1f} s")


class Sizes(Protocol):
    """Sizes of agents from the history of jobs. Called by the loop's thread, in every request that is made."""

    def size(self, tenant: TenantName, job: str, parts: AgentParts) -> AgentParts:
        """The same, of the size that the job's history says, or as they are."""
        ...


class Intake(Protocol):
    """Takes what masters tell into the runtime."""

    async def take(self, tenant: TenantName, records: Sequence[DemandRecord]) -> DemandAnswer:
        """Durable when it returns. Raises RateLimitedError, UnavailableError."""
        ...

    async def found(self, tenant: TenantName, look: Look) -> None:
        """Takes in what somebody saw in the master's own queue, and requests what is missing."""
        ...

    def unserved(self, tenant: TenantName) -> Sequence[Unserved]: ...
