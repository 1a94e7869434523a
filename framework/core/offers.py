"""Hosts and offers, and the book that keeps both."""

from __future__ import annotations

import msgspec

from framework.core.ids import HostId, OfferId
from framework.core.resources import Resources


class Host(msgspec.Struct, frozen=True):
    """A Mesos agent machine as the Mesos master tells of it."""

    id: HostId
    hostname: str
    total: Resources
    attributes: dict[str, str] = {}
    url: str = ""  # of its HTTP API and files, such as ``http://10.0.0.7:5051/slave(1)``
    active: bool = True


class Offer(msgspec.Struct, frozen=True):
    """Resources of one host that Mesos has given us to use or decline."""

    id: OfferId
    host_id: HostId
    hostname: str
    resources: Resources
    attributes: dict[str, str] = {}
    url: str = ""
