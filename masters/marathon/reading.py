"""Marathon's JSON as our records. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast

import msgspec

from masters.names import LABEL_POLICY, LABEL_STATE, LABEL_TENANT
from masters.records import ObservedMaster, ObservedTask, Policy, prepared

EMBEDS = ("tasks", "deployments", "lastTaskFailure")
_EMBEDDED = (
    "tasks", "tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy", "deployments", "readinessCheckResults",
    "lastTaskFailure",
)  # fmt: skip
"""What comes with an app and is not of its document."""


@prepared
class Identified(msgspec.Struct):
    id: str


@prepared
class Group(msgspec.Struct):
    """``apps`` where they were asked for."""

    id: str
    groups: list[Identified] = []
    apps: list[dict[str, Any]] = []


@prepared
class AppAnswer(msgspec.Struct):
    app: dict[str, Any]


@prepared
class Versions(msgspec.Struct):
    versions: list[str]


@prepared
class Change(msgspec.Struct, rename="camel"):
    """The answer to a change."""

    version: str
    deployment_id: str


@prepared
class Created(msgspec.Struct):
    """The answer to a new app: the app."""

    version: str
    deployments: list[Identified] = []


class _Declined(msgspec.Struct):
    reason: str
    declined: int
    processed: int


class _Summary(msgspec.Struct, rename="camel"):
    processed_offers_count: int = 0
    reject_summary_last_offers: list[_Declined] = []


class _Delay(msgspec.Struct, rename="camel"):
    time_left_seconds: float = 0
    overdue: bool = True


class Queued(msgspec.Struct, rename="camel"):
    app: Identified | None = None  # None: a pod
    delay: _Delay = msgspec.field(default_factory=_Delay)
    processed_offers_summary: _Summary = msgspec.field(default_factory=_Summary)


@prepared
class Info(msgspec.Struct):
    """Of ``/v2/info``."""

    framework_id: str = msgspec.field(name="frameworkId")


@prepared
class Queue(msgspec.Struct):
    queue: list[Queued]


class _Address(msgspec.Struct, rename="camel"):
    ip_address: str


_ENDED = frozenset(
    f"TASK_{state}"
    for state in ("FINISHED", "FAILED", "KILLED", "ERROR", "LOST", "GONE", "GONE_BY_OPERATOR", "DROPPED")
)
"""Marathon goes on telling of the last task of an instance that has a reservation, as those with persistent volumes."""


class _Check(msgspec.Struct, rename="camel"):
    alive: bool = False
    consecutive_failures: int = 0
    first_success: str | None = None


class _Task(msgspec.Struct, rename="camel"):
    id: str
    host: str = ""
    state: str = ""
    ip_addresses: list[_Address] | None = None
    ports: list[int] | None = None
    started_at: str | None = None
    health_check_results: list[_Check | None] | None = None


class _Failure(msgspec.Struct):
    message: str = ""
    timestamp: str = ""


@prepared
class _App(msgspec.Struct, rename="camel"):
    """What of an app is ours to understand."""

    id: str
    version: str
    instances: int = 1
    labels: dict[str, str] = {}
    tasks: list[_Task] = []
    deployments: list[Identified] = []
    last_task_failure: _Failure | None = None


def master_of(app: dict[str, Any]) -> ObservedMaster | None:
    """An app with what was embedded, which is taken out of it; None where it is no master of ours.

    Raises msgspec.ValidationError where it is none of Marathon's.
    """
    found = msgspec.convert(app, _App)
    tenant = found.labels.get(LABEL_TENANT)
    if not tenant:
        return None
    failure = found.last_task_failure
    return ObservedMaster(
        tenant=tenant,
        app_id=found.id,
        version=found.version,
        document=document_of(app),
        tasks=tuple(_task(one) for one in found.tasks if one.state not in _ENDED),
        deployments=tuple(one.id for one in found.deployments),
        policy=_policy(found.labels),
        wanted=_wanted(found),
        last_failure=None if failure is None else (failure.message, _unix_s(failure.timestamp) or 0.0),
    )


def document_of(app: dict[str, Any]) -> Mapping[str, Any]:
    """The same, without what was embedded."""
    for key in _EMBEDDED:
        app.pop(key, None)
    return app


def reasons(queued: Sequence[Queued], app_id: str) -> list[str]:
    """Why the app's instances wait to be launched, in words."""
    return [words for one in queued if one.app is not None and one.app.id == app_id for words in _reasons(one)]


_WORDS = {
    "InsufficientCpus": "too few CPUs are free",
    "InsufficientMemory": "too little memory is free",
    "InsufficientDisk": "too little disk is free",
    "InsufficientGpus": "too few GPUs are free",
    "InsufficientPorts": "a port that it must have is taken",
    "UnfulfilledConstraint": "its constraints are not met",
    "UnfulfilledRole": "nothing is offered to its role",
    "NoCorrespondingReservationFound": "its reservation, with its volume, is not there",
    "AgentMaintenance": "maintenance is about to begin",
    "DeclinedScarceResources": "GPUs are kept for those that need some",
}
"""Of Marathon's own names (NoOfferMatchReason in 1.9)."""


def _reasons(one: Queued) -> Iterator[str]:
    if not one.delay.overdue and one.delay.time_left_seconds >= 1:
        yield f"it failed before, and is tried again in {one.delay.time_left_seconds:.0f} s"
    summary = one.processed_offers_summary
    declined = [step for step in summary.reject_summary_last_offers if step.declined > 0]
    for step in declined:
        yield f"on {step.declined} of {step.processed} offered hosts {_WORDS.get(step.reason, step.reason)}"
    if not declined and not summary.processed_offers_count:
        yield "no host has been offered for it yet"


def _task(task: _Task) -> ObservedTask:
    checks = [one for one in task.health_check_results or [] if one is not None]
    succeeded = [_unix_s(one.first_success) for one in checks]
    return ObservedTask(
        id=task.id,
        host=task.host,
        address=task.ip_addresses[0].ip_address if task.ip_addresses else task.host,
        ports=tuple(task.ports or ()),
        state=task.state,
        started_at=_unix_s(task.started_at),
        healthy=_healthy(checks),
        healthy_at=max((at for at in succeeded if at is not None), default=None) if _healthy(checks) else None,
    )


def _healthy(checks: list[_Check]) -> bool | None:
    """A check that has said nothing yet is there with neither a success nor a failure."""
    if any(not one.alive and (one.consecutive_failures or one.first_success) for one in checks):
        return False
    return True if checks and all(one.alive for one in checks) else None


def _policy(labels: Mapping[str, str]) -> Policy:
    """An app whose label somebody has changed by hand is a master all the same, with no policy, until it is applied."""
    try:
        return msgspec.json.decode(labels.get(LABEL_POLICY, "{}"), type=Policy)
    except (msgspec.MsgspecError, ValueError):
        return Policy()


def _wanted(app: _App) -> Literal["on", "asleep", "off"]:
    """How many instances there are to be counts, whoever said so; the label tells the two kinds of none."""
    if app.instances:
        return "on"
    label = app.labels.get(LABEL_STATE)
    return cast(Literal["asleep"], label) if label == "asleep" else "off"


def _unix_s(stamp: str | None) -> float | None:
    try:
        return datetime.fromisoformat(stamp).timestamp() if stamp else None
    except ValueError:
        return None
