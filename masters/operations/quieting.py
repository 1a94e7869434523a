"""Builds of a master that is to go or to start anew: counted, and waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from framework.errors import ButleryError, UnavailableError
from framework.runtime.chance import SystemChance
from masters.apply.crew import Crew
from masters.apply.report import Report
from masters.edges import Edges
from masters.errors import MasterBusyError
from masters.records import ObservedMaster

PAUSE_S = 2.0


def busy(edges: Edges, master: ObservedMaster, queue: bool = True) -> str:
    """What it does, in words; empty where it does nothing. ``queue``: whether what waits in its own queue counts.

    Raises UnavailableError where that cannot be known.
    """
    builds = edges.scheduler.building(master.tenant)
    told = [f"{builds} builds of it wait or run in the scheduler"] if builds else []
    if _speaks(edges, master):
        activity = edges.jenkins(master).activity()
        if activity.busy or (queue and activity.queued):
            told.append(f"it runs {activity.busy} builds and has {activity.queued} in its queue")
    return ", ".join(told)


def _speaks(edges: Edges, master: ObservedMaster) -> bool:
    """Who has never told how it is spoken to has no builds that the scheduler does not know."""
    return master.serves and edges.scheduler.access(master.tenant) is not None


def refuse_busy(edges: Edges, master: ObservedMaster) -> None:
    """Raises MasterBusyError where builds run or wait, or where that cannot be known."""
    try:
        found = busy(edges, master)
    except UnavailableError as error:
        raise MasterBusyError(f"whether builds run is not known: {error}; --force does not ask") from error
    if found:
        raise MasterBusyError(
            f"{found}; --drain waits for those that run and leaves the queue in the home, --force waits for none"
        )


@contextmanager
def spared(
    edges: Edges, master: ObservedMaster, drain_s: float | None, force: bool, crew: Crew, report: Report
) -> Iterator[None]:
    """What is done within ends no build, unless ``force``: they are waited for, for ``drain_s``, or keep it from being

    done. Raises MasterBusyError.
    """
    if drain_s is None:
        if not force:
            refuse_busy(edges, master)
        yield
        return
    with _drained(edges, master, drain_s, crew, report):
        yield


@contextmanager
def _drained(edges: Edges, master: ObservedMaster, timeout_s: float, crew: Crew, report: Report) -> Iterator[None]:
    """Nothing new begins in it; what is in its queue stays there, and begins when a restarted master takes it up again.

    Where it takes too long, ``crew`` is to stop or what is done within fails, builds begin again.
    """
    if not _speaks(edges, master):
        refuse_busy(edges, master)
        yield
        return
    jenkins = None
    try:
        try:
            jenkins = edges.jenkins(master)
            jenkins.quiet_down(True)
            _wait_idle(edges, master, timeout_s, crew, report)
        except UnavailableError as error:
            raise MasterBusyError(f"its builds cannot be waited for: {error}; --force does not") from error
        yield
    except BaseException:
        if jenkins is not None:
            with suppress(ButleryError):  # it is what failed, or it is gone
                jenkins.quiet_down(False)
        raise


def _wait_idle(edges: Edges, master: ObservedMaster, timeout_s: float, crew: Crew, report: Report) -> None:
    until = time.monotonic() + timeout_s
    while found := busy(edges, master, queue=False):
        if crew.stopping:
            raise MasterBusyError(f"{found}; stopped while they were waited for, and new ones begin again")
        if time.monotonic() >= until:
            raise MasterBusyError(f"{found} after {timeout_s:g} s; they go on, and new ones begin again")
        report.waiting(master.tenant, found)
        time.sleep(SystemChance().uniform(PAUSE_S / 2, PAUSE_S))
