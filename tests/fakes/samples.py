"""Plain values of the core for tests, each complete unless a test says otherwise."""

from __future__ import annotations

from typing import Any

from agents.spec import BuildSpec
from framework.core.effects import SaveRequest, SaveTask
from framework.core.ids import HostId, OfferId, RequestId, TenantName, task_id
from framework.core.offers import Host, Offer
from framework.core.resources import Resources
from framework.core.tasks import FailureClass, Outcome, Request, RequestState, Task, TaskState, Tenant
from framework.core.templates import Template
from framework.ports import NewRequest, Submission

TEAM = TenantName("team")
HOST = Host(HostId("h1"), "host-1", Resources(16_000, 61_440, 500_000), {"os": "linux"}, "http://127.0.0.1:1/slave(1)")
TEMPLATE = Template(Resources(500, 256, 0), timeout_s=600.0)


def tenant(name: str = TEAM, weight: int = 100) -> Tenant:
    return Tenant(TenantName(name), weight)


def request(request_id: str, tenant_name: str = TEAM, **changes: Any) -> Request:
    values = {"job": "unit-tests", "template": TEMPLATE, "submitted_at": 1000.0, **changes}
    return Request(RequestId(request_id), TenantName(tenant_name), **values)


def task(of: Request, attempt: int = 1, state: TaskState = TaskState.RUNNING) -> Task:
    return Task(
        id=task_id(of.id, attempt),
        request_id=of.id,
        tenant=of.tenant,
        host_id=HOST.id,
        hostname=HOST.hostname,
        offer_ids=[OfferId("o1")],
        resources=of.template.resources,
        state=state,
        launched_at=1000.0 + attempt,
        deadline=2000.0,
        history=["run@1001.000"],
    )


def spec(**changes: Any) -> BuildSpec:
    values = {"task_id": "", "tenant": TEAM, "job": "unit-tests", "command": "true", "cpu_millis": 500, "mem_mib": 256}
    return BuildSpec(**{**values, **changes})


def new(of: Request, build: BuildSpec | None = None, key: str | None = None, digest: str = "d1") -> NewRequest:
    return NewRequest(of, build or spec(), key, digest)


def submission(**changes: Any) -> Submission:
    values = {"tenant": TEAM, "job": "unit-tests", "template": TEMPLATE, "spec": spec(), **changes}
    return Submission(**values)


def offer(offer_id: str = "o1", host: Host = HOST, resources: Resources | None = None) -> Offer:
    return Offer(OfferId(offer_id), host.id, host.hostname, resources or host.total, host.attributes)


def ended(of: Request, result: FailureClass = FailureClass.PASSED) -> list[SaveTask | SaveRequest]:
    """The saves of a frame in which the request and its first task end."""
    last = task(of, state=TaskState.ENDED)
    last.outcome = of.outcome = Outcome(result, "it ended", exit_code=0, peak_mem_mib=12.5, artifacts=["a.txt"])
    of.state, of.ended_at, of.attempt = RequestState.ENDED, 1500.0, 1
    return [SaveTask(last), SaveRequest(of)]
