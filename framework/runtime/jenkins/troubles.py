"""Which masters do not do as they are asked, for whoever asks how the scheduler is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from framework.core.ids import TenantName
from framework.jenkins_ports import MasterError
from framework.ports import Clock

LASTING_S = 30.0
"""A master that restarts is away for some ten seconds, which is nothing to be told of."""
_NAMED = 5


class Trouble(msgspec.Struct, frozen=True):
    kind: str
    reason: str
    since: float  # seconds since the epoch


class Troubles:
    """Of all masters, by tenant; a master that answers again has none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_tenant: dict[TenantName, Trouble] = {}

    def note(self, tenant: TenantName, error: MasterError) -> None:
        before = self._by_tenant.get(tenant)
        since = before.since if before is not None and before.kind == error.kind else self._clock.now()
        self._by_tenant[tenant] = Trouble(error.kind, str(error), since)

    def over(self, tenant: TenantName) -> None:
        self._by_tenant.pop(tenant, None)

    def notices(self, is_busy: Callable[[TenantName], bool]) -> list[str]:
        """For the operator: of masters that have something to do, those that sleep left out."""
        until = self._clock.now() - LASTING_S
        by_kind: dict[str, list[TenantName]] = {}
        for tenant, trouble in self._by_tenant.items():
            if trouble.kind == "refused" or (trouble.since < until and is_busy(tenant)):
                by_kind.setdefault(trouble.kind, []).append(tenant)
        return [self._notice(kind, sorted(by_kind[kind])) for kind in sorted(by_kind)]

    def _notice(self, kind: str, tenants: list[TenantName]) -> str:
        named = ", ".join(tenants[:_NAMED])
        more = f" and {len(tenants) - _NAMED} more" if len(tenants) > _NAMED else ""
        first = self._by_tenant[tenants[0]].reason
        return f"{_KINDS[kind]}: {named}{more} ({tenants[0]}: {first})"


_KINDS = {
    "down": "builds wait for masters that are not there",
    "slow": "builds wait for masters that do not answer in time",
    "full": "builds wait for masters that are overloaded",
    "odd": "builds wait for masters that do not answer as a Jenkins does",
    "refused": "masters do not let their scheduler in; restart them, so that they tell their API tokens anew",
}
