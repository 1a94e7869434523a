"""What a chosen template makes of a request: the core's template, the executor's spec, the Jenkins side."""

from __future__ import annotations

from typing import NamedTuple

from agents.spec import BuildSpec
from framework.catalog.matching import Chosen
from framework.core.ids import TenantName
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.templates import Template


class AgentParts(NamedTuple):
    """Of a Submission, but for its idempotency key."""

    template: Template
    spec: BuildSpec
    jenkins: JenkinsSide
    retries: int


def agent_submission(
    chosen: Chosen,
    tenant: TenantName,
    item: QueueItem | None,
    *,
    task: str,
    task_url: str,
    label: str,
    buildable_at: float,
) -> AgentParts:
    """A request for an agent of a tenant's master. ``label`` as Jenkins told it, empty where the job has none."""
    raise NotImplementedError


def agent_template(chosen: Chosen) -> Template:
    """What deciding needs to know of an agent of Jenkins; of a spare too."""
    raise NotImplementedError


def agent_spec(chosen: Chosen, tenant: str, job: str) -> BuildSpec:
    """What the executor needs to make the agent ready; whose it is at the master comes with the node."""
    raise NotImplementedError
