"""What the service's own work asks of the ingress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from masters.records import ObservedMaster


class Addresses(Protocol):
    """``masters.ingress.ingress.Ingress``; on its loop alone."""

    @property
    def masters(self) -> Mapping[str, ObservedMaster]: ...

    @property
    def quieted(self) -> set[str]: ...

    def hint(self, app_id: str) -> None: ...

    async def count_uses(self) -> None: ...

    def last_use(self, tenant: str) -> float | None: ...

    def held(self, tenant: str) -> int: ...

    async def hold(self, tenant: str) -> None: ...

    def release(self, tenant: str) -> None: ...

    def note_quieted(self, tenant: str, quieted: bool) -> None: ...


def forget_gone(masters: Mapping[str, ObservedMaster], *known: dict[str, Any]) -> None:
    """Drops what is ``known`` of tenants that have no master any more: another of the name begins anew."""
    for each in known:
        for tenant in each.keys() - masters.keys():
            del each[tenant]
