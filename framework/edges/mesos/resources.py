"""Resources between the wire and the core: as pieces, as amounts, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec
from msgspec import Raw, Struct

from framework.core.pieces import PER_UNIT, DiskSource, Piece, Reservation, Volume
from framework.core.resources import ZERO, Resources
from framework.edges.mesos import wire

SCALARS = ("cpus", "mem", "disk", "gpus")
PORTS = "ports"

_plain_decoder = msgspec.json.Decoder(list[wire.PlainResource])
_decoder = msgspec.json.Decoder(list[wire.Resource])
_encode = msgspec.json.Encoder().encode


class Held(Struct, frozen=True):
    """What an offer holds."""

    resources: Resources
    reserved: Resources
    port_ranges: tuple[tuple[int, int], ...]
    drawable: tuple[Piece, ...] | None  # what a plain task can take; None: nothing of it is reserved
    others: tuple[Piece, ...] = ()
    reserved_pieces: tuple[Piece, ...] = ()  # those of ``drawable`` that are reserved

    @property
    def plain(self) -> bool:
        return self.drawable is None


@lru_cache(maxsize=8192)  # a few for each host of a large cluster: as free as it mostly is, ports and all
def held_in(resources: bytes) -> Held:
    """From the JSON of an offer's resources. Raises msgspec.DecodeError, OverflowError."""
    try:
        plain = _plain_decoder.decode(resources)
    except msgspec.ValidationError:
        return _held([piece(raw) for raw in _decoder.decode(resources)])
    amounts = dict.fromkeys(SCALARS, 0)
    ranges: tuple[tuple[int, int], ...] = ()
    for raw in plain:
        if raw.scalar is not None and raw.name in amounts:
            amounts[raw.name] += round(raw.scalar.value * PER_UNIT)
        elif raw.ranges is not None and raw.name == PORTS:
            ranges += tuple([(each.begin, each.end) for each in raw.ranges.range])
        else:
            return _held([piece(raw) for raw in _decoder.decode(resources)])
    return Held(_whole(amounts, _length(ranges)), ZERO, ranges, None)


def _held(pieces: list[Piece]) -> Held:
    drawable = [each for each in pieces if is_drawable(each)]
    others = tuple([each for each in pieces if not is_drawable(each)])
    reserved = _sum([each for each in drawable if each.reservations])
    free = _sum([each for each in drawable if not each.reservations])
    ranges = tuple(sorted(each for part in drawable for each in part.ranges))
    # Each is whole by itself, so that what is promised of either can be drawn from it alone.
    reserved_pieces = tuple([each for each in drawable if each.reservations])
    return Held(free + reserved, reserved, ranges, tuple(drawable), others, reserved_pieces)


def is_drawable(part: Piece) -> bool:
    """Whether a task that asks for plain amounts can take of it."""
    kind_fits = part.name in SCALARS or (part.name == PORTS and bool(part.ranges))
    special = part.volume or part.source or part.shared or part.revocable or part.provider_id or part.items
    return kind_fits and not special


def total(resources: Iterable[wire.Resource]) -> Resources:
    """Sums over the entries of each name that plain tasks can take, whomever it is reserved for.

    Left out: volumes and whole disks, what may be taken back, and parts of a MiB (rounded up, a task could take more
    than there is, which Mesos refuses).
    """
    return _sum([each for each in map(piece, resources) if is_drawable(each)])


def drawable_pieces(held: Held) -> tuple[Piece, ...]:
    if held.drawable is not None:
        return held.drawable
    free = [Piece(name, amount) for name, amount in in_thousandths(held.resources) if amount]
    return (*free, Piece(PORTS, ranges=held.port_ranges)) if held.port_ranges else tuple(free)


def in_thousandths(amount: Resources) -> tuple[tuple[str, int], ...]:
    """The scalars by Mesos' names of them."""
    return (
        ("cpus", amount.cpu_millis),
        ("mem", amount.mem_mib * PER_UNIT),
        ("disk", amount.disk_mib * PER_UNIT),
        ("gpus", amount.gpus * PER_UNIT),
    )


def _sum(pieces: Iterable[Piece]) -> Resources:
    amounts = dict.fromkeys(SCALARS, 0)
    ports = 0
    for part in pieces:
        if part.name == PORTS:
            ports += _length(part.ranges)
        else:
            amounts[part.name] += part.thousandths
    return _whole(amounts, ports)


def _whole(amounts: dict[str, int], ports: int) -> Resources:
    """No part of a MiB or of a GPU; Mesos allows none of the latter anyway."""
    cpus, mem, disk, gpus = amounts.values()
    return Resources(cpus, mem // PER_UNIT, disk // PER_UNIT, gpus // PER_UNIT, ports)


def _length(ranges: Iterable[tuple[int, int]]) -> int:
    return sum([last - first + 1 for first, last in ranges])


def piece(raw: wire.Resource) -> Piece:
    """Raises OverflowError where an amount is beyond every number."""
    disk = raw.disk
    return Piece(
        raw.name,
        round(raw.scalar.value * PER_UNIT) if raw.scalar is not None else 0,
        tuple([(each.begin, each.end) for each in raw.ranges.range]) if raw.ranges is not None else (),
        tuple(raw.set.item) if raw.set is not None else (),
        tuple([_reservation(each) for each in raw.reservations]),
        _volume(disk) if disk is not None and disk.persistence is not None else None,
        _source(disk.source) if disk is not None and disk.source is not None else None,
        raw.shared is not None,
        raw.revocable is not None,
        raw.provider_id.value if raw.provider_id is not None else None,
    )


def _reservation(raw: wire.Reservation) -> Reservation:
    return Reservation(raw.role, raw.type == "DYNAMIC", raw.principal, _pairs(raw.labels))


def _volume(raw: wire.Disk) -> Volume | None:
    if raw.persistence is None:
        return None
    place = raw.volume or wire.VolumeInfo("", "RW")
    return Volume(raw.persistence.id, place.container_path, raw.persistence.principal, place.mode == "RO")


def _source(raw: wire.Source) -> DiskSource:
    root = raw.path or raw.mount or wire.Root()
    return DiskSource(raw.type, root.root, raw.id, raw.profile, raw.vendor, _pairs(raw.metadata))


def _pairs(raw: wire.Labels | None) -> tuple[tuple[str, str | None], ...]:
    return tuple([(label.key, label.value) for label in raw.labels]) if raw is not None else ()


@lru_cache(maxsize=1024)  # builds come in few shapes
def encoded_amount(amount: Resources, role: str | None) -> Raw:
    """The scalars of ``amount``, none of it reserved, as offered to ``role``."""
    return encoded([Piece(name, part) for name, part in in_thousandths(amount) if part > 0], role)


def encoded(pieces: Iterable[Piece], role: str | None) -> Raw:
    allocated = wire.Allocation(role) if role is not None else None
    return Raw(_encode([resource(each, allocated) for each in pieces]))


def resource(part: Piece, allocated: wire.Allocation | None) -> wire.Resource:
    raw = wire.Resource(part.name, "SCALAR", allocation_info=allocated)
    if part.ranges:
        raw.type, raw.ranges = "RANGES", wire.Ranges([wire.Range(first, last) for first, last in part.ranges])
    elif part.items:
        raw.type, raw.set = "SET", wire.Items(list(part.items))
    else:
        raw.scalar = wire.Scalar(part.thousandths / PER_UNIT)
    if part.reservations:
        raw.reservations = [
            wire.Reservation("DYNAMIC" if each.dynamic else "STATIC", each.role, each.principal, _labels(each.labels))
            for each in part.reservations
        ]
    if part.volume is not None or part.source is not None:
        raw.disk = _disk(part.volume, part.source)
    raw.shared = {} if part.shared else None
    raw.revocable = {} if part.revocable else None
    raw.provider_id = wire.Value(part.provider_id) if part.provider_id is not None else None
    return raw


def _disk(volume: Volume | None, source: DiskSource | None) -> wire.Disk:
    raw = wire.Disk()
    if volume is not None:
        raw.persistence = wire.Persistence(volume.id, volume.principal)
        raw.volume = wire.VolumeInfo(volume.container_path, "RO" if volume.read_only else "RW")
    if source is not None:
        raw.source = wire.Source(
            source.type,
            wire.Root(source.root) if source.type == "PATH" and source.root else None,
            wire.Root(source.root) if source.type == "MOUNT" and source.root else None,
            source.vendor,
            source.id,
            _labels(source.metadata),
            source.profile,
        )
    return raw


def _labels(pairs: Iterable[tuple[str, str | None]]) -> wire.Labels | None:
    labels = [wire.Label(key, value) for key, value in pairs]
    return wire.Labels(labels) if labels else None
