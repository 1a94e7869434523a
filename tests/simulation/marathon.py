"""The core of the Marathon-compatible server against a small Mesos, with a store that keeps bytes, faults and crashes.

Deliberately small: hosts have CPUs alone, a reservation is one volume, and nothing here shares code with what it tests.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from framework.core import effects as mesos
from framework.core import events as told
from framework.core.ids import FrameworkId, HostId, OfferId, TaskId
from framework.core.offers import HostOffers, Offer
from framework.core.pieces import Piece, Volume
from framework.core.resources import Resources
from framework.local.marathon.control import Started
from framework.local.marathon.core import effects as ef
from framework.local.marathon.core.config import Config
from framework.local.marathon.core.deploying import cancel, deploy
from framework.local.marathon.core.events import Event, HealthProbed, ReadinessProbed
from framework.local.marathon.core.state import Snapshot, State
from framework.local.marathon.core.step import resume, turn
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.read import EMPTY
from framework.local.marathon.matching.match import Placed, Refused
from framework.local.marathon.records import Deployment, Instance, LocalVolume, Site, TaskFailure
from tests.fakes.driving import SeededChance

MASTER = "http://127.0.0.1:5050"


def cpu_millis(app: App) -> int:
    return round(app.cpus * 1000)


class FirstFit:
    """One round over the offers: whoever comes first gets the first host with room."""

    def __init__(self, offers: Iterable[HostOffers]) -> None:
        self._hosts = list(offers)
        self._left = {(each.host_id, each.role): each.available.cpu_millis for each in self._hosts}

    def place(self, app: App, instance: Instance, siblings: Sequence[Instance]) -> Placed | Refused:
        for held in self._hosts:
            if instance.reserved:
                names = {each.persistence_id for each in instance.volumes}
                found = any(
                    piece.volume is not None and piece.volume.id in names
                    for offer in held.offers.values()
                    for piece in offer.pieces
                )
                if found:
                    return self._placed(app, held, instance.volumes, reserve=False)
            elif self._left[held.host_id, held.role] >= cpu_millis(app) and self._allows(app, held, siblings):
                self._left[held.host_id, held.role] -= cpu_millis(app)
                volumes: tuple[LocalVolume, ...] = ()
                if app.resident:
                    volumes = (LocalVolume("data", instance.id, f"{instance.id}#data"),)
                return self._placed(app, held, volumes, reserve=app.resident)
        return Refused()

    def _allows(self, app: App, held: HostOffers, siblings: Sequence[Instance]) -> bool:
        if ("hostname", "UNIQUE") not in app.constraints:
            return True
        return all(one.site is None or one.site.host_id != held.host_id for one in siblings)

    def _placed(self, app: App, held: HostOffers, volumes: tuple[LocalVolume, ...], *, reserve: bool) -> Placed:
        site = Site(held.host_id, held.hostname, held.attributes)
        resources = Resources(cpu_millis=cpu_millis(app))
        return Placed(site, held.role, tuple(held.offers), (), resources, volumes, reserve)


class Matching:
    def make_round(self, offers: Iterable[HostOffers], now: float) -> FirstFit:
        return FirstFit(offers)

    def reasons(
        self, app: App, instance: Instance, siblings: Sequence[Instance], offer: Offer, now: float
    ) -> tuple[str, ...]:
        return ("InsufficientCpus",) if offer.resources.cpu_millis < cpu_millis(app) else ()

    def leftovers(
        self, offers: HostOffers, wanted: Callable[[str], bool | None]
    ) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
        pieces = [piece for offer in offers.offers.values() for piece in offer.pieces]
        gone = tuple(
            piece for piece in pieces if piece.volume is not None and not wanted(piece.volume.id.partition("#")[0])
        )
        return gone, gone


@dataclass
class FakeTask:
    id: TaskId
    app: App
    host_id: HostId
    state: str = "TASK_STAGING"
    alive: bool = True
    away: bool = False
    told_away: bool = False  # at some time
    volume: str | None = None
    kill_asked: bool = False

    @property
    def instance_id(self) -> str:
        return self.id.partition("._app.")[0]


@dataclass
class FakeHost:
    id: HostId
    cpu_millis: int
    up: bool = True
    filtered_until: float = 0.0
    volumes: dict[str, int] = field(default_factory=dict)  # what is reserved with each


class FakeMesos:
    """``faults``: what it was asked and should never have been. ``lingering``: whether of what was reserved a part is

    offered only later, as Mesos executors end after their tasks.
    """

    def __init__(self, hosts: Sequence[int]) -> None:
        self.hosts = {HostId(f"h{n}"): FakeHost(HostId(f"h{n}"), cpus) for n, cpus in enumerate(hosts)}
        self.tasks: dict[TaskId, FakeTask] = {}
        self.offers: dict[OfferId, Offer] = {}
        self.unacknowledged: dict[bytes, told.TaskUpdate] = {}
        self.inbox: list[Event] = []
        self.suppressed = False
        self.subscribed = False
        self.faults: list[str] = []
        self.lingering = False
        self._serial = itertools.count()

    def connect(self) -> None:
        self.drop_offers()
        self.subscribed, self.suppressed = True, False
        for host in self.hosts.values():
            host.filtered_until = 0.0
        self.inbox = [told.Subscribed(FrameworkId("f"))]
        self.inbox += self.unacknowledged.values()

    def disconnect(self) -> None:
        self.drop_offers()
        self.subscribed = False
        self.inbox = []

    def tear_down(self) -> None:
        """The framework's tasks end with it, also those out of sight; what is reserved stays."""
        self.disconnect()
        self.unacknowledged.clear()
        for task in self.alive():
            task.alive = task.kill_asked = False

    def drop_offers(self) -> None:
        self.offers.clear()

    def alive(self, app_id: str | None = None) -> list[FakeTask]:
        return [one for one in self.tasks.values() if one.alive and app_id in (None, one.app.id)]

    # What it does by itself

    def offer(self, now: float) -> None:
        if not self.subscribed or self.suppressed:
            return
        offered = {offer.host_id for offer in self.offers.values()}
        made = []
        for host in self.hosts.values():
            if not host.up or host.id in offered or host.filtered_until > now:
                continue
            used = sum(cpu_millis(one.app) for one in self.alive() if one.host_id == host.id and one.volume is None)
            free = host.cpu_millis - used - sum(host.volumes.values())
            in_use = {one.volume for one in self.alive() if one.host_id == host.id}
            pieces = tuple(
                Piece("disk", 10_000, volume=Volume(name, "data")) for name in host.volumes if name not in in_use
            )
            if free <= 0 and not pieces:
                continue
            made.append(
                Offer(
                    OfferId(f"o{next(self._serial)}"),
                    host.id,
                    f"{host.id}.example.com",
                    Resources(cpu_millis=max(free, 0)),
                    pieces=pieces,
                )
            )
        self.offers.update({offer.id: offer for offer in made})
        if made:
            self.inbox.append(told.OffersReceived(tuple(made)))

    def update(self, task: FakeTask, state: str, **more: object) -> None:
        """The task is in another state from now on, and its host says so until that is acknowledged."""
        task.state = state
        uuid = f"u{next(self._serial)}".encode()
        if state in ENDED:
            task.alive = False
        said = told.TaskUpdate(task.id, state, task.host_id, uuid=uuid, **more)  # type: ignore[arg-type]
        self.unacknowledged[uuid] = said
        if self.subscribed and not task.away:
            self.inbox.append(said)

    def run(self, task: FakeTask) -> None:
        self.update(task, "TASK_RUNNING", healthy=True if _by_executor(task) else None)

    def lose(self, host_id: HostId) -> None:
        host = self.hosts[host_id]
        host.up = False
        self.offers = {key: offer for key, offer in self.offers.items() if offer.host_id != host_id}
        for task in self.alive():
            if task.host_id == host_id:
                task.away = task.told_away = True
                if self.subscribed:
                    self.inbox.append(told.TaskUpdate(task.id, "TASK_UNREACHABLE", host_id))

    def find(self, host_id: HostId) -> None:
        self.hosts[host_id].up = True
        for task in self.alive():
            if task.host_id == host_id and task.away:
                task.away = False
                if task.kill_asked:
                    task.kill_asked = False
                if self.subscribed:
                    self.inbox.append(told.TaskUpdate(task.id, task.state, host_id))

    # What it is asked

    def perform(self, call: ef.Call, now: float) -> None:  # noqa: C901 - one arm a call
        if not self.subscribed:
            return
        match call:
            case ef.Launch():
                self._launch(call)
            case ef.Free():
                if self._use(call.offer_ids, call.host_id):
                    for piece in call.volumes:
                        if piece.volume is not None:
                            self._destroy(self.hosts[call.host_id], piece.volume.id)
            case mesos.Decline():
                for offer_id in call.offer_ids:
                    offer = self.offers.pop(offer_id, None)
                    if offer is not None:
                        self.hosts[offer.host_id].filtered_until = now + call.refuse_s
            case mesos.Revive():
                self.suppressed = False
                for host in self.hosts.values():
                    host.filtered_until = 0.0
            case mesos.Suppress():
                self.suppressed = True
            case mesos.Kill():
                self._kill(call)
            case mesos.Acknowledge():
                self.unacknowledged.pop(call.uuid, None)
            case mesos.Reconcile():
                self._reconcile(call)

    def _destroy(self, host: FakeHost, volume_id: str) -> None:
        there = host.volumes.pop(volume_id, None) is not None
        instance_id, _, part = volume_id.partition("#")
        if there and self.lingering and part != "rest":
            host.volumes[f"{instance_id}#rest"] = 1

    def _use(self, offer_ids: tuple[OfferId, ...], host_id: HostId) -> bool:
        if any(self.offers.get(each) is None for each in offer_ids):
            return False
        for each in offer_ids:
            if self.offers.pop(each).host_id != host_id:
                self.faults.append(f"{each} is not of {host_id}")
        return True

    def _launch(self, call: ef.Launch) -> None:
        offers = [self.offers[each] for each in call.offer_ids if each in self.offers]
        free = sum(each.resources.cpu_millis for each in offers)
        valid = self._use(call.offer_ids, call.host_id)
        host = self.hosts[call.host_id]
        for each in call.placements:
            task_id = each.instance.task_id
            if task_id in self.tasks:
                self.faults.append(f"{task_id} was launched twice")
            if not valid or not host.up:
                self.inbox.append(told.TaskUpdate(task_id, "TASK_DROPPED", call.host_id))
                continue
            task = self.tasks[task_id] = FakeTask(task_id, each.app, call.host_id)
            if each.placed.reserve:
                host.volumes[each.placed.volumes[0].persistence_id] = cpu_millis(each.app)
            if each.placed.volumes:
                task.volume = each.placed.volumes[0].persistence_id
            if each.placed.reserve or not each.placed.volumes:
                free -= cpu_millis(each.app)
            if free < 0:
                self.faults.append(f"offers of {call.host_id} were over-spent")

    def _kill(self, call: mesos.Kill) -> None:
        task = self.tasks.get(call.task_id)
        if task is not None and task.alive and not task.away:
            task.kill_asked = True

    def _reconcile(self, call: mesos.Reconcile) -> None:
        asked = call.tasks or tuple((one.id, one.host_id) for one in self.alive())
        for task_id, host_id in asked:
            task = self.tasks.get(task_id)
            if task is None:
                state = "TASK_GONE" if self.hosts[host_id].up else "TASK_UNREACHABLE"
            else:
                state = "TASK_UNREACHABLE" if task.away else task.state
                if not task.alive:
                    state = "TASK_GONE"
            healthy = True if task is not None and state == "TASK_RUNNING" and _by_executor(task) else None
            self.inbox.append(told.TaskUpdate(task_id, state, host_id, reason="REASON_RECONCILIATION", healthy=healthy))


def _by_executor(task: FakeTask) -> bool:
    return any(each.by_executor for each in task.app.health_checks)


ENDED = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_GONE", "TASK_DROPPED", "TASK_LOST")


@dataclass
class Disk:
    """What has been saved, as bytes."""

    framework_id: FrameworkId | None = None
    root: bytes = field(default_factory=lambda: msgspec.msgpack.encode(EMPTY))
    apps: dict[tuple[str, str], bytes] = field(default_factory=dict)
    instances: dict[str, bytes] = field(default_factory=dict)
    deployments: dict[str, bytes] = field(default_factory=dict)
    failures: dict[str, bytes] = field(default_factory=dict)
    lost_some: bool = False

    def save(self, effect: ef.Save) -> None:
        match effect:
            case mesos.SaveFrameworkId(framework_id):
                self.framework_id = framework_id
            case ef.SaveRoot(root, apps, _):
                self.root = msgspec.msgpack.encode(root)
                self.apps.update({(one.id, one.version): msgspec.msgpack.encode(one) for one in apps})
            case ef.SaveInstance(instance):
                self.instances[instance.id] = msgspec.msgpack.encode(instance)
            case ef.DropInstance(instance_id):
                self.instances.pop(instance_id, None)
            case ef.SaveDeployment(deployment):
                self.deployments[deployment.id] = msgspec.msgpack.encode(deployment)
            case ef.DropDeployment(deployment_id):
                self.deployments.pop(deployment_id, None)
            case ef.SaveFailure(failure):
                self.failures[failure.app_id] = msgspec.msgpack.encode(failure)
            case ef.DropFailure(app_id):
                self.failures.pop(app_id, None)

    def load(self) -> Snapshot:
        decode = msgspec.msgpack.decode
        instances = tuple(decode(each, type=Instance) for each in self.instances.values())
        versions = {(one.app_id, one.version) for one in instances}
        return Snapshot(
            framework_id=self.framework_id,
            root=decode(self.root, type=Group),
            instances=instances,
            apps=tuple(decode(self.apps[each], type=App) for each in sorted(versions)),
            deployments=tuple(decode(each, type=Deployment) for each in self.deployments.values()),
            failures=tuple(decode(each, type=TaskFailure) for each in self.failures.values()),
            lost_some=self.lost_some,
        )


SAVES = (
    mesos.SaveFrameworkId, ef.SaveRoot, ef.SaveInstance, ef.DropInstance, ef.SaveDeployment, ef.DropDeployment,
    ef.SaveFailure, ef.DropFailure,
)  # fmt: skip
CALLS = (
    ef.Launch, ef.Free, mesos.Decline, mesos.DeclineInverse, mesos.Revive, mesos.Suppress, mesos.Kill,
    mesos.Acknowledge, mesos.Reconcile,
)  # fmt: skip


class World:
    """A server of ours and its Mesos. ``watch`` is called after every turn with its effects."""

    def __init__(
        self,
        hosts: Sequence[int] = (8000, 8000, 8000),
        config: Config | None = None,
        watch: Callable[[World, Sequence[ef.Effect]], None] | None = None,
    ) -> None:
        self.now = 1_600_000_000.0
        self.config = config or Config()
        self.mesos = FakeMesos(hosts)
        self.disk = Disk()
        self.watch = watch
        self.told: list[object] = []  # what was published
        self.checked: dict[str, tuple[App, Instance]] = {}  # of whom the server's own checks are made
        self.readying: dict[str, tuple[App, Instance]] = {}
        self.unhealthy: set[str | None] = set()  # apps, or commands, whose checks fail
        self.failing: set[str] = set()  # apps whose tasks fail at once
        self.crash_at: int | None = None  # how many calls of the next turn are still made
        self.crashes = 0
        self._seed = itertools.count(1)
        self.state = self._load()
        self.mesos.connect()
        self.deliver()

    def _load(self) -> State:
        return State(self.disk.load(), self.config, SeededChance(next(self._seed)), Matching())

    def restart(self) -> None:
        """Whatever was not saved is lost."""
        self.mesos.disconnect()
        self.checked.clear()
        self.readying.clear()
        self.state = self._load()
        self.take(resume(self.state, self.now))
        self.mesos.connect()
        self.crashes += 1

    def take(self, effects: Sequence[ef.Effect]) -> None:
        kinds = [isinstance(each, SAVES) for each in effects]
        assert kinds == sorted(kinds, reverse=True), "saves come first"
        for each in effects:
            if isinstance(each, SAVES):
                self.disk.save(each)
        calls = [each for each in effects if isinstance(each, CALLS)]
        crash_at, self.crash_at = self.crash_at, None
        for call in calls[:crash_at]:
            self.mesos.perform(call, self.now)
        if crash_at is not None:
            self.restart()
            return
        for each in effects:
            self._note(each)
        if self.watch is not None:
            self.watch(self, effects)

    def _note(self, effect: ef.Effect) -> None:
        match effect:
            case ef.Publish(happening):
                self.told.append(happening)
            case ef.StartChecks(app, instance):
                self.checked[instance.id] = app, instance
            case ef.StopChecks(instance_id):
                self.checked.pop(instance_id, None)
            case ef.StartReadiness(app, instance):
                self.readying[instance.id] = app, instance
            case ef.StopReadiness(instance_id):
                self.readying.pop(instance_id, None)

    # What is done to it

    def step(self, *events: Event) -> None:
        self.take(turn(self.state, events, self.now))

    def deploy(self, change: Callable[[Group, str], Group], **more: object) -> Started:
        started, effects = deploy(self.state, change, self.now, **more)  # type: ignore[arg-type]
        self.take(effects)
        return started

    def cancel(self, deployment_id: str, *, force: bool = False) -> Started | None:
        started, effects = cancel(self.state, deployment_id, self.now, force=force)
        self.take(effects)
        return started

    def deliver(self) -> None:
        events, self.mesos.inbox = self.mesos.inbox, []
        if events:
            self.step(*events)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        next_at = self.state.deadlines.next()
        if next_at is not None and next_at <= self.now:
            self.step(told.Tick())
        self.mesos.offer(self.now)

    def set_back(self, seconds: float) -> None:
        """The clock of our machine; Mesos' own goes on."""
        self.now -= seconds
        for host in self.mesos.hosts.values():
            host.filtered_until -= seconds
        self.step(told.Tick())  # as at least every minute

    def work(self) -> None:
        """Tasks go on by one state each: start, become healthy and ready, end where they were asked to."""
        for task in self.mesos.alive():
            if task.away:
                continue
            if task.kill_asked:
                self.mesos.update(task, "TASK_KILLED")
            elif task.app.id in self.failing:
                self.mesos.update(task, "TASK_FAILED", message="exited with 1")
            elif task.state == "TASK_STAGING":
                self.mesos.run(task)
        for app, instance in list(self.checked.values()):
            for index, check in enumerate(app.health_checks):
                if not check.by_executor:
                    alive = self.unhealthy.isdisjoint((app.id, app.cmd))
                    self.mesos.inbox.append(HealthProbed(instance.id, instance.attempt, index, alive, "refused"))
        for app, instance in list(self.readying.values()):
            for ready in app.readiness_checks:
                self.mesos.inbox.append(ReadinessProbed(instance.id, instance.attempt, ready.name, ready=True))

    def go(self, seconds: float = 1.0) -> None:
        """One round of everything."""
        if not self.mesos.subscribed:
            self.mesos.connect()
        self.deliver()
        self.work()
        self.deliver()
        self.advance(seconds)
        self.deliver()

    def rest(self, rounds: int = 400) -> bool:
        """Goes on until nothing more is to be done; whether it comes to that."""
        for _ in range(rounds):
            if self.idle():
                return True
            self.go()
        return self.idle()

    def idle(self) -> bool:
        if self.state.running or self.mesos.inbox or self.state.waiting or not self.mesos.subscribed:
            return False
        if any(task.kill_asked or task.state == "TASK_STAGING" for task in self.mesos.alive()):
            return False
        return self.running() == self.wanted()

    def wanted(self) -> Mapping[str, int]:
        apps = [*_apps(self.state.root)]
        return {app.id: app.instances for app in apps if app.instances}

    def running(self) -> Mapping[str, int]:
        return dict(Counter(task.app.id for task in self.mesos.alive() if not task.away))


def _apps(group: Group) -> Iterable[App]:
    yield from group.apps.values()
    for each in group.groups.values():
        yield from _apps(each)
