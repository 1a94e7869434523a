"""What can happen, as the edges tell it. Time is not in them: ``step`` is told it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from framework.core.ids import FrameworkId, HostId, OfferId, RequestId, TaskId, TenantName
from framework.core.jenkins import QueueItem
from framework.core.offers import Host, InverseOffer, Offer
from framework.core.pieces import Piece
from framework.core.tasks import Outcome, Request, Tenant


class Subscribed(msgspec.Struct, frozen=True):
    """Mesos took our subscription; offers we held before are void."""

    framework_id: FrameworkId


class FrameworkRemoved(msgspec.Struct, frozen=True):
    """Mesos has removed our framework (torn down, or away past its failover timeout) and ended every task of it."""

    reason: str


class Disconnected(msgspec.Struct, frozen=True):
    """The connection to Mesos is lost; calls made now would be too."""

    reason: str


class NotSubscribed(msgspec.Struct, frozen=True):
    """Mesos could not be subscribed to; it is tried again."""

    reason: str


class OffersReceived(msgspec.Struct, frozen=True):
    offers: tuple[Offer, ...]


class OfferRescinded(msgspec.Struct, frozen=True):
    offer_id: OfferId


class InverseOffersReceived(msgspec.Struct, frozen=True):
    offers: tuple[InverseOffer, ...]


class InverseOfferRescinded(msgspec.Struct, frozen=True):
    offer_id: OfferId


class OperationUpdate(msgspec.Struct, frozen=True):
    """What became of an operation of an ACCEPT that was given an id. ``uuid`` is empty where none is acknowledged."""

    operation_id: str
    state: str  # OPERATION_FINISHED and so on, as Mesos spells it
    host_id: HostId | None = None
    provider_id: str | None = None
    message: str = ""
    uuid: bytes = b""
    converted: tuple[Piece, ...] = ()  # what a finished one made of the resources it took


class ExecutorMessage(msgspec.Struct, frozen=True):
    """What a Mesos executor sent us; Mesos may lose such messages."""

    host_id: HostId
    executor_id: str
    data: bytes


class HostsObserved(msgspec.Struct, frozen=True):
    """All hosts of the cluster as the Mesos master lists them."""

    hosts: tuple[Host, ...]


class CheckResult(msgspec.Struct, frozen=True, gc=False):
    """What a task's check found: of a command its exit code, of HTTP the status, of TCP whether it connected.

    All None where it has found nothing yet.
    """

    exit_code: int | None = None
    status_code: int | None = None
    succeeded: bool | None = None


class TaskUpdate(msgspec.Struct, frozen=True, gc=False):
    """A status update of Mesos. ``uuid`` is empty where none is to be acknowledged (reconciliation, master-made)."""

    task_id: TaskId
    state: str  # TASK_RUNNING and so on, as Mesos spells it
    host_id: HostId | None = None
    reason: str = ""  # REASON_*, as Mesos spells it
    source: str = ""  # SOURCE_*
    message: str = ""
    uuid: bytes = b""
    outcome: Outcome | None = None  # what the executor measured, where the status carried it
    healthy: bool | None = None  # as the executor's health checks found it; None: it has none, or they said nothing yet
    addresses: tuple[str, ...] = ()  # of the task's container; with host networking the host's own
    check: CheckResult | None = None


class HostLost(msgspec.Struct, frozen=True):
    """Mesos removed the host (FAILURE event without an executor)."""

    host_id: HostId


class ExecutorLost(msgspec.Struct, frozen=True):
    """A Mesos executor ended; its task's own update follows from Mesos, so this only informs."""

    host_id: HostId
    executor_id: str
    status: int | None = None


class Submitted(msgspec.Struct, frozen=True):
    """A request that passed admission; one whose id is known changes nothing."""

    request: Request


class CancelAsked(msgspec.Struct, frozen=True):
    request_id: RequestId
    reason: str


class TenantSet(msgspec.Struct, frozen=True):
    tenant: Tenant


class DrainSet(msgspec.Struct, frozen=True):
    """The operator wants no new launches, or wants them again; those that run go on either way."""

    draining: bool


class NodeReady(msgspec.Struct, frozen=True):
    """The node of a claim stands, and its secret is at hand for the launch."""

    task_id: TaskId


class NodeFailed(msgspec.Struct, frozen=True):
    """The node of a claim could not be made."""

    task_id: TaskId
    reason: str  # for the tenant
    retry_after_s: float = 0.0  # of all requests to this master, which is full, slow, down or does not let us in
    name_taken: bool = False  # by a node that is not ours: another attempt's name may be free


class ItemLeft(msgspec.Struct, frozen=True):
    """An item is in its master's queue no more: given to an agent, or cancelled."""

    tenant: TenantName
    item: QueueItem
    cancelled: bool


class AgentOnline(msgspec.Struct, frozen=True):
    task_id: TaskId


class AgentOffline(msgspec.Struct, frozen=True):
    """Jenkins lost its agent, or the agent's node is gone from it (``node_gone``); the task may run on."""

    task_id: TaskId
    cause: str
    node_gone: bool = False


class AgentAccepted(msgspec.Struct, frozen=True):
    """Jenkins gave the agent a build; ``item`` None where the master could not tell which item that was."""

    task_id: TaskId
    item: QueueItem | None
    task: str
    task_url: str


class AgentServed(msgspec.Struct, frozen=True):
    """The build on the agent is over, however it went."""

    task_id: TaskId
    problem: str | None = None


class BuildTold(msgspec.Struct, frozen=True):
    """A build on an agent of ours started (``result`` None) or is over."""

    task_id: TaskId
    url: str
    result: str | None = None


class SeenNode(msgspec.Struct, frozen=True):
    """A node whose name is of a task of ours and whose description says that we made it."""

    task_id: TaskId
    name: str
    online: bool
    idle: bool


class MasterObserved(msgspec.Struct, frozen=True):
    """All that a master's queue and nodes hold, as of ``asked_at`` (seconds since the epoch, by our clock)."""

    tenant: TenantName
    asked_at: float
    items: frozenset[QueueItem]
    nodes: tuple[SeenNode, ...]


class TemplateLimits(msgspec.Struct, frozen=True):
    """The most live agents of a template; None where there is no limit."""

    agents: int | None = None
    agents_per_tenant: int | None = None


class CatalogSet(msgspec.Struct, frozen=True):
    """What the catalogue says beyond single agents, by template; told at the start and after each change."""

    limits: dict[str, TemplateLimits]
    versions: dict[str, str]


class Tick(msgspec.Struct, frozen=True):
    """A deadline of ``next_deadline`` has come."""


OfMasters: TypeAlias = (
    NodeReady
    | NodeFailed
    | ItemLeft
    | AgentOnline
    | AgentOffline
    | AgentAccepted
    | AgentServed
    | BuildTold
    | MasterObserved
)
Event: TypeAlias = (
    Subscribed
    | Disconnected
    | NotSubscribed
    | OffersReceived
    | OfferRescinded
    | InverseOffersReceived
    | InverseOfferRescinded
    | OperationUpdate
    | ExecutorMessage
    | HostsObserved
    | TaskUpdate
    | HostLost
    | ExecutorLost
    | Submitted
    | CancelAsked
    | TenantSet
    | FrameworkRemoved
    | DrainSet
    | OfMasters
    | CatalogSet
    | Tick
)
