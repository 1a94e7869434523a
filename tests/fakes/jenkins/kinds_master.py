"""What the REST API shows of the master itself, in Jenkins' order, with Jenkins' visibility."""

from __future__ import annotations

from tests.fakes.jenkins.exporting import EVER, NAMELESS, empty, fixed, named, shown
from tests.fakes.jenkins.kinds_jobs import job_kind
from tests.fakes.jenkins.kinds_nodes import label_names
from tests.fakes.jenkins.queue import BUILT_IN
from tests.fakes.jenkins.tree import Kind

_VIEW = Kind("hudson.model.AllView", (fixed("name", "all", EVER), shown("url", lambda of: of.root, EVER)))
MASTER = Kind("hudson.model.Hudson", (
    shown("assignedLabels", lambda of: label_names(of, BUILT_IN)),
    fixed("mode", "NORMAL"),
    fixed("nodeDescription", "the Jenkins controller's built-in node"),
    fixed("nodeName", ""),
    fixed("numExecutors", 0),
    fixed("description", None),
    shown("jobs", lambda of: [of.bean(job_kind(job), job) for _, job in sorted(of.master.jobs.items())]),
    fixed("overallLoad", named(NAMELESS)),
    shown("primaryView", lambda of: of.bean(_VIEW, None)),
    # Not the reason that was given with quietDown: 2.463 was seen to say null.
    fixed("quietDownReason", None),
    shown("quietingDown", lambda of: of.master.queue.quieting),
    shown("slaveAgentPort", lambda of: of.master.agent_port),
    fixed("unlabeledLoad", named(empty("jenkins.model.UnlabeledLoadStatistics"))),
    shown("url", lambda of: of.master.options.root_url),
    fixed("useCrumbs", value=True),
    shown("useSecurity", lambda of: of.master.options.admin_password is not None),
    shown("views", lambda of: [of.bean(_VIEW, None)]),
))  # fmt: skip
_SERIES = ("availableExecutors", "busyExecutors", "connectingExecutors", "definedExecutors", "idleExecutors",
           "onlineExecutors", "queueLength", "totalExecutors", "totalQueueLength")  # fmt: skip
LOAD = Kind("hudson.model.OverallLoadStatistics", tuple(fixed(name, named(NAMELESS)) for name in _SERIES))
WHO_AM_I = Kind("hudson.security.WhoAmI", (
    shown("anonymous", lambda of: of.thing is None),
    fixed("authenticated", value=True),
    shown("authorities", lambda of: ["anonymous" if of.thing is None else "authenticated"]),
    shown("name", lambda of: of.thing or "anonymous"),
))  # fmt: skip
CRUMB = Kind("hudson.security.csrf.DefaultCrumbIssuer", (
    shown("crumb", lambda of: of.thing),
    fixed("crumbRequestField", "Jenkins-Crumb"),
))  # fmt: skip
