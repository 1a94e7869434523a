"""What the core wants done. ``Save`` and ``Drop`` make up the frame, written before any of the others is performed."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from framework.core.effects import (
    Acknowledge,
    Decline,
    DeclineInverse,
    Kill,
    Reconcile,
    Report,
    Revive,
    SaveFrameworkId,
    Suppress,
)
from framework.core.ids import HostId, OfferId
from framework.core.pieces import Piece
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.happenings import Happening
from framework.local.marathon.matching.match import Placed
from framework.local.marathon.records import Deployment, Instance, TaskFailure


class SaveRoot(msgspec.Struct, frozen=True):
    """The tree of a new version. ``apps``: those in it that are new or changed; ``removed``: ids of those it lost."""

    root: Group
    apps: tuple[App, ...]
    removed: tuple[str, ...]


class SaveInstance(msgspec.Struct, frozen=True):
    instance: Instance


class DropInstance(msgspec.Struct, frozen=True):
    instance_id: str


class SaveDeployment(msgspec.Struct, frozen=True):
    deployment: Deployment


class DropDeployment(msgspec.Struct, frozen=True):
    deployment_id: str


class SaveFailure(msgspec.Struct, frozen=True):
    """In place of the app's earlier one."""

    failure: TaskFailure


class DropFailure(msgspec.Struct, frozen=True):
    app_id: str


class Placement(msgspec.Struct, frozen=True):
    """``app`` is of the version that the instance runs, which need not be the newest."""

    app: App
    instance: Instance
    placed: Placed


class Launch(msgspec.Struct, frozen=True):
    """Accept the offers (all of one host and role) for these, in this order; what is left goes back to Mesos."""

    offer_ids: tuple[OfferId, ...]
    host_id: HostId
    placements: tuple[Placement, ...]


class Free(msgspec.Struct, frozen=True):
    """Accept the offers to destroy these volumes and end these reservations, which nobody wants any more.

    Both are as offered; of a volume that is destroyed the reservation is among ``reserved`` without the volume.
    """

    offer_ids: tuple[OfferId, ...]
    host_id: HostId
    volumes: tuple[Piece, ...]
    reserved: tuple[Piece, ...]


class StartChecks(msgspec.Struct, frozen=True):
    """Make those of the app's health checks that are the server's to make, until ``StopChecks``."""

    app: App
    instance: Instance


class StopChecks(msgspec.Struct, frozen=True):
    instance_id: str


class StartReadiness(msgspec.Struct, frozen=True):
    """Make the app's readiness checks, until ``StopReadiness``."""

    app: App
    instance: Instance


class StopReadiness(msgspec.Struct, frozen=True):
    instance_id: str


class Publish(msgspec.Struct, frozen=True):
    happening: Happening


Save: TypeAlias = (
    SaveFrameworkId
    | SaveRoot
    | SaveInstance
    | DropInstance
    | SaveDeployment
    | DropDeployment
    | SaveFailure
    | DropFailure
)
Call: TypeAlias = Launch | Free | Decline | DeclineInverse | Revive | Suppress | Kill | Acknowledge | Reconcile
Checking: TypeAlias = StartChecks | StopChecks | StartReadiness | StopReadiness
Effect: TypeAlias = Save | Call | Checking | Publish | Report
