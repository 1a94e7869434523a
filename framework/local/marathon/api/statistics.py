"""How many of an app's instances are staged, run and are healthy, and for how long they have run."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec

from framework.local.marathon.definition.app import VersionInfo
from framework.local.marathon.records import Condition, Instance

STAGED = frozenset({Condition.PROVISIONED, Condition.STAGING, Condition.STARTING})


class TaskCounts(msgspec.Struct, frozen=True):
    staged: int
    running: int
    healthy: int
    unhealthy: int

    @staticmethod
    def of(instances: Iterable[Instance]) -> TaskCounts:
        staged = running = healthy = unhealthy = 0
        for one in instances:
            if one.condition is Condition.RUNNING:
                running += 1
                if one.healthy is not None:
                    healthy += one.healthy
                    unhealthy += not one.healthy
            elif one.condition in STAGED:
                staged += 1
        return TaskCounts(staged, running, healthy, unhealthy)


def task_stats(info: VersionInfo, instances: Sequence[Instance], now: float) -> dict[str, object]:
    """By what version they run; left out are those there are none of. Versions compare as texts."""
    tasks = [one for one in instances if one.condition is not Condition.SCHEDULED]
    parts = {
        "startedAfterLastScaling": [one for one in tasks if one.version >= info.last_scaling_at],
        "withLatestConfig": [one for one in tasks if one.version >= info.last_config_change_at],
        "withOutdatedConfig": [one for one in tasks if one.version < info.last_config_change_at],
        "totalSummary": tasks,
    }
    return {name: {"stats": _stats(some, now)} for name, some in parts.items() if some}


def _stats(tasks: Sequence[Instance], now: float) -> dict[str, object]:
    stats: dict[str, object] = {"counts": TaskCounts.of(tasks)}
    lifetimes_s = [max(0.0, now - one.started_at) for one in tasks if one.started_at is not None]
    if lifetimes_s:
        stats["lifeTime"] = {
            "averageSeconds": statistics.fmean(lifetimes_s),
            "medianSeconds": statistics.median(lifetimes_s),
        }
    return stats
