"""On, asleep, off, anew: one master's instances, 0 or 1, with the label that says why there are none."""

from __future__ import annotations

from masters.app import learned_checks
from masters.edges import Edges
from masters.names import LABEL_FAILED, LABEL_STATE, Variable
from masters.ports import Deployed
from masters.records import MasterState, ObservedMaster


def wake(edges: Edges, master: ObservedMaster) -> Deployed | None:
    """Wanted from now on; None where it is already.

    Raises ChangedError where it is not as ``master`` tells any more, ButleryError as the Marathon edge does.
    """
    return _become(edges, master, MasterState.ON, 1)


def hibernate(edges: Edges, master: ObservedMaster) -> Deployed | None:
    """Its process ends, and a request wakes it; None where that is so already. Raises as ``wake``."""
    return _become(edges, master, MasterState.ASLEEP, 0)


def switch_off(edges: Edges, master: ObservedMaster) -> Deployed | None:
    """Its process ends, and no request wakes it; None where that is so already. Raises as ``wake``."""
    return _become(edges, master, MasterState.OFF, 0)


def _become(edges: Edges, master: ObservedMaster, state: MasterState, instances: int) -> Deployed | None:
    if master.wanted == state and master.document.get("instances", 1) == instances:
        return None
    labels = {**master.document.get("labels", {}), LABEL_STATE: state.value}
    labels.pop(LABEL_FAILED, None)
    checks = learned_checks(master.document, edges.ledger.boots().get(master.tenant)) if instances else None
    # A restore was done when the master became healthy; a home that is a new one later is to stay so.
    env = {name: value for name, value in master.document.get("env", {}).items() if name != Variable.RESTORE}
    changed = env if Variable.RESTORE in master.document.get("env", {}) else None
    return edges.marathon.scale(master.app_id, instances, labels, expect=master.version, checks=checks, env=changed)
