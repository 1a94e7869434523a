"""All that commands and the service work with, opened together: what they were told, and who they speak to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from framework.errors import UnavailableError
from framework.urls import bracketed
from masters.ports import Jenkins, Marathon, MasterAccess, Scheduler
from masters.records import ObservedMaster
from masters.settings import MastersContext

if TYPE_CHECKING:
    from masters.ledger import Ledger
    from masters.secret_store import SecretStore


@dataclass(frozen=True)
class Edges:
    """``store`` is None where secrets are not ours to write (``clear_secrets``)."""

    context: MastersContext
    marathon: Marathon
    scheduler: Scheduler
    ledger: Ledger
    store: SecretStore | None

    def jenkins(self, master: ObservedMaster) -> Jenkins:
        """The master itself, at its task's own address. Raises UnavailableError where it runs not or has not told yet

        how the scheduler is to speak to it.
        """
        from masters.jenkins import JenkinsMaster

        access = self.scheduler.access(master.tenant)
        return JenkinsMaster(master.tenant, direct_url(master), reached(master, access))


def told_scheduler(context: MastersContext) -> str | None:
    """The scheduler's URL where the settings are of a cluster of the operator's own, and name it."""
    return context.settings.scheduler_url if context.settings.marathon_url is not None else None


def direct_url(master: ObservedMaster) -> str:
    """``http://HOST:PORT/PREFIX`` of its newest task. Raises UnavailableError where none runs."""
    tasks = [task for task in master.tasks if task.ports and task.state == "TASK_RUNNING"]
    if not tasks:
        raise UnavailableError(f"{master.tenant}: its master does not run")
    task = max(tasks, key=lambda task: task.started_at or 0)
    return f"http://{bracketed(task.address)}:{task.ports[0]}{master.policy.path or ''}"


def reached(master: ObservedMaster, access: MasterAccess | None) -> MasterAccess:
    """Raises UnavailableError where it has not handed over anything."""
    if access is None:
        raise UnavailableError(f"{master.tenant}: its master has not told the scheduler yet how to speak to it")
    return access


@contextmanager
def open_edges(
    config: Path | None, directory: Path | None, server: str | None = None, token_file: Path | None = None
) -> Iterator[Edges]:
    """As the settings file, the cluster of ``butlery local up`` and the options say; closed at the end.

    Raises InputError, and UnavailableError where nobody is named and no local cluster is up.
    """
    import os

    from framework.cli.connection import connect
    from masters.connection import resolve
    from masters.ledger import Ledger
    from masters.marathon import MarathonEdge
    from masters.scheduler import SchedulerApi
    from masters.secret_store import SecretStore

    context = resolve(config, directory, os.environ)
    server = server or told_scheduler(context)
    connect(server, token_file, directory)  # what is wrong with the options is told before anything is done
    scheduler = SchedulerApi(lambda: connect(server, token_file, directory))
    ledger = Ledger(context.state)
    try:
        store = SecretStore(context.secrets) if context.secrets is not None else None
        yield Edges(context, MarathonEdge(context), scheduler, ledger, store)
    finally:
        ledger.close()
