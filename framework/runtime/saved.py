"""What was saved, as the runtime starts from it."""

from __future__ import annotations

from framework.core.ids import TenantName
from framework.core.state import Config, State, restore
from framework.ports import Snapshot


def restored(config: Config, found: Snapshot, now: float) -> State:
    """The core's state."""
    tenants = [record.tenant for record in found.tenants]
    return restore(config, found.framework_id, tenants, found.requests, found.tasks, now, found.draining)


def tokens_of(found: Snapshot) -> dict[TenantName, str]:
    """SHA-256 of each tenant's token."""
    return {record.tenant.name: record.token_sha256 for record in found.tenants if record.token_sha256}
