"""Hosts and offers, and the book that keeps what is offered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from framework.core.ids import HostId, OfferId
from framework.core.pieces import Piece
from framework.core.resources import ZERO, Resources


class Window(msgspec.Struct, frozen=True):
    """When a host is to be taken out of service. Seconds since the epoch; ``duration_s`` None: for good."""

    start_at: float
    duration_s: float | None = None


class Host(msgspec.Struct, frozen=True):
    """A Mesos agent machine as the Mesos master tells of it."""

    id: HostId
    hostname: str
    total: Resources
    attributes: dict[str, str] = {}
    url: str = ""  # of its HTTP API and files, such as ``http://10.0.0.7:5051/slave(1)``
    active: bool = True
    window: Window | None = None  # planned maintenance

    def could_hold(self, need: Resources, attributes: Mapping[str, str]) -> bool:
        """Whether the host, were it wholly free, could hold that; never while it is not active."""
        return self.active and need.fits_in(self.total) and self.has(attributes)

    def has(self, attributes: Mapping[str, str]) -> bool:
        return all(self.attributes.get(name) == value for name, value in attributes.items())


class Offer(msgspec.Struct, frozen=True):
    """Resources of one host that Mesos has given us to use or decline."""

    id: OfferId
    host_id: HostId
    hostname: str
    resources: Resources  # all that a plain task can take, what is reserved for ``role`` among it
    attributes: dict[str, str] = {}  # Mesos' own fault domain among them, as ``@region`` and ``@zone``
    url: str = ""
    role: str = "*"  # which of our roles it is allocated to; offers of several roles cannot be used together
    reserved: Resources = ZERO  # of ``resources``, what is reserved for the role
    port_ranges: tuple[tuple[int, int], ...] = ()  # first and last, both within
    window: Window | None = None  # planned maintenance of the host
    pieces: tuple[Piece, ...] = ()  # what a plain task cannot take: volumes, disks of their own, other resources


class InverseOffer(msgspec.Struct, frozen=True):
    """Mesos asks for a host back: to be out of it by the window's start."""

    id: OfferId
    host_id: HostId
    window: Window


class HostOffers(msgspec.Struct):
    """All we hold of one host; used together or not at all, as one ACCEPT may name several offers of a host."""

    host_id: HostId
    hostname: str
    attributes: dict[str, str]
    available: Resources
    offers: dict[OfferId, Offer]
    held_until: float


class OfferBook:
    """The offers held now. Each leaves it once: used, declined, rescinded or void."""

    def __init__(self) -> None:
        self._hosts: dict[HostId, HostOffers] = {}
        self._host_of: dict[OfferId, HostId] = {}

    def add(self, offer: Offer, held_until: float) -> HostOffers:
        """Takes an offer in; the host's older ones are then held as long as this one."""
        held = self._hosts.get(offer.host_id)
        if held is None:
            held = self._hosts[offer.host_id] = HostOffers(
                offer.host_id, offer.hostname, offer.attributes, ZERO, {}, held_until
            )
        if offer.id not in held.offers:
            held.offers[offer.id] = offer
            held.available += offer.resources
            held.attributes = offer.attributes
            self._host_of[offer.id] = offer.host_id
        held.held_until = held_until
        return held

    def rescind(self, offer_id: OfferId) -> HostId | None:
        """The host that has nothing offered any more, if so."""
        host_id = self._host_of.pop(offer_id, None)
        if host_id is None:
            return None
        held = self._hosts[host_id]
        held.available -= held.offers.pop(offer_id).resources
        if held.offers:
            return None
        del self._hosts[host_id]
        return host_id

    def take(self, host_id: HostId) -> tuple[OfferId, ...]:
        """Takes every offer of the host out, to use or decline them."""
        held = self._hosts.pop(host_id, None)
        if held is None:
            return ()
        for offer_id in held.offers:
            del self._host_of[offer_id]
        return tuple(held.offers)

    def hostname(self, host_id: HostId) -> str:
        """Raises KeyError where nothing is held of the host."""
        return self._hosts[host_id].hostname

    def clear(self) -> None:
        self._hosts.clear()
        self._host_of.clear()

    def of(self, host_id: HostId) -> HostOffers | None:
        return self._hosts.get(host_id)

    def available(self, host_id: HostId) -> Resources:
        held = self._hosts.get(host_id)
        return held.available if held else ZERO

    def hosts(self) -> list[HostId]:
        return list(self._hosts)

    def __iter__(self) -> Iterator[HostOffers]:
        return iter(list(self._hosts.values()))

    def __len__(self) -> int:
        """Offers, not hosts."""
        return len(self._host_of)
