"""A master in the list of all; apart from its details, since it is to be told within a second of thousands."""

from __future__ import annotations

from typing import Any

from masters.app import public_url, root_url
from masters.records import ObservedMaster
from masters.settings import MastersContext


def brief(context: MastersContext, master: ObservedMaster) -> dict[str, Any]:
    """One of many: what Marathon alone tells."""
    task = master.newest_task
    return {
        "state": master.state.value,
        "address": root_url(master.policy.host, master.policy.path, public_url(context.settings.ingress)),
        "host": task.host if task is not None else None,
        "version": master.policy.version,
        "cpus": master.document.get("cpus"),
        "mem_mib": master.document.get("mem"),
        "since": task.started_at if task is not None else None,
    }
