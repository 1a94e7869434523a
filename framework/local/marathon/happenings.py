"""What subscribers of the event stream are told of; ``api`` puts them into Marathon's words. None holds a secret."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from framework.core.ids import FrameworkId
from framework.local.marathon.definition.app import Group
from framework.local.marathon.records import Condition, Deployment, Goal, Instance


class StatusUpdate(msgspec.Struct, frozen=True):
    """status_update_event; ``task_status`` as Mesos spells it."""

    instance: Instance
    task_status: str
    message: str


class InstanceChanged(msgspec.Struct, frozen=True):
    """instance_changed_event."""

    instance: Instance
    condition: Condition
    goal: Goal


class HealthChanged(msgspec.Struct, frozen=True):
    """health_status_changed_event and instance_health_changed_event."""

    instance: Instance
    healthy: bool


class HealthCheckFailed(msgspec.Struct, frozen=True):
    """failed_health_check_event."""

    instance: Instance
    index: int  # of the check among the app's


class UnhealthyKill(msgspec.Struct, frozen=True):
    """unhealthy_instance_kill_event."""

    instance: Instance
    reason: str


class HealthCheckSet(msgspec.Struct, frozen=True):
    """add_health_check_event or, with ``added`` false, remove_health_check_event."""

    app_id: str
    version: str
    index: int
    added: bool


class UnknownTerminated(msgspec.Struct, frozen=True):
    """unknown_instance_terminated_event: a task ended that nobody knows."""

    instance_id: str
    app_id: str
    condition: Condition


class AppTerminated(msgspec.Struct, frozen=True):
    """app_terminated_event."""

    app_id: str


class DeploymentTold(msgspec.Struct, frozen=True):
    """deployment_info, deployment_success, deployment_failed, deployment_step_success or deployment_step_failure.

    ``step``: index of the one it is about; the root groups before and after are for subscribers that want whole plans.
    """

    kind: str
    deployment: Deployment
    step: int
    before: Group
    after: Group
    reason: str = ""


class GroupChanged(msgspec.Struct, frozen=True):
    """group_change_success or, with a reason, group_change_failed."""

    group_id: str
    version: str
    reason: str = ""


class Registered(msgspec.Struct, frozen=True):
    """scheduler_registered_event, or scheduler_reregistered_event where ``again``."""

    framework_id: FrameworkId
    master: str
    again: bool


Happening: TypeAlias = (
    StatusUpdate
    | InstanceChanged
    | HealthChanged
    | HealthCheckFailed
    | UnhealthyKill
    | HealthCheckSet
    | UnknownTerminated
    | AppTerminated
    | DeploymentTold
    | GroupChanged
    | Registered
)
