"""All that the core remembers between two turns; what the API reads, it reads here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from framework.core.deadlines import Deadlines
from framework.core.events import CheckResult
from framework.core.ids import FrameworkId, HostId, TaskId
from framework.core.offers import HostOffers, Offer, OfferBook
from framework.core.pieces import Piece
from framework.local.marathon.control import QueueEntry
from framework.local.marathon.core import queue
from framework.local.marathon.core.books import Book, works
from framework.local.marathon.core.config import Config
from framework.local.marathon.core.queue import Delay, Waiting
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.versions import milliseconds, stamp
from framework.local.marathon.groups import planning, tree
from framework.local.marathon.matching.match import MakeRound
from framework.local.marathon.records import (
    Action,
    ActionKind,
    Condition,
    Deployment,
    Goal,
    HealthResult,
    Instance,
    ReadinessResult,
    TaskFailure,
    instance_id_of,
    uuid_of,
)
from framework.ports import Chance


class Snapshot(msgspec.Struct, frozen=True):
    """All that is saved and lives: what the core starts from."""

    framework_id: FrameworkId | None
    root: Group
    instances: tuple[Instance, ...]  # in the order they were first saved in
    apps: tuple[App, ...]  # of every other version that an instance has
    deployments: tuple[Deployment, ...]  # likewise
    failures: tuple[TaskFailure, ...]
    lost_some: bool = False  # an earlier state was lost, and with it what some volumes are for


class Matching(Protocol):
    """What ``matching`` does for the core, with its settings and its chance."""

    @property
    def make_round(self) -> MakeRound: ...

    def reasons(
        self, app: App, instance: Instance, siblings: Sequence[Instance], offer: Offer, now: float
    ) -> tuple[str, ...]:
        """Why the instance cannot go onto the offer, in Marathon's words; none where it could."""
        ...

    def leftovers(
        self, offers: HostOffers, wanted: Callable[[str], bool | None]
    ) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
        """Volumes and reservations of this server, as offered, that belong to no instance which is ``wanted``.

        ``wanted`` says None of an instance that is not known; of the others all is this server's, also what it
        reserved as another framework.
        """
        ...


class Acting(msgspec.Struct):
    """An action that is being performed. ``before``: how many instances of its app had a task when it began."""

    deployment_id: str
    action: Action
    begun: bool = False
    before: int = 0


class Running(msgspec.Struct):
    """A deployment under way.

    ``open``: apps whose actions of the current step are not done. ``held``: what each of its apps is kept at while
    nothing is done to it, and how many of it; None: at nothing.
    """

    deployment: Deployment
    before: Group
    after: Group
    open: set[str]
    held: dict[str, tuple[App, int] | None]


class State:
    """Changed by one thread only. Is a ``control.View``."""

    def __init__(self, snapshot: Snapshot, config: Config, chance: Chance, matching: Matching) -> None:
        self.config = config
        self.chance = chance
        self.matching = matching
        self.root = snapshot.root
        self.framework_id = snapshot.framework_id
        self.lost_some = snapshot.lost_some
        self.connected = False
        self.mesos_url: str | None = None  # set at the start, before the first event
        self.registered = snapshot.framework_id is not None
        self.now = 0.0  # of the last turn, for answers
        self.offers = OfferBook()
        self.deadlines = Deadlines()
        self.books: dict[str, Book] = {}
        self.owners: dict[str, str] = {}  # app of each instance
        self.older: dict[str, dict[str, App]] = {}  # by app and version, those that instances still have
        self.running: dict[str, Running] = {}
        self.locks: dict[str, str] = {}  # deployment of each app that one touches
        self.acting: dict[str, Acting] = {}  # by app
        self.dirty: dict[str, None] = {}  # apps to be looked at in this turn
        self.waiting: dict[str, Waiting] = {}  # apps that have instances to be launched
        self.eager: dict[str, None] = {}  # those among them for which no offer held now was looked at
        self.delayed: dict[str, None] = {}  # those among them that back off
        self.fresh: set[HostId] = set()  # hosts whose offers no app was looked at for
        self.delays: dict[str, Delay] = {}
        self.seen: dict[HostId, tuple[Offer, float]] = {}  # the last offer of each host and when it came
        self.garbage: dict[HostId, dict[str, Instance]] = {}  # ended for good, but for what is reserved for them
        self.results: dict[str, dict[int, HealthResult]] = {}
        self.checks: dict[str, CheckResult] = {}
        self.readiness_results: dict[str, dict[str, ReadinessResult]] = {}
        self.failures = {one.app_id: one for one in snapshot.failures}
        self.kills: dict[str, int] = {}  # how often each instance was asked to end
        self.unanswered: dict[TaskId, HostId] = {}  # tasks that Mesos was asked about and has said nothing of
        self.asked_again = 0  # how often, about those
        self.freed: dict[HostId, float] = {}  # when what nobody wants on a host was last given back
        self.suppressed = False
        self.unserved = False  # whether something new waits that no offer held was of use for
        self.revived_at = -1e9
        self._last_version = milliseconds(snapshot.root.version)
        self.remember(snapshot.apps)
        self.remember(each.old for deployment in snapshot.deployments for each in deployment.apps)
        for one in snapshot.instances:
            if self._knows_version(one):  # else its task is killed, as one that nobody knows
                self.put(one)
        for deployment in snapshot.deployments:
            self.begin(deployment, planning.revert(deployment, snapshot.root), snapshot.root)

    def begin(self, deployment: Deployment, before: Group, after: Group) -> Running:
        held = {one.app_id: (one.old, one.old.instances) if one.old else None for one in deployment.apps}
        running = self.running[deployment.id] = Running(deployment, before, after, set(), held)
        for step in deployment.steps[: deployment.current]:
            for action in step.actions:
                held[action.app.id] = outcome_of(action)
        for app_id in deployment.affected:
            self.locks[app_id] = deployment.id
        return running

    # What changes it

    def take_time(self, now: float) -> None:
        """Whoever sets the machine's clock back does not make anything wait longer."""
        by_s, self.now = now - self.now, now
        if by_s >= 0:
            return
        self.deadlines.move(by_s)
        self.revived_at += by_s
        self.freed = {host_id: at + by_s for host_id, at in self.freed.items()}
        self.delays = {
            app_id: msgspec.structs.replace(each, since=each.since + by_s, until=each.until + by_s)
            for app_id, each in self.delays.items()
        }

    def new_version(self, now: float) -> str:
        """As ``Control.new_version``."""
        self._last_version = max(int(now * 1000), self._last_version + 1)
        return stamp(self._last_version)

    def new_uuid(self) -> str:
        return uuid_of(self.chance.uuid4())

    def put(self, instance: Instance) -> None:
        """Takes the instance in as it now is."""
        if instance.goal is Goal.DECOMMISSIONED and instance.condition.terminal:
            self._bury(instance)
            return
        book = self.books.get(instance.app_id)
        if book is None:
            book = self.books[instance.app_id] = Book()
        self.owners[instance.id] = instance.app_id
        book.put(instance, good=works(instance, self.spec(instance)))

    def remove(self, instance: Instance) -> None:
        self.owners.pop(instance.id, None)
        book = self.books.get(instance.app_id)
        if book is not None:
            book.remove(instance.id)
            if not book.instances:
                del self.books[instance.app_id]
        self.clear_task(instance.id)

    def clear_task(self, instance_id: str) -> None:
        """What was remembered of the instance's task, which has ended."""
        self.results.pop(instance_id, None)
        self.checks.pop(instance_id, None)
        self.readiness_results.pop(instance_id, None)
        self.kills.pop(instance_id, None)
        for kind in INSTANCE_DEADLINES:
            self.deadlines.drop(kind, instance_id)

    def look_at_all(self) -> None:
        self.dirty.update(dict.fromkeys(self.books))
        self.dirty.update(dict.fromkeys(app.id for app in tree.apps_of(self.root)))

    def _bury(self, instance: Instance) -> None:
        """Only what is reserved for it is left."""
        self.remove(instance)
        if instance.site is not None:
            self.garbage.setdefault(instance.site.host_id, {})[instance.id] = instance

    def unbury(self, instance: Instance) -> None:
        self.deadlines.drop("garbage", instance.id)
        if instance.site is not None:
            buried = self.garbage.get(instance.site.host_id, {})
            buried.pop(instance.id, None)
            if not buried:
                self.garbage.pop(instance.site.host_id, None)

    def keeps(self, name: str) -> bool | None:
        """Whether what is reserved for the instance, named by its id or that of a task of it, is still wanted.

        None where no such instance is known; after a state was lost volumes of such are kept, as nobody asked for their
        end.
        """
        instance_id = instance_id_of(name)
        instance = self.instance(instance_id)
        if instance is not None:
            return instance.reserved or bool(instance.volumes)
        if any(instance_id in buried for buried in self.garbage.values()):
            return False
        return True if self.lost_some else None

    def forget_app(self, app_id: str) -> None:
        """What is remembered of an app that is no more."""
        self.leave_queue(app_id)
        self.delays.pop(app_id, None)
        self.failures.pop(app_id, None)
        self.older.pop(app_id, None)

    def remember(self, apps: Iterable[App | None]) -> None:
        """Versions that instances have, or that a later step of a deployment still holds."""
        for app in apps:
            if app is not None:
                self.older.setdefault(app.id, {})[app.version] = app

    def forget_versions(self, app_id: str) -> None:
        """Of those that no instance has."""
        older = self.older.pop(app_id, None)
        if older:
            used = {one.version for one in self.book(app_id).instances.values()}
            kept = {version: app for version, app in older.items() if version in used}
            if kept:
                self.older[app_id] = kept

    def leave_queue(self, app_id: str) -> None:
        self.waiting.pop(app_id, None)
        self.eager.pop(app_id, None)
        self.delayed.pop(app_id, None)
        self.deadlines.drop("delay", app_id)

    def book(self, app_id: str) -> Book:
        return self.books.get(app_id) or _NO_BOOK

    def placed(self, app: App) -> list[Instance]:
        """What the app's constraints look at: its instances that have a place, but for those that a roll replaces,

        as the new ones may come to where they are. Marathon lets those of an older configuration aside, but counts
        them where the app is only restarted, which then waits for ever on hosts that are full.
        """
        acting = self.acting.get(app.id)
        rolled = acting is not None and acting.action.kind is ActionKind.RESTART
        since = acting.action.app.version if acting and rolled else app.version_info.last_config_change_at
        return [one for one in self.book(app.id).instances.values() if one.site is not None and one.version >= since]

    def spec(self, instance: Instance) -> App:
        """The app in the version that the instance is of."""
        app = tree.app_of(self.root, instance.app_id)
        if app is not None and app.version == instance.version:
            return app
        return self.older[instance.app_id][instance.version]

    def _knows_version(self, instance: Instance) -> bool:
        app = tree.app_of(self.root, instance.app_id)
        newest = app is not None and app.version == instance.version
        return newest or instance.version in self.older.get(instance.app_id, {})

    # What is read: control.View

    def app(self, app_id: str) -> App | None:
        return tree.app_of(self.root, app_id)

    def group(self, group_id: str) -> Group | None:
        return tree.group_of(self.root, group_id)

    def instances(self, app_id: str) -> Sequence[Instance]:
        return tuple(self.book(app_id).instances.values())

    def all_instances(self) -> Sequence[Instance]:
        return [one for book in self.books.values() for one in book.instances.values()]

    def instance(self, instance_id: str) -> Instance | None:
        app_id = self.owners.get(instance_id)
        return None if app_id is None else self.book(app_id).instances.get(instance_id)

    def deployments(self) -> Sequence[Deployment]:
        return [each.deployment for each in self.running.values()]

    def deployments_of(self, app_id: str) -> Sequence[str]:
        return [self.locks[app_id]] if app_id in self.locks else []

    def health(self, instance_id: str) -> Sequence[HealthResult]:
        return list(self.results.get(instance_id, {}).values())

    def check_result(self, instance_id: str) -> Mapping[str, Any] | None:
        """Of the app's ``check``, in the words of the API."""
        found = self.checks.get(instance_id)
        if found is None:
            return None
        if found.exit_code is not None:
            return {"command": {"exitCode": found.exit_code}}
        if found.status_code is not None:
            return {"http": {"statusCode": found.status_code}}
        return {"tcp": {"succeeded": found.succeeded}} if found.succeeded is not None else {}

    def readiness(self, app_id: str) -> Sequence[ReadinessResult]:
        ids = self.book(app_id).instances
        return [found for one in ids for found in self.readiness_results.get(one, {}).values()]

    def last_failure(self, app_id: str) -> TaskFailure | None:
        return self.failures.get(app_id)

    def queue(self) -> Sequence[QueueEntry]:
        return queue.entries(self)


def outcome_of(action: Action) -> tuple[App, int] | None:
    """The app and its number of instances once the action is done; None: it is gone."""
    match action.kind:
        case ActionKind.STOP:
            return None
        case ActionKind.RESTART:
            return action.app, action.app.instances
        case _:
            return action.app, action.scale_to


INSTANCE_DEADLINES = ("launch", "kill", "inactive", "expunge", "viable")
_NO_BOOK = Book()


def task_lives(condition: Condition) -> bool:
    """Whether there is, or may be, a task of it in Mesos."""
    return not condition.terminal and condition is not Condition.SCHEDULED
