"""Histories with tenants' masters in them: items that come and go, agents that serve them, and all that fails there."""

from __future__ import annotations

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.ids import RequestId, TaskId, TenantName
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.state import Config
from framework.core.tasks import Request
from framework.core.templates import Template
from tests.simulation.fake_jenkins import Desk, FakeMaster, FakeNode
from tests.simulation.fake_mesos import FakeTask
from tests.simulation.simulation import IMAGES, SIZES, TENANTS, Simulation, Watcher

LABELS = ("maven", "node")


class JenkinsSimulation(Simulation):
    """``words`` of a master are on their way; what the desk does comes at once when it is driven."""

    def __init__(self, *watchers: Watcher, config: Config | None = None) -> None:
        self.masters = {name: FakeMaster(name) for name in TENANTS}
        self.desk = Desk(self.masters)
        self.pending: list[ev.Event] = []  # what the desk tells
        self.of_item: dict[tuple[TenantName, QueueItem], list[RequestId]] = {}
        super().__init__(*watchers, config=config)

    def call(self, call: ef.Call) -> None:
        if isinstance(call, ef.PrepareNode | ef.RemoveNode | ef.LookAt):
            self.desk.call(call)
        else:
            super().call(call)

    def restart(self) -> None:
        super().restart()
        self.desk.die()
        self.pending.clear()
        for master in self.masters.values():
            self.demand(master)  # a master tells a new scheduler of all that waits

    def demand(self, master: FakeMaster) -> None:
        """Requests what nobody is requested for, as whoever looks at the queue does."""
        events: list[ev.Event] = []
        for item, label in master.items.items():
            live = self.state.masters.of(master.tenant).of_item(item)
            if live is None:
                request = self._agent(master, item, label)
                self.submitted.append(request.id)
                self.of_item.setdefault((master.tenant, item), []).append(request.id)
                self.disk.save(ef.SaveRequest(request))
                events += [ev.Submitted(request), ev.Submitted(request)]
        if events:
            self.turn(events)

    def _agent(self, master: FakeMaster, item: QueueItem, label: str) -> Request:
        kind = LABELS.index(label)
        side = JenkinsSide(item, f"job {item.number}", "job/x/", label, label, self.now)
        template = Template(
            SIZES[kind],
            IMAGES[3 + kind],
            timeout_s=400.0,
            grace_s=1.0,
            shared=kind == 0,
            name=label,
            version="1",
            connect_timeout_s=30.0,
        )
        request_id = RequestId(f"r{len(self.submitted):04d}")
        return Request(request_id, master.tenant, side.task, template, self.now, retries=2, jenkins=side)

    def look(self, master: FakeMaster) -> None:
        """The poller looks: the queue is compared, then the core is told."""
        if master.up:
            observed = master.observed(self.now)
            self.demand(master)
            self.turn([observed])

    def sweep(self, master: FakeMaster) -> None:
        """A look, and all that follows from it done."""
        self._crash_at = None
        master.up = True
        self.advance(0.5)
        self.look(master)
        self._tell(self.pending, self.desk.work(1000))
        self.pending = []

    # What a history is made of

    def _do_item(self, a: int, b: int) -> None:
        master = self._master(a)
        master.add(LABELS[b % len(LABELS)])
        if b % 4:  # else its word is lost
            self.demand(master)

    def _do_items(self, a: int, b: int) -> None:
        master = self._master(a)
        for nth in range(b % 50):
            master.add(LABELS[nth % 7 == 0])
        self.demand(master)

    def _do_work(self, a: int, b: int) -> None:
        self.pending += self.desk.work(1 + a % 16)
        if b % 4:
            self._do_answer(a, b)

    def _do_flow(self, a: int, b: int) -> None:  # noqa: C901 - one arm a stage
        """One stage of what goes well, for all that are at it."""
        nodes = self._nodes()
        match a % 7:
            case 0:
                self.deliver(len(self.mesos.inbox))
            case 1:
                self._tell(self.pending, self.desk.work(1000))
                self.pending = []
            case 2:
                for task in list(self.mesos.tasks.values()):
                    self.mesos.run(task)
            case 3:
                for master, node in nodes:
                    if self._runs(node):
                        master.come(node)
            case 4:
                for nth, (master, node) in enumerate(nodes):
                    master.take(node, b + nth)
            case 5:
                for master, node in nodes[b % 3 :: 3]:
                    master.finish(node)
            case _:
                for master in self.masters.values():
                    words, master.words = master.words, []
                    self._tell(words)

    def _tell(self, *events: list[ev.Event]) -> None:
        told = [event for some in events for event in some]
        if told:
            self.turn(told)

    def _do_answer(self, a: int, b: int) -> None:
        events, self.pending = self.pending[: 1 + a % 16], self.pending[1 + a % 16 :]
        if events:
            self.turn([*events, *events[: b % 2]])  # told twice, at times

    def _do_come(self, a: int, b: int) -> None:
        nodes = [(master, node) for master, node in self._nodes() if self._runs(node)]
        if nodes:
            master, node = nodes[a % len(nodes)]
            master.come(node)

    def _do_take(self, a: int, b: int) -> None:
        nodes = [(master, node) for master, node in self._nodes() if node.online]
        if nodes:
            master, node = nodes[a % len(nodes)]
            master.take(node, b)

    def _do_finish(self, a: int, b: int) -> None:
        nodes = [(master, node) for master, node in self._nodes() if node.building is not None]
        if nodes:
            master, node = nodes[a % len(nodes)]
            master.finish(node)

    def _do_hear(self, a: int, b: int) -> None:
        master = self._master(a)
        events, master.words = master.words[: 1 + b % 8], master.words[1 + b % 8 :]
        if events:
            self.turn(events)

    def _do_lose_word(self, a: int, b: int) -> None:
        words = self._master(a).words
        if words:
            del words[b % len(words)]

    def _do_repeat_word(self, a: int, b: int) -> None:
        words = self._master(a).words
        if words:
            words.append(words[b % len(words)])

    def _do_swap_words(self, a: int, b: int) -> None:
        words = self._master(a).words
        if len(words) > 1:
            nth = b % (len(words) - 1)
            words[nth], words[nth + 1] = words[nth + 1], words[nth]

    def _do_look(self, a: int, b: int) -> None:
        self.look(self._master(a))

    def _do_old_look(self, a: int, b: int) -> None:
        master = self._master(a)
        observed = master.observed(self.now)
        self.advance(b % 7)
        self.turn([observed])

    def _do_look_as_asked(self, a: int, b: int) -> None:
        events = self.desk.look(self.now)
        if events:
            self.turn([*events])

    def _do_master_down(self, a: int, b: int) -> None:
        master = self._master(a)
        master.up = False
        for node in master.nodes.values():
            node.online = False  # and nobody tells; what is built goes on

    def _do_master_up(self, a: int, b: int) -> None:
        self._master(a).up = True

    def _do_cancel_item(self, a: int, b: int) -> None:
        master = self._master(a)
        if master.items:
            master.cancel(list(master.items)[b % len(master.items)])

    def _do_delete_node(self, a: int, b: int) -> None:
        nodes = self._nodes()
        if nodes:
            master, node = nodes[a % len(nodes)]
            master.remove(node.name, told=b % 2 == 0)

    def _do_node_by_hand(self, a: int, b: int) -> None:
        waiting = [each for each in self.desk.prepares if each.node not in self._master_of(each).nodes]
        if waiting:
            self._master_of(waiting[a % len(waiting)]).by_hand.add(waiting[a % len(waiting)].node)

    def advance(self, seconds: float) -> None:
        self.part()
        super().advance(seconds)

    def part(self) -> None:
        """Agents whose tasks have ended are away from their masters."""
        for master, node in self._nodes():
            if master.up and not self._runs(node) and (node.online or node.building is not None):
                master.leave(node, "connection was broken")

    # The end of a history

    def live_on(self) -> None:
        self.part()
        for master in self.masters.values():
            master.up = True
            while master.words:
                events, master.words = master.words, []
                self.turn(events)
        self._tell(self.pending, self.desk.work(1000))
        self.pending = []
        for task in list(self.mesos.tasks.values()):
            if task.state == "TASK_STAGING":
                self.mesos.run(task)
        for master, node in self._nodes():
            if self._runs(node):
                if node.building is not None and node.online:
                    master.finish(node)
                master.come(node)
                master.take(node, 1)
        for task in list(self.mesos.tasks.values()):
            if not self._is_agent(task) and task.alive and task.id in self.state.tasks:
                self.pass_one(task)
        for master in self.masters.values():
            self.look(master)

    @property
    def at_rest(self) -> bool:
        queues = any(master.items or master.nodes for master in self.masters.values())
        return super().at_rest and not queues

    def live_agents(self, tenant: TenantName) -> set[TaskId]:
        """Tasks that should have a node, claims whose nodes stand among them."""
        claims = {each.task_id for each in self.state.claims if each.tenant == tenant and each.ready_at is not None}
        return claims | {
            task.id
            for task in self.state.tasks.values()
            if task.tenant == tenant and self.state.requests[task.request_id].jenkins is not None
        }

    def _is_agent(self, task: FakeTask) -> bool:
        known = self.state.tasks.get(task.id)
        return known is not None and self.state.requests[known.request_id].jenkins is not None

    def _runs(self, node: FakeNode) -> bool:
        task = self.mesos.tasks.get(node.task_id)
        return task is not None and task.alive and task.state == "TASK_RUNNING"

    def _nodes(self) -> list[tuple[FakeMaster, FakeNode]]:
        return [(master, node) for master in self.masters.values() for node in master.nodes.values()]

    def _master(self, a: int) -> FakeMaster:
        return self.masters[TENANTS[a % len(TENANTS)]]

    def _master_of(self, prepare: ef.PrepareNode) -> FakeMaster:
        return self.masters[prepare.request.tenant]
