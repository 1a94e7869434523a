"""Runs a Pipeline's steps. What ended is in a journal, so that a master that starts again goes on where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes.jenkins.agents import LinkLostError, ShellStep
from tests.fakes.jenkins.building import BuildLog, interpreter_of, node_variables, started_by, workspace_of
from tests.fakes.jenkins.model import Build, JenkinsExecutor
from tests.fakes.jenkins.pipeline import PipelineError, Step, fill, parse

_UNITS = {"MILLISECONDS": 0.001, "SECONDS": 1.0, "MINUTES": 60.0, "HOURS": 3600.0}


class StepFailedError(Exception):
    """``result``: what the build ends with; the text goes to its log."""

    def __init__(self, text: str, result: str = "FAILURE") -> None:
        super().__init__(text)
        self.result = result


@dataclass(slots=True)
class Place:
    """Where a step runs: on which executor, in which directory, with which variables; ``path`` is the step itself."""

    path: str = ""
    executor: JenkinsExecutor | None = None
    directory: str = ""
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Surroundings:
    """What a Pipeline needs of its master. ``ask``: an executor for a label (None: any) for the step of that path."""

    ask: Callable[[Build, str, str | None], Awaitable[JenkinsExecutor]]
    release: Callable[[JenkinsExecutor], None]
    save: Callable[[], None]


class PipelineRun:
    """One build. ``journal`` holds the paths of steps that ended, and of those begun with ``+`` before them."""

    def __init__(self, build: Build, log: BuildLog, journal: set[str], around: Surroundings) -> None:
        self._build, self._log, self._around = build, log, around
        self.journal = journal

    async def run(self, variables: dict[str, str]) -> str:
        """The result."""
        if not self.journal:
            for line in [*started_by(self._build.causes), "[Pipeline] Start of Pipeline"]:
                self._log.line(line)
            self._done("start")
        else:
            self._log.line("Resuming build at the steps that had not ended")
        try:
            await self._steps(parse(self._build.job.definition.script), Place(variables=variables))
            result = "SUCCESS"
        except PipelineError as error:
            self._log.line(f"org.codehaus.groovy.control.MultipleCompilationErrorsException: {error}")
            return "FAILURE"
        except StepFailedError as error:
            result = error.result
            self._log.line(f"[Pipeline] End of Pipeline\nERROR: {error}")
        except (ValueError, TypeError) as error:  # a step's argument is not of its kind
            result = "FAILURE"
            self._log.line(f"[Pipeline] End of Pipeline\njava.lang.IllegalArgumentException: {error}")
        else:
            self._log.line("[Pipeline] End of Pipeline")
        return result

    def _done(self, path: str) -> None:
        self.journal.add(path)
        self._around.save()

    async def _steps(self, steps: list[Step], place: Place) -> None:
        for number, step in enumerate(steps):
            here = replace(place, path=f"{place.path}/{number}")
            if here.path not in self.journal:
                await self._step(step, here)
                self._done(here.path)

    async def _step(self, step: Step, place: Place) -> None:
        runs = getattr(self, f"_do_{step.name}", None)
        if runs is None:
            raise StepFailedError(f"No such DSL method '{step.name}' found among steps")
        if step.name in ("sh", "echo", "sleep", "node", "error"):
            self._log.line(f"[Pipeline] {step.name}")
        await runs(step, place)

    def _value(self, step: Step, name: str, place: Place, otherwise: Any = None) -> Any:
        value = step.named.get(name, step.argument)
        return otherwise if value is None else fill(value, place.variables)

    async def _block(self, step: Step, place: Place, title: str = "") -> None:
        self._log.line(f"[Pipeline] {{{f' ({title})' if title else ''}")
        await self._steps(step.body or [], place)
        self._log.line("[Pipeline] }")
        self._log.line(f"[Pipeline] // {step.name}")

    async def _do_node(self, step: Step, place: Place) -> None:
        executor = await self._around.ask(self._build, place.path, self._value(step, "label", place) or None)
        try:
            with workspace_of(executor.node, self._build.job.name) as workspace:
                self._log.line(f"Running on {executor.node.name} in {workspace}")
                variables = place.variables | node_variables(executor, workspace)
                await self._block(step, replace(place, executor=executor, directory=workspace, variables=variables))
        finally:
            self._around.release(executor)

    async def _do_sh(self, step: Step, place: Place) -> None:
        executor = place.executor
        if executor is None:
            raise StepFailedError("Required context class hudson.FilePath is missing")
        if f"+{place.path}" in self.journal:
            raise StepFailedError("the shell step was cut by a restart")
        self._done(f"+{place.path}")
        script = str(self._value(step, "script", place, ""))
        shell = ShellStep(place.directory, script, interpreter_of(script), place.variables)
        try:
            code = await executor.node.run(shell, self._log.write)
        except LinkLostError as error:
            self._log.line(f"Cannot contact {executor.node.name}: hudson.remoting.ChannelClosedException")
            raise StepFailedError(f"Agent {executor.node.name} was lost") from error
        if code != 0 and not step.named.get("returnStatus"):
            raise StepFailedError(f"script returned exit code {code}")

    async def _do_echo(self, step: Step, place: Place) -> None:
        self._log.line(str(self._value(step, "message", place, "")))

    async def _do_error(self, step: Step, place: Place) -> None:
        raise StepFailedError(str(self._value(step, "message", place, "")))

    async def _do_sleep(self, step: Step, place: Place) -> None:
        seconds = _seconds(step, self._value(step, "time", place, 0), "SECONDS")
        self._log.line(f"Sleeping for {seconds:g} sec")
        await asyncio.sleep(seconds)

    async def _do_stage(self, step: Step, place: Place) -> None:
        self._log.line("[Pipeline] stage")
        await self._block(step, place, str(self._value(step, "name", place, "")))

    async def _do_dir(self, step: Step, place: Place) -> None:
        path = str(self._value(step, "path", place, "."))
        whole = path if path.startswith("/") else f"{place.directory}/{path}"
        self._log.line(f"[Pipeline] dir\nRunning in {whole}")
        await self._block(step, replace(place, directory=whole))

    async def _do_withEnv(self, step: Step, place: Place) -> None:  # noqa: N802 the step's name
        given = self._value(step, "overrides", place, [])
        more = dict(one.partition("=")[::2] for one in given)
        self._log.line("[Pipeline] withEnv")
        await self._block(step, replace(place, variables=place.variables | more))

    async def _do_timeout(self, step: Step, place: Place) -> None:
        seconds = _seconds(step, self._value(step, "time", place, 0), "MINUTES")
        self._log.line(f"[Pipeline] timeout\nTimeout set to expire in {seconds:g} sec")
        try:
            async with asyncio.timeout(seconds):
                await self._block(step, place)
        except TimeoutError as error:
            raise StepFailedError("Timeout has been exceeded", "ABORTED") from error

    async def _do_retry(self, step: Step, place: Place) -> None:
        times = int(self._value(step, "count", place, 1))
        self._log.line("[Pipeline] retry")
        for attempt in range(1, times + 1):
            try:
                return await self._block(step, replace(place, path=f"{place.path}#{attempt}"))
            except StepFailedError as error:
                if attempt == times or error.result == "ABORTED":
                    raise
                self._log.line(f"ERROR: {error}\nRetrying")
        return None

    async def _do_parallel(self, step: Step, place: Place) -> None:
        self._log.line("[Pipeline] parallel")

        async def branch(name: str, steps: list[Step]) -> None:
            self._log.line(f"[Pipeline] {{ (Branch: {name})")
            await self._steps(steps, replace(place, path=f"{place.path}/{name}"))
            self._log.line("[Pipeline] }")

        ends = await asyncio.gather(*(branch(*one) for one in step.branches.items()), return_exceptions=True)
        self._log.line("[Pipeline] // parallel")
        for end in ends:
            if isinstance(end, BaseException):
                raise end


def _seconds(step: Step, amount: Any, unit: str) -> float:
    name = fill(step.named.get("unit", unit), {})
    if name not in _UNITS:
        raise StepFailedError(f"{name} is not a unit of time here")
    return float(amount) * _UNITS[name]
