"""Launches: what is offered of a host is used for requests that were placed there."""

from __future__ import annotations

from framework.core.effects import Effect, Launch, SaveRequest, SaveTask
from framework.core.ids import HostId, task_id
from framework.core.state import State
from framework.core.tasks import Request, RequestState, Task, TaskState


def launch(state: State, host_id: HostId, role: str, requests: list[Request], now: float) -> list[Effect]:
    """Launches requests, counted already, on all that is offered of the host for the role."""
    held = next(each for each in state.offers.of(host_id) if each.role == role)
    ports = held.ports(sum(request.template.resources.ports for request in requests))
    offer_ids = state.offers.take(host_id, role)
    if not state.offers.of(host_id):
        state.deadlines.drop("host", host_id)
    state.returned = True
    tasks: list[Task] = []
    saves: list[Effect] = []
    for request in requests:
        request.attempt += 1
        request.state = RequestState.LAUNCHING
        request.launched_at = now
        if request.jenkins is None:  # others have had their places while their nodes were made
            request.claimed_at = now
        request.hostname = held.hostname
        template, its_id = request.template, task_id(request.id, request.attempt)
        own_ports, ports = ports[: template.resources.ports], ports[template.resources.ports :]
        task = Task(
            id=its_id,
            request_id=request.id,
            tenant=request.tenant,
            host_id=host_id,
            hostname=held.hostname,
            offer_ids=list(offer_ids),
            resources=template.resources,
            state=TaskState.LAUNCHING,
            launched_at=now,
            deadline=now + state.config.launch_timeout_s,
            role=role,
            reserved=template.reserved,
            ports=list(own_ports),
            mesos_executor_id=state.shared_executor_id(host_id, role) if template.shared else its_id,
        )
        state.adopt(task)
        if state.earmarks:
            state.release_for(request, now)
        tasks.append(task)
        saves += (SaveTask(task), SaveRequest(request))
    return [*saves, Launch(offer_ids, host_id, tuple(tasks))]
