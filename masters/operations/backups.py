"""Backups that masters make of their homes, asked for and waited for; and a home that becomes as one was."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress

from framework.errors import ButleryError, Fault, InputError, UnavailableError
from framework.ports import jittered
from framework.runtime.chance import SystemChance
from masters.apply.crew import Crew
from masters.apply.patience import Pace, Patience
from masters.apply.report import Report
from masters.apply.settling import Awaited, settling
from masters.edges import Edges
from masters.errors import DeploymentError
from masters.names import LABEL_STATE, Variable
from masters.operations.quieting import refuse_busy
from masters.ports import Backup
from masters.records import Done, MasterState, ObservedMaster, Outcome

DONE = "done"
FAILED = "failed"
PAUSE_S = 0.5
PAUSE_CAP_S = 5.0
MOST_ENDS = 1
"""Of a master that starts from a backup: one that is damaged ends it each time, and meanwhile nobody has the master."""
NOT_RESTORED = (
    "it starts as before, with its home as it was where the backup is damaged or not there; where that was unpacked "
    "already, what was in the home is in its .butlery"
)
_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""As the scripts of the image take it: a master that is given another one does not start."""


def backup_name(tenant: str, now: float) -> str:
    """``payments-20261121T203000Z``."""
    return f"{tenant}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"


def start_backup(edges: Edges, master: ObservedMaster, now: float) -> str:
    """Its name. Raises UnavailableError where the master does not answer, ButleryError where it makes none."""
    name = backup_name(master.tenant, now)
    edges.jenkins(master).backup(name)
    return name


def backup_of(edges: Edges, master: ObservedMaster, name: str) -> Backup | None:
    """As the master tells of it; None where it knows none of that name. Raises as ``start_backup``."""
    found = edges.jenkins(master).backups()
    edges.ledger.save_backups(master.tenant, found)
    return next((one for one in found if one.name == name), None)


def known_backups(edges: Edges, master: ObservedMaster) -> list[Backup]:
    """Newest first: as the master tells, or as it last told where it does not run."""
    if master.serves:
        with suppress(ButleryError):
            edges.ledger.save_backups(master.tenant, edges.jenkins(master).backups())
    return edges.ledger.backups(master.tenant)


def back_up(
    edges: Edges, masters: Sequence[ObservedMaster], timeout_s: float | None, crew: Crew, report: Report
) -> list[Done]:
    """What came of each; ``timeout_s`` None: it is started and not waited for."""

    def made(master: ObservedMaster) -> tuple[Outcome, str]:
        _place(master)
        try:
            name = start_backup(edges, master, time.time())
            return (Outcome.DONE, name) if timeout_s is None else _ended(edges, master, name, timeout_s, report)
        except UnavailableError as error:  # of this master alone: others may answer
            return Outcome.FAILED, str(error)

    return crew.run(masters, made, report)


def restore_from(
    edges: Edges,
    master: ObservedMaster,
    name: str,
    force: bool,
    crew: Crew,
    report: Report,
    pace: Pace | None = None,
) -> list[Done]:
    """What came of it. Where the master does not start from it, it is as it was before."""
    pace = pace or Pace()
    patience = Patience("Marathon", pace, report)
    with settling(edges.marathon, patience, report) as settles:

        def restored(_: ObservedMaster) -> tuple[Outcome, str]:
            _place(master)
            if not force:
                _refuse_unknown(edges, master, name)
                refuse_busy(edges, master)
            env = {**master.document.get("env", {}), Variable.RESTORE: f"{name}@{time.time_ns() // 1_000_000}"}
            labels = {**master.document["labels"], LABEL_STATE: MasterState.ON.value}
            deployed = patience.call(
                lambda: edges.marathon.scale(master.app_id, 1, labels, expect=master.version, env=env)
            )
            awaited = Awaited(master.tenant, master.app_id, deployed.deployment, master.failed_at, MOST_ENDS)
            try:
                settles.settled(awaited, edges.context.settings.deployment_timeout_s)
            except DeploymentError as error:
                now = patience.call(lambda: edges.marathon.master(master.app_id))
                back = {"version": master.version}
                expect = now.version if now is not None else None
                patience.call(lambda: edges.marathon.put(master.app_id, back, expect=expect, force=True))
                return Outcome.FAILED, f"{error}; {NOT_RESTORED}"
            return Outcome.DONE, f"restored from {name}"

        return crew.run([master], restored, report)


def check_name(name: str) -> None:
    """Raises InputError for what is no name of a backup."""
    if _NAME.fullmatch(name) is None:
        raise InputError([Fault("BACKUP", "must be the name of a backup: letters, digits, and . _ - within")])


def _ended(edges: Edges, master: ObservedMaster, name: str, timeout_s: float, report: Report) -> tuple[Outcome, str]:
    until = time.monotonic() + timeout_s
    attempt = 0
    while True:
        found = backup_of(edges, master, name)
        if found is not None and found.state == DONE:
            return Outcome.DONE, f"{name}, {found.bytes} bytes"
        if found is not None and found.state == FAILED:
            return Outcome.FAILED, f"{name}: {found.message}"
        if time.monotonic() >= until:
            return Outcome.FAILED, f"{name} is not done after {timeout_s:g} s; it goes on"
        report.waiting(master.tenant, f"{name}: {found.message or found.state}" if found is not None else name)
        time.sleep(jittered(SystemChance(), attempt, PAUSE_S, PAUSE_CAP_S))
        attempt += 1


def _place(master: ObservedMaster) -> None:
    """Raises ButleryError where its YAML names none for backups."""
    if Variable.BACKUP_TO not in master.document.get("env", {}):
        raise ButleryError("its YAML has no `backup`, so that there is no place for one")


def _refuse_unknown(edges: Edges, master: ObservedMaster, name: str) -> None:
    found = {one.name: one for one in known_backups(edges, master)}
    if name not in found:
        raise ButleryError(f"no backup {name} of it is known here; --force tries it all the same")
    if found[name].state != DONE:
        raise ButleryError(f"the backup {name} is {found[name].state}: {found[name].message}")
