"""The build agents that an executor runs: of each the container that builds and those beside it.

A container is one Mesos task, with a guard and a runner of its own (``agents.executor.guard``). Those beside the one
that builds start before it, one after the other, and are ended when it has ended. One of them that ends by itself ends
the agent.
"""

from __future__ import annotations

import json
import os
import select
import time
from dataclasses import replace

import agents.executor.runner  # noqa: F401 - every build's fork has use for it, and need not import it by itself
from agents.executor import guard
from agents.executor.folders import Folders
from agents.executor.journal import log
from agents.shared import SHARED_EXECUTOR_ID, folder_of
from agents.spec import BuildResult, BuildSpec, assigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Report = Callable[[str, str, str, bytes], None]
    OnStart = Callable[["BuildAgent", "Container"], None]

STATES = {"passed": "TASK_FINISHED", "cancelled": "TASK_KILLED"}  # all other classes: TASK_FAILED
GUARD_TIMEOUT_S = 90.0  # for a guard to clear up after a runner that was killed
TICK_S = 0.5
CLEARING_TICK_S = 0.05
TELL_CHARACTERS = 500  # of one note: four bytes each, it goes into the runner's pipe in one piece or not at all
TELL_BURST = 10
TELL_EVERY_S = 6.0  # after a burst
CANNOT_RUN = "the task cannot be run: %s"
NOT_THEIR_OWN = ("image", "infrastructure")  # classes of a container that its agent ends with too


class Container:
    """One task. ``directory`` is where its workspace and home are."""

    def __init__(self, task_id: str, spec: BuildSpec, directory: str) -> None:
        self.task_id = task_id
        self.spec = spec
        self.directory = directory
        self.build: guard.Build | None = None  # None before it is started
        self.ended = False  # its final update has been made
        self.silent_since_s: float | None = None  # since when its runner is gone
        self._raw = b""
        self._assigned = False
        self._tells = float(TELL_BURST)
        self._told_at_s = 0.0

    def start(self, network: str | None) -> None:
        """Raises OSError."""
        if self.spec.container:
            os.makedirs(self.directory, mode=0o750)
        if self.spec.agent is not None:
            from agents.executor import jenkins_agent  # noqa: F401 - so that those after it need not import it again
        self.build = guard.start(replace(self.spec, network=network), self.directory)

    def assign(self, given: dict[str, Any]) -> None:
        """Gives it, a spare, its agent; once, for the scheduler repeats what it is not sure of.

        Raises ValueError where it is no spare, or what is given is no agent.
        """
        if not self.spec.standby:
            if not self._assigned:
                raise ValueError("it is no spare")
            return
        made = assigned(self.spec, given)
        if made.agent is None:
            raise ValueError("no agent is given")
        if self.build is None or not self.build.assign(given):
            log("%s: its runner does not take what it is given" % self.task_id)
            return
        self.spec, self._assigned = made, True

    def tell(self, text: str, now_s: float) -> None:
        """A line in its log, unless there have been too many."""
        self._tells = min(TELL_BURST, self._tells + (now_s - self._told_at_s) / TELL_EVERY_S)
        self._told_at_s = now_s
        if self._tells < 1:
            log("%s: too many notes for its log" % self.task_id)
            return
        self._tells -= 1
        shown = "".join(one if one.isprintable() else " " for one in text[:TELL_CHARACTERS])
        if self.build is not None:
            self.build.tell(shown)

    def read(self) -> list[dict[str, Any]] | None:
        """What its runner says; None when that is gone."""
        assert self.build is not None  # noqa: S101 - there is something to read
        data = os.read(self.build.report_fd, 65536)
        if not data:
            return None
        *lines, self._raw = (self._raw + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def hang_up(self, now_s: float) -> None:
        """Its runner is gone, and is to be told nothing more."""
        assert self.build is not None  # noqa: S101 - there was something to read
        self.silent_since_s = now_s
        self.build.abandon()
        os.close(self.build.report_fd)

    def cleared(self, now_s: float) -> bool:
        """Whether nothing is left of it, or nothing more can be done about it."""
        if self.build is None:
            return self.ended
        if self.silent_since_s is None:
            return False
        return self.build.guard_gone() or now_s > self.silent_since_s + GUARD_TIMEOUT_S


class BuildAgent:
    """All containers of one agent, with its files in ``folder``; ``on_start`` is told of each that has been started.

    Raises ValueError where they are not one that builds and others with names of their own.
    """

    def __init__(
        self,
        given: list[tuple[str, BuildSpec]],
        folder: str,
        report: Report,
        on_start: Callable[[BuildAgent, Container], None],
    ) -> None:
        names = [spec.container for _, spec in given]
        if names.count("") != 1 or len(set(names)) < len(names):
            raise ValueError(
                "an agent's containers are one without a name, which builds, and others with different ones"
            )
        self.folder = folder
        beside = os.path.join(folder, "containers")
        made = [
            Container(task_id, spec, os.path.join(beside, _file_name(spec.container)) if spec.container else folder)
            for task_id, spec in given
        ]
        self._main = next(one for one in made if not one.spec.container)
        self.containers = [one for one in made if one is not self._main] + [self._main]  # in the order of their starts
        self._report = report
        self._on_start = on_start
        self._over = False  # it is decided that it ends
        self._reason: tuple[str, str] | None = None  # class and message, where the end of a container is why
        self._network = self._main.spec.network
        self.keep_s = 0.0  # for which its folder is to be kept, now that it has ended

    def start_next(self) -> None:
        container = next(one for one in self.containers if one.build is None)
        try:
            container.start(self._network)
        except OSError as error:
            self.finish(container, BuildResult("infrastructure", CANNOT_RUN % error))
            return
        self._on_start(self, container)

    def take(self, container: Container, told: dict[str, Any]) -> None:
        """One line of its runner's."""
        if "result" in told:
            self.finish(container, BuildResult(**told["result"]))
        elif "started" in told:
            self._report(container.task_id, "TASK_RUNNING", "", b"")
            network = self._network or container.spec.host.docker_network
            if told["isolation"] == "docker" and network != "host" and container is self.containers[0]:
                self._network = "container:" + told["name"]  # one localhost for all
        started = "ready" in told if container.spec.ready else "started" in told
        if started and not self._over and container is not self._main:
            self.start_next()

    def finish(self, container: Container, result: BuildResult) -> None:
        if container.ended:
            return
        container.ended = True
        named = container.spec.container
        if self._reason is not None and not named and result.result_class == "cancelled":
            result.result_class, result.message = self._reason
        if self._over and named and result.result_class == "cancelled" and container.build is not None:
            result.result_class, result.message = "passed", "ended with its agent"
        state = STATES.get(result.result_class, "TASK_FAILED")
        if not named and state == "TASK_FAILED":
            self.keep_s = container.spec.keep_failed_h * 3600
        self._report(container.task_id, state, result.message, result.to_json())
        if not named:
            self._over = True
            for other in self.containers:
                self.end(other, None)
        elif not self._over:
            self._over = True
            what = "its container %s ended: %s: %s" % (named, result.result_class, result.message)
            self._reason = result.result_class if result.result_class in NOT_THEIR_OWN else "failed", what
            self.end(self._main, None)

    def kill(self, container: Container, grace_s: float | None) -> None:
        """Ends the container and so, one way or the other, its agent. ``grace_s`` None: the container's own."""
        if container is self._main:
            self._over = True
        self.end(container, grace_s)

    def end_all(self, grace_s: float) -> None:
        """All at once, within ``grace_s``."""
        self._over = True
        for container in reversed(self.containers):
            self.end(container, min(grace_s, container.spec.grace_s))

    def end(self, container: Container, grace_s: float | None) -> None:
        if container.ended:
            return
        if container.build is None:
            self.finish(container, BuildResult("cancelled", "ended before it was started"))
        else:
            container.build.kill(container.spec.grace_s if grace_s is None else grace_s)


class Builds:
    """All agents of one executor. ``report`` takes a task's id, state, message and data."""

    def __init__(self, sandbox: str, shared: bool, poll: select.poll, report: Report) -> None:
        self._sandbox = sandbox
        self._shared = shared
        self._poll = poll
        self._report = report
        self._agents: list[BuildAgent] = []  # until their processes are gone
        self._speaking: dict[int, tuple[BuildAgent, Container]] = {}  # by the descriptor of the runner's report
        self._folders = Folders()
        if shared:
            for path in (sandbox, os.path.join(sandbox, "builds")):
                os.makedirs(path, exist_ok=True)
                os.chmod(path, 0o711)  # noqa: S103 - each build's user passes through to a folder of its own

    @property
    def patience_s(self) -> float:
        clearing = any(one.silent_since_s is not None for agent in self._agents for one in agent.containers)
        return CLEARING_TICK_S if clearing else TICK_S

    def launch(self, given: list[tuple[str, bytes]]) -> None:
        """Takes the tasks of one agent, each with its id and description; where one cannot be, none is started."""
        try:
            specs = [(task_id, BuildSpec.from_json(data)) for task_id, data in given]
            main = next((task_id for task_id, spec in specs if not spec.container), "")
            folder = self._folder(main)
            agent = BuildAgent(specs, folder, self._report, self._listen)
            os.makedirs(folder, mode=0o750, exist_ok=not self._shared)
            if len(given) > 1:
                os.makedirs(os.path.join(folder, "containers"), mode=0o750)
        except (ValueError, TypeError, OSError) as error:
            result = BuildResult("infrastructure", CANNOT_RUN % error)
            for task_id, _ in given:
                self._report(task_id, "TASK_FAILED", result.message, result.to_json())
            return
        self._agents.append(agent)
        agent.start_next()

    def kill(self, task_id: str, grace_s: float | None) -> None:
        for agent, container in self._find(task_id):
            agent.kill(container, grace_s)

    def tell(self, task_id: str, text: str) -> None:
        for _, container in self._find(task_id):
            container.tell(text, time.monotonic())

    def assign(self, task_id: str, given: dict[str, Any]) -> None:
        found = list(self._find(task_id))
        if not found:
            log("%s: an agent for a spare that is not here" % task_id)
        for _, container in found:
            container.assign(given)

    def end_all(self, grace_s: float) -> None:
        for agent in self._agents:
            agent.end_all(grace_s)

    def read(self, fd: int) -> None:
        """Takes what the runner behind ``fd`` says, where it is one of ours."""
        if fd not in self._speaking:
            return
        agent, container = self._speaking[fd]
        lines = container.read()
        if lines is None:
            del self._speaking[fd]
            self._poll.unregister(fd)
            container.hang_up(time.monotonic())
            return
        for line in lines:
            agent.take(container, line)

    def tend(self, now_s: float) -> None:
        """Sees to agents whose runners are gone. ``now_s`` of time.monotonic."""
        for agent in list(self._agents):
            for container in agent.containers:
                if not container.ended and container.cleared(now_s):
                    agent.finish(container, BuildResult("infrastructure", "the build's runner was killed"))
            if all(container.ended and container.cleared(now_s) for container in agent.containers):
                self._agents.remove(agent)
                if self._shared:
                    self._folders.add(agent.folder, agent.keep_s)

    def abandon(self, timeout_s: float) -> bool:
        """Ends what there is at once; whether it is cleared away within ``timeout_s``."""
        deadline_s = time.monotonic() + timeout_s
        started = [one.build for agent in self._agents for one in agent.containers if one.build is not None]
        for build in started:
            build.abandon()
        return all(build.wait_for_guard(deadline_s - time.monotonic()) for build in started)

    def _folder(self, task_id: str) -> str:
        within = folder_of(_file_name(task_id), SHARED_EXECUTOR_ID) if self._shared else ""
        return os.path.join(self._sandbox, within).rstrip("/")

    def _find(self, task_id: str) -> Iterator[tuple[BuildAgent, Container]]:
        for agent in list(self._agents):
            for container in agent.containers:
                if container.task_id == task_id:
                    yield agent, container

    def _listen(self, agent: BuildAgent, container: Container) -> None:
        assert container.build is not None  # noqa: S101 - it has just been started
        self._speaking[container.build.report_fd] = agent, container
        self._poll.register(container.build.report_fd, select.POLLIN)


def _file_name(text: str) -> str:
    """Raises ValueError where ``text`` cannot be a file's name."""
    if not text or text.startswith(".") or "/" in text or "\0" in text:
        raise ValueError("not the name of a task or container: %.100r" % text)
    return text
