"""A driver and a cluster view that a test plays Mesos with. What they are asked goes into a journal, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from framework.core.effects import AcceptInverse, Acknowledge, Decline, DeclineInverse, Kill, Reconcile
from framework.core.events import Event, OperationUpdate
from framework.core.ids import FrameworkId, HostId, OfferId
from framework.core.offers import Host
from framework.core.resources import Resources
from framework.errors import MesosRefusedError, UnavailableError
from framework.mesos_ports import Emit, LaunchGroup, LaunchTasks, Operation
from tests.fakes import samples


class Accepted:
    """An ACCEPT as it was called."""

    def __init__(self, offer_ids: Sequence[OfferId], host_id: HostId, operations: Sequence[Operation]) -> None:
        self.offer_ids = tuple(offer_ids)
        self.host_id = host_id
        self.operations = tuple(operations)
        self.launches = tuple(
            launch for each in operations if isinstance(each, LaunchTasks | LaunchGroup) for launch in each.tasks
        )


class FakeDriver:
    """Implements ``framework.ports.SchedulerDriver``; ``tell`` is what Mesos says."""

    def __init__(self, framework_id: FrameworkId | None, journal: list[object]) -> None:
        self.framework_id = framework_id
        self.connected = False
        self.stopped = False
        self._journal = journal
        self._emit: Emit | None = None
        self._end: asyncio.Future[None] | None = None

    def tell(self, *events: Event) -> None:
        assert self._emit is not None, "the driver does not run"
        for event in events:
            self._emit(event)

    def refuse(self, error: MesosRefusedError) -> None:
        """Ends ``run`` with the error."""
        assert self._end is not None
        self._end.set_exception(error)

    @property
    def ran(self) -> bool:
        return self._emit is not None

    @property
    def running(self) -> bool:
        return self._end is not None and not self._end.done()

    async def run(self, emit: Emit) -> None:
        self._emit, self._end = emit, asyncio.get_running_loop().create_future()
        await self._end

    async def stop(self) -> None:
        self.stopped = True
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    async def teardown(self) -> None:
        self._journal.append("teardown")

    def accept(
        self, offer_ids: Sequence[OfferId], host_id: HostId, operations: Sequence[Operation], refuse_s: float = 0.0
    ) -> None:
        self._journal.append(Accepted(offer_ids, host_id, operations))

    def decline(self, call: Decline) -> None:
        self._journal.append(call)

    def accept_inverse(self, call: AcceptInverse) -> None:
        self._journal.append(call)

    def decline_inverse(self, call: DeclineInverse) -> None:
        self._journal.append(call)

    def revive(self, roles: Sequence[str] = ()) -> None:
        self._journal.append("revive")

    def suppress(self, roles: Sequence[str] = ()) -> None:
        self._journal.append("suppress")

    def request_resources(self, resources: Sequence[Resources]) -> None:
        self._journal.append(("request", tuple(resources)))

    def update_framework(self, roles: Sequence[str], suppressed: Sequence[str] = ()) -> None:
        self._journal.append(("update_framework", tuple(roles), tuple(suppressed)))

    def shutdown(self, host_id: HostId, executor_id: str) -> None:
        self._journal.append(("shutdown", host_id, executor_id))

    def acknowledge_operation(self, update: OperationUpdate) -> None:
        self._journal.append(update)

    def reconcile_operations(self, operations: Sequence[tuple[str, HostId]]) -> None:
        self._journal.append(("reconcile_operations", tuple(operations)))

    def kill(self, call: Kill) -> None:
        self._journal.append(call)

    def acknowledge(self, call: Acknowledge) -> None:
        self._journal.append(call)

    def reconcile(self, call: Reconcile) -> None:
        self._journal.append(call)

    def message(self, host_id: HostId, executor_id: str, data: bytes) -> None:
        self._journal.append(("message", host_id, executor_id, data))

    async def drain(self) -> None:
        self._journal.append("drain")


class FakeCluster:
    """Implements ``framework.mesos_ports.ClusterView``. Without hosts Mesos does not answer."""

    def __init__(self) -> None:
        self.known: tuple[Host, ...] = (samples.HOST,)
        self.files: dict[tuple[str, str], bytes] = {}
        self.asked = 0

    async def hosts(self) -> tuple[Host, ...]:
        self.asked += 1
        if not self.known:
            raise UnavailableError("Mesos does not answer")
        return self.known

    async def read_file(
        self, host_url: str, framework_id: FrameworkId, executor_id: str, path: str, offset: int, length: int
    ) -> tuple[int, bytes]:
        assert (host_url, framework_id) == (samples.HOST.url, "f-1")
        if (executor_id, path) not in self.files:
            raise FileNotFoundError(path)
        data = self.files[executor_id, path]
        return (len(data), b"") if offset == -1 else (offset, data[offset : offset + length])

    async def list_files(
        self, host_url: str, framework_id: FrameworkId, executor_id: str, path: str
    ) -> list[tuple[str, int]]:
        assert (host_url, framework_id) == (samples.HOST.url, "f-1")
        start = f"{path}/"
        found = {
            name: data for (task, name), data in self.files.items() if task == executor_id and name.startswith(start)
        }
        return [(name.removeprefix(start), len(data)) for name, data in sorted(found.items())]
