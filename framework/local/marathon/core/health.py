"""What health and readiness checks find, and what follows from it."""

from __future__ import annotations

from msgspec.structs import replace

from framework.core.events import TaskUpdate
from framework.local.marathon.core.effects import StartChecks, StartReadiness, StopReadiness
from framework.local.marathon.core.events import HealthProbed, ReadinessProbed
from framework.local.marathon.core.frame import Frame
from framework.local.marathon.core.killing import end
from framework.local.marathon.definition.app import HealthCheck
from framework.local.marathon.happenings import HealthChanged, HealthCheckFailed, UnhealthyKill
from framework.local.marathon.records import (
    Condition,
    Goal,
    HealthResult,
    Instance,
    ReadinessResult,
)


def start_checks(frame: Frame, instance: Instance) -> None:
    """Of an instance that runs: the checks that are ours to make."""
    app = frame.state.spec(instance)
    if any(not each.by_executor for each in app.health_checks):
        frame.check(StartChecks(app, instance))
    if app.readiness_checks and not instance.ready:
        frame.check(StartReadiness(app, instance))


def told_by_executor(frame: Frame, instance: Instance, update: TaskUpdate, *, healthy: bool) -> None:
    """The task's Mesos executor tells what the checks find that it makes; it also kills where they fail too often.

    Every update repeats what was last found, so that only one that came of a check is a new failure.
    """
    results = frame.state.results.get(instance.id, {})
    found_now = update.reason == "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED"
    for index, check in enumerate(frame.state.spec(instance).health_checks):
        last = results.get(index)
        if check.by_executor and (found_now or last is None or last.alive is not healthy):
            _found(frame, instance, index, alive=healthy, cause=update.message)
            if not healthy:
                frame.publish(HealthCheckFailed(instance, index))
    _weigh(frame, instance.id)


def probed(frame: Frame, event: HealthProbed) -> None:
    """Takes in what a health check of ours found; with as many failures in a row as may be, the task is killed."""
    instance = _running(frame, event.instance_id, event.attempt)
    if instance is None:
        return
    checks = frame.state.spec(instance).health_checks
    if event.index >= len(checks):
        return
    check = checks[event.index]
    if not event.alive and _in_grace(frame, instance, check, event.index):
        return
    result = _found(frame, instance, event.index, alive=event.alive, cause=event.cause)
    _weigh(frame, instance.id)
    if event.alive:
        return
    frame.publish(HealthCheckFailed(instance, event.index))
    failures = result.consecutive_failures
    if check.max_consecutive_failures and failures >= check.max_consecutive_failures:
        _kill_unhealthy(frame, instance, event.cause)


def readiness_probed(frame: Frame, event: ReadinessProbed) -> None:
    """Takes in what a readiness check found; an instance that all of them found ready is so until its task ends."""
    instance = _running(frame, event.instance_id, event.attempt)
    if instance is None or instance.ready:
        return
    checks = frame.state.spec(instance).readiness_checks
    check = next((each for each in checks if each.name == event.name), None)
    if check is None:
        return
    result = ReadinessResult(instance.id, event.name, event.ready)
    if check.preserve_last_response:
        result = replace(result, status=event.status, content_type=event.content_type, body=event.body)
    results = frame.state.readiness_results.setdefault(instance.id, {})
    results[event.name] = result
    if all(each.name in results and results[each.name].ready for each in checks):
        frame.put(replace(instance, ready=True))
        frame.check(StopReadiness(instance.id))


def _running(frame: Frame, instance_id: str, attempt: int) -> Instance | None:
    """None where the probe was of a task that has ended, is out of sight, or is about to end."""
    instance = frame.state.instance(instance_id)
    if instance is None or instance.attempt != attempt or instance.condition is not Condition.RUNNING:
        return None
    return instance if instance.kill_asked_at is None else None


def _in_grace(frame: Frame, instance: Instance, check: HealthCheck, index: int) -> bool:
    result = frame.state.results.get(instance.id, {}).get(index)
    if result is not None and result.first_success_at is not None:
        return False
    return frame.now < (instance.started_at or frame.now) + check.grace_period_seconds


def _found(frame: Frame, instance: Instance, index: int, *, alive: bool, cause: str) -> HealthResult:
    results = frame.state.results.setdefault(instance.id, {})
    was = results.get(index) or HealthResult(instance.id, index, alive=False)
    if alive:
        first_at = frame.now if was.first_success_at is None else was.first_success_at
        found = replace(was, alive=True, consecutive_failures=0, first_success_at=first_at, last_success_at=frame.now)
    else:
        failures = was.consecutive_failures + 1
        found = replace(
            was, alive=False, consecutive_failures=failures, last_failure_at=frame.now, last_failure_cause=cause
        )
    results[index] = found
    return found


def _weigh(frame: Frame, instance_id: str) -> None:
    """Settles whether the instance is healthy: all checks say so, or one says it is not; until then it is as it was."""
    instance = frame.state.instance(instance_id)
    if instance is None:
        return
    results = frame.state.results.get(instance_id, {})
    healthy = all(one.alive for one in results.values())
    if healthy and len(results) < len(frame.state.spec(instance).health_checks):
        return
    if healthy is not instance.healthy:
        instance = replace(instance, healthy=healthy)
        frame.put(instance)
        frame.publish(HealthChanged(instance, healthy))


def _kill_unhealthy(frame: Frame, instance: Instance, cause: str) -> None:
    """Its next task is started, where its volumes are if it has any."""
    frame.failed(instance, "TASK_KILLED", f"Task was killed since health check failed. Reason: {cause}")
    frame.publish(UnhealthyKill(instance, cause))
    current = frame.state.instance(instance.id) or instance
    end(frame, current, Goal.RUNNING)
