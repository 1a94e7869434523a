"""What can happen, beside what Mesos tells. Time is not in them: ``step`` is told it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from framework.core import events as mesos


class HealthProbed(msgspec.Struct, frozen=True):
    """One result of a health check that this server makes. ``attempt``: of the instance's task."""

    instance_id: str
    attempt: int
    index: int  # of the check among the app's
    alive: bool
    cause: str = ""  # why not


class ReadinessProbed(msgspec.Struct, frozen=True):
    """One result of a readiness check; status, type and body where an answer came."""

    instance_id: str
    attempt: int
    name: str
    ready: bool
    status: int | None = None
    content_type: str | None = None
    body: str | None = None


class KillAsked(msgspec.Struct, frozen=True):
    """A user wants these ended; the app gets others as far as it wants them. ``wipe``: their volumes too."""

    instance_ids: tuple[str, ...]
    wipe: bool = False


class DelayReset(msgspec.Struct, frozen=True):
    app_id: str


Event: TypeAlias = (
    mesos.Subscribed
    | mesos.FrameworkRemoved
    | mesos.Disconnected
    | mesos.NotSubscribed
    | mesos.OffersReceived
    | mesos.OfferRescinded
    | mesos.InverseOffersReceived
    | mesos.InverseOfferRescinded
    | mesos.OperationUpdate
    | mesos.ExecutorMessage
    | mesos.TaskUpdate
    | mesos.HostLost
    | mesos.ExecutorLost
    | mesos.Tick
    | HealthProbed
    | ReadinessProbed
    | KillAsked
    | DelayReset
)
