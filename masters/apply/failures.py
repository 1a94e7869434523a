"""What Marathon tells of a task's end, as far as it decides whether waiting can help. Pure."""

from __future__ import annotations

import re

from masters.records import MasterState, ObservedMaster

_NOT_TO_BE_HAD = re.compile(
    r"""(?ix)
    \bimage\s\S+\s(cannot\sbe\shad|takes\sa\sDocker\sengine)  # our executor
    | docker\S*(\s+-\S+(\s+\S+)?)*\s+pull\b    # Mesos' docker containerizer quotes the command that failed
    | pull\saccess\sdenied | manifest\s(unknown|for\s\S+\snot\sfound) | \bno\ssuch\simage\b
    | \brepository\s(does\snot\sexist|name\snot\sknown) | \bnot\sfound:\smanifest
    | failed\sto\s(get|fetch|pull)\s(the\s)?(manifest|image) | manifest.*\b40[134]\b
    | \bfailed\sto\sfetch\b | \bcannot\sbe\sfetched\b   # a war or the kit
    """
)


def not_to_be_had(message: str) -> bool:
    """Whether an image or a file that the task is made of cannot be had, so that a new try hardly helps."""
    return _NOT_TO_BE_HAD.search(message) is not None


def healthy(master: ObservedMaster) -> bool:
    """Whether it is as it is wanted: with a healthy task, or with none at all."""
    return not master.tasks if master.wanted != "on" else master.state is MasterState.ON


def why_not(master: ObservedMaster | None, waiting: list[str]) -> str:
    """Why it is not as it is wanted, in words; ``waiting``: why no instance is launched."""
    if master is None:
        return "its app is not there"
    told = list(waiting)
    if master.last_failure is not None and not master.serves:
        told.append(f"its last task failed: {master.last_failure[0]}")
    if not told and master.wanted != "on":
        return "its task has not ended yet"
    if not told:
        told.append(_of_tasks(master))
    return "; ".join(told)


def _of_tasks(master: ObservedMaster) -> str:
    if not master.tasks:
        return "no task is launched yet"
    task = master.tasks[-1]
    if task.state != "TASK_RUNNING":
        return f"its task on {task.host} is {task.state}"
    if task.healthy is False and task.healthy_at is None:
        return f"its task on {task.host} did not pass its health check in time{_grace(master)}"
    if task.healthy is False:
        return f"its task on {task.host} fails its health check"
    return f"its task on {task.host} has not passed its health check yet"


def _grace(master: ObservedMaster) -> str:
    """One that boots longer is ended by Marathon again and again."""
    checks = master.document.get("healthChecks") or [{}]
    seconds = checks[0].get("gracePeriodSeconds")
    return "" if seconds is None else f", which counts {seconds} s after a start: `health.grace_s` must hold its boot"
