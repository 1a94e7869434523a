"""What the server keeps of each instance and deployment. Times are seconds since the epoch."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

import msgspec

from framework.core.ids import HostId, TaskId
from framework.local.marathon.definition.app import App


class Condition(StrEnum):
    """Marathon's own names of an instance's state."""

    SCHEDULED = "Scheduled"  # wanted, and waits in the launch queue
    PROVISIONED = "Provisioned"  # a launch was saved, Mesos has not told of it yet
    STAGING = "Staging"
    STARTING = "Starting"
    RUNNING = "Running"
    KILLING = "Killing"
    UNREACHABLE = "Unreachable"
    UNREACHABLE_INACTIVE = "UnreachableInactive"
    FINISHED = "Finished"
    FAILED = "Failed"
    KILLED = "Killed"
    ERROR = "Error"
    GONE = "Gone"
    DROPPED = "Dropped"
    UNKNOWN = "Unknown"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset({
    Condition.FINISHED, Condition.FAILED, Condition.KILLED, Condition.ERROR, Condition.GONE, Condition.DROPPED,
    Condition.UNKNOWN,
})  # fmt: skip


class Goal(StrEnum):
    """What is to become of an instance."""

    RUNNING = "Running"
    STOPPED = "Stopped"  # its task is ended; reservation and volumes are kept for its next one
    DECOMMISSIONED = "Decommissioned"  # ended for good; its volumes are destroyed and unreserved


class Site(msgspec.Struct, frozen=True):
    """The host an instance is on, as its offer told of it."""

    host_id: HostId
    hostname: str
    attributes: dict[str, str] = {}  # with the fault domain as ``@region`` and ``@zone``

    @property
    def region(self) -> str | None:
        return self.attributes.get("@region")

    @property
    def zone(self) -> str | None:
        return self.attributes.get("@zone")


class LocalVolume(msgspec.Struct, frozen=True):
    """A persistent volume that is, or is about to be, made for an instance."""

    container_path: str
    uuid: str
    persistence_id: str  # ``app#path#uuid``, the volume's id in Mesos


_TASK_MARK = "._app."  # as Marathon names tasks


class Instance(msgspec.Struct, frozen=True):
    """One instance of an app, from the wish for it to its end; resident ones outlive their tasks.

    ``version`` is that of the app it runs or is to run. ``ports``: the host's, in the order of the app's port
    definitions or mappings, 0 where a mapping has none.
    """

    id: str  # ``folder_app.instance-UUID``
    app_id: str
    version: str
    role: str
    goal: Goal
    condition: Condition
    since: float  # of the condition
    attempt: int = 0  # of its tasks; 0 before the first
    site: Site | None = None
    ports: tuple[int, ...] = ()
    staged_at: float | None = None
    started_at: float | None = None
    mesos_state: str | None = None  # TASK_*
    addresses: tuple[str, ...] = ()  # the container's own, where it has any
    healthy: bool | None = None  # None: no health check, or none has said anything yet
    ready: bool | None = None  # None: no readiness checks
    volumes: tuple[LocalVolume, ...] = ()
    reserved: bool = False  # whether its resources and volumes stand on ``site`` as far as we know
    kill_asked_at: float | None = None

    @property
    def task_id(self) -> TaskId:
        return TaskId(f"{self.id}{_TASK_MARK}{self.attempt}")


def uuid_of(raw: bytes) -> str:
    """Of 16 random bytes."""
    return str(UUID(bytes=raw, version=4))


def instance_id_of(name: str) -> str:
    """Of the instance that is named by its id or by that of a task of it."""
    return name.partition(_TASK_MARK)[0]


class HealthResult(msgspec.Struct, frozen=True):
    """What one health check found of an instance so far; ``index`` is its place among the app's checks."""

    instance_id: str
    index: int
    alive: bool
    consecutive_failures: int = 0
    first_success_at: float | None = None
    last_success_at: float | None = None
    last_failure_at: float | None = None
    last_failure_cause: str | None = None


class ReadinessResult(msgspec.Struct, frozen=True):
    """What one readiness check last found of an instance; ``name`` is the check's."""

    instance_id: str
    name: str
    ready: bool
    status: int | None = None  # of the last answer, with its type and body, where the check preserves it
    content_type: str | None = None
    body: str | None = None


class TaskFailure(msgspec.Struct, frozen=True):
    """The last task of an app that ended though it should not have."""

    app_id: str
    host: str
    message: str
    state: str  # TASK_*
    task_id: str
    timestamp: float
    version: str
    slave_id: str | None = None


class ActionKind(StrEnum):
    """Marathon's own names of what a step does to an app. START is with no instance; RESTART rolls."""

    START = "StartApplication"
    STOP = "StopApplication"
    SCALE = "ScaleApplication"
    RESTART = "RestartApplication"


class Action(msgspec.Struct, frozen=True):
    """``app``: as it shall be (for STOP: as it was); ``kill``: instances that a scaling is to kill first."""

    kind: ActionKind
    app: App
    scale_to: int = 0
    kill: tuple[str, ...] = ()


class Step(msgspec.Struct, frozen=True):
    """Actions that are performed at once; the next step begins when all are done."""

    actions: tuple[Action, ...]


class AppChange(msgspec.Struct, frozen=True):
    """What a deployment changes of one app; None: it is not there."""

    app_id: str
    old: App | None
    new: App | None


class GroupChange(msgspec.Struct, frozen=True):
    """What a deployment changes of one group itself; None: it is not there. ``old`` and ``new``: its dependencies and

    enforceRole.
    """

    group_id: str
    old: tuple[tuple[str, ...], bool | None] | None
    new: tuple[tuple[str, ...], bool | None] | None


class Deployment(msgspec.Struct, frozen=True):
    """A change of what is to run, on its way. ``current`` is the index of the step that is being performed, from 0."""

    id: str  # a UUID
    version: str
    steps: tuple[Step, ...]
    apps: tuple[AppChange, ...]
    groups: tuple[GroupChange, ...] = ()
    current: int = 0

    @property
    def affected(self) -> tuple[str, ...]:
        """Ids of the apps that its steps touch."""
        return tuple(dict.fromkeys(action.app.id for step in self.steps for action in step.actions))
