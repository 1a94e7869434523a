"""What is left of the offers of one host for one role, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence

from framework.core.offers import HostOffers, Offer, Window
from framework.core.pieces import PER_UNIT, Piece
from framework.core.resources import Resources
from framework.local.marathon.matching.pools import PORTS, Pool, reserved_for, thousandths
from framework.local.marathon.matching.ports import Ranges, less, runs, without
from framework.local.marathon.records import Instance, Site


class Room:
    """``free`` is not reserved, ``mine`` is reserved for any task of the role, ``kept`` for one instance each."""

    def __init__(self, site: Site, role: str, offers: Sequence[Offer]) -> None:
        self.site = site
        self.role = role
        self.offer_ids = tuple([offer.id for offer in offers])
        self.mine = Pool()
        self.kept: dict[str, Pool] = {}
        self.volumes: dict[str, Piece] = {}  # persistent ones, by their id in Mesos
        self.disks: list[Piece] = []  # of their own, not reserved
        self.window: Window | None = None
        free = Resources()
        ranges: list[tuple[int, int]] = []
        reserved_ranges: list[tuple[int, int]] = []
        for offer in offers:
            free += offer.resources - offer.reserved
            ranges += offer.port_ranges
            self.window = offer.window or self.window
            for piece in offer.reserved_pieces:
                self._sort_in(piece)
                reserved_ranges += piece.ranges
            for piece in offer.pieces:
                if piece.volume is not None:
                    self.volumes[piece.volume.id] = piece
                elif piece.source is not None and not piece.reservations and not piece.shared:
                    self.disks.append(piece)
        self.cpu_millis, self.mem_mib, self.disk_mib, self.gpus = (
            free.cpu_millis,
            free.mem_mib,
            free.disk_mib,
            free.gpus,
        )
        self.ranges: Ranges = less(ranges, reserved_ranges) if reserved_ranges else ranges
        self.has_gpus = free.gpus > 0 or self.mine.amounts.gpus > 0
        self.plain = not (self.mine or self.kept)

    @classmethod
    def of(cls, held: HostOffers) -> Room:
        return cls(Site(held.host_id, held.hostname, held.attributes), held.role, list(held.offers.values()))

    @classmethod
    def of_offer(cls, offer: Offer) -> Room:
        return cls(Site(offer.host_id, offer.hostname, offer.attributes), offer.role, [offer])

    def _sort_in(self, piece: Piece) -> None:
        instance_id = reserved_for(piece)
        if instance_id is None:
            self.mine.add(piece)
        else:
            self.kept.setdefault(instance_id, Pool()).add(piece)

    @property
    def free(self) -> Resources:
        """Ports left out."""
        return Resources(self.cpu_millis, self.mem_mib, self.disk_mib, self.gpus)

    def kept_for(self, instance: Instance) -> Pool | None:
        """What is reserved for the instance, where all its volumes are here too."""
        if not all(volume.persistence_id in self.volumes for volume in instance.volumes):
            return None
        return self.kept.get(instance.id)

    def spend(self, amount: Resources, ports: Sequence[int]) -> None:
        """Takes of what is free."""
        self.cpu_millis -= amount.cpu_millis
        self.mem_mib -= amount.mem_mib
        self.disk_mib -= amount.disk_mib
        self.gpus -= amount.gpus
        if ports:
            self.ranges = without(self.ranges, ports)

    def draw(self, amount: Resources, ports: Sequence[int], pool: Pool | None) -> tuple[Piece, ...]:
        """Takes first of the pool, as it is of use to fewer, then of what is free."""
        wanted = thousandths(amount)
        taken: list[Piece] = []
        if pool is not None:
            taken, wanted = pool.draw_all(wanted)
            more, rest = pool.draw_ports(port for port in ports if port)
            taken += more
        else:
            rest = {port for port in ports if port}
        taken += [Piece(name, part) for name, part in wanted.items() if part]
        if rest:
            taken.append(Piece(PORTS, ranges=runs(rest)))
        whole = {name: -(-part // PER_UNIT) for name, part in wanted.items()}
        spent = Resources(wanted.get("cpus", 0), whole.get("mem", 0), whole.get("disk", 0), whole.get("gpus", 0))
        self.spend(spent, tuple(rest))
        return tuple(taken)
