"""A scheduler's state with agents that run, each of which is to serve one build of its tenant's queue."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from agents.spec import AgentSpec, BuildSpec
from framework.core.effects import Save, SaveRequest, SaveTask, SaveTenant
from framework.core.ids import HostId, TenantName, node_of, task_id
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.resources import Resources
from framework.core.tasks import Request, RequestState, Task, TaskState, Tenant
from framework.core.templates import Template
from framework.edges.sqlite import SqliteStore
from framework.ports import NewRequest
from framework.runtime.chance import SystemChance, SystemClock, new_request_id
from framework.tokens import tenant_token, token_sha256

HOSTS = 317
LABEL = "maven"
FAR_S = 86_400.0
_BATCH = 1000
_TEMPLATE = Template(Resources(500, 512), timeout_s=FAR_S, name=LABEL, version="1", connect_timeout_s=FAR_S)


class Agent(NamedTuple):
    """One that runs and is not online yet, with the item it came for."""

    tenant: TenantName
    node: str
    item: QueueItem


def prepare(path: Path, tenants: int, agents: int) -> tuple[dict[TenantName, str], list[Agent]]:
    """Writes the state; the tenants' tokens, and the agents in turns of their tenants."""
    store = SqliteStore(path)
    try:
        names = [TenantName(f"team-{number}") for number in range(tenants)]
        store.commit([SaveTenant(Tenant(name)) for name in names])
        tokens = {}
        chance = SystemChance()
        for name in names:
            tokens[name] = tenant_token(name, chance.token())
            store.set_token(name, token_sha256(tokens[name]))
        made = []
        for begin in range(0, agents, _BATCH):
            numbers = range(begin, min(agents, begin + _BATCH))
            made += _saved(store, [_request(names[number % tenants], number) for number in numbers])
        return tokens, made
    finally:
        store.close()


def _request(tenant: TenantName, number: int) -> Request:
    now = time.time()
    side = JenkinsSide(QueueItem(number + 1, 1), f"job-{number}", f"job/job-{number}/", LABEL, LABEL, now)
    return Request(
        new_request_id(SystemClock(), SystemChance()),
        tenant,
        side.task,
        _TEMPLATE,
        now,
        state=RequestState.RUNNING,
        attempt=1,
        launched_at=now,
        running_at=now,
        jenkins=side,
    )


def _saved(store: SqliteStore, requests: list[Request]) -> list[Agent]:
    frame: list[Save] = []
    agents = []
    for number, request in enumerate(requests):
        task, side = task_id(request.id, 1), request.jenkins
        if side is None or side.item is None:
            continue
        side.node, side.node_at = node_of(task), request.submitted_at
        host = f"host-{number % HOSTS}"
        frame += [
            SaveRequest(request),
            SaveTask(
                Task(
                    task,
                    request.id,
                    request.tenant,
                    HostId(host),
                    host,
                    [],
                    _TEMPLATE.resources,
                    TaskState.RUNNING,
                    request.submitted_at,
                    request.submitted_at + FAR_S,
                    running_at=request.submitted_at,
                    mesos_executor_id=task,
                )
            ),
        ]
        agents.append(Agent(request.tenant, side.node, side.item))
    store.commit((), [NewRequest(each, _spec(each), None, "") for each in requests])
    store.commit(frame)
    return agents


def _spec(request: Request) -> BuildSpec:
    return BuildSpec("", request.tenant, request.job, "", 500, 512, agent=AgentSpec())
