"""What a final status of Mesos means: the class of the end, and what was measured."""

from __future__ import annotations

import re

import msgspec

from framework.core.events import TaskUpdate
from framework.core.tasks import FailureClass, Outcome, Task

TERMINAL = frozenset(
    {
        "TASK_FINISHED",
        "TASK_FAILED",
        "TASK_KILLED",
        "TASK_ERROR",
        "TASK_LOST",
        "TASK_DROPPED",
        "TASK_GONE",
        "TASK_GONE_BY_OPERATOR",
    }
)
"""As mesos.proto 1.11 says. TASK_UNREACHABLE and TASK_UNKNOWN are not: the task may be seen again."""

_WITH_RESULT = frozenset({"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED"})
OUT_OF_SIGHT = frozenset({"TASK_UNREACHABLE", "TASK_UNKNOWN"})
_NEVER_STARTED = frozenset({"TASK_DROPPED", "TASK_LOST", "TASK_ERROR"})
_MEGABYTES = re.compile(r"Requested: ?(\d+)\w*.*?Maximum Used: ?(\d+)")
_BY_REASON = {
    "REASON_CONTAINER_LIMITATION_MEMORY": FailureClass.OOM,
    "REASON_CONTAINER_LIMITATION_DISK": FailureClass.DISK,
}


def result_follows(update: TaskUpdate) -> bool:
    """Whether Mesos only says, because we asked, that the task ended. Its final status, which holds the result, comes:

    nobody has acknowledged it, else Mesos would not know the task any more; so its host sends it again, within minutes.
    """
    return update.reason == "REASON_RECONCILIATION" and update.state in _WITH_RESULT


def never_started(update: TaskUpdate) -> bool:
    """Said of a task that has not run yet: Mesos dropped its launch, or never got it, as after our own crash."""
    if update.state == "TASK_GONE":
        return update.reason == "REASON_RECONCILIATION"  # the host is there and does not know the task
    return update.state in _NEVER_STARTED and update.outcome is None


def outcome_of(update: TaskUpdate, task: Task) -> Outcome:
    """The outcome of an attempt. The executor's own word counts first, then Mesos' reason, then what we asked for."""
    outcome = update.outcome
    if outcome is None:
        outcome = _without_result(update)
    if outcome.result_class is FailureClass.PREEMPTED:  # which is ours to say, never a Mesos executor's
        outcome = msgspec.structs.replace(outcome, result_class=FailureClass.INFRASTRUCTURE)
    if task.kill_class is not None and outcome.result_class in (FailureClass.CANCELLED, FailureClass.INFRASTRUCTURE):
        return msgspec.structs.replace(outcome, result_class=task.kill_class, message=task.kill_reason)
    return outcome


def _without_result(update: TaskUpdate) -> Outcome:
    """The Mesos executor died or never was: only Mesos' word is left."""
    if update.state == "TASK_FINISHED":
        return Outcome(FailureClass.PASSED, update.message)
    known = _BY_REASON.get(update.reason)
    if known is not None:
        found = _MEGABYTES.search(update.message) if known is FailureClass.OOM else None
        return Outcome(
            known,
            update.message,
            limit_mem_mib=int(found[1]) if found else None,
            peak_mem_mib=float(found[2]) if found else None,
        )
    said = ": ".join(part for part in (update.reason, update.message) if part)
    return Outcome(FailureClass.INFRASTRUCTURE, f"{update.state} from Mesos{' (' + said + ')' if said else ''}")
