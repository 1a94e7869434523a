"""From YAML and from what there is to a plan, and to all that performing it takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from framework.errors import Fault, InputError
from masters.app import AppContext
from masters.apply.engine import ADMIN_PASSWORD, TOKEN, Work
from masters.configuration import packed_all
from masters.edges import Edges
from masters.ledger import Ledger
from masters.names import secret_source
from masters.plan import Desired, Plan, plan
from masters.records import ChangeKind, Observed, ObservedMaster, Outcome
from masters.secret_store import digest, resolve
from masters.spec.files import ReadTenant

SECRETS_JOURNAL = "secrets"
"""Masters whose secrets are written but which may not have been restarted for that yet."""


@dataclass(frozen=True)
class Prepared:
    plan: Plan
    tenants: Sequence[ReadTenant]  # that it is about
    work: Work  # without those that are gone
    gone: tuple[ObservedMaster, ...]
    unrestarted: frozenset[str]
    """Tenants whose secrets an earlier command has written without coming to restart their masters."""


def prepare(
    edges: Edges, tenants: Sequence[ReadTenant], environ: Mapping[str, str], only: Collection[str] | None = None
) -> Prepared:
    """Changes nothing. ``only``: names of tenants; the others are not looked at.

    Raises InputError with every fault of secrets and configuration, or of the plan; UnavailableError.
    """
    chosen = [tenant for tenant in tenants if only is None or tenant.spec.name in only]
    values, configurations = _read(edges, chosen, environ)
    masters = edges.marathon.masters()
    shares = edges.scheduler.shares()
    unrestarted = unfinished_restarts(edges.ledger)
    store = edges.store
    digests = {} if store is None else store.digests()
    observed = Observed(
        masters,
        shares,
        edges.ledger.boots(),
        {source: sha for source, sha in digests.items() if source.partition("/")[0] not in unrestarted},
    )
    desired = [
        Desired(
            tenant.spec,
            tenant.where,
            configurations.get(tenant.spec.name),
            {} if store is None else _digests(tenant.spec.name, values),
            values.get(tenant.spec.name, {}) if store is None else {},
        )
        for tenant in tenants
    ]
    found = plan(desired, observed, AppContext.of(edges.context), only=only)
    if found.faults:
        raise InputError(list(found.faults))
    changing = {change.tenant for change in found.changes}
    there = [masters[tenant.spec.name] for tenant in chosen if tenant.spec.name in masters]
    under_way = [master for master in there if master.deployments and master.tenant not in changing]
    made = [change for change in found.changes if change.kind is not ChangeKind.GONE]
    gone = tuple(masters[change.tenant] for change in found.changes if change.kind is ChangeKind.GONE)
    work = Work(made, masters, values, edges.ledger.good_versions(), under_way, shares)
    return Prepared(found, chosen, work, gone, unrestarted)


def _read(
    edges: Edges, tenants: Sequence[ReadTenant], environ: Mapping[str, str]
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """What secrets hold, by tenant and source, and packed configurations by tenant. Raises InputError."""
    faults: list[Fault] = []
    values: dict[str, dict[str, str]] = {tenant.spec.name: {} for tenant in tenants}
    configurations: dict[str, str] = {}
    if edges.store is None and not edges.context.settings.clear_secrets:
        message = "names no directory of Marathon's secret store, so that masters' tokens have no place; name it, or "
        faults.append(Fault("masters.secrets", message + "allow them as plain variables with masters.clear_secrets"))
    try:
        for source, value in resolve(tenants, environ).items():
            values[source.partition("/")[0]][source] = value
    except InputError as error:
        faults += error.faults
    try:
        configurations = packed_all(tenants)
    except InputError as error:
        faults += error.faults
    if faults:
        raise InputError(faults)
    return values, configurations


def _digests(tenant: str, values: Mapping[str, Mapping[str, str]]) -> dict[str, str | None]:
    drawn: dict[str, str | None] = {secret_source(tenant, name): None for name in (TOKEN, ADMIN_PASSWORD)}
    return drawn | {source: digest(value) for source, value in values.get(tenant, {}).items()}


def unfinished_restarts(ledger: Ledger) -> frozenset[str]:
    """Of the newest run that changed secrets; older ones are taken up in it."""
    for journal in ledger.journals(SECRETS_JOURNAL):
        if journal.ended_at is None:
            done = {name for name, ended in journal.done.items() if ended.outcome is Outcome.DONE}
            return frozenset(journal.tenants) - done
        break
    return frozenset()
