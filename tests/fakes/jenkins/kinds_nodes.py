"""What the REST API shows of nodes and labels, in Jenkins' order, with Jenkins' visibility."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from tests.fakes.jenkins.exporting import EVER, Of, empty, fixed, named, shown
from tests.fakes.jenkins.kinds_jobs import build_bean, job_kind
from tests.fakes.jenkins.labels import Label
from tests.fakes.jenkins.model import Build, JenkinsExecutor, Node, NodePart
from tests.fakes.jenkins.queue import BUILT_IN, now_ms
from tests.fakes.jenkins.tree import Bean, Kind

_DURABLE = "org.jenkinsci.plugins.workflow"
_MONITORS = ("SwapSpace", "TemporarySpace", "DiskSpace", "Architecture", "ResponseTime", "Clock")

_RUNNING_PART = Kind(f"{_DURABLE}.support.steps.ExecutorStepExecution$PlaceholderTask$PlaceholderExecutable", (
    shown("displayName", lambda of: of.thing.name),
    shown("estimatedDuration", lambda of: of.thing.build.job.estimated_ms()),
    shown("fullDisplayName", lambda of: of.thing.name),
    shown("number", lambda of: of.thing.build.number, 2),
    shown("timestamp", lambda of: of.thing.build.started_ms),
    shown("url", lambda of: of.root + of.thing.build.url, 2),
))  # fmt: skip


def _current(of: Of) -> Bean | None:
    running = of.thing.running
    return of.bean(_RUNNING_PART, running) if isinstance(running, NodePart) else build_bean(of, running)


def _progress(of: Of) -> int:
    running = of.thing.running
    job = running.build.job if isinstance(running, NodePart) else running.job if running is not None else None
    expected_ms = job.estimated_ms() if job is not None else -1
    return min(99, (now_ms() - of.thing.since_ms) * 100 // expected_ms) if expected_ms > 0 else -1


_EXECUTOR = Kind("hudson.model.Executor", (
    shown("currentExecutable", _current),
    shown("idle", lambda of: of.thing.running is None),
    fixed("likelyStuck", value=False),
    shown("number", lambda of: of.thing.number),
    shown("progress", _progress),
), tells_class=False)  # fmt: skip


class _Flyweight(NamedTuple):
    """What a Pipeline itself runs on."""

    running: Build
    since_ms: int
    number: int = -1


def _flyweights(of: Of) -> list[Bean]:
    live = [build for job in of.master.jobs.values() if job.definition.pipeline for build in job.live.values()]
    return [of.bean(_EXECUTOR, _Flyweight(build, build.started_ms)) for build in live]


_LABEL_NAME = Kind("hudson.model.labels.LabelAtom", (shown("name", lambda of: of.thing, EVER),), tells_class=False)
_LOAD = named(empty("hudson.model.Label$1"))


def label_names(of: Of, names: frozenset[str]) -> list[Bean]:
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
    properties = [shown("timestamp", lambda cause_of: cause_of.thing.at_ms)]
    if cause.description is not None:
        properties.append(shown("description", lambda cause_of: cause_of.thing.description))
    return of.bean(Kind(f"hudson.slaves.OfflineCause${cause.kind}", tuple(properties)), cause)


MASTER_COMPUTER = Kind("hudson.model.Hudson$MasterComputer", (
    fixed("actions", []),
    shown("assignedLabels", lambda of: label_names(of, BUILT_IN)),
    fixed("description", "the Jenkins controller's built-in node"),
    fixed("displayName", "Built-In Node"),
    fixed("executors", []),
    fixed("icon", "symbol-computer"),
    fixed("iconClassName", "symbol-computer"),
    shown("idle", lambda of: not _flyweights(of)),
    fixed("jnlpAgent", value=False),
    fixed("launchSupported", value=True),
    fixed("loadStatistics", _LOAD),
    fixed("manualLaunchAllowed", value=True),
    shown("monitorData", lambda of: _monitors(of, online=True)),
    fixed("numExecutors", 0),
    fixed("offline", value=False),
    fixed("offlineCause", None),
    fixed("offlineCauseReason", ""),
    shown("oneOffExecutors", _flyweights),
    fixed("temporarilyOffline", value=False),
))  # fmt: skip
COMPUTER = Kind("hudson.slaves.SlaveComputer", (
    fixed("actions", []),
    shown("assignedLabels", lambda of: label_names(of, of.thing.definition.labels)),
    shown("description", lambda of: of.thing.definition.description),
    shown("displayName", lambda of: of.thing.name),
    shown("executors", lambda of: [of.bean(_EXECUTOR, one) for one in of.thing.executors]),
    shown("icon", lambda of: _icon(of.thing)),
    shown("iconClassName", lambda of: _icon(of.thing)),
    shown("idle", lambda of: all(one.running is None for one in of.thing.executors)),
    fixed("jnlpAgent", value=True),
    fixed("launchSupported", value=False),
    fixed("loadStatistics", _LOAD),
    fixed("manualLaunchAllowed", value=True),
    shown("monitorData", lambda of: _monitors(of, of.thing.link is not None)),
    shown("numExecutors", lambda of: len(of.thing.executors)),
    shown("offline", lambda of: of.thing.offline),
    shown("offlineCause", _cause),
    shown("offlineCauseReason", lambda of: of.thing.cause.reason if of.thing.cause is not None else ""),
    fixed("oneOffExecutors", []),
    shown("temporarilyOffline", lambda of: of.thing.temporarily_offline),
    shown("absoluteRemotePath", lambda of: of.thing.definition.remote_fs if of.thing.link is not None else None),
))  # fmt: skip


def _icon(node: Node) -> str:
    return "symbol-computer-offline" if node.offline else "symbol-computer"


def _online_executors(of: Of) -> list[JenkinsExecutor]:
    return [one for node in of.master.nodes.values() if not node.offline for one in node.executors]


COMPUTERS = Kind("hudson.model.ComputerSet", (
    shown("busyExecutors", lambda of: sum(one.running is not None for one in _online_executors(of))),
    shown("computer", lambda of: [
        of.bean(MASTER_COMPUTER, None), *(of.bean(COMPUTER, node) for _, node in sorted(of.master.nodes.items()))
    ], inline=True),
    fixed("displayName", "Nodes"),
    shown("totalExecutors", lambda of: len(_online_executors(of))),
))  # fmt: skip

_SLAVE = Kind("hudson.slaves.DumbSlave", (shown("nodeName", lambda of: of.thing.name, EVER),))


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
    fixed("actions", []),
    shown("busyExecutors", lambda of: _label_executors(of, busy=True)),
    fixed("clouds", []),
    fixed("description", None),
    shown("idleExecutors", lambda of: _label_executors(of, busy=False)),
    fixed("loadStatistics", _LOAD),
    shown("name", lambda of: of.thing.expression, EVER),
    shown("nodes", lambda of: [of.bean(_SLAVE, node) for node in _label_nodes(of)]),
    shown("offline", lambda of: all(node.offline for node in _label_nodes(of))),
    shown("tiedJobs", _tied),
    shown("totalExecutors", lambda of: _label_executors(of, busy=None)),
    fixed("propertiesList", []),
))  # fmt: skip
