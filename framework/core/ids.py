"""Names of things. Strings all, but of kinds that the type checker keeps apart."""

from __future__ import annotations

from typing import NewType

TenantName = NewType("TenantName", str)
RequestId = NewType("RequestId", str)
TaskId = NewType("TaskId", str)
OfferId = NewType("OfferId", str)
HostId = NewType("HostId", str)
"""What Mesos calls the agent id."""
FrameworkId = NewType("FrameworkId", str)


def task_id(request: RequestId, attempt: int) -> TaskId:
    """The task of a request's ``attempt`` (from 1): made, not drawn, so that a replay makes the same one."""
    return TaskId(f"{request}.{attempt}")
