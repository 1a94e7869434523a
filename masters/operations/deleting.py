"""A master that goes: refused while it builds, its volume remembered as an orphan, its secrets removed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from masters.apply.crew import Crew
from masters.apply.patience import Pace, Patience
from masters.apply.report import Report
from masters.edges import Edges
from masters.operations.quieting import spared
from masters.records import Done, ObservedMaster, Outcome

PERSISTENT = "persistent:"
"""What the name of a volume begins with that Mesos destroys with the app."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What becomes of builds; without both they keep the master from being deleted."""

    drain_s: float | None = None  # how long they are waited for
    force: bool = False


def loses_data(master: ObservedMaster) -> bool:
    """Whether its home goes with it."""
    return master.policy.volume.startswith(PERSISTENT)


def delete_all(
    edges: Edges,
    masters: Sequence[ObservedMaster],
    deletion: Deletion,
    crew: Crew,
    report: Report,
    pace: Pace | None = None,
) -> list[Done]:
    """What came of each. Each step may be done again."""
    pace = pace or Pace()
    marathon, scheduler = Patience("Marathon", pace, report), Patience("the scheduler", pace, report)

    def gone(master: ObservedMaster) -> tuple[Outcome, str]:
        with spared(edges, master, deletion.drain_s, deletion.force, crew, report):
            marathon.call(lambda: edges.marathon.delete(master.app_id, force=True))
        scheduler.call(lambda: edges.scheduler.forget(master.tenant))
        clear(edges, master.tenant)
        if loses_data(master):
            edges.ledger.forget_volume(master.policy.volume)
            return Outcome.DONE, "its persistent volume went with it"
        return Outcome.DONE, f"its volume is left: {master.policy.volume}"

    return crew.run(masters, gone, report)


def clear(edges: Edges, tenant: str) -> None:
    """What is kept of a deleted tenant beside its volume, which is an orphan from now on. Raises StoreError."""
    edges.ledger.volume_left(tenant, time.time())
    edges.ledger.forget(tenant)
    if edges.store is not None:
        edges.store.forget(tenant)


def left_behind(edges: Edges, tenant: str) -> bool:
    """Whether a deletion that was killed has left something of a tenant without a master."""
    secrets = {} if edges.store is None else edges.store.digests()
    used = any(one.tenant == tenant and one.gone_at is None for one in edges.ledger.volumes())
    return used or any(source.partition("/")[0] == tenant for source in secrets)
