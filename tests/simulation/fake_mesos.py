"""A Mesos master with its hosts, as far as a framework sees them: offers, filters, launches, updates, partitions.

It does what Mesos 1.11 does with a partition-aware framework, in order on one connection, and nothing by itself:
whoever drives it moves its time and its builds. What the framework must never do to Mesos is kept in ``faults``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.ids import FrameworkId, HostId, OfferId, TaskId
from framework.core.offers import Host, Offer
from framework.core.resources import ZERO, Resources
from framework.core.tasks import Outcome

ACCEPT_REFUSE_S = 5.0
UPDATE_RETRY_S = 10.0  # as the Mesos agent does with updates that nobody acknowledged
TERMINAL = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST")


@dataclass
class FakeTask:
    """A task as its host knows it. Of ``unacknowledged`` updates the first is sent until it is acknowledged."""

    id: TaskId
    host_id: HostId
    resources: Resources
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
    filtered_until: float = 0.0


class FakeMesos:
    """One master, one framework. ``inbox``: events on their way to the framework."""

    def __init__(self, overhead: Resources) -> None:
        self.overhead = overhead
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

    def remove_framework(self) -> None:
        self._forget_connection()
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
        fake.filtered_until = 0.0
        for task in self._tasks_on(host_id):
            if task.unacknowledged:
                self._send_first(task)
            elif task.alive:
                self._answer(task.id, host_id, task.state, "REASON_SLAVE_REREGISTERED")

    def rescind(self, offer_id: OfferId) -> None:
        """As when another framework is owed the resources, or an offer timeout runs out."""
        del self.offers[offer_id]
        self.inbox.append(ev.OfferRescinded(offer_id))

    def observed(self) -> ev.HostsObserved:
        return ev.HostsObserved(tuple(fake.host for fake in self.hosts.values() if fake.reachable))

    # What tasks do

    def run(self, task: FakeTask) -> None:
        if task.state == "TASK_STAGING":
            task.state = "TASK_RUNNING"
            self._update(task)

    def end(self, task: FakeTask, state: str, outcome: Outcome | None, message: str = "") -> None:
        """The task ends on its host, whether or not the master can see it."""
        if task.alive:
            task.state = state
            self._update(task, outcome, message)

    # What the framework calls

    def call(self, call: ef.Call) -> None:
        """One call. Those made while no connection stands are lost."""
        if not self.connected:
            return
        match call:
            case ef.Launch():
                self._accept(call)
            case ef.Decline():
                for offer_id in call.offer_ids:
                    self._decline(offer_id, call.refuse_s)
            case ef.Revive():
                self.suppressed = False
                for fake in self.hosts.values():
                    fake.filtered_until = 0.0
            case ef.Suppress():
                self.suppressed = True
            case ef.Kill():
                self._kill(call)
            case ef.Acknowledge():
                self._acknowledge(call)
            case ef.Reconcile():
                self._reconcile(call)

    def _accept(self, call: ef.Launch) -> None:
        for offer_id in call.offer_ids:
            if offer_id in self._spent:
                self.faults.append(f"offer {offer_id} was used before")
        self._spent.update(call.offer_ids)
        if len(set(call.offer_ids)) != len(call.offer_ids):
            self.faults.append(f"an ACCEPT names an offer twice: {call.offer_ids}")
        valid = all(offer_id in self.offers for offer_id in call.offer_ids)
        left = ZERO
        for offer_id in call.offer_ids:
            offer = self.offers.pop(offer_id, None)
            if offer is None:
                continue
            if offer.host_id != call.host_id:
                self.faults.append(f"offer {offer_id} of {offer.host_id} is used on {call.host_id}")
            left += offer.resources
        for task in call.tasks:
            if task.id in self.ever_launched:
                self.faults.append(f"task {task.id} is launched twice")
            self.ever_launched.add(task.id)
            if not valid:
                self._answer(task.id, call.host_id, "TASK_DROPPED", "REASON_INVALID_OFFERS")
                continue
            need = task.resources + self.overhead
            if not need.fits_in(left):
                self.faults.append(f"the offers {call.offer_ids} are over-spent by {task.id}")
            left -= need
            self.tasks[task.id] = FakeTask(task.id, call.host_id, need)
        self.hosts[call.host_id].filtered_until = self._now + ACCEPT_REFUSE_S

    def _decline(self, offer_id: OfferId, refuse_s: float) -> None:
        if offer_id in self._spent:
            self.faults.append(f"offer {offer_id} is declined after it was used or declined")
        self._spent.add(offer_id)
        offer = self.offers.pop(offer_id, None)
        if offer is not None:
            self.hosts[offer.host_id].filtered_until = self._now + refuse_s

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

    def _allocate(self, now: float) -> Sequence[Offer]:
        offers = []
        for host_id, fake in self.hosts.items():
            free = fake.host.total
            for task in self._tasks_on(host_id):
                if task.alive:
                    free -= task.resources
            for offer in self.offers.values():
                if offer.host_id == host_id:
                    free -= offer.resources
            if not fake.reachable or fake.filtered_until > now or free.cpu_millis <= 0 or free.mem_mib <= 0:
                continue
            made = Offer(OfferId(f"offer-{self._next()}"), host_id, fake.host.hostname, free, fake.host.attributes)
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
        self.suppressed = False
        self.inbox.clear()
        self.offers.clear()
        for fake in self.hosts.values():
            fake.filtered_until = 0.0

    def _next(self) -> int:
        self._count += 1
        return self._count
