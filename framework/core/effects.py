"""What the core wants done. ``Save*`` make up the frame, written before any of the others is performed."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from framework.core.ids import FrameworkId, HostId, OfferId, RequestId, TaskId, TenantName
from framework.core.tasks import Request, Task, Tenant


class SaveRequest(msgspec.Struct, frozen=True, gc=False):
    """Save the request as it now is; where it has ended, its secrets go."""

    request: Request


class SaveTask(msgspec.Struct, frozen=True, gc=False):
    task: Task


class SaveTenant(msgspec.Struct, frozen=True):
    tenant: Tenant


class SaveFrameworkId(msgspec.Struct, frozen=True):
    framework_id: FrameworkId | None


class SaveDraining(msgspec.Struct, frozen=True):
    draining: bool


class Launch(msgspec.Struct, frozen=True):
    """Accept the offers (all of one host and role) and launch these tasks on them, which draw from them in this order;

    what is left goes back to Mesos.
    """

    offer_ids: tuple[OfferId, ...]
    host_id: HostId
    tasks: tuple[Task, ...]


class Decline(msgspec.Struct, frozen=True):
    offer_ids: tuple[OfferId, ...]
    refuse_s: float


class Revive(msgspec.Struct, frozen=True):
    pass


class Suppress(msgspec.Struct, frozen=True):
    pass


class AcceptInverse(msgspec.Struct, frozen=True):
    """We shall be out of the host by the start of its maintenance."""

    offer_ids: tuple[OfferId, ...]


class DeclineInverse(msgspec.Struct, frozen=True):
    """We shall not be; Mesos asks again after ``refuse_s``."""

    offer_ids: tuple[OfferId, ...]
    refuse_s: float


class Tell(msgspec.Struct, frozen=True):
    """Have the task's Mesos executor write a line into the build's log, such as a warning of its end to come."""

    task_id: TaskId
    host_id: HostId
    mesos_executor_id: str
    text: str


class Kill(msgspec.Struct, frozen=True):
    task_id: TaskId
    host_id: HostId
    grace_s: float


class Acknowledge(msgspec.Struct, frozen=True, gc=False):
    task_id: TaskId
    host_id: HostId
    uuid: bytes


class Reconcile(msgspec.Struct, frozen=True):
    """Ask Mesos for the state of these tasks; with none named, of every task of the framework it knows."""

    tasks: tuple[tuple[TaskId, HostId], ...]


class PrepareNode(msgspec.Struct, frozen=True):
    """Make the node of a claim in its tenant's master and fetch its secret: NodeReady or NodeFailed follows."""

    task_id: TaskId
    request: Request
    node: str


class RemoveNode(msgspec.Struct, frozen=True):
    """Take the node out of its master, once for all: tried until it is gone or the master is.

    ``reason`` is told first, as the node's offline cause and in the log of the build that ran there; ``resubmit``: that
    build is to be built again, where Jenkins does not do so itself. ``cordon``: the node stays, but is given no further
    build; then its master is looked at, for whether it was given one before.
    """

    tenant: TenantName
    node: str
    reason: str = ""
    resubmit: bool = False
    cordon: bool = False


class LookAt(msgspec.Struct, frozen=True):
    """Have the tenant's master looked at soon: what is known of its queue may not be so any more."""

    tenant: TenantName


class Assign(msgspec.Struct, frozen=True):
    """Give a spare, whose node stands, to the request: its Mesos executor is sent what the agent is started with."""

    task: Task
    request: Request


class Report(msgspec.Struct, frozen=True):
    """Something an operator would want in the log; ``level`` as in logging."""

    level: str
    message: str
    tenant: TenantName | None = None
    request_id: RequestId | None = None
    task_id: TaskId | None = None
    offer_id: OfferId | None = None
    host: str | None = None


Save: TypeAlias = SaveRequest | SaveTask | SaveTenant | SaveFrameworkId | SaveDraining
Call: TypeAlias = (
    PrepareNode
    | RemoveNode
    | LookAt
    | Assign
    | Launch
    | Decline
    | AcceptInverse
    | DeclineInverse
    | Revive
    | Suppress
    | Tell
    | Kill
    | Acknowledge
    | Reconcile
)
Effect: TypeAlias = Save | Call | Report
