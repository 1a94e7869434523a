"""The second scheduler driver: pymesos on the wire, and all else as in ``MesosDriver``."""

from __future__ import annotations

import asyncio
import importlib
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from framework.core.ids import FrameworkId
from framework.edges.mesos import install_pymesos
from framework.edges.mesos.access import Access
from framework.edges.mesos.addresses import Address
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.subscription import Subscription
from framework.errors import Fault, InputError
from framework.ports import Chance, Clock

if TYPE_CHECKING:
    from framework.edges.mesos.pymesos_session import PymesosSession


def pymesos_faults(masters: Sequence[str], access: Access) -> list[Fault]:
    """Why pymesos cannot serve here; none where it can."""
    faults: list[Fault] = []
    if not install_pymesos.installed():
        faults.append(
            Fault(
                "mesos.driver",
                "pymesos is not installed; `python -m framework.edges.mesos.install_pymesos` does so, or write `own`",
            )
        )
    plain = "pymesos speaks no TLS; write `own` for mesos.driver"
    if any(url.startswith("https://") for url in masters):
        faults.append(Fault("mesos.url", f"{plain}, or http://"))
    if any("[" in url and not url.startswith("zk://") for url in masters):
        faults.append(Fault("mesos.url", "pymesos knows no IPv6; write `own` for mesos.driver, or an IPv4 address"))
    if access.zookeeper_https:
        faults.append(Fault("mesos.zookeeper_scheme", f"{plain}, or http"))
    if access.ssl_context is not None:
        faults.append(Fault("mesos.ca_file", f"{plain}, or leave out ca_file, cert_file and key_file"))
    return faults


class PymesosDriver(MesosDriver):
    """A ``framework.mesos_ports.SchedulerDriver``; to be made on the main thread."""

    def __init__(
        self,
        masters: Sequence[str],
        framework: FrameworkSettings,
        clock: Clock,
        chance: Chance,
        framework_id: FrameworkId | None = None,
        heartbeats_missed: int = 5,
        access: Access | None = None,
    ) -> None:
        """As MesosDriver's. Raises InputError."""
        super().__init__(masters, framework, clock, chance, framework_id, heartbeats_missed, access)
        faults = pymesos_faults(masters, self._access)
        if faults:
            raise InputError(faults)
        self._session_kind = _session_kind()
        self._threads: PymesosSession | None = None

    def _subscription(self, master: Address) -> Subscription:
        self._threads = self._session_kind(master, self._access, self._on_event, self._on_refused, self._on_lost)
        return self._threads

    async def _subscribe_once(self, master: Address, version: int, stopper: asyncio.Future[Any]) -> bool:
        """Ends with the threads of the subscription ended."""
        try:
            return await super()._subscribe_once(master, version, stopper)
        finally:
            if self._threads is not None:
                await self._threads.join()


def _session_kind() -> type[PymesosSession]:
    """Imports pymesos, and gives SIGINT back, which it takes over then."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        kind: type[PymesosSession] = importlib.import_module("framework.edges.mesos.pymesos_session").PymesosSession
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)
    return kind
