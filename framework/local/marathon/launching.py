"""How Mesos is told to launch an instance: what is reserved and made for it first, and the task with all it gets."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from agents import pack
from agents.service_spec import ServiceSpec
from agents.shared import SHARED_EXECUTOR_ID
from agents.spec import HostPolicy
from framework.core.ids import FrameworkId
from framework.core.pieces import Piece, Reservation, Volume
from framework.core.resources import ZERO, Resources
from framework.local.marathon.definition.app import App
from framework.local.marathon.environment import Secrets, environment
from framework.local.marathon.matching.match import Placed
from framework.local.marathon.matching.pools import reservation
from framework.local.marathon.matching.rules import overhead_of
from framework.local.marathon.records import Instance
from framework.local.marathon.service import service_of, volume_name
from framework.mesos_ports import CreateVolumes, LaunchTasks, MesosExecutor, Operation, Reserve, TaskLaunch, Uri

_LAST_WORDS_S = 2.0
"""For the Mesos executor to tell of its task's end, after the task had its grace."""


class LaunchSettings(msgspec.Struct, frozen=True):
    """How every task is launched. ``overhead``: as in MatchSettings."""

    command: str  # starts the Mesos executor on the host
    uris: tuple[str, ...]  # that it needs
    overhead: Resources
    policy: HostPolicy
    framework_id: FrameworkId
    principal: str | None = None
    env_vars_prefix: str = ""
    pretend: bool = False


def operations(
    app: App,
    instance: Instance,
    placed: Placed,
    settings: LaunchSettings,
    secrets: Secrets,
    *,
    enforce_role: bool = False,
) -> list[Operation]:
    """Of one ACCEPT, in their order. ``enforce_role``: of the app's group at the top. Raises what ``secrets`` does."""
    pieces, executor_pieces, disks = placed.pieces, placed.executor_pieces, placed.disks
    before: list[Operation] = []
    if placed.reserve:
        own = reservation(placed.role, instance.id, settings.framework_id, settings.principal)
        pieces, executor_pieces, disks = (_reserved(each, own) for each in (pieces, executor_pieces, disks))
        before.append(Reserve((*pieces, *executor_pieces, *disks)))
        disks = tuple(
            [
                replace(disk, volume=Volume(volume.persistence_id, volume_name(volume), settings.principal))
                for disk, volume in zip(disks, placed.volumes, strict=True)
            ]
        )
        before.append(CreateVolumes(disks))
    task = TaskLaunch(
        task_id=instance.task_id,
        name=task_name(app.id),
        resources=ZERO if pieces else placed.resources,
        executor=_mesos_executor(app, instance, placed, settings, executor_pieces),
        ports=() if pieces else tuple([port for port in placed.ports if port]),
        pieces=(*pieces, *disks),
        data=_service(app, instance, placed, settings, secrets, enforce_role=enforce_role).to_json(),
        labels=app.labels,
    )
    return [*before, LaunchTasks((task,))]


def task_name(app_id: str) -> str:
    """As Marathon names tasks, for service discovery by DNS: ``/product/web`` is ``web.product``."""
    return ".".join(reversed(app_id.strip("/").split("/")))


def _reserved(pieces: tuple[Piece, ...], own: Reservation) -> tuple[Piece, ...]:
    return tuple([replace(piece, reservations=(*piece.reservations, own)) for piece in pieces])


def _mesos_executor(
    app: App, instance: Instance, placed: Placed, settings: LaunchSettings, pieces: tuple[Piece, ...]
) -> MesosExecutor:
    """One of its own; only tasks that pretend share one a host, and it is then the same in every part for all."""
    if settings.pretend:
        shared_id = pack.shared_id(settings.command, settings.uris, settings.overhead, placed.role)
        return MesosExecutor(shared_id, SHARED_EXECUTOR_ID, settings.overhead, settings.command, settings.uris)
    artifacts = [Uri(each.uri, each.extract, each.executable, each.cache, each.dest_path) for each in app.fetch]
    return MesosExecutor(
        id=instance.task_id,
        name=task_name(app.id),
        resources=ZERO if pieces else overhead_of(app, settings.overhead),
        command=settings.command,
        uris=(*settings.uris, *artifacts),
        shutdown_grace_s=app.kill_grace_s + _LAST_WORDS_S,
        pieces=pieces,
    )


def _service(
    app: App, instance: Instance, placed: Placed, settings: LaunchSettings, secrets: Secrets, *, enforce_role: bool
) -> ServiceSpec:
    env = environment(
        app,
        instance.task_id,
        placed.site.hostname,
        placed.ports,
        secrets,
        prefix=settings.env_vars_prefix,
        enforce_role=enforce_role,
    )
    return service_of(
        app,
        instance.task_id,
        placed,
        env,
        secrets,
        grace_s=app.kill_grace_s,
        host=settings.policy,
        pretend=settings.pretend,
    )
