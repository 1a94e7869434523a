"""Waiting until a master is as its app says, or until it is clear that it will not be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from framework.errors import ButleryError
from masters.apply.failures import healthy, not_to_be_had, why_not
from masters.apply.patience import Patience
from masters.apply.report import Report
from masters.apply.watch import DeploymentWatch
from masters.errors import DeploymentError
from masters.ports import Marathon
from masters.records import ObservedMaster

FUTILE_FAILURES = 2
"""So often an image or a file could not be had until the deployment counts as failed: one may be a registry's bad

moment, and Marathon's back-off grows with each."""
MOST_ENDS = 8
"""One that ends whenever it starts has done so for a minute, or for many boots, by then; more than a bad host or a port

that is taken would make of it. Waiting on would only keep its last good version down."""


class Awaited(NamedTuple):
    """A master that is to become as its app says."""

    tenant: str
    app_id: str
    deployment: str  # empty: none is known of
    failed_before: float | None  # when its last failure was that this is not about, unix s
    most_ends: int = MOST_ENDS  # how often its task may end before it is healthy


class _Ends:
    """Of one master's tasks, while it is waited for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: set[float] = set()  # unix s
        self._futile: set[float] = set()

    def heed(self, master: ObservedMaster) -> None:
        """Raises DeploymentError where waiting on is of no use."""
        if master.last_failure is None:
            return
        message, at = master.last_failure
        self._all.add(at)
        if not_to_be_had(message):
            self._futile.add(at)
        if len(self._futile) >= FUTILE_FAILURES:
            raise DeploymentError(message)
        if len(self._all) > self._most:
            raise DeploymentError(f"it ended {len(self._all)} times as it started: {message}")


@contextmanager
def settling(marathon: Marathon, patience: Patience, report: Report) -> Iterator[Settling]:
    """With a watch of deployments of its own."""
    with DeploymentWatch(marathon, patience.pace) as watch:
        yield Settling(marathon, watch, patience, report)


class Settling:
    """Safe to use from many threads."""

    def __init__(self, marathon: Marathon, watch: DeploymentWatch, patience: Patience, report: Report) -> None:
        self._marathon = marathon
        self._watch = watch
        self._patience = patience
        self._report = report

    def settled(self, awaited: Awaited, deadline_s: float) -> ObservedMaster:
        """The master once it is healthy, or has no task where none is wanted.

        Raises DeploymentError with the reason where it is not within ``deadline_s``, where what it is made of cannot
        be had, where its task ended more often than it may, or where its app is gone, and UnavailableError where
        Marathon stays away.
        """
        until = time.monotonic() + deadline_s
        app_id, deployment = awaited.app_id, awaited.deployment
        ends = _Ends(awaited.most_ends)
        unhealthy = ""
        pace = self._patience.pace
        look_s, pause_s = pace.first_look_s, pace.deployments_s
        while True:
            left_s = max(until - time.monotonic(), 0)
            if deployment:
                self._watch.ended(deployment, min(look_s, left_s))
            else:
                time.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s, pace.look_s)
            master = self._patience.call(lambda: self._marathon.master(app_id))
            if master is None:
                raise DeploymentError("its app was deleted meanwhile")
            if deployment not in master.deployments and healthy(master):
                return master
            if master.failed_at == awaited.failed_before:
                master = replace(master, last_failure=None)
            ends.heed(master)
            why = why_not(master, self._waiting_reasons(app_id))
            if any(task.healthy is False for task in master.tasks):
                unhealthy = why  # what Marathon ends it for, and tells nothing of afterwards
            if time.monotonic() >= until:
                raise DeploymentError(f"not healthy after {deadline_s:g} s: {unhealthy or why}")
            self._report.waiting(awaited.tenant, why)
            look_s = pace.look_s
            if deployment not in master.deployments:
                deployment = ""

    def _waiting_reasons(self, app_id: str) -> list[str]:
        try:
            return self._marathon.waiting_reasons(app_id)
        except ButleryError:
            return []  # not worth failing for: it is asked again, and the master itself tells too
