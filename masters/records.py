"""What is found of masters, what is to be done, what came of it: plain records that the rooms hand each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")


def prepared(kind: type[T]) -> type[T]:
    """For each msgspec kind that threads read JSON as: it is made ready before there are any.

    msgspec does so at the first reading, and a second thread that reads meanwhile has the process end by SIGSEGV (seen
    with 0.22).
    """
    msgspec.json.Decoder(kind)
    return kind


@prepared
class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one master, in its app's label ``BUTLERY_POLICY``: the app itself is the only record of it."""

    host: str | None = None  # address' host name
    path: str | None = None  # address' path prefix
    agents: bool = False  # a TCP route for inbound agents
    idle_s: float | None = None  # hibernation
    backup_every_s: float | None = None
    volume: str = ""  # kind and name, such as ``host_path:/srv/jenkins/payments``: what the ledger knows it by
    volume_mib: int | None = None
    version: str | None = None  # of Jenkins, where the YAML says it
    real: bool = True  # False: a master that only pretends (benchmarks); no route is verified
    hidden: tuple[str, ...] = ()  # variables that hold secrets in clear, which are never shown


class MasterState(StrEnum):
    """Of a master as users see it."""

    ON = "on"  # healthy
    STARTING = "starting"  # wanted, not yet healthy
    FAILING = "failing"  # wanted, and its last task ended or is unhealthy
    ASLEEP = "asleep"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class ObservedTask:
    """Of a master's app, in Marathon."""

    id: str
    host: str  # Mesos' hostname
    address: str  # what to connect to: the task's IP address where Marathon tells one, else the host
    ports: tuple[int, ...]
    state: str  # TASK_*
    started_at: float | None  # unix s
    healthy: bool | None  # None: not known yet
    healthy_at: float | None  # first success, unix s

    @property
    def boot_s(self) -> float | None:
        """How long it took from its start until it was healthy; None where it was not yet."""
        return None if self.started_at is None or self.healthy_at is None else self.healthy_at - self.started_at


@dataclass(frozen=True, slots=True)
class ObservedMaster:
    """One app below the masters' group. ``document`` is Marathon's own, as a dict."""

    tenant: str
    app_id: str
    version: str
    document: Mapping[str, Any]
    tasks: tuple[ObservedTask, ...]
    deployments: tuple[str, ...]  # ids of those that touch it
    policy: Policy
    wanted: Literal["on", "asleep", "off"]
    last_failure: tuple[str, float] | None = None  # message, unix s

    @property
    def newest_task(self) -> ObservedTask | None:
        return max(self.tasks, key=lambda task: task.started_at or 0, default=None)

    @property
    def failed_at(self) -> float | None:
        """When its last task failed, unix s."""
        return None if self.last_failure is None else self.last_failure[1]

    @property
    def serves(self) -> bool:
        """Whether a task of it is healthy, wanted or not."""
        return any(task.healthy for task in self.tasks)

    @property
    def state(self) -> MasterState:
        if self.wanted != "on":
            return MasterState(self.wanted)
        if self.serves:
            return MasterState.ON
        failing = any(task.healthy is False for task in self.tasks) or (
            not self.tasks and self.last_failure is not None
        )
        return MasterState.FAILING if failing else MasterState.STARTING


@dataclass(frozen=True, slots=True)
class ObservedShare:
    """A tenant as the scheduler has it."""

    tenant: str
    weight: int
    cpus: float | None
    mem_mib: int | None
    builds: int | None


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a plan is held against. ``boots``: seconds of each tenant's last boot; ``secrets``: sources that the

    secret store has, with the SHA-256 of each."""

    masters: Mapping[str, ObservedMaster]
    shares: Mapping[str, ObservedShare]
    boots: Mapping[str, float] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


class ChangeKind(StrEnum):
    CREATE = "create"
    UPDATE = "update"  # the app changes
    SHARE = "share"  # weight or quota alone
    SECRETS = "secrets"  # what a secret holds alone
    GONE = "gone"  # runs, and no YAML speaks of it: told, done only with --prune


@dataclass(frozen=True, slots=True)
class Difference:
    """One value: ``path`` such as ``cpus`` or ``env.GIT_DEPTH``; values as JSON would show them, secrets never."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """What one tenant needs. ``app`` is the whole document to PUT where the app changes, ``version`` the one it was

    planned against (None: there is none yet). ``restarts``: whether a running master is replaced by it."""

    tenant: str
    kind: ChangeKind
    app_id: str
    differences: tuple[Difference, ...]
    app: Mapping[str, Any] | None = None
    version: str | None = None
    share: ObservedShare | None = None  # as it is to be, where it changes
    restarts: bool = False


class Outcome(StrEnum):
    """Of one change."""

    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    TAKEN_BACK = "taken back"  # it failed, and the last good version runs again
    SKIPPED = "skipped"  # stopped before its turn

    @property
    def well(self) -> bool:
        """Whether all is as it was to be."""
        return self in (Outcome.DONE, Outcome.UNCHANGED)


@dataclass(frozen=True, slots=True)
class Done:
    tenant: str
    outcome: Outcome
    message: str = ""
    took_s: float = 0.0
