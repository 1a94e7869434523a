"""Where waiting instances go: round by round over the offers at hand.

The contract with the core: it makes one ``Round`` of the offers it holds, asks it for one instance after the other, and
gives the offers of every host that something was placed on to Mesos in one ACCEPT.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from framework.core.ids import OfferId
from framework.core.offers import HostOffers
from framework.core.pieces import Piece
from framework.core.resources import Resources
from framework.local.marathon.core.records import Instance, LocalVolume, Site
from framework.local.marathon.definition.app import App


class Placed(msgspec.Struct, frozen=True):
    """Where an instance goes and what it takes there.

    Without ``pieces`` what it takes is drawn from what is offered and not reserved. With them it takes just those, and
    its Mesos executor ``executor_pieces``; where ``reserve``, all of these are as offered, to be reserved first.
    """

    site: Site
    role: str  # of the offers: an offer's allocation role, never mixed in one ACCEPT
    offer_ids: tuple[OfferId, ...]  # all that are held of that host for that role
    ports: tuple[int, ...]  # as Instance.ports
    resources: Resources  # of the task itself, its ports counted
    volumes: tuple[LocalVolume, ...] = ()  # to be made with the launch, where ``reserve``; else found there
    reserve: bool = False
    pieces: tuple[Piece, ...] = ()
    executor_pieces: tuple[Piece, ...] = ()
    disks: tuple[Piece, ...] = ()  # of each of ``volumes`` what it is, or is to be, made of


class Refused(msgspec.Struct, frozen=True):
    """No offer would do. ``reasons``: offer by offer, in Marathon's words, such as InsufficientCpus."""

    reasons: tuple[tuple[OfferId, tuple[str, ...]], ...]


class Round(Protocol):
    def place(self, app: App, instance: Instance, siblings: Sequence[Instance]) -> Placed | Refused:
        """``siblings``: the app's other instances that have a site, those placed in this round among them.

        What is placed is taken from what later calls see.
        """
        ...


class MakeRound(Protocol):
    def __call__(self, offers: Iterable[HostOffers], now: float) -> Round:
        """``now`` in seconds since the epoch, for hosts that go into maintenance."""
        ...
