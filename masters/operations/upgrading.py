"""Masters that are there changed a few at a time, the first ones alone, until too many fail; resumed by its journal."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from framework.errors import Fault, InputError
from masters.apply.crew import Crew
from masters.apply.patience import Pace
from masters.apply.preparing import Prepared
from masters.apply.report import Report
from masters.apply.running import Noting, run
from masters.edges import Edges
from masters.ledger import Ledger
from masters.records import ChangeKind, Done, Outcome

KIND = "upgrade"


@dataclass(frozen=True)
class Upgrade:
    """``tenants`` are those that are still to be changed, in their order; ``journal`` is None until it begins."""

    source: Path
    tenants: tuple[str, ...]
    at_once: int
    max_failures: int
    canary: int
    journal: str | None = None


def begin(prepared: Prepared, source: Path, at_once: int, max_failures: int, canary: int) -> Upgrade:
    """Of all masters that the plan changes."""
    tenants = tuple(change.tenant for change in prepared.work.changes if change.kind is ChangeKind.UPDATE)
    return Upgrade(source.resolve(), tenants, at_once, max_failures, canary)


def resumed(ledger: Ledger, journal: str) -> Upgrade:
    """What is left of one: those not tried yet, then those that failed. Raises InputError where that is nothing."""
    found = ledger.journal(journal)
    if found is None or found.kind != KIND:
        raise InputError([Fault("--resume", f"there is no upgrade {journal!r}{_others(ledger)}")])
    options = found.options
    untried = [tenant for tenant in found.tenants if tenant not in found.done]
    failed = [tenant for tenant in found.tenants if tenant in found.done and not found.done[tenant].outcome.well]
    if not (untried or failed):
        raise InputError([Fault("--resume", f"the upgrade {journal!r} is through")])
    return Upgrade(
        Path(options["source"]),
        (*untried, *failed),
        options["at_once"],
        options["max_failures"],
        options["canary"] if not found.done else 0,
        journal,
    )


def go_on(
    edges: Edges,
    prepared: Prepared,
    upgrade: Upgrade,
    crew: Crew,
    report: Report,
    pace: Pace | None = None,
) -> tuple[str, list[Done]]:
    """The journal's id, and what came of each."""
    ledger = edges.ledger
    options = {
        "source": str(upgrade.source),
        "at_once": upgrade.at_once,
        "max_failures": upgrade.max_failures,
        "canary": upgrade.canary,
    }
    journal = upgrade.journal or ledger.begin(KIND, upgrade.tenants, options, time.time()).id
    noting = Noting(report, ledger, journal, upgrade.tenants)
    changes = {change.tenant: change for change in prepared.work.changes if change.kind is ChangeKind.UPDATE}
    for tenant in upgrade.tenants:
        if tenant not in changes:  # done by somebody else meanwhile
            noting.ended(Done(tenant, Outcome.UNCHANGED))
    ordered = [changes[tenant] for tenant in upgrade.tenants if tenant in changes]
    if ordered:
        report.said(f"this is {journal}")  # who kills it hears it nowhere else
    done: list[Done] = []
    for first, count in ((True, upgrade.canary), (False, upgrade.at_once)):
        part = ordered[: upgrade.canary] if first else ordered[upgrade.canary :]
        if not part:
            continue
        crew.parallel = count
        work = replace(prepared.work, changes=part, adopted=())
        done += run(edges, replace(prepared, work=work), crew, noting, pace)
        if first and any(one.outcome is not Outcome.DONE for one in done):
            crew.stop("not tried, as a first one failed")
    if not any(one.outcome is Outcome.SKIPPED for one in done):
        ledger.end(journal, time.time())
    return journal, done


def _others(ledger: Ledger) -> str:
    stopped = [journal.id for journal in ledger.journals(KIND) if journal.ended_at is None]
    return f"; stopped are {', '.join(stopped[:5])}" if stopped else "; none is stopped"
