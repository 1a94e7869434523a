"""What a master has: jobs, builds, nodes, items of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

from tests.fakes.jenkins.agents import AgentLink, LinkLostError, ShellStep
from tests.fakes.jenkins.definitions import JobDefinition, NodeDefinition
from tests.fakes.jenkins.labels import Label


@dataclass(slots=True, eq=False)
class Build:
    """``duration_ms`` counts when ``result`` is there; ``node`` is '' for the built-in one."""

    job: Job
    number: int
    queue_id: int
    started_ms: int
    causes: list[str | None]  # the user of each; None: nobody who logged in; or a remote host, a newline and its note
    parameters: dict[str, str]
    node: str = ""
    result: str | None = None
    duration_ms: int = 0
    task: asyncio.Task[None] | None = None
    stopped_by: str | None = None

    @property
    def url(self) -> str:
        return f"{self.job.url}{self.number}/"


@dataclass(slots=True, eq=False)
class Job:
    name: str
    config: str
    definition: JobDefinition
    label: Label | None
    next_number: int = 1
    builds: dict[int, Build] = field(default_factory=dict)  # oldest first
    live: dict[int, Build] = field(default_factory=dict)  # those that run

    @property
    def url(self) -> str:
        return f"job/{quote(self.name)}/"

    def running(self) -> list[Build]:
        return list(self.live.values())

    def newest(self, *results: str) -> Build | None:
        """The newest build that ended with one of ``results``."""
        return next((one for one in reversed(self.builds.values()) if one.result in results), None)

    def estimated_ms(self) -> int:
        """Mean of the last three that succeeded; -1 where none did."""
        good = [one.duration_ms for one in reversed(self.builds.values()) if one.result == "SUCCESS"][:3]
        return sum(good) // len(good) if good else -1


@dataclass(slots=True, eq=False)
class NodePart:
    """A Pipeline's ``node`` step, as the queue's task. ``path``: which step of the script it is."""

    build: Build
    path: str
    given: asyncio.Future[JenkinsExecutor]

    @property
    def name(self) -> str:
        return f"part of {self.build.job.name} #{self.build.number}"


Task = Job | NodePart


class ItemState(StrEnum):
    WAITING = "Queue$WaitingItem"
    BLOCKED = "Queue$BlockedItem"
    BUILDABLE = "Queue$BuildableItem"
    LEFT = "Queue$LeftItem"


@dataclass(slots=True, eq=False)
class Item:
    """Of the queue. Times are unix milliseconds."""

    id: int
    task: Task
    label: Label | None
    since_ms: int
    due_ms: int
    causes: list[str | None] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    state: ItemState = ItemState.WAITING
    buildable_ms: int = 0
    cancelled: bool = False
    build: Build | None = None  # what it became
    left_ms: int = 0

    @property
    def task_name(self) -> str:
        return self.task.name

    @property
    def task_url(self) -> str:
        return self.task.url if isinstance(self.task, Job) else self.task.build.url

    @property
    def flyweight(self) -> bool:
        """Takes no agent: a Pipeline's own run."""
        return isinstance(self.task, Job) and self.task.definition.pipeline


@dataclass(slots=True, eq=False)
class JenkinsExecutor:
    """One of a node. ``running`` is what it does now."""

    node: Node
    number: int
    running: Build | NodePart | None = None
    since_ms: int = 0


@dataclass(slots=True, eq=False)
class Node:
    """``cause``: why it is offline, as text, with the kind of it and when."""

    definition: NodeDefinition
    executors: list[JenkinsExecutor] = field(init=False)
    link: AgentLink | None = None
    accepting: bool = True
    temporarily_offline: bool = False
    cause: OfflineCause | None = None
    workspaces: set[str] = field(default_factory=set)  # in use

    def __post_init__(self) -> None:
        self.executors = [JenkinsExecutor(self, number) for number in range(self.definition.executors)]

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def offline(self) -> bool:
        return self.link is None or self.temporarily_offline

    async def run(self, step: ShellStep, output: Callable[[bytes], None]) -> int:
        """The step's exit code. Raises LinkLostError."""
        if self.link is None:
            raise LinkLostError
        return await self.link.run(step, output)

    def idle_executors(self) -> list[JenkinsExecutor]:
        """Those that may take a task now."""
        if self.offline or not self.accepting:
            return []
        return [one for one in self.executors if one.running is None]


@dataclass(frozen=True, slots=True)
class OfflineCause:
    kind: str  # after "hudson.slaves.OfflineCause$"
    reason: str
    description: str | None
    at_ms: int


BROKEN = "Connection was broken"
