"""What the service's own work asks of the ingress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

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
