"""What the scheduler and the executor must agree on where builds of a host share one Mesos executor.

Apart from ``agents.spec``, for an executor that only pretends to build can do without that and what it imports.
"""

SHARED_EXECUTOR_ID = "butlery-shared"
"""Id of the Mesos executor that builds of a host share, up to a ``~`` that may follow; every other one serves the one
agent that it is named after."""

RUNNER_MEM_MIB = 6
"""What watching over each build takes beyond the build's own limit, within the Mesos executor's. Measured: 4 MiB a
build with the kernel's groups, on top of 8 MiB for the executor itself. Where Mesos' isolators hold the executor to the
sum of what its tasks asked for, each that shares it must have asked for this too, or builds die of their number."""


def is_shared(mesos_executor_id: str) -> bool:
    """Whether builds share it. Mesos takes a task for an executor that runs only where both tell of it alike, so those
    that are started in another way, such as by another version, have ids of their own."""
    return mesos_executor_id.partition("~")[0] == SHARED_EXECUTOR_ID


def folder_of(task_id: str, mesos_executor_id: str) -> str:
    """Where in its Mesos executor's sandbox a build's files are: empty, or a path with a slash at its end."""
    return "builds/%s/" % task_id if is_shared(mesos_executor_id) else ""
