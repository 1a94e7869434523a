"""What the REST API shows of each thing, in Jenkins' order, with Jenkins' visibility."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.fakes.jenkins.definitions import Parameter
from tests.fakes.jenkins.labels import Label
from tests.fakes.jenkins.master import Master
from tests.fakes.jenkins.model import Build, Item, ItemState, JenkinsExecutor, Job, Node, NodePart
from tests.fakes.jenkins.queue import BUILT_IN, Reasons, now_ms
from tests.fakes.jenkins.tree import Bean, Kind, Property

_EVER = 999
_MONITORS = ("SwapSpace", "TemporarySpace", "DiskSpace", "Architecture", "ResponseTime", "Clock")
_DURABLE = "org.jenkinsci.plugins.workflow"


class Of(NamedTuple):
    """A thing as one request sees it: ``root`` is the master's address as the caller knows it."""

    thing: Any
    master: Master
    root: str
    reasons: Reasons

    def bean(self, kind: Kind, thing: Any) -> Bean:
        return Bean(kind, self._replace(thing=thing))


def _p(name: str, read: Callable[[Of], Any], visibility: int = 1) -> Property:
    return Property(name, visibility, read)


def _fixed(name: str, value: Any, visibility: int = 1) -> Property:
    return Property(name, visibility, lambda of: value)


def _empty(name: str, tells_class: bool = True) -> Kind:
    return Kind(name, (), tells_class)


_NAMELESS = _empty("", tells_class=False)


def named(kind: Kind) -> Bean:
    return Bean(kind, None)


# Causes and parameters

_CAUSE = Kind("hudson.model.Cause$UserIdCause", (
    _p("shortDescription", lambda of: f"Started by user {of.thing or 'anonymous'}", _EVER),
    _p("userId", lambda of: of.thing, _EVER),
    _p("userName", lambda of: of.thing or "anonymous", _EVER),
))  # fmt: skip
_CAUSES = Kind("hudson.model.CauseAction", (
    _p("causes", lambda of: [of.bean(_CAUSE, user) for user in of.thing], _EVER),
))  # fmt: skip


def _value_kind(class_name: str, boolean: bool) -> Kind:
    return Kind(class_name, (
        _p("name", lambda of: of.thing[0], _EVER),
        _p("value", lambda of: of.thing[1] == "true" if boolean else of.thing[1], _EVER),
    ))  # fmt: skip


_VALUES = {
    name: _value_kind(f"hudson.model.{name}ParameterValue", name == "Boolean")
    for name in ("String", "Boolean", "Text", "Password")
}


def _value(of: Of, job: Job, name: str, value: str) -> Bean:
    known = {one.name: one for one in job.definition.parameters}
    parameter = known.get(name, Parameter("String", name, ""))
    kind = parameter.value_class.removeprefix("hudson.model.").removesuffix("ParameterValue")
    return of.bean(_VALUES[kind], (name, value))


_PARAMETERS = Kind("hudson.model.ParametersAction", (
    _p("parameters", lambda of: [_value(of, of.thing[0], *one) for one in of.thing[1].items()], _EVER),
))  # fmt: skip


def _actions(of: Of, job: Job, parameters: dict[str, str], causes: list[str | None]) -> list[Bean]:
    shown = [of.bean(_PARAMETERS, (job, parameters))] if parameters else []
    return [*shown, of.bean(_CAUSES, causes)]


# Builds


def _build_properties(executor: Property) -> tuple[Property, ...]:
    return (
        _p("actions", lambda of: _actions(of, of.thing.job, of.thing.parameters, of.thing.causes)),
        _fixed("artifacts", []),
        _p("building", lambda of: of.thing.result is None),
        _fixed("description", None),
        _p("displayName", lambda of: f"#{of.thing.number}"),
        _p("duration", lambda of: of.thing.duration_ms),
        _p("estimatedDuration", lambda of: of.thing.job.estimated_ms()),
        executor,
        _p("fullDisplayName", lambda of: f"{of.thing.job.name} #{of.thing.number}"),
        _p("id", lambda of: str(of.thing.number)),
        _p("inProgress", lambda of: of.thing.result is None),
        _fixed("keepLog", value=False),
        _p("number", lambda of: of.thing.number, 2),
        _p("queueId", lambda of: of.thing.queue_id),
        _p("result", lambda of: of.thing.result),
        _p("timestamp", lambda of: of.thing.started_ms),
        _p("url", lambda of: of.root + of.thing.url, 2),
    )


_BUILD_PROPERTIES = _build_properties(
    _p("executor", lambda of: named(_NAMELESS) if of.thing.result is None else None)
)  # fmt: skip
_CHANGES = Kind("hudson.scm.EmptyChangeLogSet", (_fixed("items", [], _EVER), _fixed("kind", None, _EVER)))
FREESTYLE_BUILD = Kind("hudson.model.FreeStyleBuild", (
    *_BUILD_PROPERTIES,
    _p("builtOn", lambda of: of.thing.node),
    _fixed("changeSet", Bean(_CHANGES, None)),
    _fixed("culprits", []),
))  # fmt: skip
PIPELINE_BUILD = Kind(f"{_DURABLE}.job.WorkflowRun", (
    *_BUILD_PROPERTIES,
    _fixed("changeSets", []),
    _fixed("culprits", []),
    _p("nextBuild", lambda of: _neighbour(of, 1)),
    _p("previousBuild", lambda of: _neighbour(of, -1)),
))  # fmt: skip


def build_kind(build: Build) -> Kind:
    return PIPELINE_BUILD if build.job.definition.pipeline else FREESTYLE_BUILD


def _build(of: Of, build: Build | None) -> Bean | None:
    return of.bean(build_kind(build), build) if build is not None else None


def _neighbour(of: Of, step: int) -> Bean | None:
    return _build(of, of.thing.job.builds.get(of.thing.number + step))


# Jobs

_COLORS = {"SUCCESS": "blue", "FAILURE": "red", "ABORTED": "aborted", "UNSTABLE": "yellow"}


def _color(of: Of) -> str:
    job: Job = of.thing
    if job.definition.disabled:
        return "disabled"
    last = job.newest("SUCCESS", "FAILURE", "ABORTED", "UNSTABLE")
    color = _COLORS[last.result or ""] if last is not None else "notbuilt"
    return f"{color}_anime" if job.live else color


def _queued(of: Of) -> Bean | None:
    item = of.master.queue.of_job(of.thing)
    return of.bean(item_kind(item), item) if item is not None else None


def _newest(name: str, choose: Callable[[Job], Build | None]) -> Property:
    return _p(name, lambda of: _build(of, choose(of.thing)))


def _first(job: Job) -> Build | None:
    return next(iter(job.builds.values()), None)


def last_build(job: Job) -> Build | None:
    return next(reversed(job.builds.values()), None)


_PARAMETER = Kind("hudson.model.StringParameterDefinition", (
    _p("defaultParameterValue", lambda of: _value(of, of.thing[0], of.thing[1].name, of.thing[1].default), _EVER),
    _fixed("description", None, _EVER),
    _p("name", lambda of: of.thing[1].name, _EVER),
    _p("type", lambda of: f"{of.thing[1].kind}ParameterDefinition", _EVER),
))  # fmt: skip
_PROPERTY = Kind("hudson.model.ParametersDefinitionProperty", (
    _p("parameterDefinitions",
       lambda of: [of.bean(_PARAMETER, (of.thing, one)) for one in of.thing.definition.parameters], _EVER),
))  # fmt: skip


def _all_builds(of: Of) -> list[Bean]:
    return [of.bean(build_kind(build), build) for build in reversed(of.thing.builds.values())]


_JOB_PROPERTIES = (
    _fixed("actions", [named(_NAMELESS)]),
    _p("description", lambda of: of.thing.definition.description),
    _p("displayName", lambda of: of.thing.name),
    _fixed("displayNameOrNull", None),
    _p("fullDisplayName", lambda of: of.thing.name),
    _p("fullName", lambda of: of.thing.name),
    _p("name", lambda of: of.thing.name, _EVER),
    _p("url", lambda of: of.root + of.thing.url, _EVER),
    _p("allBuilds", _all_builds, -2),
    _p("buildable", lambda of: not of.thing.definition.disabled),
    _p("builds", _all_builds),
    _p("color", _color, _EVER),
    _newest("firstBuild", _first),
    _fixed("healthReport", []),
    _p("inQueue", lambda of: of.master.queue.of_job(of.thing) is not None),
    _fixed("keepDependencies", value=False),
    _newest("lastBuild", last_build),
    _newest("lastCompletedBuild", lambda job: job.newest("SUCCESS", "FAILURE", "ABORTED", "UNSTABLE")),
    _newest("lastFailedBuild", lambda job: job.newest("FAILURE")),
    _newest("lastStableBuild", lambda job: job.newest("SUCCESS")),
    _newest("lastSuccessfulBuild", lambda job: job.newest("SUCCESS", "UNSTABLE")),
    _newest("lastUnstableBuild", lambda job: job.newest("UNSTABLE")),
    _newest("lastUnsuccessfulBuild", lambda job: job.newest("FAILURE", "ABORTED", "UNSTABLE")),
    _p("nextBuildNumber", lambda of: of.thing.next_number),
    _p("property", lambda of: [of.bean(_PROPERTY, of.thing)] if of.thing.definition.parameters else []),
    _p("queueItem", _queued),
    _p("concurrentBuild", lambda of: of.thing.definition.concurrent),
)
FREESTYLE_JOB = Kind("hudson.model.FreeStyleProject", (
    *_JOB_PROPERTIES,
    _p("disabled", lambda of: of.thing.definition.disabled),
    _fixed("downstreamProjects", []),
    _p("labelExpression", lambda of: of.thing.definition.label),
    _fixed("scm", named(_empty("hudson.scm.NullSCM"))),
    _fixed("upstreamProjects", []),
))  # fmt: skip
PIPELINE_JOB = Kind(f"{_DURABLE}.job.WorkflowJob", (*_JOB_PROPERTIES, _fixed("resumeBlocked", value=False)))


def job_kind(job: Job) -> Kind:
    return PIPELINE_JOB if job.definition.pipeline else FREESTYLE_JOB


# The queue

_PART = Kind(f"{_DURABLE}.support.steps.ExecutorStepExecution$PlaceholderTask", (
    _p("fullDisplayName", lambda of: of.thing.name),
    _p("name", lambda of: of.thing.name),
    _p("url", lambda of: of.thing.build.url),
))  # fmt: skip


def _task(of: Of) -> Bean:
    task = of.thing.task
    return of.bean(_PART if isinstance(task, NodePart) else job_kind(task), task)


def _item_actions(of: Of) -> list[Bean]:
    item: Item = of.thing
    return _actions(of, item.task, item.parameters, item.causes) if isinstance(item.task, Job) else []


def _params(of: Of) -> str:
    return "".join(f"\n{name}={value}" for name, value in of.thing.parameters.items())


_ITEM_PROPERTIES = (
    _p("actions", _item_actions, _EVER),
    _p("blocked", lambda of: of.thing.state is ItemState.BLOCKED, _EVER),
    _p("buildable", lambda of: of.thing.state is ItemState.BUILDABLE, _EVER),
    _p("id", lambda of: of.thing.id, _EVER),
    _p("inQueueSince", lambda of: of.thing.since_ms, _EVER),
    _p("params", _params, _EVER),
    _p("stuck", lambda of: of.reasons.of(of.thing).stuck, _EVER),
    _p("task", _task, _EVER),
    _p("url", lambda of: f"queue/item/{of.thing.id}/", _EVER),
    _p("why", lambda of: of.reasons.of(of.thing).text, _EVER),
)
_ITEM_MORE = {
    ItemState.WAITING: (_p("timestamp", lambda of: of.thing.due_ms, _EVER),),
    ItemState.BLOCKED: (_p("buildableStartMilliseconds", lambda of: of.thing.buildable_ms, _EVER),),
    ItemState.BUILDABLE: (
        _p("buildableStartMilliseconds", lambda of: of.thing.buildable_ms, _EVER),
        _fixed("pending", False, _EVER),
    ),
    ItemState.LEFT: (
        _p("cancelled", lambda of: of.thing.cancelled, _EVER),
        _p("executable", lambda of: _build(of, of.thing.build), _EVER),
    ),
}
_ITEMS = {state: Kind(f"hudson.model.{state}", (*_ITEM_PROPERTIES, *more)) for state, more in _ITEM_MORE.items()}


def item_kind(item: Item) -> Kind:
    return _ITEMS[item.state]


QUEUE = Kind("hudson.model.Queue", (
    _fixed("discoverableItems", []),
    _p("items", lambda of: [of.bean(item_kind(item), item) for item in of.master.queue.listed()]),
))  # fmt: skip

# Nodes

_RUNNING_PART = Kind(f"{_DURABLE}.support.steps.ExecutorStepExecution$PlaceholderTask$PlaceholderExecutable", (
    _p("displayName", lambda of: of.thing.name),
    _p("estimatedDuration", lambda of: of.thing.build.job.estimated_ms()),
    _p("fullDisplayName", lambda of: of.thing.name),
    _p("number", lambda of: of.thing.build.number, 2),
    _p("timestamp", lambda of: of.thing.build.started_ms),
    _p("url", lambda of: of.root + of.thing.build.url, 2),
))  # fmt: skip


def _current(of: Of) -> Bean | None:
    running = of.thing.running
    return of.bean(_RUNNING_PART, running) if isinstance(running, NodePart) else _build(of, running)


def _progress(of: Of) -> int:
    running = of.thing.running
    job = running.build.job if isinstance(running, NodePart) else running.job if running is not None else None
    expected_ms = job.estimated_ms() if job is not None else -1
    return min(99, (now_ms() - of.thing.since_ms) * 100 // expected_ms) if expected_ms > 0 else -1


_EXECUTOR = Kind("hudson.model.Executor", (
    _p("currentExecutable", _current),
    _p("idle", lambda of: of.thing.running is None),
    _fixed("likelyStuck", value=False),
    _p("number", lambda of: of.thing.number),
    _p("progress", _progress),
), tells_class=False)  # fmt: skip


class _Flyweight(NamedTuple):
    """What a Pipeline itself runs on."""

    running: Build
    since_ms: int
    number: int = -1


def _flyweights(of: Of) -> list[Bean]:
    live = [build for job in of.master.jobs.values() if job.definition.pipeline for build in job.live.values()]
    return [of.bean(_EXECUTOR, _Flyweight(build, build.started_ms)) for build in live]


_LABEL_NAME = Kind("hudson.model.labels.LabelAtom", (_p("name", lambda of: of.thing, _EVER),), tells_class=False)
_LOAD = named(_empty("hudson.model.Label$1"))


def _labels(of: Of, names: frozenset[str]) -> list[Bean]:
    return [of.bean(_LABEL_NAME, name) for name in sorted(names)]


def _monitors(of: Of, online: bool) -> dict[str, Any]:
    kinds = {name: f"hudson.node_monitors.{name}Monitor" for name in _MONITORS}
    if not online:
        return dict.fromkeys(kinds.values())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = os.statvfs(of.master.home.path)
    space = {
        "_class": "hudson.node_monitors.DiskSpaceMonitorDescriptor$DiskSpace", "timestamp": now_ms(),
        "path": str(of.master.home.path), "size": disk.f_bavail * disk.f_frsize, "threshold": 1 << 30,
        "totalSize": disk.f_blocks * disk.f_frsize, "warningThreshold": 1 << 31,
    }  # fmt: skip
    return {
        kinds["SwapSpace"]: {
            "_class": "hudson.node_monitors.SwapSpaceMonitor$MemoryUsage2",
            "availablePhysicalMemory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"),
            "availableSwapSpace": 0, "totalPhysicalMemory": memory, "totalSwapSpace": 0,
        },
        kinds["TemporarySpace"]: {**space, "path": "/tmp"},
        kinds["DiskSpace"]: space,
        kinds["Architecture"]: "Linux (amd64)",
        kinds["ResponseTime"]: {
            "_class": "hudson.node_monitors.ResponseTimeMonitor$Data", "timestamp": now_ms(), "average": 0,
        },
        kinds["Clock"]: {"_class": "hudson.util.ClockDifference", "diff": 0},
    }  # fmt: skip


def _cause(of: Of) -> Bean | None:
    cause = of.thing.cause
    if cause is None:
        return None
    properties = [_p("timestamp", lambda cause_of: cause_of.thing.at_ms)]
    if cause.description is not None:
        properties.append(_p("description", lambda cause_of: cause_of.thing.description))
    return of.bean(Kind(f"hudson.slaves.OfflineCause${cause.kind}", tuple(properties)), cause)


MASTER_COMPUTER = Kind("hudson.model.Hudson$MasterComputer", (
    _fixed("actions", []),
    _p("assignedLabels", lambda of: _labels(of, BUILT_IN)),
    _fixed("description", "the Jenkins controller's built-in node"),
    _fixed("displayName", "Built-In Node"),
    _fixed("executors", []),
    _fixed("icon", "symbol-computer"),
    _fixed("iconClassName", "symbol-computer"),
    _p("idle", lambda of: not _flyweights(of)),
    _fixed("jnlpAgent", value=False),
    _fixed("launchSupported", value=True),
    _fixed("loadStatistics", _LOAD),
    _fixed("manualLaunchAllowed", value=True),
    _p("monitorData", lambda of: _monitors(of, online=True)),
    _fixed("numExecutors", 0),
    _fixed("offline", value=False),
    _fixed("offlineCause", None),
    _fixed("offlineCauseReason", ""),
    _p("oneOffExecutors", _flyweights),
    _fixed("temporarilyOffline", value=False),
))  # fmt: skip
COMPUTER = Kind("hudson.slaves.SlaveComputer", (
    _fixed("actions", []),
    _p("assignedLabels", lambda of: _labels(of, of.thing.definition.labels)),
    _p("description", lambda of: of.thing.definition.description),
    _p("displayName", lambda of: of.thing.name),
    _p("executors", lambda of: [of.bean(_EXECUTOR, one) for one in of.thing.executors]),
    _p("icon", lambda of: _icon(of.thing)),
    _p("iconClassName", lambda of: _icon(of.thing)),
    _p("idle", lambda of: all(one.running is None for one in of.thing.executors)),
    _fixed("jnlpAgent", value=True),
    _fixed("launchSupported", value=False),
    _fixed("loadStatistics", _LOAD),
    _fixed("manualLaunchAllowed", value=True),
    _p("monitorData", lambda of: _monitors(of, of.thing.link is not None)),
    _p("numExecutors", lambda of: len(of.thing.executors)),
    _p("offline", lambda of: of.thing.offline),
    _p("offlineCause", _cause),
    _p("offlineCauseReason", lambda of: of.thing.cause.reason if of.thing.cause is not None else ""),
    _fixed("oneOffExecutors", []),
    _p("temporarilyOffline", lambda of: of.thing.temporarily_offline),
    _p("absoluteRemotePath", lambda of: of.thing.definition.remote_fs if of.thing.link is not None else None),
))  # fmt: skip


def _icon(node: Node) -> str:
    return "symbol-computer-offline" if node.offline else "symbol-computer"


def _online_executors(of: Of) -> list[JenkinsExecutor]:
    return [one for node in of.master.nodes.values() if not node.offline for one in node.executors]


COMPUTERS = Kind("hudson.model.ComputerSet", (
    _p("busyExecutors", lambda of: sum(one.running is not None for one in _online_executors(of))),
    _p("computer", lambda of: [
        of.bean(MASTER_COMPUTER, None), *(of.bean(COMPUTER, node) for node in of.master.nodes.values())
    ]),
    _fixed("displayName", "Nodes"),
    _p("totalExecutors", lambda of: len(_online_executors(of))),
))  # fmt: skip

_SLAVE = Kind("hudson.slaves.DumbSlave", (_p("nodeName", lambda of: of.thing.name, _EVER),))


def _label_nodes(of: Of) -> list[Node]:
    return of.master.queue.nodes_of(of.thing)


def _label_executors(of: Of, busy: bool | None) -> int:
    executors = [one for node in _label_nodes(of) if not node.offline for one in node.executors]
    return sum(busy is None or (one.running is not None) == busy for one in executors)


def _tied(of: Of) -> list[Bean]:
    label: Label = of.thing
    tied = [job for job in of.master.jobs.values() if job.label and job.label.expression == label.expression]
    return [of.bean(job_kind(job), job) for job in tied]


LABEL = Kind("hudson.model.labels.LabelAtom", (
    _fixed("actions", []),
    _p("busyExecutors", lambda of: _label_executors(of, busy=True)),
    _fixed("clouds", []),
    _fixed("description", None),
    _p("idleExecutors", lambda of: _label_executors(of, busy=False)),
    _fixed("loadStatistics", _LOAD),
    _p("name", lambda of: of.thing.expression, _EVER),
    _p("nodes", lambda of: [of.bean(_SLAVE, node) for node in _label_nodes(of)]),
    _p("offline", lambda of: all(node.offline for node in _label_nodes(of))),
    _p("tiedJobs", _tied),
    _p("totalExecutors", lambda of: _label_executors(of, busy=None)),
    _fixed("propertiesList", []),
))  # fmt: skip

# The master

_VIEW = Kind("hudson.model.AllView", (_fixed("name", "all", _EVER), _p("url", lambda of: of.root, _EVER)))
MASTER = Kind("hudson.model.Hudson", (
    _p("assignedLabels", lambda of: _labels(of, BUILT_IN)),
    _fixed("mode", "NORMAL"),
    _fixed("nodeDescription", "the Jenkins controller's built-in node"),
    _fixed("nodeName", ""),
    _fixed("numExecutors", 0),
    _fixed("description", None),
    _p("jobs", lambda of: [of.bean(job_kind(job), job) for _, job in sorted(of.master.jobs.items())]),
    _fixed("overallLoad", named(_NAMELESS)),
    _p("primaryView", lambda of: of.bean(_VIEW, None)),
    # Not the reason that was given with quietDown: 2.463 was seen to say null.
    _fixed("quietDownReason", None),
    _p("quietingDown", lambda of: of.master.queue.quieting),
    _p("slaveAgentPort", lambda of: of.master.agent_port),
    _fixed("unlabeledLoad", named(_empty("jenkins.model.UnlabeledLoadStatistics"))),
    _p("url", lambda of: of.master.options.root_url),
    _fixed("useCrumbs", value=True),
    _p("useSecurity", lambda of: of.master.options.admin_password is not None),
    _p("views", lambda of: [of.bean(_VIEW, None)]),
))  # fmt: skip
_SERIES = ("availableExecutors", "busyExecutors", "connectingExecutors", "definedExecutors", "idleExecutors",
           "onlineExecutors", "queueLength", "totalExecutors", "totalQueueLength")  # fmt: skip
LOAD = Kind("hudson.model.OverallLoadStatistics", tuple(_fixed(name, named(_NAMELESS)) for name in _SERIES))
WHO_AM_I = Kind("hudson.security.WhoAmI", (
    _p("anonymous", lambda of: of.thing is None),
    _fixed("authenticated", value=True),
    _p("authorities", lambda of: ["anonymous" if of.thing is None else "authenticated"]),
    _p("name", lambda of: of.thing or "anonymous"),
))  # fmt: skip
CRUMB = Kind("hudson.security.csrf.DefaultCrumbIssuer", (
    _p("crumb", lambda of: of.thing),
    _fixed("crumbRequestField", "Jenkins-Crumb"),
))  # fmt: skip
