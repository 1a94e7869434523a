"""Masters put on, asleep, off or started anew, a few at a time, and waited for where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from masters.apply.crew import Crew
from masters.apply.patience import Pace, Patience
from masters.apply.report import Report
from masters.apply.settling import Awaited, settling
from masters.edges import Edges
from masters.operations.lifecycle import hibernate, switch_off, wake
from masters.operations.quieting import spared
from masters.ports import Deployed
from masters.records import Done, ObservedMaster, Outcome

ENDING: dict[str, Callable[[Edges, ObservedMaster], Deployed | None]] = {
    "restart": lambda edges, master: edges.marathon.restart(master.app_id),
    "hibernate": hibernate,
    "off": switch_off,
}
"""Acts that end a master's process, and builds with it."""


@dataclass(frozen=True, slots=True)
class Action:
    """``name`` is one of ``ENDING``, or ``wake``."""

    name: str
    wait: bool
    drain_s: float | None = None  # how long builds are waited for; None: they are not
    force: bool = False  # whether builds do not matter


def act(
    edges: Edges,
    masters: Sequence[ObservedMaster],
    action: Action,
    crew: Crew,
    report: Report,
    pace: Pace | None = None,
) -> list[Done]:
    """What came of each."""
    pace = pace or Pace()
    patience = Patience("Marathon", pace, report)
    deadline_s = edges.context.settings.deployment_timeout_s
    with settling(edges.marathon, patience, report) as settles:

        def done(master: ObservedMaster) -> tuple[Outcome, str]:
            if action.name == "restart" and master.wanted != "on":
                return Outcome.UNCHANGED, f"it is {master.wanted}"
            if action.name == "wake":
                deployed = patience.call(lambda: wake(edges, master))
            else:
                with spared(edges, master, action.drain_s, action.force, crew, report):
                    deployed = patience.call(lambda: ENDING[action.name](edges, master))
            if deployed is None and not action.wait:
                return Outcome.UNCHANGED, ""
            if action.wait:
                known = deployed.deployment if deployed is not None else next(iter(master.deployments), "")
                settles.settled(Awaited(master.tenant, master.app_id, known, master.failed_at), deadline_s)
            return Outcome.DONE if deployed is not None else Outcome.UNCHANGED, ""

        return crew.run(masters, done, report)
