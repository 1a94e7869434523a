"""Persistent volumes: the disks that they are made of, and what is left of those that nobody wants any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from framework.core.constraints import allows
from framework.core.ids import FrameworkId
from framework.core.offers import HostOffers
from framework.core.pieces import PER_UNIT, Piece
from framework.core.templates import Constraint, Operator
from framework.local.marathon.definition.app import PersistentVolume
from framework.local.marathon.matching.pools import DISK, FRAMEWORK_LABEL, label_of, reserved_for
from framework.local.marathon.records import LocalVolume, uuid_of
from framework.ports import Chance

ROOT, PATH, MOUNT = "root", "path", "mount"

Wanted = Sequence[tuple[str, PersistentVolume]]
"""By container path."""


def root_mib(wanted: Wanted) -> int:
    """What the volumes take of the host's own disk."""
    return sum([volume.size for _, volume in wanted if (volume.type or ROOT) == ROOT])


def disks_for(wanted: Wanted, disks: Sequence[Piece]) -> tuple[tuple[Piece, ...], list[Piece]] | None:
    """Of each volume, in their order, what it is to be made of, and what is left; None where the disks do not suffice.

    ``disks``: those of their own that are offered and not reserved. The biggest volume chooses first: a part of the
    largest disk of a file system (path), so that all are filled alike, or the smallest whole one (mount), which it
    then has all of. As in mesosphere/mesos/DiskResourceMatcher.scala.
    """
    left = list(disks)
    found: dict[int, Piece] = {}
    for nth, (_, volume) in sorted(enumerate(wanted), key=lambda each: -each[1][1].size):
        kind = volume.type or ROOT
        if kind == ROOT:
            found[nth] = Piece(DISK, volume.size * PER_UNIT)
            continue
        fitting = [index for index, disk in enumerate(left) if _fits(volume, kind, disk)]
        if not fitting:
            return None
        by_size = sorted(fitting, key=lambda index: left[index].thousandths)
        index = by_size[0] if kind == MOUNT else by_size[-1]
        disk = left.pop(index)
        if kind == MOUNT:
            found[nth] = disk
        else:
            taken = volume.size * PER_UNIT
            found[nth] = replace(disk, thousandths=taken)
            if disk.thousandths > taken:
                left.append(replace(disk, thousandths=disk.thousandths - taken))
    return tuple([found[nth] for nth in range(len(wanted))]), left


def _fits(volume: PersistentVolume, kind: str, disk: Piece) -> bool:
    source = disk.source
    if source is None or source.type != kind.upper() or disk.thousandths < volume.size * PER_UNIT:
        return False
    if (volume.profile_name or "") != source.profile:
        return False
    if kind == MOUNT and volume.max_size is not None and disk.thousandths > volume.max_size * PER_UNIT:
        return False
    return all(_met(parts, source.root) for parts in volume.constraints)


def _met(parts: Sequence[str], root: str) -> bool:
    """``path`` LIKE or UNLIKE a regular expression, the only constraints that volumes have."""
    if len(parts) != 3 or parts[0] != "path" or parts[1] not in (Operator.LIKE, Operator.UNLIKE):
        return False
    return allows(Constraint("path", Operator(parts[1]), parts[2]), root)


def new_volumes(app_id: str, wanted: Wanted, chance: Chance) -> tuple[LocalVolume, ...]:
    """With ids of their own."""
    result = []
    for container_path, _ in wanted:
        own = uuid_of(chance.uuid4())
        # Mesos takes no slash in it; the UUID tells volumes apart all the same.
        persistence_id = f"{app_id.strip('/').replace('/', '_')}#{container_path.replace('/', '_')}#{own}"
        result.append(LocalVolume(container_path, own, persistence_id))
    return tuple(result)


def leftovers(
    held: HostOffers, framework_id: FrameworkId, wanted: Callable[[str], bool | None]
) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Volumes to be destroyed and what is then to be unreserved: what was reserved for instances that are not

    ``wanted``, as their ids tell. Of those that nobody knows (None) only what this framework reserved: what others
    have, in the same role or by the same name, is not touched.
    """
    volumes: list[Piece] = []
    reserved: list[Piece] = []
    for offer in held.offers.values():
        for piece in (*offer.reserved_pieces, *offer.pieces):
            instance_id = reserved_for(piece)
            if instance_id is None:
                continue
            kept = wanted(instance_id)
            if kept or (kept is None and label_of(piece, FRAMEWORK_LABEL) != framework_id):
                continue
            if piece.volume is not None:
                volumes.append(piece)
            reserved.append(replace(piece, volume=None, shared=False))
    return tuple(volumes), tuple(reserved)
