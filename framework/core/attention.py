"""What a round has to look at again, so that its cost follows from what has happened and not from the cluster's size.

After a round no request that may be launched fits on anything offered. What can change that: more is offered of a host,
or something changes about a tenant (a request comes or goes, a build ends). Everything else, such as a quota or the
list of hosts, is rare, and has all be looked at anew (``State.dirty``).
"""

from __future__ import annotations

from collections.abc import Sequence

from framework.core.ids import HostId, RequestId, TenantName
from framework.core.placement import Amounts, Placer, Shape

_NO_BOUND = (1 << 62, 1 << 62, 1 << 62)


class Attention:
    """Hosts and tenants to be looked at, and what is known of all others; bounded by the hosts and tenants known."""

    def __init__(self) -> None:
        self.hosts: set[HostId] = set()  # of which more is offered, or for more requests, than when last looked at
        self.tenants: set[TenantName] = set()  # about which something has changed
        self.again = False  # a round is due though nothing has changed, as time has passed
        self.starving: dict[TenantName, list[RequestId]] = {}  # the first of each shape that only lacks room
        self.unkept: dict[RequestId, float] = {}  # of those, no host could be kept for it; when to look for one again
        self._least: Amounts = _NO_BOUND  # of all that waits; perhaps less, after the smallest has gone
        self._hopeless: list[Amounts] = []  # what asks for at least one of these fits on none of the other hosts

    def __bool__(self) -> bool:
        return self.again or bool(self.hosts) or bool(self.tenants)

    @property
    def least(self) -> Amounts:
        """A lower bound of each amount that a waiting request asks; a host with less is of no use to any."""
        return self._least

    def waits(self, tenant: TenantName, shape: Shape) -> None:
        """A request of the shape is in the tenant's queue from now on."""
        self.tenants.add(tenant)
        cpu_millis, mem_mib, disk_mib = self._least
        self._least = (min(cpu_millis, shape.cpu_millis), min(mem_mib, shape.mem_mib), min(disk_mib, shape.disk_mib))

    def forget(self, waiting: Sequence[Shape]) -> None:
        """All is to be looked at anew; ``waiting``: every shape that waits."""
        self._hopeless = []
        self.unkept.clear()
        self._least = (
            min((shape.cpu_millis for shape in waiting), default=_NO_BOUND[0]),
            min((shape.mem_mib for shape in waiting), default=_NO_BOUND[1]),
            min((shape.disk_mib for shape in waiting), default=_NO_BOUND[2]),
        )

    def take(self) -> tuple[set[HostId], set[TenantName]]:
        """The hosts and tenants to look at in this round."""
        taken = self.hosts, self.tenants
        self.hosts, self.tenants, self.again = set(), set(), False
        return taken

    def hopeless(self, shape: Shape) -> bool:
        """Whether the shape is known to fit on no host but those to be looked at."""
        return _covered(shape[:3], self._hopeless)

    def looked(self, placer: Placer, others: bool) -> None:
        """What a round has learnt: ``placer`` is as it left it; ``others``: there are hosts offered that it had not."""
        hopeless = [self._least] if placer.used_up else placer.hopeless
        if others:  # what fits neither on these nor on those
            hopeless = [(max(a, x), max(b, y), max(c, z)) for a, b, c in self._hopeless for x, y, z in hopeless]
        self._hopeless = []
        for amounts in sorted(set(hopeless)):
            if not _covered(amounts, self._hopeless):
                self._hopeless.append(amounts)

    def room_for_all(self) -> None:
        """A round has placed all that it looked at, and so learnt nothing of what would not fit."""
        self._hopeless = []


def _covered(amounts: Amounts, hopeless: Sequence[Amounts]) -> bool:
    cpu_millis, mem_mib, disk_mib = amounts
    return any(cpu_millis >= c and mem_mib >= m and disk_mib >= d for c, m, d in hopeless)
