"""A prepared plan performed, and noted in the ledger as it is."""

from __future__ import annotations

import time
from collections.abc import Iterable

from framework.errors import StoreError
from masters.app import volume_of
from masters.apply.crew import Crew
from masters.apply.engine import perform
from masters.apply.patience import Pace
from masters.apply.preparing import SECRETS_JOURNAL, Prepared
from masters.apply.report import Report
from masters.edges import Edges
from masters.kit import write_kit
from masters.ledger import Ledger
from masters.records import ChangeKind, Done, Outcome


class Noting:
    """A report that also goes into a journal, so that a killed command is resumed where it was."""

    def __init__(self, report: Report, ledger: Ledger, journal: str, tenants: Iterable[str]) -> None:
        self._report = report
        self._ledger = ledger
        self._journal = journal
        self._tenants = frozenset(tenants)

    def begun(self, tenant: str) -> None:
        self._report.begun(tenant)

    def waiting(self, tenant: str, why: str) -> None:
        self._report.waiting(tenant, why)

    def ended(self, done: Done) -> None:
        if done.tenant in self._tenants and done.outcome is not Outcome.SKIPPED:
            self._ledger.note(self._journal, done)
        self._report.ended(done)

    def said(self, line: str) -> None:
        self._report.said(line)


def run(edges: Edges, prepared: Prepared, crew: Crew, report: Report, pace: Pace | None = None) -> list[Done]:
    """What came of each change. Volumes of the plan's tenants are in use from now on."""
    if (own_kit := edges.context.own_kit) is not None and prepared.work.changes:
        try:
            write_kit(own_kit)
        except OSError as error:
            raise StoreError(f"the kit {own_kit} cannot be written: {error.strerror}") from error
    ledger, now = edges.ledger, time.time()
    specs = [tenant.spec for tenant in prepared.tenants]
    ledger.volumes_used({spec.name: (volume_of(spec), spec.volume.size_mib) for spec in specs}, now)
    changing = {change.tenant for change in prepared.work.changes if change.kind is ChangeKind.SECRETS}
    restarting = sorted(changing | prepared.unrestarted)
    if not restarting:
        return perform(edges, prepared.work, crew, report, pace)
    journal = ledger.begin(SECRETS_JOURNAL, restarting, {}, now)
    noting = Noting(report, ledger, journal.id, restarting)
    done = perform(edges, prepared.work, crew, noting, pace)
    good = {one.tenant for one in done if one.outcome is Outcome.DONE}
    if good.issuperset(restarting):
        ledger.end(journal.id, time.time())
    return done
