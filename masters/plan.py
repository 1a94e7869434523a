"""What is to be done so that what is observed becomes what is desired. Pure.

Marathon replaces a running task whenever anything of its app changes but the number of instances: labels and health
checks too (AppDefinition.isUpgrade of Marathon 1.9; ``is_upgrade`` of the embedded server). So every change of an app
restarts its master where it runs, and what may wait for the next start anyway, the learned grace, is no change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from framework.errors import Fault
from masters import names
from masters.app import AppContext, Document, app_of
from masters.comparing import KEPT, SECRET, differences, policy_in, shown
from masters.names import Variable
from masters.records import Change, ChangeKind, Difference, Observed, ObservedMaster, ObservedShare
from masters.spec.model import TenantSpec

MAX_BODY_BYTES = 500_000
"""Of a shard as Marathon tells of it: it kept groups in single ZooKeeper nodes of 1 MB (mesosphere/marathon#2101)."""
TOLD_BYTES = 3000
"""What Marathon adds to an app as it is sent: defaults, versions, a task, counts, a deployment, its last failure."""


@dataclass(frozen=True, slots=True)
class Desired:
    """One tenant as its YAML has it."""

    spec: TenantSpec
    where: Callable[[str], str]  # the place of a key, for faults: ``tenants/payments.yaml:7 volume.size_mib``
    configuration: str | None = None  # packed files of configuration-as-code
    secrets: Mapping[str, str | None] = field(default_factory=dict)
    """SHA-256 by source of what the store is to hold; None: drawn by ``apply`` where there is none."""
    clear: Mapping[str, str] = field(default_factory=dict)
    """What secrets hold, by source, where there is no store."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``changes`` by tenant; ``faults`` of what cannot be done, in which case nothing is to be."""

    changes: tuple[Change, ...]
    faults: tuple[Fault, ...]
    unchanged: int


def plan(
    desired: Sequence[Desired], observed: Observed, context: AppContext, *, only: Collection[str] | None = None
) -> Plan:
    """``only``: names of tenants to look at; of others nothing is told, not even that they are gone."""
    changes: list[Change] = []
    faults: list[Fault] = []
    unchanged = 0
    shards = _Shards()
    wanted = {one.spec.name for one in desired}
    for one in desired:
        tenant = one.spec.name
        app = app_of(
            one.spec,
            context,
            configuration=one.configuration,
            clear=one.clear,
            boot_s=observed.boots.get(tenant),
        )
        shards.add(app)
        if only is not None and tenant not in only:
            continue
        found = list(_faults(one, app, observed.masters.get(tenant)))
        faults += found
        change = None if found else _change(one, app, observed)
        if change is not None:
            changes.append(change)
        unchanged += change is None and not found
    for tenant, master in observed.masters.items():
        if tenant not in wanted and (only is None or tenant in only):
            restarts = _runs(master)
            changes.append(
                Change(tenant, ChangeKind.GONE, master.app_id, (), version=master.version, restarts=restarts)
            )
    unknown = sorted(set(only or ()) - wanted - observed.masters.keys())
    faults += [Fault("--only", f"there is no tenant {tenant!r}") for tenant in unknown]
    faults += shards.faults()
    changes.sort(key=lambda change: change.tenant)
    return Plan(tuple(changes), tuple(faults), unchanged)


def share_of(spec: TenantSpec) -> ObservedShare:
    """As the scheduler is to have the tenant."""
    quota = spec.quota
    return ObservedShare(spec.name, spec.weight, quota.cpus, quota.mem_mib, quota.builds)


def _change(one: Desired, app: Document, observed: Observed) -> Change | None:
    spec, master = one.spec, observed.masters.get(one.spec.name)
    share = share_of(spec)
    of_share = list(_share_differences(observed.shares.get(spec.name), share))
    of_secrets = list(_secret_differences(one.secrets, observed.secrets))
    changed_share = share if of_share else None
    if master is None:
        told = (*_created(app), *of_share)
        return Change(spec.name, ChangeKind.CREATE, app["id"], told, app=app, share=changed_share)
    of_app = differences(app, master)
    found = (*of_app, *of_secrets, *of_share)
    if not found:
        return None
    kind = ChangeKind.UPDATE if of_app else ChangeKind.SECRETS if of_secrets else ChangeKind.SHARE
    return Change(
        spec.name,
        kind,
        master.app_id,
        found,
        app=_merged(app, master) if of_app else None,
        version=master.version,
        share=changed_share,
        restarts=kind is not ChangeKind.SHARE and _runs(master),
    )


def _merged(app: Document, master: ObservedMaster) -> Document:
    """The app to PUT: with what is not the YAML's to say as it is now."""
    now = master.document
    env, was = app["env"], now.get("env", {})
    kept = {
        name: was[name]
        for name in KEPT  # but of a restore, which was done when the master became healthy: the volume may be a new one
        if name != Variable.RESTORE and isinstance(was.get(name), str) and not isinstance(env.get(name), dict)
    }
    merged = {**app, "env": {**env, **kept}}
    if names.LABEL_FAILED not in now.get("labels", {}):  # else it is off because it never started
        merged["instances"] = now.get("instances", 1)
        merged["labels"] = {**app["labels"], names.LABEL_STATE: master.wanted}
    if "role" not in app and "role" in now:
        merged["role"] = now["role"]  # which is Marathon's own otherwise, and fixed where a volume is reserved
    return merged


def _runs(master: ObservedMaster) -> bool:
    return bool(master.tasks) or bool(master.document.get("instances", 1))


def _created(app: Document) -> Iterator[Difference]:
    """What is worth to be read of a new app."""
    policy = policy_in(app)
    container = app["container"]
    told: dict[str, Any] = {
        "container.docker.image": container.get("docker", {}).get("image"),
        "cmd": app.get("cmd", "").partition("\n")[2] or None,  # without what is put before it
        "cpus": app["cpus"],
        "mem": app["mem"],
        "policy.volume": policy.volume,
        "policy.volume_mib": policy.volume_mib,
        f"env.{Variable.ROOT_URL}": app["env"][Variable.ROOT_URL],
    }
    yield from (Difference(path, None, shown(value)) for path, value in told.items() if value is not None)


def _share_differences(before: ObservedShare | None, after: ObservedShare) -> Iterator[Difference]:
    for name, path in (
        ("weight", "weight"),
        ("cpus", "quota.cpus"),
        ("mem_mib", "quota.mem_mib"),
        ("builds", "quota.builds"),
    ):
        was, now = None if before is None else getattr(before, name), getattr(after, name)
        if was != now:
            yield Difference(path, shown(was), shown(now))


def _secret_differences(wanted: Mapping[str, str | None], held: Mapping[str, str]) -> Iterator[Difference]:
    for source, digest in sorted(wanted.items()):
        if source not in held:
            yield Difference(f"secrets.{source}", None, SECRET)
        elif digest is not None and held[source] != digest:
            yield Difference(f"secrets.{source}", SECRET, "(another secret)")


def _faults(one: Desired, app: Document, master: ObservedMaster | None) -> Iterator[Fault]:
    spec, tenant = one.spec, one.spec.name
    if master is None:
        return
    if master.app_id != app["id"]:
        yield Fault(
            "masters.shards",
            f"{tenant} runs as {master.app_id} and would be made once more, on the same volume, as {app['id']}: "
            "masters.group and masters.shards are fixed once masters run",
        )
        return
    was = master.policy
    now = policy_in(app)
    if was.volume and was.volume != now.volume:
        yield Fault(
            one.where("volume"),
            f"is {now.volume} now, and the master's home is on {was.volume}: the data would be left behind. Back the "
            f"master up, `butlery tenants delete {tenant}`, apply, and restore it",
        )
        return
    if was.volume_mib is not None and (now.volume_mib or 0) < was.volume_mib:
        yield Fault(
            one.where("volume.size_mib"),
            f"{now.volume_mib or 'nothing'} is less than the {was.volume_mib} that the volume has: a volume may grow, "
            "never shrink",
        )
    elif spec.volume.persistent and was.volume_mib != now.volume_mib:
        yield Fault(
            one.where("volume.size_mib"),
            f"Mesos cannot resize the persistent volume of {was.volume_mib} MiB: back the master up, delete it, "
            "apply, and restore it",
        )
    if _options(app) != _options(master.document):
        yield Fault(
            one.where("volume"),
            "its options changed, which Docker heeds only where it makes the volume: give it another name after a "
            "backup, or remove the volume from the hosts first and delete the tenant",
        )
    if spec.volume.persistent:
        yield from _reserved_faults(one, app, master)


def _reserved_faults(one: Desired, app: Document, master: ObservedMaster) -> Iterator[Fault]:
    """Of what Marathon refuses to change of an app with persistent volumes, as it is reserved with them."""
    for key, name in (("cpus", "cpus"), ("mem", "mem_mib")):
        if app[key] != master.document.get(key):
            yield Fault(
                one.where(name),
                f"is {app[key]:g} now, and {master.document.get(key, 0):g} is reserved with the persistent volume, "
                "which Marathon cannot change: back the master up, delete it, apply, and restore it",
            )
    ports = len(app["portDefinitions"])
    fixed = [
        bool(found.get("requirePorts")) and found["portDefinitions"][0]["port"] for found in (app, master.document)
    ]
    if ports != len(master.document.get("portDefinitions") or ()) or fixed[0] != fixed[1]:
        yield Fault(
            one.where("ports"),
            "changed, and those there were are reserved with the persistent volume, which Marathon cannot change: "
            "back the master up, delete it, apply, and restore it",
        )


def _options(document: Mapping[str, Any]) -> list[str]:
    """How Docker is told to make the volume."""
    docker = (document.get("container") or {}).get("docker") or {}
    return [
        one["value"].partition(",volume-driver=")[2] for one in docker.get("parameters", ()) if one["key"] == "mount"
    ]


class _Shards:
    """How long Marathon's answers of each shard would get."""

    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()
        self._masters: Counter[str] = Counter()

    def add(self, app: Document) -> None:
        shard = app["id"].rpartition("/")[0]
        self._bytes[shard] += len(msgspec.json.encode(app)) + TOLD_BYTES
        self._masters[shard] += 1

    def faults(self) -> Iterator[Fault]:
        long = {shard: size for shard, size in self._bytes.items() if size > MAX_BODY_BYTES}
        if not long:
            return
        shard, size = max(long.items(), key=lambda item: item[1])
        yield Fault(
            "masters.shards",
            f"{shard} would hold {size / 1000:.0f} kB of {self._masters[shard]} masters, more than the "
            f"{MAX_BODY_BYTES // 1000} kB that Marathon bears ({len(long)} of {len(self._bytes)} shards do): set "
            "more shards before the first apply, or make the tenants' configuration, env and labels shorter",
        )
