"""A Marathon-compatible server without Mesos behind the API's port: it plans and keeps, and runs nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from framework.core.ids import FrameworkId, HostId
from framework.local.marathon.control import (
    AppLockedError,
    NoSuchDeploymentError,
    QueueEntry,
    Started,
    TooManyDeploymentsError,
)
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.read import EMPTY
from framework.local.marathon.groups.planning import plan, revert
from framework.local.marathon.groups.settling import settle
from framework.local.marathon.groups.tree import app_of, apps_of, group_of
from framework.local.marathon.happenings import DeploymentTold, Happening
from framework.local.marathon.records import (
    Condition,
    Deployment,
    Goal,
    HealthResult,
    Instance,
    ReadinessResult,
    Site,
    Step,
    TaskFailure,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class FakeMarathon:
    """Implements ``framework.local.marathon.control.Control`` and ``View``.

    Deployments end at once, unless ``holding``. ``failing`` is raised by everything that changes something.
    """

    def __init__(self) -> None:
        self.root: Group = EMPTY
        self.roots: list[Group] = []
        self.apps: dict[tuple[str, str], App] = {}
        self.known: dict[str, Instance] = {}
        self.running: dict[str, Deployment] = {}
        self.checked: dict[str, list[HealthResult]] = {}
        self.ready: dict[str, list[ReadinessResult]] = {}
        self.failures: dict[str, TaskFailure] = {}
        self.queued: list[QueueEntry] = []
        self.killed: list[tuple[tuple[str, ...], bool]] = []
        self.scaled_by: Mapping[str, Sequence[str]] = {}
        self.restarted: Sequence[str] = ()
        self.abdicated = False
        self.holding = False
        self.limit = 100
        self.failing: Exception | None = None
        self.takers: list[Callable[[Happening, float], None]] = []
        self._count = 0

    # What a test does to it.

    def launch(
        self, app_id: str, *, port: int = 31000, condition: Condition = Condition.RUNNING, **more: Any
    ) -> Instance:
        """One more instance of the app, on a host of its own."""
        app = app_of(self.root, app_id)
        assert app is not None
        number = len(self.known) + 1
        instance = Instance(
            id=f"{app_id[1:].replace('/', '_')}.instance-{uuid.UUID(int=number)}",
            app_id=app_id,
            version=app.version,
            role=app.role,
            goal=Goal.RUNNING,
            condition=condition,
            since=NOW.timestamp(),
            attempt=1,
            site=Site(HostId(f"S{number}"), f"host-{number}", {"@region": "north", "@zone": "n1"}),
            ports=tuple(port + index for index in range(len(app.service_ports))),
            staged_at=NOW.timestamp(),
            started_at=NOW.timestamp(),
            mesos_state="TASK_RUNNING",
        )
        self.known[instance.id] = instance = replace(instance, **more)
        return instance

    def happen(self, told: Happening, at: float = NOW.timestamp()) -> None:
        for take in list(self.takers):
            take(told, at)

    def tell_deployment(self, kind: str, deployment: Deployment) -> None:
        self.happen(DeploymentTold(kind, deployment, 0, EMPTY, self.root))

    # View.

    @property
    def view(self) -> FakeMarathon:
        return self

    framework_id = FrameworkId("framework-1")
    connected = True
    mesos_url = "http://127.0.0.1:5050"

    def app(self, app_id: str) -> App | None:
        return app_of(self.root, app_id)

    def group(self, group_id: str) -> Group | None:
        return group_of(self.root, group_id)

    def instances(self, app_id: str) -> Sequence[Instance]:
        return [one for one in self.known.values() if one.app_id == app_id]

    def all_instances(self) -> Sequence[Instance]:
        return list(self.known.values())

    def instance(self, instance_id: str) -> Instance | None:
        return self.known.get(instance_id)

    def deployments(self) -> Sequence[Deployment]:
        return list(self.running.values())

    def deployments_of(self, app_id: str) -> Sequence[str]:
        return [one.id for one in self.running.values() if app_id in one.affected]

    def health(self, instance_id: str) -> Sequence[HealthResult]:
        return self.checked.get(instance_id, [])

    def check_result(self, instance_id: str) -> Mapping[str, Any] | None:
        return None

    def readiness(self, app_id: str) -> Sequence[ReadinessResult]:
        return self.ready.get(app_id, [])

    def last_failure(self, app_id: str) -> TaskFailure | None:
        return self.failures.get(app_id)

    def queue(self) -> Sequence[QueueEntry]:
        return self.queued

    # Control.

    def new_version(self) -> str:
        self._count += 1
        return (NOW + timedelta(milliseconds=self._count)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

    def plan(self, target: Group) -> tuple[Step, ...]:
        version = self.new_version()
        return plan(self.root, settle(self.root, target, version), version=version, deployment_id="dry").steps

    async def deploy(
        self,
        change: Callable[[Group, str], Group],
        *,
        force: bool = False,
        restart: Sequence[str] = (),
        kill: Mapping[str, Sequence[str]] | None = None,
    ) -> Started:
        version = self.new_version()
        before = self.root
        after = settle(before, change(before, version), version, restart=restart)
        if self.failing is not None:
            raise self.failing
        deployment_id = str(uuid.UUID(int=self._count))
        deployment = plan(before, after, version=version, deployment_id=deployment_id, kill=kill)
        affected = frozenset(deployment.affected)
        locking = [one.id for one in self.running.values() if not affected.isdisjoint(one.affected)]
        if locking and not force:
            raise AppLockedError(deployment.affected[0], locking)
        for one in locking:
            del self.running[one]
        if len(self.running) >= self.limit:
            raise TooManyDeploymentsError(self.limit)
        self.root = after
        self.roots.append(after)
        self.apps.update({(app.id, app.version): app for app in apps_of(after)})
        self.scaled_by, self.restarted = kill or {}, restart
        if self.holding and deployment.steps:
            self.running[deployment.id] = deployment
        return Started(deployment.id, version)

    async def cancel(self, deployment_id: str, *, force: bool) -> Started | None:
        deployment = self.running.get(deployment_id)
        if deployment is None:
            raise NoSuchDeploymentError(deployment_id)
        if force:
            del self.running[deployment_id]
            return None
        return await self.deploy(lambda root, _: revert(deployment, root), force=True)

    async def kill(self, instance_ids: Sequence[str], *, wipe: bool) -> None:
        if self.failing is not None:
            raise self.failing
        self.killed.append((tuple(instance_ids), wipe))

    async def reset_delay(self, app_id: str) -> bool:
        return any(one.app.id == app_id for one in self.queued)

    async def versions(self, app_id: str) -> list[str]:
        return sorted((version for known, version in self.apps if known == app_id), reverse=True)

    async def app_at(self, app_id: str, version: str) -> App | None:
        return self.apps.get((app_id, version))

    async def group_versions(self, group_id: str) -> list[str]:
        return [root.version for root in reversed(self.roots) if group_of(root, group_id) is not None]

    async def group_at(self, group_id: str, version: str) -> Group | None:
        return next((group_of(root, group_id) for root in self.roots if root.version == version), None)

    def subscribe(self, take: Callable[[Happening, float], None]) -> Callable[[], None]:
        self.takers.append(take)
        return lambda: self.takers.remove(take)

    async def abdicate(self) -> None:
        self.abdicated = True
