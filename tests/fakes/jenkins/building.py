"""Builds: their logs, their environment, freestyle ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tests.fakes.jenkins.agents import LinkLostError, ShellStep
from tests.fakes.jenkins.model import Build, JenkinsExecutor, Node

_LOST = """FATAL: command execution failed
java.nio.channels.ClosedChannelException
\tat hudson.remoting.Channel.close(Channel.java:1497)
Caused: java.io.IOException: Backing channel '{node}' is disconnected.
FATAL: Unable to delete script file
"""


class BuildLog:
    """The file ``log`` of a build; what is written is there at once."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = open(directory / "log", "ab", buffering=0)  # noqa: SIM115 closed by close()

    def line(self, text: str) -> None:
        self._file.write(text.encode() + b"\n")

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def close(self) -> None:
        self._file.close()


def started_by(users: list[str | None]) -> Iterator[str]:
    """The first lines of a log."""
    for user in users:
        host, _, note = (user or "").partition("\n")
        by_user = f"Started by user {user or 'unknown or anonymous'}"
        yield f"Started by remote host {host} with note: {note}" if note else by_user


def interpreter_of(command: str) -> str:
    first = command.partition("\n")[0]
    return first[2:].strip() if first.startswith("#!") else "/bin/sh -xe"


def variables_of(build: Build, root_url: str | None) -> dict[str, str]:
    """Those that a build has wherever it runs."""
    job, number = build.job.name, str(build.number)
    variables = {
        "BUILD_NUMBER": number,
        "BUILD_ID": number,
        "BUILD_DISPLAY_NAME": f"#{number}",
        "BUILD_TAG": f"jenkins-{job}-{number}",
        "JOB_NAME": job,
        "JOB_BASE_NAME": job,
        "CI": "true",
    }
    if root_url:
        variables |= {
            "JENKINS_URL": root_url, "HUDSON_URL": root_url,
            "JOB_URL": root_url + build.job.url, "BUILD_URL": root_url + build.url,
        }  # fmt: skip
    return variables | build.parameters


def node_variables(executor: JenkinsExecutor, workspace: str) -> dict[str, str]:
    node = executor.node
    return {
        "NODE_NAME": node.name,
        "NODE_LABELS": " ".join(sorted(node.definition.labels)),
        "EXECUTOR_NUMBER": str(executor.number),
        "WORKSPACE": workspace,
    }


@contextmanager
def workspace_of(node: Node, job: str) -> Iterator[str]:
    """A directory that no other build there uses meanwhile: ``job``, else ``job@2`` and so on."""
    base = f"{node.definition.remote_fs.rstrip('/')}/workspace/{job}"
    number, path = 1, base
    while path in node.workspaces:
        number += 1
        path = f"{base}@{number}"
    node.workspaces.add(path)
    try:
        yield path
    finally:
        node.workspaces.discard(path)


async def freestyle(build: Build, executor: JenkinsExecutor, log: BuildLog, root_url: str | None) -> str:
    """Runs its shell steps on the agent; the result."""
    node = executor.node
    for line in [*started_by(build.causes), "Running as SYSTEM"]:
        log.line(line)
    with workspace_of(node, build.job.name) as workspace:
        labels = " ".join(sorted(node.definition.labels - {node.name}))
        log.line(f"Building remotely on {node.name}{f' ({labels})' if labels else ''} in workspace {workspace}")
        variables = variables_of(build, root_url) | node_variables(executor, workspace)
        for command in build.job.definition.commands:
            code = await _shell(build, node, ShellStep(workspace, command, interpreter_of(command), variables), log)
            if code is None:
                return "FAILURE"
            if code != 0:
                log.line("Build step 'Execute shell' marked build as failure")
                return "FAILURE"
    return "SUCCESS"


async def _shell(build: Build, node: Node, step: ShellStep, log: BuildLog) -> int | None:
    """The exit code; None where the agent died."""
    step.started = lambda file: log.line(f"[{build.job.name}] $ {step.interpreter} {file}")
    try:
        return await node.run(step, log.write)
    except LinkLostError:
        log.write(_LOST.format(node=node.name).encode())
        return None


async def ended(task: asyncio.Task[None] | None, told: Callable[[], None] = lambda: None) -> None:
    """Cancels a build's task and waits for its end."""
    if task is not None:
        told()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
