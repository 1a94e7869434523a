"""A Mesos master with its hosts, as far as a framework sees them.

Offers of two roles, inverse offers, filters, launches and groups of them, Mesos executors, updates, partitions.

It does what Mesos 1.11 does with a partition-aware framework, in order on one connection, and nothing by itself:
whoever drives it moves its time and its builds. What the framework must never do to Mesos is kept in ``faults``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.ids import FrameworkId, HostId, OfferId, TaskId, agent_task_id, container_task_id
from framework.core.offers import Host, InverseOffer, Offer, Window
from framework.core.resources import ZERO, Resources
from framework.core.state import State
from framework.core.tasks import FailureClass, Outcome, Task

ROLES = ("butlery", "spare")
ACCEPT_REFUSE_S = 5.0
EXECUTOR_IDLE_S = 60.0  # of a shared Mesos executor, after its last task
UPDATE_RETRY_S = 10.0  # as the Mesos agent does with updates that nobody acknowledged
TERMINAL = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST")


@dataclass
class FakeTask:
    """A task as its host knows it. Of ``unacknowledged`` updates the first is sent until it is acknowledged."""

    id: TaskId
    host_id: HostId
    resources: Resources
    executor_id: str
    state: str = "TASK_STAGING"
    unacknowledged: list[ev.TaskUpdate] = field(default_factory=list)
    sent_at: float = 0.0
    told_out_of_sight: bool = False
    deaf_to: int = 0  # kills that it will not react to

    @property
    def alive(self) -> bool:
        return self.state not in TERMINAL


@dataclass
class FakeHost:
    host: Host
    reachable: bool = True
    filtered_until: dict[str, float] = field(default_factory=dict)  # by role
    executors: dict[str, float] = field(default_factory=dict)  # shared ones, and when they last had a task
    asked: OfferId | None = None  # the inverse offer that is outstanding
    asked_again_at: float = 0.0


class FakeMesos:
    """One master, one framework. ``inbox``: events on their way to the framework."""

    def __init__(self, overhead: Resources, knows: Callable[[], State]) -> None:
        """``knows``: what the framework thinks, which a launch of it does not tell in full."""
        self.overhead = overhead
        self._knows = knows
        self.hosts: dict[HostId, FakeHost] = {}
        self.tasks: dict[TaskId, FakeTask] = {}
        self.offers: dict[OfferId, Offer] = {}
        self.inbox: list[ev.Event] = []
        self.faults: list[str] = []
        self.connected = False
        self.suppressed = False
        self.framework_id: FrameworkId | None = None
        self.ever_launched: set[TaskId] = set()
        self._spent: set[OfferId] = set()  # offers that the framework used or declined
        self._count = 0
        self._now = 0.0

    # What happens to Mesos

    def tick(self, now: float) -> None:
        """Allocates what is free, and sends again what nobody acknowledged."""
        self._now = now
        if not self.connected:
            return
        for task in self.tasks.values():
            if task.unacknowledged and self._reachable(task) and now - task.sent_at >= UPDATE_RETRY_S:
                self._send_first(task)
        for fake in self.hosts.values():
            self._ask_back(fake)
        if not self.suppressed:
            offers = tuple(self._allocate(now))
            if offers:
                self.inbox.append(ev.OffersReceived(offers))

    def subscribe(self, framework_id: FrameworkId | None) -> None:
        if framework_id is None or framework_id != self.framework_id:
            self.framework_id = FrameworkId(f"framework-{self._next()}")
        self._forget_connection()
        self.connected = True
        self.inbox.append(ev.Subscribed(self.framework_id))

    def disconnect(self) -> None:
        """The connection breaks: what was under way is lost, and offers are void."""
        self._forget_connection()
        self.inbox.append(ev.Disconnected("connection reset"))

    def scheduler_died(self) -> None:
        self._forget_connection()
        self.suppressed = False

    def remove_framework(self) -> None:
        self._forget_connection()
        self.suppressed = False
        self.framework_id = None
        self.tasks.clear()
        self.inbox.append(ev.FrameworkRemoved("failover timeout"))

    def add_host(self, host: Host) -> None:
        self.hosts[host.id] = FakeHost(host)

    def lose_host(self, host_id: HostId) -> None:
        """A partition: the master lets go of the host, whose tasks run on."""
        fake = self.hosts[host_id]
        if not fake.reachable:
            return
        fake.reachable = False
        self._rescind(host_id)
        for task in self._tasks_on(host_id):
            if task.alive:
                self._answer(task.id, host_id, "TASK_UNREACHABLE", "REASON_SLAVE_REMOVED")
        if self.connected:
            self.inbox.append(ev.HostLost(host_id))

    def host_back(self, host_id: HostId) -> None:
        fake = self.hosts[host_id]
        if fake.reachable:
            return
        fake.reachable = True
        fake.filtered_until.clear()
        for task in self._tasks_on(host_id):
            if task.unacknowledged:
                self._send_first(task)
            elif task.alive:
                self._answer(task.id, host_id, task.state, "REASON_SLAVE_REREGISTERED")

    def rescind(self, offer_id: OfferId) -> None:
        """As when another framework is owed the resources, or an offer timeout runs out."""
        del self.offers[offer_id]
        self.inbox.append(ev.OfferRescinded(offer_id))

    def maintain(self, host_id: HostId, window: Window | None) -> None:
        """The operator plans a host's maintenance, moves it or calls it off: what was offered of it is so no more."""
        fake = self.hosts[host_id]
        fake.host = msgspec.structs.replace(fake.host, window=window)
        self._rescind(host_id)
        if fake.asked is not None:
            if self.connected:
                self.inbox.append(ev.InverseOfferRescinded(fake.asked))
            fake.asked = None
        fake.asked_again_at = 0.0

    def observed(self) -> ev.HostsObserved:
        return ev.HostsObserved(tuple(fake.host for fake in self.hosts.values() if fake.reachable))

    # What tasks do

    def run(self, task: FakeTask) -> None:
        """With all its agent's containers."""
        for each in self._group(task):
            if each.state == "TASK_STAGING":
                each.state = "TASK_RUNNING"
                self._update(each)

    def end(self, task: FakeTask, state: str, outcome: Outcome | None, message: str = "") -> None:
        """The task ends on its host, whether or not the master can see it, and its agent's other containers with it.

        Where one that builds leaves no outcome, its Mesos executor does not look after the others any more either.
        """
        main = self.tasks.get(agent_task_id(task.id))
        self._end(task, state, outcome, message)
        if main is not None and main is not task:
            self._end(main, "TASK_FAILED", Outcome(FailureClass.FAILED, f"its container {task.id} ended"))
        if outcome is not None or state == "TASK_KILLED":
            for each in self._group(task):
                self._end(each, "TASK_FINISHED")

    def _end(self, task: FakeTask, state: str, outcome: Outcome | None = None, message: str = "") -> None:
        if task.alive:
            task.state = state
            self._update(task, outcome, message)
            fake = self.hosts[task.host_id]
            if task.executor_id in fake.executors:
                fake.executors[task.executor_id] = self._now

    # What the framework calls

    def call(self, call: ef.Call) -> None:  # noqa: C901 - one arm a call
        """One call. Those made while no connection stands are lost, but for what every subscription tells again."""
        if isinstance(call, ef.Revive | ef.Suppress):
            self.suppressed = isinstance(call, ef.Suppress)
        if not self.connected:
            return
        match call:
            case ef.Launch():
                self._accept(call)
            case ef.Decline():
                for offer_id in call.offer_ids:
                    self._decline(offer_id, call.refuse_s)
            case ef.Revive():
                for fake in self.hosts.values():
                    fake.filtered_until.clear()
            case ef.AcceptInverse():
                self._answered(call.offer_ids, ACCEPT_REFUSE_S)
            case ef.DeclineInverse():
                self._answered(call.offer_ids, call.refuse_s)
            case ef.Tell():
                told = self.tasks.get(call.task_id)
                if told is not None and (told.host_id, told.executor_id) != (call.host_id, call.mesos_executor_id):
                    self.faults.append(f"{call.task_id} is told through {call.mesos_executor_id}")
            case ef.Kill():
                self._kill(call)
            case ef.Acknowledge():
                self._acknowledge(call)
            case ef.Reconcile():
                self._reconcile(call)

    def _accept(self, call: ef.Launch) -> None:
        left = self._taken(call)
        unforeseen = ZERO
        for task in call.tasks:
            if task.id in self.ever_launched:
                self.faults.append(f"task {task.id} is launched twice")
            self.ever_launched.add(task.id)
            template = self._knows().requests[task.request_id].template
            group = [*(container_task_id(task.id, each.name) for each in template.containers), task.id]
            if left is None:
                for each in group:
                    self._answer(each, call.host_id, "TASK_DROPPED", "REASON_INVALID_OFFERS")
                continue
            need = task.resources
            if task.mesos_executor_id not in self._executors_on(self.hosts[call.host_id]):
                need += self.overhead
                if task.mesos_executor_id in self._thought_to_live(call):
                    unforeseen = self.overhead
            if not need.fits_in(left) and need.fits_in(left + unforeseen):
                for each in group:
                    self._answer(each, call.host_id, "TASK_ERROR", "REASON_TASK_INVALID")
                continue
            if not need.fits_in(left):
                self.faults.append(f"the offers {call.offer_ids} are over-spent by {task.id}: {need} of {left}")
            left -= need
            self._start(task, group)

    def _thought_to_live(self, call: ef.Launch) -> set[str]:
        """Mesos executors whose end, or whose launch's loss, nobody has told the framework yet."""
        launched = {task.id for task in call.tasks}
        known = self._knows().tasks_on.get(call.host_id, {}).values()
        return {task.mesos_executor_id for task in known if task.id not in launched}

    def _taken(self, call: ef.Launch) -> Resources | None:
        """What its offers hold together; None where one of them is not valid any more."""
        if len(set(call.offer_ids)) != len(call.offer_ids):
            self.faults.append(f"an ACCEPT names an offer twice: {call.offer_ids}")
        offers: list[Offer] = []
        for offer_id in call.offer_ids:
            if offer_id in self._spent:
                self.faults.append(f"offer {offer_id} was used before")
            self._spent.add(offer_id)
            offer = self.offers.pop(offer_id, None)
            if offer is not None:
                offers.append(offer)
                self.hosts[call.host_id].filtered_until[offer.role] = self._now + ACCEPT_REFUSE_S
        if {offer.host_id for offer in offers} - {call.host_id} or len({offer.role for offer in offers}) > 1:
            self.faults.append(f"offers of several hosts or roles are used together: {call.offer_ids}")
        return sum((offer.resources for offer in offers), ZERO) if len(offers) == len(call.offer_ids) else None

    def _start(self, task: Task, group: Sequence[TaskId]) -> None:
        if task.mesos_executor_id != task.id:
            self.hosts[task.host_id].executors[task.mesos_executor_id] = self._now
        for each in group:
            resources = task.resources if each == task.id else ZERO
            self.tasks[each] = FakeTask(each, task.host_id, resources, task.mesos_executor_id)

    def _decline(self, offer_id: OfferId, refuse_s: float) -> None:
        if offer_id in self._spent:
            self.faults.append(f"offer {offer_id} is declined after it was used or declined")
        self._spent.add(offer_id)
        offer = self.offers.pop(offer_id, None)
        if offer is not None:
            self.hosts[offer.host_id].filtered_until[offer.role] = self._now + refuse_s

    def _answered(self, offer_ids: Sequence[OfferId], refuse_s: float) -> None:
        for offer_id in offer_ids:
            if offer_id in self._spent:
                self.faults.append(f"inverse offer {offer_id} is answered again")
            self._spent.add(offer_id)
            for fake in self.hosts.values():
                if fake.asked == offer_id:
                    fake.asked, fake.asked_again_at = None, self._now + refuse_s

    def _kill(self, call: ef.Kill) -> None:
        task = self.tasks.get(call.task_id)
        if task is None or not self._reachable(task):
            self._reconcile_one(call.task_id, call.host_id)
        elif task.deaf_to:
            task.deaf_to -= 1
        else:
            self.end(task, "TASK_KILLED", None)

    def _acknowledge(self, call: ef.Acknowledge) -> None:
        task = self.tasks.get(call.task_id)
        if task is None or not task.unacknowledged or task.unacknowledged[0].uuid != call.uuid:
            return  # a duplicate's acknowledgement
        task.unacknowledged.pop(0)
        if task.unacknowledged:
            self._send_first(task)
        elif not task.alive:
            del self.tasks[task.id]

    def _reconcile(self, call: ef.Reconcile) -> None:
        for task_id, host_id in call.tasks:
            self._reconcile_one(task_id, host_id)
        if not call.tasks:
            for task in self.tasks.values():
                if self._reachable(task):
                    self._reconcile_one(task.id, task.host_id)

    def _reconcile_one(self, task_id: TaskId, host_id: HostId) -> None:
        fake = self.hosts.get(host_id)
        task = self.tasks.get(task_id)
        if fake is not None and not fake.reachable:
            state = "TASK_UNREACHABLE"
        elif fake is None:
            state = "TASK_UNKNOWN"
        elif task is None:
            state = "TASK_GONE"
        else:
            state = task.state
        self._answer(task_id, host_id, state, "REASON_RECONCILIATION")

    # Inside

    def _group(self, task: FakeTask) -> list[FakeTask]:
        """All containers of the task's agent, the one that builds last."""
        main = agent_task_id(task.id)
        found = [each for each in self.tasks.values() if agent_task_id(each.id) == main]
        return sorted(found, key=lambda each: each.id == main)

    def _executors_on(self, fake: FakeHost) -> set[str]:
        """Those that live: while they have tasks and, shared ones, for a while after."""
        idle = {each for each, at in fake.executors.items() if self._now - at < EXECUTOR_IDLE_S}
        return idle | {task.executor_id for task in self._tasks_on(fake.host.id) if task.alive}

    def _ask_back(self, fake: FakeHost) -> None:
        host = fake.host
        wanted = host.window is not None and fake.asked is None and fake.asked_again_at <= self._now
        if wanted and host.window is not None and fake.reachable and any(t.alive for t in self._tasks_on(host.id)):
            fake.asked = OfferId(f"inverse-{self._next()}")
            self.inbox.append(ev.InverseOffersReceived((InverseOffer(fake.asked, host.id, host.window),)))

    def _allocate(self, now: float) -> Sequence[Offer]:
        """Each host to one role, of those that did not decline it, in turn."""
        offers = []
        for host_id, fake in self.hosts.items():
            free = fake.host.total
            for _ in self._executors_on(fake):
                free -= self.overhead
            for task in self._tasks_on(host_id):
                if task.alive:
                    free -= task.resources
            for offer in self.offers.values():
                if offer.host_id == host_id:
                    free -= offer.resources
            roles = [role for role in ROLES if fake.filtered_until.get(role, 0.0) <= now]
            if not fake.reachable or not roles or free.cpu_millis <= 0 or free.mem_mib <= 0 or free.disk_mib < 0:
                continue
            host, number = fake.host, self._next()
            made = Offer(
                OfferId(f"offer-{number}"), host_id, host.hostname, free, host.attributes,
                role=roles[number % len(roles)], window=host.window,
            )  # fmt: skip
            self.offers[made.id] = made
            offers.append(made)
        return offers

    def _rescind(self, host_id: HostId) -> None:
        for offer in [each for each in self.offers.values() if each.host_id == host_id]:
            self.rescind(offer.id)

    def _update(self, task: FakeTask, outcome: Outcome | None = None, message: str = "") -> None:
        uuid = self._next().to_bytes(16, "big")
        update = ev.TaskUpdate(task.id, task.state, task.host_id, message=message, uuid=uuid, outcome=outcome)
        task.unacknowledged.append(update)
        if len(task.unacknowledged) == 1:
            self._send_first(task)

    def _send_first(self, task: FakeTask) -> None:
        if self.connected and self._reachable(task):
            task.sent_at = self._now
            self.inbox.append(task.unacknowledged[0])

    def _answer(self, task_id: TaskId, host_id: HostId, state: str, reason: str) -> None:
        """The master's own word, told once and not acknowledged."""
        task = self.tasks.get(task_id)
        if task is not None and state in ("TASK_UNREACHABLE", "TASK_UNKNOWN"):
            task.told_out_of_sight = True
        if self.connected:
            self.inbox.append(ev.TaskUpdate(task_id, state, host_id, reason=reason, source="SOURCE_MASTER"))

    def _reachable(self, task: FakeTask) -> bool:
        fake = self.hosts.get(task.host_id)
        return fake is not None and fake.reachable

    def _tasks_on(self, host_id: HostId) -> list[FakeTask]:
        return [task for task in self.tasks.values() if task.host_id == host_id]

    def _forget_connection(self) -> None:
        self.connected = False
        self.inbox.clear()
        self.offers.clear()
        for fake in self.hosts.values():
            fake.filtered_until.clear()
            fake.asked, fake.asked_again_at = None, 0.0

    def _next(self) -> int:
        self._count += 1
        return self._count
