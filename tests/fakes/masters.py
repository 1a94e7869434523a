"""Marathon, the scheduler and Jenkins in memory, as ports of masters have them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from framework.errors import UnavailableError
from masters.comparing import policy_in
from masters.edges import Edges
from masters.errors import ChangedError
from masters.ledger import Ledger
from masters.names import LABEL_STATE, LABEL_TENANT, Variable
from masters.ports import Activity, Backup, Deployed, Jenkins, MasterAccess
from masters.records import ObservedMaster, ObservedShare, ObservedTask
from masters.secret_store import SecretStore
from masters.settings import MastersContext, MastersSettings

NEVER = "never"
"""In a command: its master never becomes healthy."""
NO_IMAGE = "nosuch"
"""In an image: it cannot be had."""
TORN = "torn"
"""A backup's name begins with it: a master that starts from it ends."""
BOOT_S = 7.0


class FakeMarathon:
    """Apps become healthy when deployments are next read, unless their document says NEVER, NO_IMAGE or TORN."""

    def __init__(self) -> None:
        self.apps: dict[str, ObservedMaster] = {}
        self.history: dict[str, dict[str, Mapping[str, Any]]] = {}
        self.calls: list[str] = []
        self.away = 0  # so many of the next calls find nobody
        self.killed: Callable[[str], None] = lambda _: None  # raises where the command is to die, given the call
        self.most_deploying = 0
        self._running: dict[str, str] = {}  # deployment to app id
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def masters(self) -> dict[str, ObservedMaster]:
        self._called("masters")
        return {master.tenant: master for master in self.apps.values()}

    def master(self, app_id: str) -> ObservedMaster | None:
        with self._lock:
            self._called("master")
            found = self.apps.get(app_id)
            message = _ENDS.get(_fate(found.document) or "") if found is not None else None
            if found is not None and message is not None and found.wanted == "on":
                self.apps[app_id] = replace(found, last_failure=(message, float(next(self._numbers))))
            return self.apps.get(app_id)

    def put(self, app_id: str, document: Mapping[str, Any], *, expect: str | None, force: bool = False) -> Deployed:
        with self._lock:
            tenant = app_id.rpartition("/")[2]
            self._called(f"put {tenant}")
            found = self.apps.get(app_id)
            if (found.version if found else None) != expect:
                raise ChangedError(f"{app_id} was changed by somebody else")
            if document.keys() == {"version"}:
                document = self.history[app_id][document["version"]]
            return self._deploy(app_id, document)

    def scale(
        self,
        app_id: str,
        instances: int,
        labels: Mapping[str, str],
        *,
        expect: str | None = None,
        checks: Sequence[Mapping[str, Any]] | None = None,
        env: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> Deployed:
        with self._lock:
            self._called(f"scale {app_id.rpartition('/')[2]} {instances}")
            if expect not in (None, self.apps[app_id].version):
                raise ChangedError(f"{app_id} was changed by somebody else")
            given = {"instances": instances, "labels": labels, "healthChecks": checks, "env": env}
            changed = {key: value for key, value in given.items() if value is not None}
            return self._deploy(app_id, {**self.apps[app_id].document, **changed})

    def delete(self, app_id: str, *, force: bool = False) -> None:
        self._called(f"delete {app_id.rpartition('/')[2]}")
        self.apps.pop(app_id, None)

    def restart(self, app_id: str, *, force: bool = False) -> Deployed:
        with self._lock:
            self._called(f"restart {app_id.rpartition('/')[2]}")
            return self._deploy(app_id, self.apps[app_id].document)

    def versions(self, app_id: str) -> list[str]:
        return sorted(self.history[app_id], reverse=True)

    def document_at(self, app_id: str, version: str) -> Mapping[str, Any]:
        return self.history[app_id][version]

    def framework_id(self) -> str:
        return "marathon-0001"

    def deployments(self) -> Sequence[str]:
        with self._lock:
            self._called("deployments")
            self.most_deploying = max(self.most_deploying, len(self._running))
            for deployment, app_id in list(self._running.items()):
                found = self.apps.get(app_id)
                if found is None or deployment not in found.deployments:
                    del self._running[deployment]
                elif found.wanted != "on" or _fate(found.document) is None:
                    del self._running[deployment]
                    self._settle(found)
            return list(self._running)

    def cancel(self, deployment: str) -> None:
        self._running.pop(deployment, None)

    def waiting_reasons(self, app_id: str) -> list[str]:
        return []

    def events(self, stop: Callable[[], bool]) -> Iterator[str]:
        raise NotImplementedError

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if self.away:
            self.away -= 1
            raise UnavailableError("Marathon is away")
        self.killed(call)

    def _deploy(self, app_id: str, document: Mapping[str, Any]) -> Deployed:
        version = f"2026-11-21T00:00:00.{next(self._numbers):03}Z"
        deployment = f"deployment-{next(self._numbers)}"
        plain = msgspec.json.decode(msgspec.json.encode(document))
        self.history.setdefault(app_id, {})[version] = plain
        labels = plain["labels"]
        self.apps[app_id] = ObservedMaster(
            labels[LABEL_TENANT], app_id, version, plain, (), (deployment,), policy_in(plain), labels[LABEL_STATE]
        )
        self._running[deployment] = app_id
        return Deployed(version, deployment)

    def _settle(self, master: ObservedMaster) -> None:
        now = float(next(self._numbers))
        task = ObservedTask(f"task-{now:.0f}", "host-1", "127.0.0.1", (31000,), "TASK_RUNNING", now, True, now + BOOT_S)
        tasks = (task,) if master.wanted == "on" else ()
        self.apps[master.app_id] = replace(master, tasks=tasks, deployments=())


_ENDS = {NO_IMAGE: "image nosuch:1 cannot be had: no such image", TORN: "Command exited with status 1"}


def _fate(document: Mapping[str, Any]) -> str | None:
    if NEVER in (document.get("cmd") or ""):
        return NEVER
    if TORN in (document.get("cmd") or "") or document.get("env", {}).get(Variable.RESTORE, "").startswith(TORN):
        return TORN
    image = (document.get("container") or {}).get("docker", {}).get("image", "")
    return NO_IMAGE if NO_IMAGE in image else None


class FakeScheduler:
    def __init__(self) -> None:
        self.known: dict[str, ObservedShare] = {}
        self.tokens: dict[str, int] = {}  # how often one was drawn
        self.working: dict[str, int] = {}
        self.told: dict[str, MasterAccess] = {}

    def shares(self) -> dict[str, ObservedShare]:
        return dict(self.known)

    def set_share(self, share: ObservedShare, *, new_token: bool) -> str | None:
        new = share.tenant not in self.known
        self.known[share.tenant] = share
        if not (new or new_token):
            return None
        self.tokens[share.tenant] = self.tokens.get(share.tenant, 0) + 1
        return f"token-{share.tenant}-{self.tokens[share.tenant]}"

    def access(self, tenant: str) -> MasterAccess | None:
        return self.told.get(tenant)

    def building(self, tenant: str) -> int:
        return self.working.get(tenant, 0)

    def builds(self) -> dict[str, int]:
        return dict(self.working)

    def forget(self, tenant: str) -> None:
        self.told.pop(tenant, None)


@dataclass
class FakeJenkins:
    busy: int = 0
    queued: int = 0
    quieting: bool = False
    made: list[Backup] = field(default_factory=list)
    outcome: str = "done"
    ends_when_asked: bool = False  # whether a build has ended each time that it is asked what runs

    def activity(self) -> Activity:
        found = Activity(self.busy, self.queued, self.quieting)
        if self.ends_when_asked:
            self.busy = max(0, self.busy - 1)
        return found

    def quiet_down(self, on: bool) -> None:
        self.quieting = on

    def backup(self, name: str) -> None:
        self.made.insert(0, Backup(name, self.outcome, 17, "" if self.outcome == "done" else "disk full"))

    def backups(self) -> list[Backup]:
        return list(self.made)


@dataclass(frozen=True)
class FakeEdges(Edges):
    """With a real ledger and a real secret store."""

    fake_marathon: FakeMarathon = field(default_factory=FakeMarathon)
    fake_scheduler: FakeScheduler = field(default_factory=FakeScheduler)
    masters: dict[str, FakeJenkins] = field(default_factory=dict)

    def jenkins(self, master: ObservedMaster) -> Jenkins:
        return self.masters.setdefault(master.tenant, FakeJenkins())


def fake_edges(directory: Path, *, store: bool = True, **settings: Any) -> FakeEdges:
    """``settings``: of the section ``masters``."""
    secrets = directory / "secrets" if store else None
    if secrets is not None:
        secrets.mkdir(exist_ok=True)
    context = MastersContext(
        marathon_urls=["http://marathon.invalid:8080"],
        marathon_credentials=None,
        scheduler_url="http://scheduler.invalid:8080",
        secrets=secrets,
        state=directory / "masters.db",
        kit=(directory / "kit.tar.gz").as_uri(),
        settings=MastersSettings(clear_secrets=not store, **settings),
    )
    marathon, scheduler = FakeMarathon(), FakeScheduler()
    ledger = Ledger(context.state)
    kept = SecretStore(secrets) if secrets is not None else None
    return FakeEdges(context, marathon, scheduler, ledger, kept, marathon, scheduler)
