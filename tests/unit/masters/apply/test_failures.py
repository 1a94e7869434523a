"""What Marathon says of tasks that end, as it is understood."""

from __future__ import annotations

from dataclasses import replace

import pytest

from masters.apply.failures import healthy, not_to_be_had, why_not
from masters.records import ObservedMaster, ObservedTask, Policy

TASK = ObservedTask("t.1", "host-1", "10.0.0.1", (31000,), "TASK_RUNNING", 1.0, True, 2.0)
MASTER = ObservedMaster("a", "/m/a", "v1", {}, (TASK,), (), Policy(), "on")


@pytest.mark.parametrize(
    "message",
    [
        "image nosuch:1 cannot be had: No such image: nosuch:1",
        "image nosuch:1 takes a Docker engine: /var/run/docker.sock: [Errno 2] No such file or directory",
        "Failed to launch container: Failed to run 'docker -H unix:///var/run/docker.sock pull nosuch:1': exited with "
        "status 1; stderr='Error: image library/nosuch:1 not found'",
        "Failed to launch container: Failed to run 'docker pull nosuch:1': exited with status 1",
        "Error response from daemon: pull access denied for nosuch, repository does not exist or may require login",
        "manifest for jenkins:9 not found: manifest unknown: manifest unknown",
        "Failed to launch container: Unexpected HTTP response '404 Not Found' when trying to get the manifest; "
        "manifest of library/nosuch: 404",
        "Failed to fetch all URIs for container '8f6c' with exit status: 1",
    ],
)
def test_what_cannot_be_had(message: str) -> None:
    assert not_to_be_had(message)


@pytest.mark.parametrize(
    "message",
    [
        "Command exited with status 3",
        "Command terminated with signal Killed",
        "Memory limit exceeded: Requested: 192MB Maximum Used: 193MB",
        "Container exited with status 143",
        "Task was killed since health check failed. Reason: ConnectionRefused",
        "Reconnection failed: executor for the docker image was lost",
    ],
)
def test_what_another_try_may_help(message: str) -> None:
    assert not not_to_be_had(message)


def test_why_it_is_not_healthy() -> None:
    def told(*waiting: str, **changed: object) -> str:
        return why_not(replace(MASTER, **changed), list(waiting))  # type: ignore[arg-type]

    assert why_not(None, []) == "its app is not there"
    assert told(tasks=()) == "no task is launched yet"
    assert told("too few CPUs are free", tasks=()) == "too few CPUs are free"
    assert told(tasks=(), last_failure=("exit 3", 1.0)) == "its last task failed: exit 3"
    assert told(tasks=(replace(TASK, healthy=None),)) == "its task on host-1 has not passed its health check yet"
    assert told(tasks=(replace(TASK, healthy=False),)) == "its task on host-1 fails its health check"
    never = replace(TASK, healthy=False, healthy_at=None)
    checks = {"healthChecks": [{"gracePeriodSeconds": 60}]}
    assert "which counts 60 s after a start: `health.grace_s` must" in told(tasks=(never,), document=checks)
    assert told(tasks=(replace(TASK, state="TASK_STAGING", healthy=None),)) == "its task on host-1 is TASK_STAGING"
    assert told(wanted="asleep") == "its task has not ended yet"


def test_as_it_is_wanted() -> None:
    assert healthy(MASTER)
    assert not healthy(replace(MASTER, tasks=()))
    assert not healthy(replace(MASTER, wanted="off"))
    assert healthy(replace(MASTER, wanted="off", tasks=()))
