"""The master itself: what it holds, and what is done to it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any

from tests.fakes.jenkins.agents import AgentLink
from tests.fakes.jenkins.building import BuildLog, ended, freestyle, variables_of
from tests.fakes.jenkins.definitions import JobDefinition, NodeDefinition, job_definition, without_declaration
from tests.fakes.jenkins.demand import Outbox
from tests.fakes.jenkins.home import Home, SavedItem
from tests.fakes.jenkins.interpreter import PipelineRun, StepFailedError, Surroundings
from tests.fakes.jenkins.labels import taken
from tests.fakes.jenkins.model import (
    BROKEN,
    Build,
    Item,
    JenkinsExecutor,
    Job,
    Node,
    NodePart,
    OfflineCause,
    Task,
)
from tests.fakes.jenkins.options import Options
from tests.fakes.jenkins.queue import Queue, now_ms
from tests.fakes.jenkins.scripts import MAX_AGAIN, Scripts, is_lost, remote_cause

LOG = logging.getLogger("jenkins")
VERSION = "2.463"
QUIET_S = 5.0
_CUT = asyncio.CancelledError


class Master:
    """One that is started; ``outbox`` is where events of demand go, None without a scheduler."""

    def __init__(self, options: Options, home: Home, outbox: Outbox | None) -> None:
        self.options, self.home = options, home
        self.session = secrets.token_hex(4)
        self.scripts = Scripts(outbox, options.node_prefix, VERSION, self.session)
        self.jobs: dict[str, Job] = {}
        self.nodes: dict[str, Node] = {}
        self.agent_port = -1  # of the TCP listener; -1: off
        self._then: Callable[[], None] | None = None  # once nothing runs
        self._stopping = False
        self.restarting = False  # what is to come of it once it stopped
        self._parts: dict[tuple[str, int, str], SavedItem] = {}  # restored items of Pipelines not yet asked for again
        self.queue = Queue(self.nodes, self._begin, self.scripts.entered, self.scripts.left, self.scripts.refusal)

    def load(self) -> None:
        """What the home holds, the queue's items and Pipelines that had not ended too. Raises OSError, ValueError."""
        for node in self.home.nodes():
            self.nodes[node.name] = Node(node)
        unfinished = []
        for name, config, number in self.home.jobs():
            job = _job(name, config, number)
            self.jobs[name] = job
            for build_number, record in self.home.builds(name):
                build = _build(job, build_number, record)
                job.builds[build_number] = build
                if build.result is None:
                    unfinished.append((build, set(record["journal"])))
        self.queue.last_id, items = self.home.take_queue()
        for saved in items:
            if saved.part is not None:
                self._parts[saved.job, *saved.part] = saved
            elif saved.job in self.jobs:
                job = self.jobs[saved.job]
                self.queue.add(Item(saved.id, job, job.label, saved.since_ms, saved.due_ms, saved.causes,
                                    saved.parameters))  # fmt: skip
        for build, journal in unfinished:
            build.job.live[build.number] = build
            build.task = asyncio.create_task(self._run_pipeline(build, journal))

    async def stop(self) -> None:
        """As on SIGTERM: the queue is kept, builds that run are cut, Pipelines go on at the next start."""
        self._stopping = self.queue.quieting = True
        items = [_saved(item) for item in reversed(self.queue.listed())]
        self.home.save_queue(self.queue.last_id, items)
        for job in self.jobs.values():
            for build in job.running():
                await ended(build.task)
        for node in self.nodes.values():
            if node.link is not None:
                node.link.close()

    # Jobs

    def put_job(self, name: str, config: str) -> Job:
        """Creates the job, or changes it. Raises DefinitionError."""
        config = without_declaration(config)
        made = _job(name, config, 1)
        job = self.jobs.get(name)
        if job is None:
            job = self.jobs[name] = made
        else:
            job.config, job.definition, job.label = config, made.definition, made.label
        self.home.save_job(name, config, job.next_number)
        self.queue.look()
        return job

    async def delete_job(self, job: Job) -> None:
        for item in self.queue.listed():
            if item.task is job:
                self.queue.cancel(item.id)
        for build in job.running():
            await ended(build.task)
        del self.jobs[job.name]
        self.home.delete_job(job.name)

    def schedule(self, job: Job, quiet_s: float | None, user: str | None, parameters: dict[str, str]) -> Item:
        own = job.definition.quiet_s
        quiet_s = quiet_s if quiet_s is not None else own if own is not None else QUIET_S
        return self.queue.schedule(job, job.label, quiet_s, user, parameters)

    def stop_build(self, build: Build, user: str | None) -> None:
        if build.task is not None and build.result is None:
            build.stopped_by = user or "anonymous"
            build.task.cancel()

    def quiet_down(self, on: bool) -> None:
        self.queue.quieting = on
        if not on:
            self._then = None
        self.queue.look()

    def when_idle(self, then: Callable[[], None]) -> None:
        """Calls it once no build runs, unless quieting down is taken back before."""
        self._then = then
        self._look_idle()

    # Nodes

    def add_node(self, definition: NodeDefinition) -> None:
        self.nodes[definition.name] = Node(definition)
        self.home.save_node(definition)
        self.queue.nodes_changed()

    def delete_node(self, node: Node) -> None:
        del self.nodes[node.name]
        self.home.delete_node(node.name)
        if node.link is not None:
            node.link.close()
        self.queue.nodes_changed()

    def toggle_offline(self, node: Node, message: str, user: str | None) -> None:
        node.temporarily_offline = not node.temporarily_offline
        told = f"Disconnected by {user or 'anonymous'}" + (f" : {message}" if message else "")
        node.cause = OfflineCause("UserCause", message, told, now_ms()) if node.temporarily_offline else None
        self.queue.nodes_changed()

    async def serve_agent(self, node: Node, link: AgentLink) -> None:
        """Has the agent of ``node`` until it is gone; of two that come at once the first stays."""
        if node.link is not None:
            link.close()
            return
        node.link = link
        if not node.temporarily_offline:
            node.cause = None
        self.queue.nodes_changed()
        self.scripts.online(node.name)
        try:
            await link.serve()
        finally:
            node.link = None
            node.cause = OfflineCause("ChannelTermination", BROKEN, None, now_ms())
            if not self._stopping:
                self.scripts.offline(node.name, BROKEN)
                self.queue.nodes_changed()

    # What the queue calls

    def _begin(self, item: Item, executor: JenkinsExecutor | None) -> None:
        if executor is not None:
            self._accepted(executor, item)
        if isinstance(item.task, NodePart):
            assert executor is not None
            executor.running, executor.since_ms = item.task, now_ms()
            item.build = item.task.build
            self.scripts.runs(executor.node.name, item.build)
            item.task.given.set_result(executor)
            return
        job = item.task
        build = Build(job, job.next_number, item.id, now_ms(), item.causes, self._with_defaults(job, item))
        job.next_number += 1
        self.home.save_next_number(job.name, job.next_number)
        job.builds[build.number] = job.live[build.number] = build
        item.build = build
        if executor is None:
            build.task = asyncio.create_task(self._run_pipeline(build, set()))
        else:
            build.node = executor.node.name
            self.scripts.runs(build.node, build)
            executor.running, executor.since_ms = build, build.started_ms
            build.task = asyncio.create_task(self._run_freestyle(build, executor))

    @staticmethod
    def _with_defaults(job: Job, item: Item) -> dict[str, str]:
        return {one.name: one.default for one in job.definition.parameters} | item.parameters

    def _accepted(self, executor: JenkinsExecutor, item: Item) -> None:
        """One build an agent: a node of the scheduler's takes no second task, but where it is pooled."""
        node = executor.node
        node.accepting = self.scripts.accepts_more(node.name)
        self.scripts.accepted(node.name, item)

    # Builds

    async def _run_freestyle(self, build: Build, executor: JenkinsExecutor) -> None:
        self.scripts.tell("started", started_ms=build.started_ms, **_described_build(build))
        log = BuildLog(self.home.build_directory(build.job.name, build.number))
        try:
            result = await freestyle(build, executor, log, self.options.root_url)
        except _CUT:
            if self._stopping:
                log.close()
                return
            result = "ABORTED"
            log.line(f"Build was aborted\nAborted by {build.stopped_by}")
        self._finish(build, result, log)
        self._release(executor, build.job.name)

    async def _run_pipeline(self, build: Build, journal: set[str]) -> None:
        fresh = not journal
        if fresh:
            self.scripts.tell("started", started_ms=build.started_ms, **_described_build(build))
        log = BuildLog(self.home.build_directory(build.job.name, build.number))
        around = Surroundings(self._ask, self._give_back, lambda: self._save(build, journal))
        try:
            result = await PipelineRun(build, log, journal, around).run(variables_of(build, self.options.root_url))
        except _CUT:
            if self._stopping:
                log.close()
                return
            result = "ABORTED"
            log.line(f"Aborted by {build.stopped_by}\n[Pipeline] End of Pipeline")
        self._finish(build, result, log)

    async def _ask(self, build: Build, path: str, expression: str | None) -> JenkinsExecutor:
        """Raises StepFailedError where the item was cancelled."""
        part = NodePart(build, path, asyncio.get_running_loop().create_future())
        label = taken(expression) if expression else None
        saved = self._parts.pop((build.job.name, build.number, path), None)
        if saved is not None:
            item = Item(saved.id, part, label, saved.since_ms, saved.due_ms)
            self.queue.add(item)
        else:
            item = self.queue.schedule(part, label, 0, None, {})
        try:
            return await part.given
        except _CUT:
            if item.cancelled and build.stopped_by is None:
                raise StepFailedError("Queue item was cancelled", "ABORTED") from None
            if not self._stopping:
                self.queue.cancel(item.id)
            raise

    def _give_back(self, executor: JenkinsExecutor) -> None:
        part = executor.running
        assert isinstance(part, NodePart)
        self._release(executor, part.name)

    def _release(self, executor: JenkinsExecutor, task: str) -> None:
        took_ms = now_ms() - executor.since_ms
        executor.running = None
        if not self._stopping:
            self.scripts.served(executor.node.name, task, took_ms)
        self.queue.look()

    def _finish(self, build: Build, result: str, log: BuildLog) -> None:
        log.line(f"Finished: {result}")
        log.close()
        build.duration_ms = max(now_ms() - build.started_ms, 1)
        build.result = result
        build.task = None
        build.job.live.pop(build.number, None)
        self._save(build, set())
        self.scripts.tell("finished", result=result, duration_ms=build.duration_ms, **_described_build(build))
        self.queue.look()
        self._look_idle()

    def _save(self, build: Build, journal: set[str]) -> None:
        if build.job.name not in self.jobs:
            return
        self.home.save_build(build.job.name, build.number, {
            "queue_id": build.queue_id, "started_ms": build.started_ms, "duration_ms": build.duration_ms,
            "result": build.result, "node": build.node, "causes": build.causes, "parameters": build.parameters,
            "journal": sorted(journal),
        })  # fmt: skip

    def _look_idle(self) -> None:
        if self._then is not None and not any(job.live for job in self.jobs.values()):
            self._then()

    # What the init scripts do

    async def tell_scheduler(self) -> None:
        await self.scripts.run(self.queue.listed, self.queue.find, self.note, self.queue.look)

    def note(self, build: Build, text: str) -> None:
        """A line into its log, also where it has ended."""
        log = BuildLog(self.home.build_directory(build.job.name, build.number))
        log.line(f"[butlery] {text}")
        log.close()

    def tell_build(self, node: str, reason: str, resubmit: bool) -> bool:
        """Whether the build is known that ran there."""
        build = self.scripts.ran_on(node)
        if build is None:
            return False
        line = " ".join(reason.split())[:500]
        if line:
            self.note(build, line)
        if resubmit and is_lost(build) and self.jobs.get(build.job.name) is build.job:
            again = remote_cause(build, line)
            if again is None:
                self.note(build, f"lost {MAX_AGAIN + 1} times now: it is not built again")
            else:
                item = self.schedule(build.job, 0, again, dict(build.parameters))
                item.causes[:0] = [one for one in build.causes if one not in item.causes]
                self.note(build, "it is built again")
        return True


def _job(name: str, config: str, number: int) -> Job:
    definition: JobDefinition = job_definition(config)
    return Job(name, config, definition, taken(definition.label) if definition.label else None, number)


def _build(job: Job, number: int, record: dict[str, Any]) -> Build:
    return Build(
        job, number, record["queue_id"], record["started_ms"], record["causes"], record["parameters"],
        record["node"], record["result"], record["duration_ms"],
    )  # fmt: skip


def _saved(item: Item) -> SavedItem:
    task: Task = item.task
    part = (task.build.number, task.path) if isinstance(task, NodePart) else None
    job = task.build.job.name if isinstance(task, NodePart) else task.name
    return SavedItem(item.id, job, item.since_ms, item.due_ms, item.causes, item.parameters, part)


def _described_build(build: Build) -> dict[str, Any]:
    return {
        "job": build.job.name,
        "build": build.number,
        "url": build.url,
        "queue_item": build.queue_id,
        "node": build.node,
    }
