"""What the HTTP API asks of the server: ``View`` to read, ``Control`` to change. All on the loop's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from framework.core.ids import FrameworkId
from framework.errors import ButleryError
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.happenings import GroupChanged, Happening
from framework.local.marathon.records import (
    Deployment,
    HealthResult,
    Instance,
    ReadinessResult,
    Step,
    TaskFailure,
)


class ChangeRefusedError(ButleryError):
    """What is wanted can be had, but not now. ``told``: what subscribers are told of it."""

    told: GroupChanged | None = None


class AppLockedError(ChangeRefusedError):
    """409: running deployments touch the same apps, and it was not forced."""

    def __init__(self, app_id: str, deployment_ids: Sequence[str]) -> None:
        super().__init__(f"App is locked by one or more deployments: {', '.join(deployment_ids)}")
        self.app_id = app_id
        self.deployment_ids = tuple(deployment_ids)


class TooManyDeploymentsError(ChangeRefusedError):
    """403: as many deployments run as may."""

    retryable = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"Max number of running deployments ({limit}) is achieved")
        self.limit = limit


class NoSuchDeploymentError(ButleryError):
    """404."""


class Started(msgspec.Struct, frozen=True):
    """A deployment that is saved and under way. Where nothing was to be done it has ended already."""

    deployment_id: str
    version: str


class UnusedOffer(msgspec.Struct, frozen=True):
    """An offer that an app could not use, and why, in Marathon's words (``matching.reasons``)."""

    offer_id: str
    host_id: str
    hostname: str
    resources: Sequence[Any]  # framework.core.offers.Offer's pieces and amounts, as ``api`` renders them
    attributes: Mapping[str, str]
    reasons: tuple[str, ...]
    timestamp: float


class QueueEntry(msgspec.Struct, frozen=True):
    """An app that has instances to be launched."""

    app: App
    count: int
    role: str
    delay_s: float  # left of its back-off; 0: none
    since: float
    processed: int  # offers looked at for it since ``since``
    unused: int
    last_used_at: float | None
    last_unused_at: float | None
    last_offers: tuple[tuple[str, int, int], ...]  # reason, declined, processed; of the last offer of each host
    unused_offers: tuple[UnusedOffer, ...]


class View(Protocol):
    """What is wanted and what is; every answer is a snapshot of records that never change."""

    @property
    def root(self) -> Group:
        """What is wanted; running deployments are on their way to it."""
        ...

    def app(self, app_id: str) -> App | None: ...

    def group(self, group_id: str) -> Group | None: ...

    def instances(self, app_id: str) -> Sequence[Instance]:
        """Those with a task, or with a reservation that outlives it, and those that wait; oldest first."""
        ...

    def all_instances(self) -> Sequence[Instance]: ...

    def instance(self, instance_id: str) -> Instance | None: ...

    def deployments(self) -> Sequence[Deployment]: ...

    def deployments_of(self, app_id: str) -> Sequence[str]:
        """Ids of the running deployments that touch it."""
        ...

    def health(self, instance_id: str) -> Sequence[HealthResult]: ...

    def check_result(self, instance_id: str) -> Mapping[str, Any] | None:
        """Of the app's ``check``, as the API tells it."""
        ...

    def readiness(self, app_id: str) -> Sequence[ReadinessResult]: ...

    def last_failure(self, app_id: str) -> TaskFailure | None: ...

    def queue(self) -> Sequence[QueueEntry]: ...

    @property
    def framework_id(self) -> FrameworkId | None: ...

    @property
    def connected(self) -> bool: ...

    @property
    def mesos_url(self) -> str | None: ...


class Control(Protocol):
    """Changes are decided at once and saved when these return. Raises UnavailableError while nothing can be saved."""

    @property
    def view(self) -> View: ...

    def new_version(self) -> str:
        """A timestamp in milliseconds, later than every one given out before, over restarts too."""
        ...

    def plan(self, target: Group) -> tuple[Step, ...]:
        """The steps that ``deploy`` would perform (``dryRun``)."""
        ...

    async def deploy(
        self,
        change: Callable[[Group, str], Group],
        *,
        force: bool = False,
        restart: Sequence[str] = (),
        kill: Mapping[str, Sequence[str]] | None = None,
    ) -> Started:
        """Saved and under way when it returns.

        ``change`` makes the new root of the present one and the new version; called once, at once, and free to raise.
        ``restart``: apps that are rolled though nothing of them changed. ``kill``: by app the instances that scaling it
        down is to kill first. Raises what ``change`` raises, InvalidObjectError where the new root breaks a rule of the
        whole (circular dependencies, no service port left), AppLockedError, TooManyDeploymentsError,
        UnavailableError where the state cannot be saved now.
        """
        ...

    async def cancel(self, deployment_id: str, *, force: bool) -> Started | None:
        """Reverts what the deployment changes by another one or, forced, only stops it (None).

        Raises NoSuchDeploymentError, and as ``deploy``.
        """
        ...

    async def kill(self, instance_ids: Sequence[str], *, wipe: bool) -> None:
        """Ends their tasks, which are launched anew as far as they are wanted; ``wipe`` destroys their volumes."""
        ...

    async def reset_delay(self, app_id: str) -> bool:
        """Ends the app's back-off; False where it has nothing in the queue."""
        ...

    async def versions(self, app_id: str) -> list[str]:
        """Of the app that are known, the newest first."""
        ...

    async def app_at(self, app_id: str, version: str) -> App | None: ...

    async def group_versions(self, group_id: str) -> list[str]:
        """The newest first."""
        ...

    async def group_at(self, group_id: str, version: str) -> Group | None: ...

    def subscribe(self, take: Callable[[Happening, float], None]) -> Callable[[], None]:
        """``take`` is called with each happening and its time, in order, after it is saved; returns what ends that."""
        ...

    async def abdicate(self) -> None:
        """Ends the process, which is started again by what keeps it."""
        ...
