"""Names of things. Strings all, but of kinds that the type checker keeps apart."""

from __future__ import annotations

import re
from typing import NewType

TenantName = NewType("TenantName", str)
RequestId = NewType("RequestId", str)
TaskId = NewType("TaskId", str)
OfferId = NewType("OfferId", str)
HostId = NewType("HostId", str)
"""What Mesos calls the agent id."""
FrameworkId = NewType("FrameworkId", str)


def container_task_id(task: TaskId, container: str) -> TaskId:
    """The Mesos task of one more container of an agent, beside the one that builds."""
    return TaskId(f"{task}~{container}")


def agent_task_id(mesos_task: TaskId) -> TaskId:
    """The task of the agent that a Mesos task is a container of; itself for the one that builds."""
    return TaskId(mesos_task.partition("~")[0])


def node_of(task: TaskId, *, pooled: bool = False) -> str:
    """The node in Jenkins of the agent that the task is. What it ends with tells the init script its lifetime."""
    return f"{NODE_PREFIX}{task}{POOLED_SUFFIX if pooled else ''}"


def task_of_node(node: str) -> TaskId | None:
    """None where no task of ours can have given the node its name."""
    found = _NODE.fullmatch(node)
    return None if found is None else TaskId(found[1])


NODE_PREFIX = "butlery-"
POOLED_SUFFIX = "-pooled"
_NODE = re.compile(rf"{NODE_PREFIX}([0-9a-z]{{16}}\.[0-9]{{1,9}})(?:{POOLED_SUFFIX})?")


def task_id(request: RequestId, attempt: int) -> TaskId:
    """The task of a request's ``attempt`` (from 1): made, not drawn, so that a replay makes the same one."""
    return TaskId(f"{request}.{attempt}")
