"""Apps, instances and offers as the tests of matching and launching want them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from framework.core.ids import FrameworkId, HostId, OfferId
from framework.core.offers import HostOffers, Offer, Window
from framework.core.pieces import PER_UNIT, DiskSource, Piece, Reservation, Volume
from framework.core.resources import ZERO, Resources
from framework.local.marathon.definition.app import (
    App,
    Container,
    PersistentVolume,
    VersionInfo,
)
from framework.local.marathon.definition.app import Volume as AppVolume
from framework.local.marathon.matching.match import Matcher, OfferRound, Placed, Refused
from framework.local.marathon.matching.rules import MatchSettings
from framework.local.marathon.records import Condition, Goal, Instance
from tests.unit.marathon.groups import trees

OLD, NEW = "2020-01-01T00:00:00.000Z", "2020-01-02T00:00:00.000Z"
NOW = 1_000_000.0
FRAMEWORK_ID = FrameworkId("framework-1")
OVERHEAD = Resources(cpu_millis=50, mem_mib=32)
ALL_PORTS = ((31000, 31099),)


class Steady:
    """Chance that always falls in the same place; ids count up."""

    def __init__(self, at: float = 0.0) -> None:
        self.at = at
        self._drawn = 0

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.at

    def token(self) -> str:
        return "token"

    def uuid4(self) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(16, "big")


def app(app_id: str = "/web", *, ports: int = 0, **fields: Any) -> App:
    values: dict[str, Any] = {
        "unreachable_strategy": "disabled",
        "version": OLD,
        "version_info": VersionInfo(last_scaling_at=OLD, last_config_change_at=OLD),
    }
    return trees.app(app_id, ports=tuple(range(10_000, 10_000 + ports)), **{**values, **fields})


def resident(*volumes: PersistentVolume, **fields: Any) -> App:
    """With a volume each: ``data0``, ``data1`` and so on."""
    mounts = [AppVolume(container_path=f"data{nth}", mode="RW", persistent=each) for nth, each in enumerate(volumes)]
    values = {"role": "dev", "container": Container(type="MESOS", volumes=tuple(mounts))}
    return app("/folder/db", **{**values, **fields})


def instance(of: App, name: str = "a", **fields: Any) -> Instance:
    values: dict[str, Any] = {
        "id": f"{of.id.strip('/').replace('/', '_')}.instance-{name}",
        "app_id": of.id,
        "version": of.version,
        "role": of.role,
        "goal": Goal.RUNNING,
        "condition": Condition.SCHEDULED,
        "since": NOW,
    }
    return Instance(**{**values, **fields})


def offer(
    name: str = "1",
    *,
    cpus: float = 4.0,
    mem_mib: int = 4096,
    disk_mib: int = 10_000,
    gpus: int = 0,
    ports: tuple[tuple[int, int], ...] = ALL_PORTS,
    role: str = "*",
    reserved: tuple[Piece, ...] = (),
    others: tuple[Piece, ...] = (),
    window: Window | None = None,
    **attributes: str,
) -> Offer:
    """``reserved`` comes on top of the amounts and ports."""
    free = Resources(round(cpus * 1000), mem_mib, disk_mib, gpus, sum(last - first + 1 for first, last in ports))
    taken = _amount(reserved)
    ranges = (*ports, *(each for piece in reserved for each in piece.ranges))
    told = {name.replace("at_", "@"): value for name, value in attributes.items()}
    return Offer(
        OfferId(f"offer-{name}"),
        HostId(f"host-{name}"),
        f"host{name}.example",
        free + taken,
        told,
        role,
        taken,
        tuple(sorted(ranges)),
        window,
        others,
        reserved,
    )


def _amount(pieces: tuple[Piece, ...]) -> Resources:
    scalars = {
        name: sum(piece.thousandths for piece in pieces if piece.name == name)
        for name in ("cpus", "mem", "disk", "gpus")
    }
    ports = sum(last - first + 1 for piece in pieces for first, last in piece.ranges)
    return Resources(
        scalars["cpus"],
        scalars["mem"] // PER_UNIT,
        scalars["disk"] // PER_UNIT,
        scalars["gpus"] // PER_UNIT,
        ports,
    )


def held(*offers: Offer) -> HostOffers:
    first = offers[0]
    available, reserved = ZERO, ZERO
    for each in offers:
        available += each.resources
        reserved += each.reserved
    by_id = {each.id: each for each in offers}
    return HostOffers(
        first.host_id, first.hostname, first.role, first.attributes, available, reserved, by_id, NOW + 5.0
    )


def static(role: str, *, cpus: float = 0, mem_mib: int = 0, disk_mib: int = 0) -> tuple[Piece, ...]:
    """Reserved for the role by the host's operator."""
    stack = (Reservation(role, dynamic=False),)
    amounts = {"cpus": round(cpus * PER_UNIT), "mem": mem_mib * PER_UNIT, "disk": disk_mib * PER_UNIT}
    return tuple(Piece(name, amount, reservations=stack) for name, amount in amounts.items() if amount)


def disk(kind: str, size_mib: int, root: str, profile: str = "") -> Piece:
    return Piece("disk", size_mib * PER_UNIT, source=DiskSource(kind, root, profile=profile))


def settings(**fields: Any) -> MatchSettings:
    return MatchSettings(OVERHEAD, **fields)


def matcher(chance: Steady | None = None, **fields: Any) -> Matcher:
    return Matcher(settings(**fields), chance or Steady(), lambda: FRAMEWORK_ID)


def round_of(*offers: Offer, now: float = NOW, chance: Steady | None = None, **fields: Any) -> OfferRound:
    return matcher(chance, **fields).make_round([held(each) for each in offers], now)


def place(of: App, *offers: Offer, siblings: tuple[Instance, ...] = (), **fields: Any) -> Placed:
    """The app's one instance, which finds a host."""
    found = round_of(*offers, **fields).place(of, instance(of), siblings)
    assert isinstance(found, Placed)
    return found


def refused(of: App, *offers: Offer, siblings: tuple[Instance, ...] = (), **fields: Any) -> tuple[str, ...]:
    """Why the app's one instance, which finds none, could not use the last of the offers."""
    now = fields.pop("now", NOW)
    found = round_of(*offers, now=now, **fields).place(of, instance(of), siblings)
    assert isinstance(found, Refused)
    return matcher(**fields).reasons(of, instance(of), siblings, offers[-1], now)


def launched(of: Instance, placed: Placed) -> Instance:
    return replace(
        of,
        condition=Condition.RUNNING,
        site=placed.site,
        ports=placed.ports,
        attempt=of.attempt + 1,
        volumes=placed.volumes or of.volumes,
        reserved=of.reserved or placed.reserve,
    )


def as_reserved(placed: Placed, of: Instance, *, role: str = "dev") -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """What Mesos offers of it once its task is gone: what is reserved, and its volumes."""
    labels = (("marathon_framework_id", str(FRAMEWORK_ID)), ("marathon_task_id", of.id))
    own = (Reservation(role, True, "butlery", labels),)
    pieces = tuple(replace(piece, reservations=own) for piece in (*placed.pieces, *placed.executor_pieces))
    volumes = tuple(
        replace(piece, reservations=own, volume=Volume(volume.persistence_id, volume.container_path, "butlery"))
        for piece, volume in zip(placed.disks, placed.volumes, strict=True)
    )
    return pieces, volumes
