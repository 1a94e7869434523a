"""Plays a history against the core: requests, builds, faults and crashes as a list of actions, each with two numbers.

Frames are saved the way a store saves them, as bytes, so that what a restart finds is what was saved and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.admission import faults
from framework.core.ids import FrameworkId, HostId, RequestId, TaskId, TenantName
from framework.core.offers import Host, Window
from framework.core.resources import Resources
from framework.core.state import Config, State, restore
from framework.core.step import turn
from framework.core.tasks import FailureClass, Outcome, Quota, Request, RequestState, Task, TaskState, Tenant
from framework.core.templates import Container, Template
from tests.simulation.fake_mesos import ROLES, FakeMesos, FakeTask
from tests.simulation.histories import Action

SAVES = (ef.SaveRequest, ef.SaveTask, ef.SaveTenant, ef.SaveFrameworkId, ef.SaveDraining)
TENANTS = tuple(TenantName(name) for name in ("ants", "bees", "crabs"))
IMAGES = (None, None, None, "maven:3", "node:20")
SIZES = tuple(
    Resources(*size) for size in ((250, 256), (500, 1024), (1000, 512, 10), (2000, 4096), (3900, 7000), (7900, 15000))
)
HOSTS = (
    Resources(8000, 16384, 100),
    Resources(4000, 8192, 100),
    Resources(4000, 8192, 0),
    Resources(2000, 2048, 100),
)
QUOTAS = (Quota(), Quota(builds=2), Quota(cpu_millis=4000), Quota(mem_mib=8192), Quota(builds=0))
BESIDE = Resources(50, 64)
WINDOWS_S = (-60.0, 20.0, 90.0, 300.0, 800.0)  # from when they are told to their start
STEPS_S = (0.0, 0.1, 0.6, 1.0, 2.0, 5.0, 11.0, 31.0, 130.0, 700.0)


@dataclass
class Disk:
    """What has been saved, as bytes."""

    framework_id: FrameworkId | None = None
    tenants: dict[TenantName, bytes] = field(default_factory=dict)
    draining: bool = False
    requests: dict[RequestId, bytes] = field(default_factory=dict)
    tasks: dict[TaskId, bytes] = field(default_factory=dict)

    def save(self, effect: ef.Save) -> None:
        match effect:
            case ef.SaveRequest(request):
                self.requests[request.id] = msgspec.msgpack.encode(request)
            case ef.SaveTask(task):
                self.tasks[task.id] = msgspec.msgpack.encode(task)
            case ef.SaveTenant(tenant):
                self.tenants[tenant.name] = msgspec.msgpack.encode(tenant)
            case ef.SaveFrameworkId(framework_id):
                self.framework_id = framework_id
            case ef.SaveDraining(draining):
                self.draining = draining

    def load_requests(self) -> dict[RequestId, Request]:
        return {key: msgspec.msgpack.decode(each, type=Request) for key, each in self.requests.items()}

    def restore(self, config: Config, now: float) -> State:
        tenants = [msgspec.msgpack.decode(each, type=Tenant) for each in self.tenants.values()]
        requests = [each for each in self.load_requests().values() if each.state is not RequestState.ENDED]
        tasks = [msgspec.msgpack.decode(each, type=Task) for each in self.tasks.values()]
        alive = [task for task in tasks if task.state is not TaskState.ENDED]
        return restore(config, self.framework_id, tenants, requests, alive, now, self.draining)


class Crashed(Exception):  # noqa: N818 - nothing went wrong
    """The scheduler's process ended here."""


@dataclass(frozen=True)
class Turn:
    """One turn as a watcher sees it. ``shares`` are the tenants' standings before it."""

    effects: list[ef.Effect]
    standings: dict[TenantName, float]


Watcher = Callable[["Simulation", Turn], None]


class Simulation:
    """One scheduler after another over one disk, one Mesos, one clock. ``watchers`` are called after every turn."""

    def __init__(self, *watchers: Watcher, config: Config | None = None) -> None:
        self.config = config or Config()
        self.now = 1_700_000_000.0
        self.disk = Disk()
        self.mesos = FakeMesos(self.config.overhead, lambda: self.state)
        self.submitted: list[RequestId] = []
        self.log: list[bytes] = []
        self.crashes = 0
        self._watchers = watchers
        self._crash_at: int | None = None
        self._lost_hosts: list[Host] = []
        for index, total in enumerate(HOSTS):
            pool = {"pool": "big" if index == 0 else "small"}
            self.mesos.add_host(Host(HostId(f"h{index}"), f"host-{index}", total, pool))
        self.state = self.disk.restore(self.config, self.now)
        self.turn([ev.TenantSet(Tenant(name, 100 * (i + 1))) for i, name in enumerate(TENANTS)])
        self.connect()

    # The scheduler's process

    def turn(self, events: list[ev.Event]) -> None:
        """One turn of the loop: the core, the frame saved, its calls; it ends early where a crash was ordered."""
        standings = {name: book.standing(self.state.total) for name, book in self.state.tenants.items()}
        effects = turn(self.state, events or [ev.Tick()], self.now)
        self.log.append(msgspec.msgpack.encode([(type(effect).__name__, effect) for effect in effects]))
        for watch in self._watchers:
            watch(self, Turn(effects, standings))
        try:
            self._perform(effects)
        except Crashed:
            self.crashes += 1
            self._crash_at = None
            self.restart()

    def _perform(self, effects: list[ef.Effect]) -> None:
        calls = [each for each in effects if not isinstance(each, (*SAVES, ef.Report))]
        saves = [each for each in effects if isinstance(each, SAVES)]
        crash_at = self._crash_at if effects else None
        if crash_at == 0:
            raise Crashed
        for save in saves:
            self.disk.save(save)
        for call in calls if crash_at is None else calls[: crash_at - 1]:
            self.call(call)
        if crash_at is not None:
            raise Crashed

    def call(self, call: ef.Call) -> None:
        self.mesos.call(call)

    def restart(self) -> None:
        self.mesos.scheduler_died()
        self.state = self.disk.restore(self.config, self.now)

    def connect(self) -> None:
        if not self.mesos.connected:
            self.mesos.subscribe(self.state.framework_id)
            self.deliver(1)
            self.turn([self.mesos.observed()])
            self.mesos.tick(self.now)

    def deliver(self, most: int) -> None:
        events = self.mesos.inbox[:most]
        del self.mesos.inbox[:most]
        if events:
            self.turn(events)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.mesos.tick(self.now)
        due = self.state.deadlines.next()
        if due is not None and due <= self.now:
            self.turn([])

    # What a history is made of

    def play(self, history: list[Action]) -> None:
        for action in history:
            getattr(self, f"_do_{action.name}")(action.a, action.b)

    def _do_submit(self, a: int, b: int) -> None:
        self.submit((a, b))

    def _do_burst(self, a: int, b: int) -> None:
        self.submit(*((a + i, b + i // 3) for i in range(a % 40)))

    def submit(self, *numbers: tuple[int, int]) -> None:
        """As the API does: refused where no waiting would cure it, saved before the core is told; told twice."""
        events: list[ev.Event] = []
        for a, b in numbers:
            request = self._request(a, b)
            if not faults(self.state, request.tenant, request.template):
                self.submitted.append(request.id)
                self.disk.save(ef.SaveRequest(request))
                events += [ev.Submitted(request), ev.Submitted(request)]
        if events:
            self.turn(events)

    def _request(self, a: int, b: int) -> Request:
        attributes = {"pool": "big" if a % 2 else "small"} if a % 7 == 0 else {}
        image = IMAGES[b % len(IMAGES)]
        containers = tuple(Container(name, BESIDE) for name in ("db", "web")[: max(0, a % 8 - 5)])
        size = SIZES[a % (len(SIZES) - bool(containers))]  # as the largest leaves no host room for more
        template = Template(
            sum((each.resources for each in containers), size),
            image,
            attributes,
            timeout_s=60.0 + b,
            grace_s=float(b % 3),
            containers=containers,
            preemptible=b % 2 == 0,
            shared=b % 5 == 0,
        )
        request_id = RequestId(f"r{len(self.submitted):04d}")
        return Request(request_id, TENANTS[b % 3], "job", template, self.now, priority=a % 3, retries=b % 4)

    def _do_cancel(self, a: int, b: int) -> None:
        if self.submitted:
            self.turn([ev.CancelAsked(self.submitted[a % len(self.submitted)], "no longer wanted")])

    def _do_quota(self, a: int, b: int) -> None:
        role = (*ROLES, None, None)[a // 3 % 4]
        self.turn([ev.TenantSet(Tenant(TENANTS[a % 3], 50 * (1 + b % 5), QUOTAS[b % len(QUOTAS)], role))])

    def _do_advance(self, a: int, b: int) -> None:
        self.advance(STEPS_S[a % len(STEPS_S)])

    def _do_deliver(self, a: int, b: int) -> None:
        self.deliver(1 + a % 8)

    def _do_run(self, a: int, b: int) -> None:
        if task := self._pick(a):
            self.mesos.run(task)

    def _do_end(self, a: int, b: int) -> None:
        if task := self._pick(a):
            classes = [each for each in FailureClass if each is not FailureClass.CANCELLED]
            outcome = Outcome(classes[b % len(classes)], "as the history has it", wall_s=1.0)
            silent = b % 5 == 0  # the Mesos executor died and left no result
            passed = outcome.result_class is FailureClass.PASSED
            self.mesos.end(task, "TASK_FINISHED" if passed else "TASK_FAILED", None if silent else outcome)

    def _do_maintain(self, a: int, b: int) -> None:
        window = Window(self.now + WINDOWS_S[b % len(WINDOWS_S)], 400.0 if b % 2 else None) if b % 4 else None
        self.mesos.maintain(self._host(a), window)

    def _do_drain(self, a: int, b: int) -> None:
        self.turn([ev.DrainSet(a % 4 == 0)])

    def _do_no_image(self, a: int, b: int) -> None:
        for task in list(self.mesos.tasks.values()):
            known = self.state.tasks.get(task.id)
            if known and self.state.requests[known.request_id].template.image == IMAGES[-1 - a % 2]:
                self.mesos.end(task, "TASK_FAILED", Outcome(FailureClass.IMAGE, "manifest unknown"))

    def _do_deaf(self, a: int, b: int) -> None:
        if task := self._pick(a):
            task.deaf_to = 1 + b % 2

    def _do_lose_host(self, a: int, b: int) -> None:
        self.mesos.lose_host(self._host(a))

    def _do_host_back(self, a: int, b: int) -> None:
        self.mesos.host_back(self._host(a))

    def _do_observe(self, a: int, b: int) -> None:
        self.turn([self.mesos.observed()])

    def _do_rescind(self, a: int, b: int) -> None:
        if self.mesos.offers:
            self.mesos.rescind(list(self.mesos.offers)[a % len(self.mesos.offers)])

    def _do_duplicate(self, a: int, b: int) -> None:
        updates = [each for each in self.mesos.inbox if isinstance(each, ev.TaskUpdate)]
        if updates:
            self.mesos.inbox.append(updates[a % len(updates)])

    def _do_lose_update(self, a: int, b: int) -> None:
        updates = [each for each in self.mesos.inbox if isinstance(each, ev.TaskUpdate)]
        if updates:
            self.mesos.inbox.remove(updates[a % len(updates)])

    def _do_disconnect(self, a: int, b: int) -> None:
        self.mesos.disconnect()

    def _do_connect(self, a: int, b: int) -> None:
        self.connect()

    def _do_crash(self, a: int, b: int) -> None:
        self._crash_at = a % 5  # 0: before the frame is saved; 1: after; then after so many calls

    def _do_remove_framework(self, a: int, b: int) -> None:
        self.mesos.remove_framework()

    def _pick(self, a: int) -> FakeTask | None:
        alive = [task for task in self.mesos.tasks.values() if task.alive]
        return alive[a % len(alive)] if alive else None

    def _host(self, a: int) -> HostId:
        return list(self.mesos.hosts)[a % len(self.mesos.hosts)]

    # The end of a history

    def come_to_rest(self, rounds: int = 400) -> bool:
        """From here on all goes well: every host is back, quotas are lifted, builds pass. False where no end comes."""
        self._crash_at = None
        for host_id in self.mesos.hosts:
            self.mesos.host_back(host_id)
            self.mesos.maintain(host_id, None)
        for task in self.mesos.tasks.values():
            task.deaf_to = 0
        self.connect()
        self.turn([self.mesos.observed(), ev.DrainSet(False), *(ev.TenantSet(Tenant(name)) for name in TENANTS)])
        for _ in range(rounds):
            self.connect()
            self.deliver(len(self.mesos.inbox))
            self.live_on()
            if self.at_rest:
                return True
            self.advance(2.0)
        return False

    def live_on(self) -> None:
        """What waits on hosts runs, and what runs passes."""
        for task in list(self.mesos.tasks.values()):
            if task.state == "TASK_STAGING":
                self.mesos.run(task)
            elif task.alive and task.id in self.state.tasks:
                self.pass_one(task)

    def pass_one(self, task: FakeTask) -> None:
        self.mesos.end(task, "TASK_FINISHED", Outcome(FailureClass.PASSED))

    @property
    def at_rest(self) -> bool:
        return not (self.state.requests or self.mesos.tasks or self.mesos.inbox) and self.state.suppressed
