"""Tenants, requests, and the life cycle of tasks as a table."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from framework.core.ids import HostId, OfferId, RequestId, TaskId, TenantName
from framework.core.jenkins import JenkinsSide
from framework.core.origin import Origin
from framework.core.pieces import ReservedUse
from framework.core.resources import Resources
from framework.core.templates import Template
from framework.errors import ButleryError


class FailureClass(StrEnum):
    """How a request ended, or one attempt at it. The values are ``agents.spec.RESULT_CLASSES`` and the core's own."""

    PASSED = "passed"
    FAILED = "failed"
    OOM = "oom"
    TIMEOUT = "timeout"
    PIDS = "pids"
    LOG_LIMIT = "log_limit"
    DISK = "disk"
    CANCELLED = "cancelled"
    CHECKOUT = "checkout"
    IMAGE = "image"
    INFRASTRUCTURE = "infrastructure"
    PREEMPTED = "preempted"
    CONNECT = "connect"  # its agent ran and never came to its master, or left it for good


class Quota(msgspec.Struct, frozen=True):
    """The most a tenant may use at once; None where there is no limit."""

    cpu_millis: int | None = None
    mem_mib: int | None = None
    builds: int | None = None


class Tenant(msgspec.Struct, frozen=True):
    """A team: its weight in the fair share and its quota."""

    name: TenantName
    weight: int = 100
    quota: Quota = Quota()
    role: str | None = None  # the Mesos role whose offers its builds take; None: any of ours


SPARES = TenantName("~spares")
"""Owns agents that stand ready for whoever needs one first; no tenant that people see, or could name."""


class RequestState(StrEnum):
    WAITING = "waiting"  # for a claim on an offer
    PREPARING = "preparing"  # holds a claim while its node is made in Jenkins; saved as waiting
    LAUNCHING = "launching"  # its task was sent to Mesos and has not said that it runs
    RUNNING = "running"
    ENDING = "ending"  # its task was asked to end
    ENDED = "ended"


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt or a request ended; measured values are None where nobody measured them."""

    result_class: FailureClass
    message: str = ""
    exit_code: int | None = None
    signal: int | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    peak_mem_mib: float | None = None
    limit_mem_mib: int | None = None
    peak_disk_mib: float | None = None
    isolation: str | None = None
    leftover_processes: int = 0
    artifacts: list[str] = []


class Request(msgspec.Struct, gc=False):
    """Demand for one agent. Times are seconds since the epoch."""

    id: RequestId
    tenant: TenantName
    job: str
    template: Template
    submitted_at: float
    priority: int = 0  # higher goes first among the tenant's own
    retries: int = 2  # attempts more after losses that were none of the build's doing
    state: RequestState = RequestState.WAITING
    attempt: int = 0  # of the newest task; 0 before the first
    not_before: float = 0.0  # no attempt before this time
    avoid_hosts: list[HostId] = []  # hosts that lost an attempt of it
    losses: int = 0  # attempts lost that were none of the build's doing
    drops: int = 0  # launches that Mesos dropped before they reached a host
    image_failures: int = 0
    preemptions: int = 0  # attempts that made room for another tenant's
    cancel_reason: str | None = None
    claimed_at: float | None = None  # when the newest attempt had its place on a host; saved once that is launched
    launched_at: float | None = None
    running_at: float | None = None
    ended_at: float | None = None
    outcome: Outcome | None = None
    jenkins: JenkinsSide | None = None  # None for jobs of the API
    origin: Origin | None = None  # of those that a webhook brought
    hostname: str = ""  # of the newest attempt's host
    given: TaskId | None = None  # the spare that is its newest attempt, which has that name for ever


class TaskState(StrEnum):
    LAUNCHING = "launching"
    RUNNING = "running"
    UNREACHABLE = "unreachable"  # Mesos lost sight of its host; it may come back
    KILLING = "killing"
    ENDED = "ended"


class Task(msgspec.Struct, gc=False):
    """One attempt at a request: one Mesos task on one host."""

    id: TaskId
    request_id: RequestId
    tenant: TenantName
    host_id: HostId
    hostname: str
    offer_ids: list[OfferId]
    resources: Resources  # the build's own and the Mesos executor's
    state: TaskState
    launched_at: float
    deadline: float  # when the present state has lasted too long
    running_at: float | None = None
    ended_at: float | None = None
    kill_class: FailureClass | None = None  # why we asked it to end
    kill_reason: str = ""
    kill_spares_retry: bool = False  # its end, where that is infrastructure's doing, uses up no retry of its request
    made_room_for: RequestId | None = None  # the request of another tenant that it was ended for
    kills_sent: int = 0
    unseen_since: float | None = None  # when Mesos lost sight of its host, until it is seen again
    outcome: Outcome | None = None
    role: str = "*"  # the offers' it was launched on
    reserved: ReservedUse = ReservedUse.LAST  # how it draws from them
    ports: list[int] = []
    mesos_executor_id: str = ""  # the task's own id, but where builds of a host share one
    history: list[str] = []  # moves made, the newest last; bounded by the table
    given_as: int = 0  # of what was a spare: which attempt at its request it is

    @property
    def attempt(self) -> int:
        """Which attempt at its request it is, from 1; some have no task, as those whose nodes could not be had."""
        return self.given_as or int(self.id.rpartition(".")[2])


class InvalidTransitionError(ButleryError):
    """A move that the life cycle's table does not have; carries the task's history."""

    def __init__(self, task: Task, move: str) -> None:
        super().__init__(
            f"task {task.id} is {task.state.value} and cannot take {move}; history: {', '.join(task.history) or 'none'}"
        )
        self.task_id = task.id
        self.move = move


_MOVES: dict[tuple[TaskState, str], TaskState] = {
    (TaskState.LAUNCHING, "stage"): TaskState.LAUNCHING,
    (TaskState.LAUNCHING, "run"): TaskState.RUNNING,
    (TaskState.LAUNCHING, "lose_sight"): TaskState.UNREACHABLE,
    (TaskState.LAUNCHING, "kill"): TaskState.KILLING,
    (TaskState.LAUNCHING, "end"): TaskState.ENDED,
    (TaskState.RUNNING, "run"): TaskState.RUNNING,  # told again by reconciliation
    (TaskState.RUNNING, "lose_sight"): TaskState.UNREACHABLE,
    (TaskState.RUNNING, "kill"): TaskState.KILLING,
    (TaskState.RUNNING, "end"): TaskState.ENDED,
    (TaskState.UNREACHABLE, "stage"): TaskState.LAUNCHING,
    (TaskState.UNREACHABLE, "run"): TaskState.RUNNING,  # its host came back
    (TaskState.UNREACHABLE, "lose_sight"): TaskState.UNREACHABLE,
    (TaskState.UNREACHABLE, "kill"): TaskState.KILLING,
    (TaskState.UNREACHABLE, "end"): TaskState.ENDED,
    (TaskState.KILLING, "stage"): TaskState.KILLING,  # sent before our kill arrived
    (TaskState.KILLING, "run"): TaskState.KILLING,
    (TaskState.KILLING, "lose_sight"): TaskState.KILLING,
    (TaskState.KILLING, "kill"): TaskState.KILLING,  # asked again, unanswered the last time
    (TaskState.KILLING, "end"): TaskState.ENDED,
}
_HISTORY_LENGTH = 16


def move(task: Task, name: str, now: float) -> None:
    """Moves the task along its life cycle. Raises InvalidTransitionError where the table has no such move."""
    target = _MOVES.get((task.state, name))
    if target is None:
        raise InvalidTransitionError(task, name)
    if target is not task.state or name == "kill":
        task.history = [*task.history[1 - _HISTORY_LENGTH :], f"{name}@{now:.3f}"]
    task.state = target
