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
    Launch | Decline | AcceptInverse | DeclineInverse | Revive | Suppress | Tell | Kill | Acknowledge | Reconcile
)
Effect: TypeAlias = Save | Call | Report
