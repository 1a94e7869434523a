"""Deployments: begun, cancelled, and led from step to step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from framework.local.marathon.control import (
    AppLockedError,
    ChangeRefusedError,
    NoSuchDeploymentError,
    Started,
    TooManyDeploymentsError,
)
from framework.local.marathon.core.effects import Effect, SaveRoot
from framework.local.marathon.core.frame import Frame
from framework.local.marathon.core.offering import conclude
from framework.local.marathon.core.scaling import perform, stop, toward
from framework.local.marathon.core.state import Acting, Running, State, outcome_of
from framework.local.marathon.definition import paths
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.groups import planning
from framework.local.marathon.groups.settling import settle
from framework.local.marathon.happenings import DeploymentTold, GroupChanged
from framework.local.marathon.records import Deployment, Goal


def deploy(
    state: State,
    change: Callable[[Group, str], Group],
    now: float,
    *,
    force: bool = False,
    restart: Sequence[str] = (),
    kill: Mapping[str, Sequence[str]] | None = None,
    replacing: Sequence[str] = (),
) -> tuple[Started, list[Effect]]:
    """As ``Control.deploy`` has it; raises before anything is changed. The effects are a turn's.

    ``replacing``: running deployments that end for this one in any case.
    """
    version = state.new_version(now)
    before = state.root
    first, last = state.config.service_ports
    after = settle(before, change(before, version), version, restart=restart, first_port=first, last_port=last)
    deployment = planning.plan(before, after, version=version, deployment_id=state.new_uuid(), kill=kill)
    rivals = dict.fromkeys([*replacing, *(state.locks[one] for one in deployment.affected if one in state.locks)])
    refused = _refusal(state, deployment, list(rivals), force=force)
    if refused is not None:
        refused.told = GroupChanged(_changed_group(deployment), version, str(refused))
        raise refused

    frame = Frame(state, now)
    for rival in rivals:
        _end(frame, state.running[rival], "deployment_failed", f"replaced by deployment {deployment.id}")
    state.remember(one.old for one in deployment.apps)
    state.root = after
    apps = tuple(one.new for one in deployment.apps if one.new is not None)
    removed = tuple(one.app_id for one in deployment.apps if one.new is None)
    frame.save("root", "", SaveRoot(after, apps, removed))
    frame.publish(GroupChanged(_changed_group(deployment), version))
    state.dirty.update(dict.fromkeys(one.app_id for one in deployment.apps))
    _enter(frame, state.begin(deployment, before, after), 0)
    lead(frame)
    conclude(frame)
    return Started(deployment.id, version), frame.effects()


def _refusal(state: State, deployment: Deployment, rivals: Sequence[str], *, force: bool) -> ChangeRefusedError | None:
    limit = state.config.max_running_deployments
    if deployment.steps and len(state.running) - (len(rivals) if force else 0) >= limit:
        return TooManyDeploymentsError(limit)
    if rivals and not force:
        return AppLockedError(next(one for one in deployment.affected if one in state.locks), rivals)
    return None


def cancel(state: State, deployment_id: str, now: float, *, force: bool) -> tuple[Started | None, list[Effect]]:
    """As ``Control.cancel`` has it; raises before anything is changed. The effects are a turn's."""
    running = state.running.get(deployment_id)
    if running is None:
        raise NoSuchDeploymentError(f"DeploymentPlan {deployment_id} does not exist")
    if not force:
        deployment = running.deployment
        return deploy(
            state,
            lambda root, _version: planning.revert(deployment, root),
            now,
            force=True,
            replacing=(deployment_id,),
        )
    frame = Frame(state, now)
    _end(frame, running, "deployment_failed", "cancelled")
    lead(frame)
    conclude(frame)
    return None, frame.effects()


def go_on(frame: Frame) -> None:
    """After a restart: every deployment performs the step it was at, which does nothing twice."""
    for running in list(frame.state.running.values()):
        _enter(frame, running, running.deployment.current)


def lead(frame: Frame) -> None:
    """Looks at every app of which something has changed, until nothing more comes of it."""
    state = frame.state
    while state.dirty:
        app_id = next(iter(state.dirty))
        del state.dirty[app_id]
        acting = state.acting.get(app_id)
        if acting is None:
            _keep(frame, app_id)
        elif perform(frame, acting):
            _done(frame, app_id, state.running[acting.deployment_id])


def _done(frame: Frame, app_id: str, running: Running) -> None:
    acting = frame.state.acting.pop(app_id)
    running.held[app_id] = outcome_of(acting.action)
    running.open.discard(app_id)
    if not running.open:
        _tell(frame, running, "deployment_step_success")
        _enter(frame, running, running.deployment.current + 1)


def _enter(frame: Frame, running: Running, index: int) -> None:
    deployment = running.deployment
    if index >= len(deployment.steps):
        _end(frame, running, "deployment_success")
        return
    frame.put_deployment(replace(deployment, current=index))
    _tell(frame, running, "deployment_info")
    for action in deployment.steps[index].actions:
        running.open.add(action.app.id)
        frame.state.acting[action.app.id] = Acting(deployment.id, action)
        frame.state.dirty[action.app.id] = None


def _end(frame: Frame, running: Running, kind: str, reason: str = "") -> None:
    state, deployment = frame.state, running.deployment
    del state.running[deployment.id]
    if kind == "deployment_failed":
        _tell(frame, running, "deployment_step_failure")
    for app_id in deployment.affected:
        state.locks.pop(app_id, None)
        state.acting.pop(app_id, None)
        state.forget_versions(app_id)
        state.dirty[app_id] = None
    frame.drop_deployment(deployment.id)
    _tell(frame, running, kind, reason)


def _tell(frame: Frame, running: Running, kind: str, reason: str = "") -> None:
    deployment = running.deployment
    frame.publish(DeploymentTold(kind, deployment, deployment.current, running.before, running.after, reason))


def _keep(frame: Frame, app_id: str) -> None:
    """Holds an app that nothing is being done to at what it is to be."""
    wish = _wish(frame.state, app_id)
    if wish is not None:
        toward(frame, *wish)
    elif any(one.goal is not Goal.DECOMMISSIONED for one in frame.state.instances(app_id)):
        stop(frame, app_id)
    elif not frame.state.book(app_id).instances:
        frame.state.forget_app(app_id)


def _wish(state: State, app_id: str) -> tuple[App, int] | None:
    """The app and its number of instances as of now; of one that a later step is to change, as it was before."""
    deployment_id = state.locks.get(app_id)
    if deployment_id is not None:
        return state.running[deployment_id].held[app_id]
    app = state.app(app_id)
    return None if app is None else (app, app.instances)


def _changed_group(deployment: Deployment) -> str:
    """The smallest group that all apps of the change are in, whether or not it is new itself, else all its groups."""
    ids = [paths.parent(one.app_id) for one in deployment.apps] or [one.group_id for one in deployment.groups]
    return _common(ids) if ids else "/"


def _common(ids: Iterable[str]) -> str:
    ways = [one.strip("/").split("/") for one in ids]
    common: list[str] = []
    for parts in zip(*ways, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return "/" + "/".join(common)
