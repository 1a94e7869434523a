"""What the REST API shows of jobs, builds and the queue, in Jenkins' order, with Jenkins' visibility."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes.jenkins.definitions import Parameter
from tests.fakes.jenkins.exporting import EVER, NAMELESS, Of, empty, fixed, named, shown
from tests.fakes.jenkins.model import Build, Item, ItemState, Job, NodePart
from tests.fakes.jenkins.tree import Bean, Kind, Property

_DURABLE = "org.jenkinsci.plugins.workflow"

# Causes and parameters

_CAUSE = Kind("hudson.model.Cause$UserIdCause", (
    shown("shortDescription", lambda of: f"Started by user {of.thing or 'anonymous'}", EVER),
    shown("userId", lambda of: of.thing, EVER),
    shown("userName", lambda of: of.thing or "anonymous", EVER),
))  # fmt: skip
_REMOTE_CAUSE = Kind("hudson.model.Cause$RemoteCause", (
    shown("shortDescription", lambda of: "Started by remote host {} with note: {}".format(*of.thing.split("\n")), EVER),
    shown("addr", lambda of: of.thing.partition("\n")[0], EVER),
    shown("note", lambda of: of.thing.partition("\n")[2], EVER),
))  # fmt: skip
_CAUSES = Kind("hudson.model.CauseAction", (
    shown("causes", lambda of: [of.bean(_kind_of_cause(one), one) for one in of.thing], EVER),
))  # fmt: skip


def _kind_of_cause(cause: str | None) -> Kind:
    return _REMOTE_CAUSE if "\n" in (cause or "") else _CAUSE


def _value_kind(class_name: str, boolean: bool) -> Kind:
    return Kind(class_name, (
        shown("name", lambda of: of.thing[0], EVER),
        shown("value", lambda of: of.thing[1] == "true" if boolean else of.thing[1], EVER),
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
    shown("parameters", lambda of: [_value(of, of.thing[0], *one) for one in of.thing[1].items()], EVER),
))  # fmt: skip


def _actions(of: Of, job: Job, parameters: dict[str, str], causes: list[str | None]) -> list[Bean]:
    shown = [of.bean(_PARAMETERS, (job, parameters))] if parameters else []
    return [*shown, of.bean(_CAUSES, causes)]


# Builds


def _build_properties(executor: Property) -> tuple[Property, ...]:
    return (
        shown("actions", lambda of: _actions(of, of.thing.job, of.thing.parameters, of.thing.causes)),
        fixed("artifacts", []),
        shown("building", lambda of: of.thing.result is None),
        fixed("description", None),
        shown("displayName", lambda of: f"#{of.thing.number}"),
        shown("duration", lambda of: of.thing.duration_ms),
        shown("estimatedDuration", lambda of: of.thing.job.estimated_ms()),
        executor,
        shown("fullDisplayName", lambda of: f"{of.thing.job.name} #{of.thing.number}"),
        shown("id", lambda of: str(of.thing.number)),
        shown("inProgress", lambda of: of.thing.result is None),
        fixed("keepLog", value=False),
        shown("number", lambda of: of.thing.number, 2),
        shown("queueId", lambda of: of.thing.queue_id),
        shown("result", lambda of: of.thing.result),
        shown("timestamp", lambda of: of.thing.started_ms),
        shown("url", lambda of: of.root + of.thing.url, 2),
    )


_BUILD_PROPERTIES = _build_properties(
    shown("executor", lambda of: named(NAMELESS) if of.thing.result is None else None)
)  # fmt: skip
_CHANGES = Kind("hudson.scm.EmptyChangeLogSet", (fixed("items", [], EVER), fixed("kind", None, EVER)))
FREESTYLE_BUILD = Kind("hudson.model.FreeStyleBuild", (
    *_BUILD_PROPERTIES,
    shown("builtOn", lambda of: of.thing.node),
    fixed("changeSet", Bean(_CHANGES, None)),
    fixed("culprits", []),
))  # fmt: skip
PIPELINE_BUILD = Kind(f"{_DURABLE}.job.WorkflowRun", (
    *_BUILD_PROPERTIES,
    fixed("changeSets", []),
    fixed("culprits", []),
    shown("nextBuild", lambda of: _neighbour(of, 1)),
    shown("previousBuild", lambda of: _neighbour(of, -1)),
))  # fmt: skip


def build_kind(build: Build) -> Kind:
    return PIPELINE_BUILD if build.job.definition.pipeline else FREESTYLE_BUILD


def build_bean(of: Of, build: Build | None) -> Bean | None:
    return of.bean(build_kind(build), build) if build is not None else None


def _neighbour(of: Of, step: int) -> Bean | None:
    return build_bean(of, of.thing.job.builds.get(of.thing.number + step))


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
    return shown(name, lambda of: build_bean(of, choose(of.thing)))


def _first(job: Job) -> Build | None:
    return next(iter(job.builds.values()), None)


def last_build(job: Job) -> Build | None:
    return next(reversed(job.builds.values()), None)


_PARAMETER = Kind("hudson.model.StringParameterDefinition", (
    shown("defaultParameterValue", lambda of: _value(of, of.thing[0], of.thing[1].name, of.thing[1].default), EVER),
    fixed("description", None, EVER),
    shown("name", lambda of: of.thing[1].name, EVER),
    shown("type", lambda of: f"{of.thing[1].kind}ParameterDefinition", EVER),
))  # fmt: skip
_PROPERTY = Kind("hudson.model.ParametersDefinitionProperty", (
    shown("parameterDefinitions",
       lambda of: [of.bean(_PARAMETER, (of.thing, one)) for one in of.thing.definition.parameters], EVER),
))  # fmt: skip


def _all_builds(of: Of) -> list[Bean]:
    return [of.bean(build_kind(build), build) for build in reversed(of.thing.builds.values())]


_JOB_PROPERTIES = (
    fixed("actions", [named(NAMELESS)]),
    shown("description", lambda of: of.thing.definition.description),
    shown("displayName", lambda of: of.thing.name),
    fixed("displayNameOrNull", None),
    shown("fullDisplayName", lambda of: of.thing.name),
    shown("fullName", lambda of: of.thing.name),
    shown("name", lambda of: of.thing.name, EVER),
    shown("url", lambda of: of.root + of.thing.url, EVER),
    shown("allBuilds", _all_builds, -2),
    shown("buildable", lambda of: not of.thing.definition.disabled),
    shown("builds", _all_builds),
    shown("color", _color, EVER),
    _newest("firstBuild", _first),
    fixed("healthReport", []),
    shown("inQueue", lambda of: of.master.queue.of_job(of.thing) is not None),
    fixed("keepDependencies", value=False),
    _newest("lastBuild", last_build),
    _newest("lastCompletedBuild", lambda job: job.newest("SUCCESS", "FAILURE", "ABORTED", "UNSTABLE")),
    _newest("lastFailedBuild", lambda job: job.newest("FAILURE")),
    _newest("lastStableBuild", lambda job: job.newest("SUCCESS")),
    _newest("lastSuccessfulBuild", lambda job: job.newest("SUCCESS", "UNSTABLE")),
    _newest("lastUnstableBuild", lambda job: job.newest("UNSTABLE")),
    _newest("lastUnsuccessfulBuild", lambda job: job.newest("FAILURE", "ABORTED", "UNSTABLE")),
    shown("nextBuildNumber", lambda of: of.thing.next_number),
    shown("property", lambda of: [of.bean(_PROPERTY, of.thing)] if of.thing.definition.parameters else []),
    shown("queueItem", _queued),
    shown("concurrentBuild", lambda of: of.thing.definition.concurrent),
)
FREESTYLE_JOB = Kind("hudson.model.FreeStyleProject", (
    *_JOB_PROPERTIES,
    shown("disabled", lambda of: of.thing.definition.disabled),
    fixed("downstreamProjects", []),
    shown("labelExpression", lambda of: of.thing.definition.label),
    fixed("scm", named(empty("hudson.scm.NullSCM"))),
    fixed("upstreamProjects", []),
))  # fmt: skip
PIPELINE_JOB = Kind(f"{_DURABLE}.job.WorkflowJob", (*_JOB_PROPERTIES, fixed("resumeBlocked", value=False)))


def job_kind(job: Job) -> Kind:
    return PIPELINE_JOB if job.definition.pipeline else FREESTYLE_JOB


# The queue

_PART = Kind(f"{_DURABLE}.support.steps.ExecutorStepExecution$PlaceholderTask", (
    shown("fullDisplayName", lambda of: of.thing.name),
    shown("name", lambda of: of.thing.name),
    shown("url", lambda of: of.thing.build.url),
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
    shown("actions", _item_actions, EVER),
    shown("blocked", lambda of: of.thing.state is ItemState.BLOCKED, EVER),
    shown("buildable", lambda of: of.thing.state is ItemState.BUILDABLE, EVER),
    shown("id", lambda of: of.thing.id, EVER),
    shown("inQueueSince", lambda of: of.thing.since_ms, EVER),
    shown("params", _params, EVER),
    shown("stuck", lambda of: of.reasons.of(of.thing).stuck, EVER),
    shown("task", _task, EVER),
    shown("url", lambda of: f"queue/item/{of.thing.id}/", EVER),
    shown("why", lambda of: of.reasons.of(of.thing).text, EVER),
)
_ITEM_MORE = {
    ItemState.WAITING: (shown("timestamp", lambda of: of.thing.due_ms, EVER),),
    ItemState.BLOCKED: (shown("buildableStartMilliseconds", lambda of: of.thing.buildable_ms, EVER),),
    ItemState.BUILDABLE: (
        shown("buildableStartMilliseconds", lambda of: of.thing.buildable_ms, EVER),
        fixed("pending", False, EVER),
    ),
    ItemState.LEFT: (
        shown("cancelled", lambda of: of.thing.cancelled, EVER),
        shown("executable", lambda of: build_bean(of, of.thing.build), EVER),
    ),
}
_ITEMS = {state: Kind(f"hudson.model.{state}", (*_ITEM_PROPERTIES, *more)) for state, more in _ITEM_MORE.items()}


def item_kind(item: Item) -> Kind:
    return _ITEMS[item.state]


QUEUE = Kind("hudson.model.Queue", (
    fixed("discoverableItems", []),
    shown("items", lambda of: [of.bean(item_kind(item), item) for item in of.master.queue.listed()]),
))  # fmt: skip
