"""Performs changes side by side: each is a few steps that may be done again, so that after a crash at any point the

same command goes on where it was. What does not become healthy is taken back.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from framework.errors import StoreError
from masters.apply.crew import Crew
from masters.apply.failures import healthy
from masters.apply.patience import Pace, Patience
from masters.apply.report import Report
from masters.apply.settling import Awaited, Settling, settling
from masters.edges import Edges
from masters.errors import DeploymentError
from masters.names import LABEL_FAILED, LABEL_STATE, Variable, secret_source
from masters.ports import Deployed
from masters.records import Change, ChangeKind, Done, MasterState, ObservedMaster, ObservedShare, Outcome

TOKEN = "token"  # noqa: S105 the secret's name
ADMIN_PASSWORD = "admin-password"  # noqa: S105
PASSWORD_BYTES = 18
"""144 bits."""
FAILURE_CHARS = 200
"""Of the reason that a failed app's label keeps."""


@dataclass
class Work:
    """Changes, and all that is to be known of their tenants beside."""

    changes: Sequence[Change]
    masters: Mapping[str, ObservedMaster]
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # resolved, by tenant and source
    good: Mapping[str, str] = field(default_factory=dict)  # last version that was healthy, by app id
    adopted: Sequence[ObservedMaster] = ()
    """Unchanged ones whose deployment an earlier command has left under way: waited for as if it were ours."""
    shares: Mapping[str, ObservedShare] = field(default_factory=dict)  # as the scheduler has them


def perform(edges: Edges, work: Work, crew: Crew, report: Report, pace: Pace | None = None) -> list[Done]:
    """What came of each change, those that were under way first."""
    pace = pace or Pace()
    patience = Patience("Marathon", pace, report)
    items: list[Change | ObservedMaster] = [*work.adopted, *work.changes]
    with settling(edges.marathon, patience, report) as settles:
        one = _Performing(edges, work, settles, report, patience, Patience("the scheduler", pace, report))
        return crew.run(items, one.done, report)


class _Performing:
    """The steps of one change. Safe to use from many threads."""

    def __init__(
        self, edges: Edges, work: Work, settling: Settling, report: Report, marathon: Patience, scheduler: Patience
    ) -> None:
        self._edges = edges
        self._work = work
        self._settling = settling
        self._report = report
        self._marathon = marathon
        self._scheduler = scheduler
        self._deadline_s = edges.context.settings.deployment_timeout_s

    def done(self, item: Change | ObservedMaster) -> tuple[Outcome, str]:
        """Raises ButleryError."""
        return self._change(item) if isinstance(item, Change) else self._adopted(item)

    def _change(self, change: Change) -> tuple[Outcome, str]:
        token = self._share(change)
        self._write_secrets(change)
        if change.app is not None:
            return self._deploy(change, self._completed(change.app, token))
        master = self._work.masters.get(change.tenant)
        if change.kind is ChangeKind.SECRETS and master is not None and master.wanted == "on":
            self._restart(master)
        return Outcome.DONE, ""

    def _adopted(self, master: ObservedMaster) -> tuple[Outcome, str]:
        awaited = Awaited(master.tenant, master.app_id, master.deployments[0], None)
        return self._awaited(awaited, Deployed(master.version, awaited.deployment), master.document["labels"])

    def _share(self, change: Change) -> str | None:
        """The tenant in the scheduler; its token where a new one was needed, which is told but once: it is kept before

        anything else is done.
        """
        source = secret_source(change.tenant, TOKEN)
        store = self._edges.store
        if store is not None:
            missing = store.read(source) is None
        else:
            missing = change.app is not None and Variable.TENANT_TOKEN not in change.app["env"]
        if change.share is None and not missing:
            return None
        share = change.share or self._work.shares[change.tenant]
        token = self._scheduler.call(lambda: self._edges.scheduler.set_share(share, new_token=missing))
        if token is not None and store is not None:
            store.write(source, token)
        return token

    def _write_secrets(self, change: Change) -> None:
        store = self._edges.store
        if store is None:
            return
        for source, value in self._work.secrets.get(change.tenant, {}).items():
            store.write(source, value)
        password = secret_source(change.tenant, ADMIN_PASSWORD)
        if store.read(password) is None:
            store.write(password, secrets.token_urlsafe(PASSWORD_BYTES))

    def _completed(self, app: Mapping[str, Any], token: str | None) -> Mapping[str, Any]:
        """With what is drawn in it, where there is no store for that."""
        if self._edges.store is not None:
            return app
        drawn = {Variable.ADMIN_PASSWORD: secrets.token_urlsafe(PASSWORD_BYTES)}
        if token is not None:
            drawn[Variable.TENANT_TOKEN] = token
        return {**app, "env": {**drawn, **app["env"]}}

    def _restart(self, master: ObservedMaster) -> None:
        deployed = self._marathon.call(lambda: self._edges.marathon.restart(master.app_id))
        awaited = Awaited(master.tenant, master.app_id, deployed.deployment, master.failed_at)
        self._learn(self._settling.settled(awaited, self._deadline_s))

    def _deploy(self, change: Change, app: Mapping[str, Any]) -> tuple[Outcome, str]:
        before = self._work.masters.get(change.tenant)
        # One that is not healthy may be under a deployment that never ends.
        force = before is not None and before.wanted == "on" and before.state is not MasterState.ON
        deployed = self._put(change.app_id, app, change.version, force)
        failed_at = before.failed_at if before is not None else None
        awaited = Awaited(change.tenant, change.app_id, deployed.deployment, failed_at)
        return self._awaited(awaited, deployed, app["labels"])

    def _put(self, app_id: str, app: Mapping[str, Any], expect: str | None, force: bool) -> Deployed:
        """The edge looks first whether it was made already, by a call whose answer was lost."""
        return self._marathon.call(lambda: self._edges.marathon.put(app_id, app, expect=expect, force=force))

    def _awaited(self, awaited: Awaited, deployed: Deployed, labels: Mapping[str, str]) -> tuple[Outcome, str]:
        """``labels``: of the app."""
        try:
            self._learn(self._settling.settled(awaited, self._deadline_s))
        except DeploymentError as error:
            return self._taken_back(awaited, deployed, labels, str(error))
        return Outcome.DONE, ""

    def _taken_back(
        self, awaited: Awaited, deployed: Deployed, labels: Mapping[str, str], why: str
    ) -> tuple[Outcome, str]:
        """Raises ButleryError where that fails too."""
        good = self._good(awaited)
        self._report.waiting(awaited.tenant, f"taken back: {why}")
        if good is None or good == deployed.version:  # it never was healthy, as far as is known
            off = {**labels, LABEL_STATE: MasterState.OFF.value, LABEL_FAILED: why[:FAILURE_CHARS]}
            self._marathon.call(lambda: self._edges.marathon.scale(awaited.app_id, 0, off, force=True))
            return Outcome.FAILED, f"{why}; it is left off"
        back = self._put(awaited.app_id, {"version": good}, deployed.version, True)
        try:
            self._settling.settled(awaited._replace(deployment=back.deployment), self._deadline_s)
        except DeploymentError as error:
            return Outcome.FAILED, f"{why}; taken back to its version {good}, which fails too: {error}"
        return Outcome.TAKEN_BACK, f"{why}; its version {good} runs again"

    def _good(self, awaited: Awaited) -> str | None:
        before = self._work.masters.get(awaited.tenant)
        if before is not None and not before.deployments and healthy(before):
            return before.version
        return self._work.good.get(awaited.app_id)

    def _learn(self, master: ObservedMaster) -> None:
        """Notes what a later apply has to know: the version that is good, and how long its boot took."""
        ledger = self._edges.ledger
        boots = [task.boot_s for task in master.tasks if task.boot_s is not None]
        try:
            ledger.save_good({master.app_id: master.version})
            if boots:
                ledger.save_boots({master.tenant: boots[-1]})
        except StoreError as error:  # the master is healthy all the same
            self._report.said(str(error))
