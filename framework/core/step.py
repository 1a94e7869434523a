"""``step(state, event, now) -> effects``: everything the core ever does."""

from __future__ import annotations

from collections.abc import Iterable

from framework.core import agents, catalogue, claiming, handover, maintenance, pools, sweep
from framework.core import events as ev
from framework.core.earmarks import look_again
from framework.core.effects import (
    Acknowledge,
    Effect,
    Kill,
    Reconcile,
    Report,
    SaveDraining,
    SaveFrameworkId,
    SaveRequest,
    SaveTask,
    SaveTenant,
)
from framework.core.endings import elsewhere, end, grace, kill, set_deadline
from framework.core.ids import HostId, RequestId, TaskId, TenantName, agent_task_id, container_task_id
from framework.core.outcomes import OUT_OF_SIGHT, TERMINAL, never_started, outcome_of, result_follows
from framework.core.schedule import settle
from framework.core.state import State
from framework.core.tasks import (
    SPARES,
    FailureClass,
    InvalidTransitionError,
    Outcome,
    Request,
    RequestState,
    Task,
    TaskState,
    move,
)


def step(state: State, event: ev.Event, now: float) -> list[Effect]:
    """One event, one turn. ``now`` is seconds since the epoch."""
    return turn(state, (event,), now)


def turn(state: State, events: Iterable[ev.Event], now: float) -> list[Effect]:
    """Takes in all events, then decides once. The effects make up one frame: saves first, then calls in this order."""
    effects: list[Effect] = []
    for event in events:
        try:
            effects += _take_in(state, event, now)
        except InvalidTransitionError as error:
            effects.append(Report("error", str(error), task_id=error.task_id))
    stale: list[HostId] = []
    for kind, key in state.deadlines.due(now):
        if kind == "host":
            stale.append(HostId(key))
        else:
            effects += _due(state, kind, key, now)
    return effects + settle(state, stale, now)


def _take_in(state: State, event: ev.Event, now: float) -> list[Effect]:  # noqa: C901 - one arm an event
    match event:
        case ev.TaskUpdate():
            return _task_update(state, event, now)
        case ev.OffersReceived():
            return _offers(state, event, now)
        case ev.OfferRescinded():
            host_id = state.offers.rescind(event.offer_id)
            if host_id is not None:
                state.deadlines.drop("host", host_id)
        case ev.Submitted():
            if event.request.id not in state.requests:
                state.know(event.request)
                pools.hold(state, event.request, now)
                state.enqueue(event.request, now)
        case ev.CancelAsked():
            request = state.requests.get(event.request_id)
            return [] if request is None else agents.cancel(state, request, event.reason, now)
        case ev.TenantSet():
            state.set_tenant(event.tenant)
            return [SaveTenant(event.tenant)]
        case ev.HostsObserved():
            return _hosts(state, event, now)
        case ev.Subscribed():
            return _subscribed(state, event, now)
        case ev.Disconnected():
            _forget_offers(state)
            state.connected = False
            state.mesos_trouble = event.reason
        case ev.NotSubscribed():
            state.mesos_trouble = event.reason
        case ev.FrameworkRemoved():
            return _framework_removed(state, event, now)
        case ev.HostLost():
            return _host_lost(state, event, now)
        case ev.InverseOffersReceived():
            return maintenance.asked_back(state, event.offers, now)
        case ev.InverseOfferRescinded():
            maintenance.taken_back(state, event.offer_id, now)
        case ev.DrainSet():
            return _drain(state, event)
        case ev.CatalogSet():
            return catalogue.changed(state, event, now)
        case ev.ExecutorLost():
            text = f"Mesos executor {event.executor_id} ended with status {event.status}"
            return [Report("debug", text, host=event.host_id)]
        case ev.ExecutorMessage():
            text = f"Mesos executor {event.executor_id} sent {len(event.data)} bytes that nobody here waits for"
            return [Report("debug", text, host=event.host_id)]
        case ev.OperationUpdate():
            text = f"operation {event.operation_id} is {event.state}, which nobody here asked for: {event.message}"
            return [Report("debug", text, host=event.host_id)]
        case ev.Tick():
            pass
        case _:
            return _of_masters(state, event, now)
    return []


def _of_masters(state: State, event: ev.OfMasters, now: float) -> list[Effect]:
    match event:
        case ev.NodeReady():
            claim = state.claims.get(event.task_id)
            if claim is None:
                return handover.node_ready(state, event.task_id, now)
            claiming.node_ready(state, claim, now)
        case ev.NodeFailed():
            return claiming.node_failed(state, event, now)
        case ev.ItemLeft():
            return agents.item_left(state, event, now)
        case ev.AgentOnline():
            return agents.online(state, event.task_id, now)
        case ev.AgentOffline():
            return agents.left(state, event, now)
        case ev.AgentAccepted():
            return agents.accepted(state, event, now)
        case ev.AgentServed():
            return agents.served(state, event, now)
        case ev.BuildTold():
            return agents.told(state, event)
        case ev.MasterObserved():
            return sweep.observed(state, event, now)
    return []


def _subscribed(state: State, event: ev.Subscribed, now: float) -> list[Effect]:
    """``state.suppressed`` stays: a driver subscribes again with the roles that it had suppressed."""
    _forget_offers(state)
    state.connected = True
    state.subscribed_at = now
    state.mesos_trouble = ""
    state.dirty = True
    state.demand_at = now
    state.returned = state.fresh_demand = False
    state.deadlines.set("reconcile", "", now + state.config.reconcile_every_s)
    for task in state.tasks.values():
        if task.state in _ON_MESOS_WORD:  # which could not reach us; what we ask now is answered within seconds
            set_deadline(state, task, max(task.deadline, now + state.config.kill_confirm_s))
    effects: list[Effect] = []
    if state.framework_id != event.framework_id:
        state.framework_id = event.framework_id
        effects.append(SaveFrameworkId(event.framework_id))
    if state.tasks:
        effects.append(Reconcile(_all_tasks(state)))
    effects += handover.told_again(state)
    effects += [Kill(task.id, task.host_id, grace(state, task)) for task in state.tasks.values() if task.kill_class]
    return [*effects, Reconcile(())]


def _framework_removed(state: State, event: ev.FrameworkRemoved, now: float) -> list[Effect]:
    """Mesos ended our tasks with the framework; a new one starts without them."""
    _forget_offers(state)
    state.connected = False
    state.mesos_trouble = event.reason
    state.framework_id = None
    effects: list[Effect] = [
        SaveFrameworkId(None),
        Report("error", f"Mesos removed the framework and all its tasks: {event.reason}; subscribing as a new one"),
    ]
    lost = Outcome(FailureClass.INFRASTRUCTURE, f"Mesos removed the framework: {event.reason}")
    for task in list(state.tasks.values()):
        effects += end(state, task, lost, now)
    return effects


def _drain(state: State, event: ev.DrainSet) -> list[Effect]:
    if state.draining == event.draining:
        return []
    state.draining = event.draining
    state.dirty = state.fresh_demand = True
    return [SaveDraining(event.draining)]


def _forget_offers(state: State) -> None:
    for host_id in state.offers.hosts():
        state.deadlines.drop("host", host_id)
    state.offers.clear()


def _offers(state: State, event: ev.OffersReceived, now: float) -> list[Effect]:
    held_until = now + state.config.hold_idle_s
    for offer in event.offers:
        earmark = state.earmarks.get(offer.host_id)
        until = held_until if earmark is None else max(held_until, earmark.until)
        state.offers.add(offer, until)
        state.deadlines.set("host", offer.host_id, until)
        state.attention.hosts.add(offer.host_id)
        maintenance.offered(state, offer, now)
    return []


def _hosts(state: State, event: ev.HostsObserved, now: float) -> list[Effect]:
    hosts, before = {host.id: host for host in event.hosts}, state.hosts
    if hosts == before:
        return []
    state.set_hosts(hosts)
    maintenance.observed(state, before, now)
    state.dirty = True
    for host_id in list(state.earmarks):
        if host_id not in hosts or not hosts[host_id].active:
            state.release(host_id, now)
    effects: list[Effect] = []
    for request in state.requests.values():
        if request.avoid_hosts and request.state is RequestState.WAITING and not elsewhere(state, request):
            state.dequeue(request, now)
            request.avoid_hosts = []
            state.enqueue(request, now)
            effects.append(SaveRequest(request))
    return effects


def _host_lost(state: State, event: ev.HostLost, now: float) -> list[Effect]:
    tasks = state.tasks_on.get(event.host_id, {}).values()
    gone = tuple(each for task in tasks for each in _containers(state, task))
    state.offers.take(event.host_id)
    state.deadlines.drop("host", event.host_id)
    state.release(event.host_id, now)
    effects = claiming.on_lost_host(state, event.host_id, now)
    return [*effects, Reconcile(gone)] if gone else effects


def _task_update(state: State, update: ev.TaskUpdate, now: float) -> list[Effect]:
    """Ends with the acknowledgement, whatever the update was: what it changed is saved before that is sent."""
    effects: list[Effect] = []
    task = state.tasks.get(agent_task_id(update.task_id))
    try:
        if task is not None and task.id != update.task_id:
            pass  # another container of the agent: its Mesos executor ends them all, and the one that builds says why
        elif task is not None:
            effects += _known_task(state, task, update, now)
        elif update.host_id is not None and update.state not in TERMINAL and update.state not in OUT_OF_SIGHT:
            effects += [
                Report("warning", f"{update.state} of a task that should not run; killing it", task_id=update.task_id),
                Kill(update.task_id, update.host_id, 0.0),
            ]
    except InvalidTransitionError as error:
        effects.append(Report("error", str(error), task_id=error.task_id))
    if update.uuid and update.host_id is not None:
        effects.append(Acknowledge(update.task_id, update.host_id, update.uuid))
    return effects


def _known_task(state: State, task: Task, update: ev.TaskUpdate, now: float) -> list[Effect]:
    if result_follows(update):
        return []
    dropped = task.state is TaskState.LAUNCHING and never_started(update)
    if update.state in TERMINAL or dropped:
        rest = [] if update.outcome is not None else _containers(state, task)[1:]  # of which nobody has spoken yet
        ended = end(state, task, outcome_of(update, task), now, dropped=dropped)
        return [*ended, *(Kill(each, host_id, 0.0) for each, host_id in rest)]
    request = state.requests[task.request_id]
    before = task.state
    unseen_since = task.unseen_since
    task.unseen_since = (unseen_since or now) if update.state in OUT_OF_SIGHT else None
    if before is TaskState.KILLING and unseen_since is not None and task.unseen_since is None:
        return kill(state, task, FailureClass.INFRASTRUCTURE, "", now)  # an earlier kill did not reach its host
    if update.state in OUT_OF_SIGHT:
        move(task, "lose_sight", now)
        if task.state is TaskState.UNREACHABLE and before is not TaskState.UNREACHABLE:
            set_deadline(state, task, now + state.config.unreachable_s)
    elif update.state in ("TASK_STAGING", "TASK_STARTING"):
        if before is not TaskState.RUNNING:  # reconciliation may repeat what an update has overtaken
            move(task, "stage", now)
            if before is TaskState.UNREACHABLE:
                set_deadline(state, task, now + state.config.launch_timeout_s)
    elif update.state == "TASK_RUNNING":
        move(task, "run", now)
        if task.state is TaskState.RUNNING and before is not TaskState.RUNNING:
            _runs(state, task, request, now)
    if task.state is before:
        return []
    request.state = RequestState.RUNNING if task.state is TaskState.RUNNING else request.state
    return [SaveTask(task), SaveRequest(request)]


def _runs(state: State, task: Task, request: Request, now: float) -> None:
    if task.running_at is None:
        task.running_at = now
    request.running_at = task.running_at
    template = request.template
    state.spares.runs(task, request)
    if task.tenant == SPARES and state.paused.stands_ready(request, task.id):
        state.dirty = True
    state.await_agent(task)
    if state.shares(task) and state.offers.of(task.host_id):
        state.attention.hosts.add(task.host_id)  # its Mesos executor is known to serve now, where that was in doubt
    if state.window_of(task.host_id, now) is not None:
        maintenance.look_soon(state, task.host_id, now)
    begins = pools.time_begins(state, task, request, task.running_at)
    set_deadline(state, task, begins + template.timeout_s + template.grace_s + state.config.timeout_slack_s)
    if template.image is not None and state.breakers.works(template.image):
        state.dirty = True


def _all_tasks(state: State) -> tuple[tuple[TaskId, HostId], ...]:
    """With those of the agents' other containers."""
    return tuple(each for task in state.tasks.values() for each in _containers(state, task))


def _containers(state: State, task: Task) -> list[tuple[TaskId, HostId]]:
    others = state.requests[task.request_id].template.containers
    return [(task.id, task.host_id), *((container_task_id(task.id, each.name), task.host_id) for each in others)]


def _due(state: State, kind: str, key: str, now: float) -> list[Effect]:  # noqa: C901 - one arm a kind
    match kind:
        case "task":
            return _task_due(state, state.tasks[TaskId(key)], now)
        case "claim":
            return claiming.due(state, TaskId(key), now)
        case "claims":
            state.claims.due.add(HostId(key))
        case "master":
            state.attention.tenants.add(TenantName(key))
        case "pool":
            return pools.due(state, TaskId(key), now)
        case "agent":
            return agents.due(state, TaskId(key), now)
        case "item":
            return agents.item_due(state, key, now)
        case "request":
            state.enqueue(state.requests[RequestId(key)], now)
        case "earmark":
            return look_again(state, HostId(key), now)
        case "maintenance":
            return maintenance.look(state, HostId(key), now)
        case "reconcile":
            state.deadlines.set("reconcile", "", now + state.config.reconcile_every_s)
            state.breakers.forget_idle(now, {r.template.image for r in state.requests.values() if r.template.image})
            state.paused.forget_idle(now, {r.template.kind for r in state.requests.values()})
            if state.connected:
                return [Reconcile(_all_tasks(state)), Reconcile(())] if state.tasks else [Reconcile(())]
        case "breaker":
            state.dirty = True
        case _:  # starving, preempt, idle, revive: whoever asked looks again in any round
            state.attention.again = True
    return []


_ON_MESOS_WORD = (TaskState.LAUNCHING, TaskState.UNREACHABLE)
"""States whose deadlines are for what Mesos should have said by then."""


def _task_due(state: State, task: Task, now: float) -> list[Effect]:
    if not state.connected and task.state in _ON_MESOS_WORD:
        set_deadline(state, task, now + state.config.kill_confirm_s)  # it may run well: nobody could tell us
        return []
    match task.state:
        case TaskState.LAUNCHING:
            reason = f"did not run within {state.config.launch_timeout_s:.0f} s of its launch"
            return kill(state, task, FailureClass.INFRASTRUCTURE, reason, now)
        case TaskState.UNREACHABLE:
            return _abandon(state, task, now)
        case TaskState.RUNNING:
            timeout_s = state.requests[task.request_id].template.timeout_s
            return kill(state, task, FailureClass.TIMEOUT, f"ran longer than its {timeout_s:.0f} s", now)
        case _:  # killing, and nobody has confirmed it
            if task.unseen_since is not None and now - task.unseen_since >= state.config.unreachable_s:
                return _abandon(state, task, now)
            effects = kill(state, task, FailureClass.INFRASTRUCTURE, "", now)
            return [*effects, Reconcile(tuple(_containers(state, task)))]


def _abandon(state: State, task: Task, now: float) -> list[Effect]:
    """Gives up a task on a host that Mesos does not see; should it come back, it is killed."""
    if task.kill_class is not None:
        outcome = Outcome(task.kill_class, task.kill_reason)
    else:
        reason = f"its host was out of Mesos' sight for {state.config.unreachable_s:.0f} s"
        outcome = Outcome(FailureClass.INFRASTRUCTURE, reason)
    return end(state, task, outcome, now)
